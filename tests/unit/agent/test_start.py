"""Starting an agent whose peer is not there: it waits, it says so, and it stops at once."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from befl.agent.start import _follow, run_agent
from befl.agent.store import Store
from befl.gateway.wait import until
from befl.rules.errors import BeflError


@pytest.fixture
def agent_toml(tmp_path, write_user, authority):
    """A configuration whose peer does not run."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    profile = {
        "client": {"organization": "alpha"},
        "organizations": {"alpha": {"mspid": "AlphaMSP", "peers": ["peer0"]}},
        "peers": {"peer0": {"url": f"grpcs://127.0.0.1:{port}", "tlsCACerts": {"pem": authority.pem.decode()}}},
    }
    (tmp_path / "connection.json").write_text(json.dumps(profile))
    user = write_user()
    path = tmp_path / "AGENT.toml"
    path.write_text(f'befl = 1\n[network]\nprofile = "connection.json"\n[identity]\nmsp_dir = "{user.name}/msp"\n')
    return path


def test_an_agent_without_its_peer_stops_at_once(agent_toml, caplog):
    caplog.set_level(logging.INFO)
    stopped = threading.Event()
    thread = threading.Thread(target=run_agent, args=(agent_toml, stopped))
    thread.start()
    until(lambda: "agent of AlphaMSP runs" in caplog.text, timeout=10, what="the agent")
    started = time.monotonic()
    stopped.set()
    thread.join(20)
    assert not thread.is_alive()
    assert time.monotonic() - started < 5
    assert "agent of AlphaMSP has stopped" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_state_folder_that_is_in_use(agent_toml):
    other = Store(agent_toml.parent / "state")
    other.lock()
    stopped = threading.Event()
    with pytest.raises(BeflError, match="BEFL-C-008"):
        run_agent(agent_toml, stopped)
    other.unlock()
    assert stopped.is_set()
    assert "events" not in {thread.name for thread in threading.enumerate()}


def test_what_is_wrong_is_said_before_anything_is_made(agent_toml):
    for line, code in (("profile", "BEFL-G-022"), ("msp_dir", "BEFL-G-023")):
        text = agent_toml.read_text()
        broken = agent_toml.with_name("BROKEN.toml")
        broken.write_text(text.replace(f'{line} = "', f'{line} = "absent/'))
        with pytest.raises(BeflError, match=code):
            run_agent(broken, threading.Event())
    assert not (agent_toml.parent / "state").exists()


def test_events_are_subscribed_to_again(monkeypatch, caplog):
    """A stream that cannot be had, one that ends, one with an event: each time the agent asks again, until it stops."""
    monkeypatch.setattr("befl.agent.start._AGAIN_S", 0.0)
    stopped, asked, followed = threading.Event(), [], []
    streams = [BeflError("BEFL-G-002", "the peer is away"), [], [SimpleNamespace(payload=b"{}")]]

    def chaincode_events(chaincode):
        asked.append(chaincode)
        stream = streams[len(asked) - 1]
        if isinstance(stream, BeflError):
            raise stream
        return contextlib.nullcontext(stream)

    def follow(payloads):
        followed.extend(payloads)
        if followed:
            stopped.set()

    _follow(SimpleNamespace(chaincode_events=chaincode_events), "befl", SimpleNamespace(follow=follow), stopped)
    assert asked == ["befl"] * 3
    assert followed == [b"{}"]
    assert "no events: BEFL-G-002: the peer is away" in caplog.text
