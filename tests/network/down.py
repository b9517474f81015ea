"""Processes of a running network that are kept down or stand still, and the network as it was before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from befl.gateway import wait
from befl.network import doctor, supervisor
from befl.network.layout import Layout
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from .conftest import Consortium

_NO_PROGRAM = 127


def wrong(directory: Path, institution: str = "") -> dict[str, list[str]]:
    """What doctor calls wrong, by check."""
    found: dict[str, list[str]] = {}
    for finding in doctor.examine_network(directory, institution):
        if finding.state != "ok":
            found.setdefault(finding.check, []).append(finding.found)
    return found


@contextmanager
def ready_again(consortium: Consortium) -> Iterator[None]:
    before = lasting(consortium)
    try:
        yield
    finally:
        wait.until(
            lambda: wrong(consortium.directory).keys() <= before.keys(),
            timeout=60,
            interval=0.5,
            what="the network as it was",
        )


def lasting(consortium: Consortium) -> dict[str, list[str]]:
    """What is wrong and stays so, a disk that is nearly full say; what passes by itself is not what is to come back."""
    with contextlib.suppress(BeflError):
        wait.until(lambda: wrong(consortium.directory) == {}, timeout=20, interval=0.5, what="the network well")
    return wrong(consortium.directory)


def pid(consortium: Consortium, name: str) -> int:
    """The process id of ``institution/process``."""

    def running() -> int:
        state = supervisor.states(consortium.directory).get(name)
        return state.pid if state is not None else 0

    return wait.until(running, timeout=30, what=f"{name} running")


@contextmanager
def described(consortium: Consortium, change: Callable[[dict[str, Any]], None], *names: str) -> Iterator[None]:
    """Let processes (``institution/process``) start again as changed descriptions say, and at the end as before."""
    parts = [name.split("/") for name in names]
    services = [Layout(consortium.directory).home(one).services / f"{process}.json" for one, process in parts]
    kept = [path.read_text() for path in services]
    try:
        for path, text in zip(services, kept, strict=True):
            content = json.loads(text)
            change(content)
            path.write_text(json.dumps(content))
        os.kill(consortium.status().supervisor_pid, signal.SIGHUP)
        yield
    finally:
        for path, text in zip(services, kept, strict=True):
            path.write_text(text)
        os.kill(consortium.status().supervisor_pid, signal.SIGHUP)


@contextmanager
def kept_down(consortium: Consortium, *names: str) -> Iterator[None]:
    """End processes that cannot be started again: their program is gone."""

    def without_program(service: dict[str, Any]) -> None:
        service["argv"][0] = str(consortium.directory / "no" / Path(service["argv"][0]).name)

    def down() -> bool:
        states = supervisor.states(consortium.directory)
        return all(not states[name].pid and states[name].exit_status == _NO_PROGRAM for name in names)

    with described(consortium, without_program, *names):
        wait.until(down, timeout=60, what=f"{', '.join(names)} down")
        yield


@contextmanager
def standing_still(consortium: Consortium, *names: str) -> Iterator[None]:
    """Stop processes: their connections stay, and nobody answers."""
    with stopped([pid(consortium, name) for name in names]):
        yield


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Let processes stand still: connections stay, and nobody answers."""
    try:
        for number in pids:
            os.kill(number, signal.SIGSTOP)
        yield
    finally:
        for number in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGCONT)
