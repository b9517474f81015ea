"""Tasks: publish, look, watch, apply, decline, leave, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from befl.agent.config import load
from befl.agent.ledger import Ledger, Receipt
from befl.agent.participant import initial_model, rows_of
from befl.agent.store import named, read_whole
from befl.client.approvals import Apps, find_app
from befl.rules import codec
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.seeds import initial_seed
from befl.rules.view import TaskView
from befl.training import builtin_apps
from befl.training.data import sums


class Event(Protocol):
    """A chaincode event, as the gateway gives it."""

    @property
    def block(self) -> int:
        """The block."""

    @property
    def txid(self) -> str:
        """The transaction."""

    @property
    def name(self) -> str:
        """Which transaction it was."""

    @property
    def payload(self) -> bytes:
        """Its payload."""


@dataclass(frozen=True)
class Published:
    """A task that stands on the ledger now.

    Parameters
    ----------
    task, txid, block : str, str, int
        Its id, transaction and block.
    parameters : int
        Length of its model.
    app : str
        SHA-256 of its app's archive.
    added : bool
        Whether the app was added to the ledger on this occasion.
    """

    task: str
    txid: str
    block: int
    parameters: int
    app: str
    added: bool


@dataclass(frozen=True)
class Departure:
    """An institution that declined a task, or left it.

    Parameters
    ----------
    msp_id, reason : str
        Who, and why.
    round : int
        In which round it left; 0 when it declined before training started.
    departed_ms : int
        When, milliseconds since 1970.
    """

    msp_id: str
    reason: str
    round: int
    departed_ms: int


@dataclass(frozen=True)
class Applied:
    """An application that stands on the ledger now."""

    task: str
    txid: str
    block: int


@dataclass(frozen=True)
class TaskSummary:
    """One line about a task."""

    id: str
    name: str
    state: str
    issuer: str
    mode: str
    app: str
    scheme: str
    round: int
    rounds: int
    published_ms: int


@dataclass(frozen=True)
class RoundSummary:
    """One line about a round; ratios in millionths, None before they are known."""

    number: int
    state: str
    delivered: tuple[str, ...]
    opened_ms: int
    closed_ms: int
    metrics: dict[str, int | None] | None
    model: str | None


@dataclass(frozen=True)
class Change:
    """Something that happened to a watched task.

    Parameters
    ----------
    view : TaskView
        The task now.
    transaction, txid, block, round : str, str, int, int
        What happened, and in which round; empty and 0 for the state at the start. The view may be further by then.
    """

    view: TaskView
    transaction: str = ""
    txid: str = ""
    block: int = 0
    round: int = 0


class Tasks:
    """The tasks of the channel.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    events : callable
        Opens a stream of chaincode events.
    """

    def __init__(self, ledger: Ledger, events: Callable[[], AbstractContextManager[Iterable[Event]]]) -> None:
        self._ledger = ledger
        self._events = events

    def publish(self, path: str | Path, *, app: str | Path | None = None, python: str | None = None) -> Published:
        """Publish the task of a TASK.toml; the app makes the initial model in a training process.

        An app that befl does not bring is added to the ledger first, unless it is there.

        Parameters
        ----------
        path : path
            The task specification.
        app : str or path, optional
            The app, as :func:`befl.client.find_app` takes it; by default that which the task names.
        python : str, optional
            The interpreter with torch; this process' own by default.

        Raises
        ------
        BeflError
            ``BEFL-C-...`` for the file, ``BEFL-C-014`` for the app, ``BEFL-A-001`` when the identity is no issuer.
        """
        spec, apps = read_spec(path), Apps(self._ledger)
        code = find_app(app or spec.app.name, apps=apps)
        if code.name != spec.app.name:
            raise BeflError("BEFL-C-014", f"the task names app {spec.app.name}, {app} is app {code.name}")
        layout, values = initial_model(spec, code, initial_seed(spec), python=python)
        model = codec.model_bytes(codec.to_fixed(values, spec.aggregation.scale_bits))
        added = code not in builtin_apps().values() and not apps.has(code.digest)
        if added:
            apps.add(code)
        receipt = self._ledger.publish(spec, code.digest, layout, model)
        return Published(receipt.value["task"], receipt.txid, receipt.block, values.size, code.digest, added)

    def list(self) -> Sequence[TaskSummary]:
        """Return all tasks of the channel, the newest last."""
        return sorted(map(_summary, self._ledger.tasks()), key=lambda task: task.published_ms)

    def get(self, task: str) -> TaskView:
        """Return a task with its current round; raises ``BEFL-T-007`` when there is none."""
        return self._ledger.view(task)

    def rounds(self, task: str) -> Sequence[RoundSummary]:
        """Return a task's rounds."""
        return [_round(record) for record in self._ledger.rounds(task)]

    def round(self, task: str, number: int) -> dict[str, Any]:
        """Return a round as it stands on the ledger: ``round``, ``updates`` and ``reports``."""
        return self._ledger.round(task, number)

    def apply(self, task: str, *, config: str | Path | None = None) -> Applied:
        """Apply to a task for the institution, with the digest of the task's app.

        Parameters
        ----------
        task : str
            The task's id.
        config : path, optional
            The agent's configuration: needed for the sums of the institution's rows, where the task asks for them.

        Raises
        ------
        BeflError
            ``BEFL-C-113`` when the task asks for sums and there is no configuration whose policy allows them.
        """
        view = self._ledger.view(task)
        statistics = _statistics(view, config) if view.spec.data.pooled else {}
        receipt = self._ledger.apply(task, view.record["app"]["digest"], statistics)
        return Applied(task, receipt.txid, receipt.block)

    def decline(self, task: str, reason: str) -> Receipt:
        """Say for the institution that it will not apply, so that nobody waits for it; it may apply all the same."""
        return self._ledger.decline(task, reason)

    def leave(self, task: str, reason: str) -> Receipt:
        """Withdraw the institution's application; of a task that runs, take no part in later rounds."""
        return self._ledger.leave_task(task, reason)

    def departures(self, task: str) -> Sequence[Departure]:
        """Return who declined a task or left it."""
        return [
            Departure(each["msp_id"], each["reason"], each["round"], each["departed_ms"])
            for each in self._ledger.departures(task)
        ]

    def reachable(self, view: TaskView) -> int:
        """Count the institutions that have applied to a task or still can: all others declined or are not invited."""
        invited = set(view.spec.participants.institutions)
        if view.spec.participants.institutions == "any":
            invited = {each["msp_id"] for each in self._ledger.members() if "trainer" in each["roles"]}
        return len({*invited, *view.applicants} - set(view.departed))

    def cancel(self, task: str, reason: str) -> Receipt:
        """Cancel a task that the institution published."""
        return self._ledger.cancel(task, reason)

    def watch(self, task: str) -> Iterator[Change]:
        """Yield the task as it is, then each change as it is committed, until the task has ended."""
        with self._events() as events:
            view = self._ledger.view(task)
            yield Change(view)
            if view.state in ("finished", "cancelled"):
                return
            for event in events:
                payload = json.loads(event.payload)
                if payload["task"] != task:
                    continue
                view = self._ledger.view(task)
                yield Change(view, event.name, event.txid, event.block, payload["round"])
                if event.name in ("Finish", "Cancel"):
                    return


