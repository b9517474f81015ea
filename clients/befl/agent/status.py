"""What an agent does now, kept in its state folder: ``befl agent status`` reads it there, and needs no ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from befl.agent.store import STATUS, Store, kept_status, locked
from befl.operations.logs import for_log
from befl.rules.errors import BeflError
from befl.rules.reader import milliseconds
from befl.rules.version import __version__
from befl.rules.view import TaskView


@dataclass(frozen=True)
class Waiting:
    """What a task waits for.

    Parameters
    ----------
    what : str
        ``applications``, ``updates``, ``reports`` or ``nothing``.
    msp_ids : tuple of str
        From whom; of applications those who are invited by name and have said neither yes nor no.
    until_ms : int
        Until when all of them are waited for, milliseconds since 1970; 0 with ``nothing``.
    """

    what: str
    msp_ids: tuple[str, ...]
    until_ms: int


@dataclass(frozen=True)
class Failure:
    """Something that failed, as the log has it: without rows, keys, or what an app wrote.

    Parameters
    ----------
    code, message : str
        What it was; the code ``mistake`` is one of befl's own.
    at_ms : int
        When, milliseconds since 1970.
    """

    code: str
    message: str
    at_ms: int


@dataclass(frozen=True)
class TaskStatus:
    """What an agent does about one task.

    Parameters
    ----------
    task, name, issuer, state : str
        The task.
    round, rounds : int
        The current round, 0 before training, and how many there are to be.
    part : str
        ``trainer``, ``applicant``, ``left`` (declined or left), or ``none``.
    does : str
        The action under way (``apply``, ``open``, ``submit``, ``close``, ``report``, ``finish``); ``refuses`` when it
        does not do what would be next; ``waits``, or ``ended`` when there is nothing left for it to do.
    why : str
        Why it waits, what it does not do, or why there is nothing left.
    against : tuple of str
        Each reason why it refuses.
    waits_for : Waiting
        What the task as a whole waits for.
    since_ms : int
        Since when that has been so, milliseconds since 1970.
    error : Failure or None
        What failed last.
    """

    task: str
    name: str
    issuer: str
    state: str
    round: int
    rounds: int
    part: str
    does: str
    why: str
    against: tuple[str, ...]
    waits_for: Waiting
    since_ms: int
    error: Failure | None


@dataclass(frozen=True)
class AgentStatus:
    """How an agent is; when it does not run, as it last wrote it down.

    Parameters
    ----------
    running : bool
        Whether an agent holds the state folder's lock.
    msp_id, befl : str
        Its institution and release; empty when it has never run.
    pid : int
        Its process; of the last one when it does not run.
    started_ms, written_ms : int
        When it started, and when anything last changed; milliseconds since 1970, 0 when it has never run.
    health : str
        Where it shows its health (``host:port``); empty for nowhere.
    error : Failure or None
        What failed last about no task in particular.
    tasks : tuple of TaskStatus
        The tasks that it knows and that have not ended.
    healthy : bool or None
        What its health says; None when it was not asked, or shows none.
    complaint : str
        What is wrong, when it is not healthy.
    """

    running: bool
    msp_id: str = ""
    befl: str = ""
    pid: int = 0
    started_ms: int = 0
    written_ms: int = 0
    health: str = ""
    error: Failure | None = None
    tasks: tuple[TaskStatus, ...] = ()
    healthy: bool | None = None
    complaint: str = ""


class Notes:
    """Keeps the agent's status; many threads write to it. That it cannot be written stops nobody.

    Parameters
    ----------
    store : Store
        The agent's own, locked before :meth:`begin`.
    msp_id : str
        The institution.
    health : str
        Where the agent shows its health.
    """

    def __init__(self, store: Store, msp_id: str, health: str = "") -> None:
        self._store = store
        self._status = AgentStatus(running=True, msp_id=msp_id, befl=__version__, pid=os.getpid(), health=health)
        self._tasks = dict[str, TaskStatus]()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Write that the agent runs; what another life wrote is replaced."""
        with self._lock:
            self._write(started_ms=_now_ms())

    def task(self, view: TaskView, does: str, why: str = "", against: Sequence[str] = ()) -> None:
        """Take over what the agent does about a task; nothing is written when it is the same as before."""
        with self._lock:
            before = self._tasks.get(view.id)
            now = TaskStatus(
                task=view.id,
                name=view.spec.name,
                issuer=view.record["issuer"],
                state=view.state,
                round=view.round.number if view.round else 0,
                rounds=view.spec.rounds.count,
                part=_part(view, self._status.msp_id),
                does=does,
                why=why,
                against=tuple(against),
                waits_for=waiting(view),
                since_ms=before.since_ms if before else 0,
                error=before.error if before else None,
            )
            if now != before:
                self._tasks[view.id] = dataclasses.replace(now, since_ms=_now_ms())
                self._write()

    def failed(self, error: Exception, task: str = "") -> None:
        """Take over what failed last, about a task or about none."""
        if isinstance(error, BeflError):
            failure = Failure(error.code, for_log(error).removeprefix(f"{error.code}: "), _now_ms())
        else:  # its words may be anything
            failure = Failure("mistake", f"a mistake in befl ({type(error).__name__}); the log says where", _now_ms())
        with self._lock:
            if task in self._tasks:
                self._tasks[task] = dataclasses.replace(self._tasks[task], error=failure)
                self._write()
            else:
                self._write(error=failure)

    def keep(self, live: Container[str]) -> None:
        """Forget the tasks that have ended."""
        with self._lock:
            ended = [task for task in self._tasks if task not in live]
            for task in ended:
                del self._tasks[task]
            if ended:
                self._write()

    def _write(self, **changed: Any) -> None:
        tasks = tuple(self._tasks.values())
        self._status = dataclasses.replace(self._status, tasks=tasks, written_ms=_now_ms(), **changed)
        with contextlib.suppress(BeflError):
            self._store.keep_status(json.dumps(dataclasses.asdict(self._status), indent=2).encode() + b"\n")


