"""``befl agent``."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import awaited, emit, format_option, moment
from befl.operations import logs

if TYPE_CHECKING:
    from befl.client import AgentStatus, TaskStatus
    from befl.client.agents import Failure


@click.group()
def agent() -> None:
    """Run an institution's agent, and see what it does."""


_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="AGENT.toml",
    help="What the agent uses and what its operator agrees to.",
)


@agent.command()
@_CONFIG
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


_TIMES = re.compile(r"\b(\d{13}) ms\b")
"""How rules write times, in milliseconds since 1970."""


@agent.command()
@_CONFIG
@format_option
def status(config: Path, form: str) -> None:
    """Say what the agent does: its tasks, what each waits for, every reason why it refuses one, what failed last.

    It is read from the agent's state folder and its health, without the ledger. Exit status 0 when the agent runs, 1
    when it does not; then it is shown as the last one left it.
    """
    from befl.client import agent_status

    found = agent_status(config)
    emit(found, form, lambda one: _page(one, config))
    if not found.running:
        sys.exit(1)


def _page(found: AgentStatus, config: Path) -> str:
    if not found.msp_id:
        return f"the agent of {config} {'starts' if found.running else 'does not run, and never has'}"
    lines = [
        f"agent of {found.msp_id} ({config}): {'runs' if found.running else 'does not run'}",
        f"  started    {moment(found.started_ms)}, pid {found.pid}, befl {found.befl}",
        f"  health     {_health(found)}",
    ]
    if not found.running:
        lines.append(f"  it was     as follows when it last wrote it down, {moment(found.written_ms)}")
    lines += _failed(found.error)
    if not found.tasks:
        lines.append("  tasks      none that has not ended")
    for each in found.tasks:
        lines += ["", *_task(each)]
    return "\n".join(lines)


def _health(found: AgentStatus) -> str:
    if not found.health:
        return "shown nowhere ([metrics] listen)"
    if found.healthy is None:
        return f"{found.health}, not asked"
    return f"{found.health}: {'OK' if found.healthy else found.complaint}"


def _task(one: TaskStatus) -> Iterator[str]:
    parts = {"left": "declined or left", "none": "not taking part"}
    yield f"task {one.task}: {one.name}, of {one.issuer}"
    yield f"  state      {one.state}, round {one.round}/{one.rounds}, {parts.get(one.part, one.part)}"
    match one.does:
        case "waits":
            yield f"  waits for  {awaited(one.waits_for)}"
            yield f"  because    {_TIMES.sub(lambda found: moment(int(found[1])), one.why)}"
        case "refuses":
            yield f"  refuses    {one.why}, since {moment(one.since_ms)}"
            yield from (f"  because    {reason}" for reason in one.against)
        case "ended":
            yield f"  is done    {one.why}"
        case _:
            yield f"  does       {one.does}, since {moment(one.since_ms)}"
    yield from _failed(one.error)


def _failed(error: Failure | None) -> Iterator[str]:
    if error is not None:
        yield f"  failed     {moment(error.at_ms)}: {error.code}: {error.message}"


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
