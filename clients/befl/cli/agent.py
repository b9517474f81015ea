"""``befl agent``."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click


@click.group()
def agent() -> None:
    """Run an institution's agent."""


@agent.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="AGENT.toml",
    help="What the agent uses and what its operator agrees to.",
)
@click.option("--verbose", is_flag=True, help="Say also what is waited for.")
def run(config: Path, verbose: bool) -> None:
    """Watch the ledger, train, report; until it is stopped.

    Killing the agent at any moment loses nothing: started again, it reads the ledger and goes on.
    """
    from befl.client import run_agent

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("befl").setLevel(logging.DEBUG if verbose else logging.INFO)
    stopped = threading.Event()
    received: list[int] = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run_agent(config, stopped)
    if signal.SIGINT in received:
        raise click.Abort