def _statistics(view: TaskView, config: str | Path | None) -> dict[str, Any]:
    """Make the sums that a task asks for from the agent's rows."""
    agent = load(Path(config)) if config is not None else None
    if agent is None or not agent.policy.statistics:
        raise BeflError(
            "BEFL-C-113",
            f"task {view.id} asks for count, sum and sum of squares of {', '.join(view.spec.data.pooled)}",
            "If the institution agrees: statistics = true under [policy], and befl task apply ID --config AGENT.toml.",
        )
    return sums(rows_of(agent, view)[0], view.spec.data)


def read_spec(path: str | Path) -> specs.TaskSpec:
    """Read a TASK.toml; raises ``BEFL-C-006`` when the file cannot be read, else as ``spec.from_toml``."""
    file = Path(path)
    with named(file):
        return specs.from_toml(read_whole(file), str(file))


def _summary(record: dict[str, Any]) -> TaskSummary:
    return TaskSummary(
        id=record["id"],
        name=record["spec"]["name"],
        state=record["state"],
        issuer=record["issuer"],
        mode=record["spec"]["mode"],
        app=record["app"]["name"],
        scheme=record["spec"]["privacy"]["scheme"],
        round=record["round"],
        rounds=record["spec"]["rounds"]["count"],
        published_ms=record["published_ms"],
    )


def _round(record: dict[str, Any]) -> RoundSummary:
    return RoundSummary(
        number=record["round"],
        state=record["state"],
        delivered=tuple(record.get("updates", {})),
        opened_ms=record["opened_ms"],
        closed_ms=record["closed_ms"],
        metrics=record["metrics"]["pooled"] if "metrics" in record else None,
        model=record.get("model"),
    )
