"""Signals to `befl agent run`: whatever comes while the main thread holds any lock, the agent stops."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

import befl.client
from befl.cli.agent import _signals
from befl.cli.main import run


@pytest.fixture
def agent(monkeypatch):
    """`befl agent run` with what the test puts in the place of the agent."""

    def start(serve):
        monkeypatch.setattr(befl.client, "run_agent", serve)
        return run(["agent", "run", "--config", "AGENT.toml"])

    root, own = logging.getLogger(), logging.getLogger("befl")
    kept = list(root.handlers), root.level, own.level
    yield start
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    own.setLevel(kept[2])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it(agent, number, status):
    def serve(config, stopped):
        os.kill(os.getpid(), number)
        assert stopped.wait(5)

    before = signal.getsignal(number)
    assert agent(serve) == status
    assert signal.getsignal(number) is before
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_signals_that_come_while_the_lock_is_held():
    """As Ctrl-C in a terminal and a supervisor's SIGTERM do together: a handler that waited for the lock would hang."""
    with _signals() as (stopped, received):
        with stopped._cond:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(5)
    assert set(received) == {signal.SIGINT, signal.SIGTERM}
