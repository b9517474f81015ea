"""``befl agent``."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from befl.operations import logs


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
@click.option("--verbose", is_flag=True, help="Say also what is waited for, and what an app that failed wrote.")
@click.option(
    "--log-format",
    "log_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line with task, round and txid.",
)
def run(config: Path, verbose: bool, log_format: str) -> None:
    """Watch the ledger, train, report; until it is stopped.

    Killing the agent at any moment loses nothing: started again, it reads the ledger and goes on.
    """
    from befl.client import run_agent

    logs.configure(log_format, logging.INFO)
    logging.getLogger("befl").setLevel(logging.DEBUG if verbose else logging.INFO)
    with _signals() as (stopped, received):
        run_agent(config, stopped)
    if signal.SIGINT in received:
        raise click.Abort


@contextlib.contextmanager
def _signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Give an event that SIGTERM and SIGINT set, and the signals that have come.

    A handler runs between two instructions of the main thread, which may hold the event's lock, or be in the handler of
    the signal before: so it only writes to a pipe, and a thread of its own sets the event.
    """
    stopped, received = threading.Event(), list[int]()
    reader, writer = os.pipe()

    def listen() -> None:
        while number := os.read(reader, 1):
            received.append(number[0])
            stopped.set()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    before = {
        number: signal.signal(number, lambda number, _: os.write(writer, bytes([number])))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stopped, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        listener.join()
        os.close(reader)