def waiting(view: TaskView) -> Waiting:
    """Say whom a task waits for, and until when."""
    current = view.round
    if view.state == "published":
        invited = view.spec.participants.institutions
        named = () if isinstance(invited, str) else invited
        silent = sorted(set(named) - set(view.applicants) - set(view.departed))
        return Waiting("applications", tuple(silent), view.published_ms + milliseconds(view.spec.participants.window))
    if view.state != "running" or current is None:
        return Waiting("nothing", (), 0)
    if current.state == "open":
        return Waiting("updates", tuple(sorted(set(current.roster) - set(current.updates))), current.deadline_ms)
    return Waiting("reports", tuple(sorted(set(view.roster) - set(current.reports))), current.report_deadline_ms)


def read(folder: Path) -> AgentStatus:
    """Read how the agent of a state folder is, or was when it last wrote it down; nothing is changed.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the folder cannot be read, ``BEFL-C-001`` when what is there is no status of this release.
    """
    running, found = locked(folder), kept_status(folder)
    if found is None:
        return AgentStatus(running=running)
    try:
        content = json.loads(found)
        tasks = tuple(_task(each) for each in content.pop("tasks"))
        error = _failure(content.pop("error"))
        return dataclasses.replace(AgentStatus(**content), running=running, tasks=tasks, error=error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"{folder / STATUS}: not what an agent of this release wrote"
        raise BeflError("BEFL-C-001", message, "An agent that is started writes it anew.") from None


def _task(content: dict[str, Any]) -> TaskStatus:
    waits, error, against = content.pop("waits_for"), _failure(content.pop("error")), tuple(content.pop("against"))
    waits_for = Waiting(**{**waits, "msp_ids": tuple(waits["msp_ids"])})
    return TaskStatus(**content, waits_for=waits_for, error=error, against=against)


def _failure(content: dict[str, Any] | None) -> Failure | None:
    return None if content is None else Failure(**content)


def _part(view: TaskView, msp_id: str) -> str:
    if msp_id in view.departed:
        return "left"
    if msp_id in view.roster:
        return "trainer"
    return "applicant" if msp_id in view.applicants else "none"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
