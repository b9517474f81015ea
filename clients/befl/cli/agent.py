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
    from befl.agent.start import serve

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("befl").setLevel(logging.DEBUG if verbose else logging.INFO)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    serve(config, stopped)
