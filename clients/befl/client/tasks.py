"""Tasks: publish, look, watch, apply, decline, leave, cancel."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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


class Events(Protocol):
    """Opens a stream of chaincode events, as ``Network.chaincode_events`` does."""

    def __call__(
        self, *, start_block: int | None = None, after: str | None = None
    ) -> AbstractContextManager[Iterable[Event]]:
        """Begin with a block, or after a transaction; without either, with what comes next."""


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
class Steps:
    """How long each step of a round took, in milliseconds; None where it is not over.

    Each is the difference of two transactions' timestamps, which their senders' clocks made: with clocks that differ it
    is off by as much, and may be negative.

    Parameters
    ----------
    training_ms : int or None
        From opening to the last update; None too when no update came.
    closing_ms : int or None
        From there to closing, which waits for those that are missing; without any update, from opening.
    reporting_ms : int or None
        From closing to the last report.
    evaluation_ms : int or None
        From there to what opened the next round or finished the task; of a void round, from closing.
    """

    training_ms: int | None
    closing_ms: int | None
    reporting_ms: int | None
    evaluation_ms: int | None


@dataclass(frozen=True)
class RoundSummary:
    """One line about a round; ratios in millionths, None before they are known.

    Parameters
    ----------
    number, state : int, str
        From 1; ``open``, ``closed``, ``void`` or ``evaluated``.
    delivered, without : tuple of str
        MSP IDs of those whose update counts, and of those who were to train and had sent none when it was closed.
    opened_ms, closed_ms : int
        When, milliseconds since 1970; 0 before.
    metrics, model : dict, str
        What the new model does, and its SHA-256.
    reported : tuple of str
        MSP IDs of those whose reports made the metrics.
    dissent : dict of str to str
        By MSP ID, the SHA-256 of another model that it reported.
    steps : Steps or None
        How long its steps took; None where it was not asked for.
    txid, block : str, int
        The transaction that closed it, and its block; empty and 0 before, and where it was not asked for.
    """

    number: int
    state: str
    delivered: tuple[str, ...]
    without: tuple[str, ...]
    opened_ms: int
    closed_ms: int
    metrics: dict[str, int | None] | None
    model: str | None
    reported: tuple[str, ...]
    dissent: dict[str, str]
    steps: Steps | None = None
    txid: str = ""
    block: int = 0


@dataclass(frozen=True)
class RoundRecords:
    """A round as it stands on the ledger; the reference describes each record.

    Parameters
    ----------
    round : dict
        The round's own record.
    updates, reports : dict of str to dict
        By MSP ID, the records of what was submitted and reported, with their transactions.
    """

    round: dict[str, Any]
    updates: dict[str, dict[str, Any]]
    reports: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Refusal:
    """An institution that was not taken, or whose update or report does not count.

    Parameters
    ----------
    msp_id : str
        Who.
    round : int
        In which round; 0 when the trainers were selected.
    reason : str
        Why.
    """

    msp_id: str
    round: int
    reason: str


@dataclass(frozen=True)
class Change:
    """Something that happened to a watched task.

    Parameters
    ----------
    view : TaskView
        The task now.
    transaction, txid, block, round : str, str, int, int
        What happened, and in which round; empty and 0 for the state at the start. The view may be further by then.
    ended : RoundSummary or None
        The round that this transaction ended.
    refused : tuple of Refusal
        Who was not taken, when it selected the trainers; whose update or report did not count in the ended round.
    """

    view: TaskView
    transaction: str = ""
    txid: str = ""
    block: int = 0
    round: int = 0
    ended: RoundSummary | None = None
    refused: tuple[Refusal, ...] = ()


class Tasks:
    """The tasks of the channel.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    events : Events
        Opens a stream of chaincode events.
    """

    def __init__(self, ledger: Ledger, events: Events) -> None:
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

    def rounds(self, task: str, *, steps: bool = False) -> Sequence[RoundSummary]:
        """Return a task's rounds.

        Parameters
        ----------
        task : str
            The task's id.
        steps : bool
            Whether also with the seconds of each step, and with the transaction and block that closed it: that is one
            more question a round, and one reading of the events from the first round's updates to the last closing.
        """
        records = list(self._ledger.rounds(task))
        if not steps:
            return [_round(record) for record in records]
        found = [self._ledger.round(task, record["round"]) for record in records]
        closings = self._closings(task, found)
        finished_ms = self._ledger.view(task).record.get("finished_ms", 0)
        ends = [*(each["round"]["opened_ms"] for each in found[1:]), finished_ms]
        return [
            _detailed(each, end, closings.get(each["round"]["round"])) for each, end in zip(found, ends, strict=False)
        ]

    def round(self, task: str, number: int) -> RoundRecords:
        """Return a round as it stands on the ledger."""
        found = self._ledger.round(task, number)
        return RoundRecords(found["round"], found["updates"], found["reports"])

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

    def applicants(self, task: str) -> Sequence[str]:
        """Return the MSP IDs of those who applied, those who were not drawn included; who withdrew has not."""
        return [each["msp_id"] for each in self._ledger.applications(task)]

    def departures(self, task: str) -> Sequence[Departure]:
        """Return who declined a task or left it."""
        return [
            Departure(each["msp_id"], each["reason"], each["round"], each["departed_ms"])
            for each in self._ledger.departures(task)
        ]

    def refused(self, view: TaskView, rounds: Iterable[RoundSummary]) -> Sequence[Refusal]:
        """Return who was not drawn, and whose update or report does not count in a round, with the reason."""
        departures = self.departures(view.id)
        found = list(_not_drawn(view, self.applicants(view.id), departures))
        return [*found, *(each for one in rounds for each in _left_out(view, one, departures))]

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
            closings = dict[int, Event]()
            for event in events:
                payload = json.loads(event.payload)
                if payload["task"] != task:
                    continue
                view = self._ledger.view(task)
                if event.name == "Close":
                    closings[payload["round"]] = event
                ended, refused = self._ended(view, event.name, payload["round"], closings)
                yield Change(view, event.name, event.txid, event.block, payload["round"], ended, refused)
                if event.name in ("Finish", "Cancel"):
                    return

    def _ended(
        self, view: TaskView, transaction: str, number: int, closings: Mapping[int, Event]
    ) -> tuple[RoundSummary | None, tuple[Refusal, ...]]:
        """Return the round that a transaction ended, and who was refused by it or in that round."""
        if transaction not in ("Open", "Finish"):
            return None, ()
        departures = self.departures(view.id)
        if transaction == "Open" and number == 1:
            return None, tuple(_not_drawn(view, self.applicants(view.id), departures))
        if transaction == "Open":
            end_ms = self._ledger.round(view.id, number)["round"]["opened_ms"]
            number -= 1
        else:
            end_ms = view.record["finished_ms"]
        found = self._ledger.round(view.id, number)
        closing = closings.get(number) or self._closings(view.id, [found]).get(number)
        summary = _detailed(found, end_ms, closing)
        return summary, tuple(_left_out(view, summary, departures))

    def _closings(self, task: str, rounds: Iterable[dict[str, Any]]) -> dict[int, Event]:
        """Find the transactions that closed rounds, by one reading of the events from before the first to the last.

        No record names them. The first of these rounds' updates were sent before it was closed: the reading begins with
        one of those, and with the channel's first block where there is none.
        """
        closed = [each for each in rounds if each["round"]["closed_ms"]]
        if not closed:
            return {}
        sent = sorted(closed[0]["updates"].values(), key=lambda item: int(item["submitted_ms"]))
        wanted, found = {each["round"]["round"] for each in closed}, dict[int, Event]()
        with self._events(after=sent[-1]["txid"]) if sent else self._events(start_block=0) as events:
            for event in events:
                payload = json.loads(event.payload)
                if event.name == "Close" and payload["task"] == task and payload["round"] in wanted:
                    found[payload["round"]] = event
                    if len(found) == len(wanted):
                        break
        return found


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


def _round(record: dict[str, Any], **more: Any) -> RoundSummary:
    delivered, metrics = record.get("updates", {}), record.get("metrics")
    return RoundSummary(
        number=record["round"],
        state=record["state"],
        delivered=tuple(delivered),
        without=tuple(sorted(set(record["roster"]) - set(delivered))) if record["closed_ms"] else (),
        opened_ms=record["opened_ms"],
        closed_ms=record["closed_ms"],
        metrics=metrics["pooled"] if metrics else None,
        model=record.get("model"),
        reported=tuple(metrics["institutions"]) if metrics else (),
        dissent=dict(record.get("dissent", {})),
        **more,
    )


def _detailed(found: dict[str, Any], end_ms: int, closing: Event | None) -> RoundSummary:
    """Make the line about a round from its record, its updates and reports, its end and what closed it."""
    record = found["round"]
    trained_ms = max((item["submitted_ms"] for item in found["updates"].values()), default=None)
    reported_ms = max((item["reported_ms"] for item in found["reports"].values()), default=None)
    closed_ms = record["closed_ms"] or None
    all_reported_ms = reported_ms if end_ms else None  # before that, others may report yet
    steps = Steps(
        training_ms=_between(record["opened_ms"], trained_ms if closed_ms else None),
        closing_ms=_between(trained_ms or record["opened_ms"], closed_ms),
        reporting_ms=_between(closed_ms, all_reported_ms),
        evaluation_ms=_between(reported_ms or closed_ms, end_ms or None),
    )
    return _round(record, steps=steps, **({"txid": closing.txid, "block": closing.block} if closing else {}))


def _between(begin_ms: int | None, end_ms: int | None) -> int | None:
    return None if begin_ms is None or end_ms is None else end_ms - begin_ms


def _not_drawn(view: TaskView, applicants: Collection[str], departures: Iterable[Departure]) -> Iterator[Refusal]:
    """Name the applicants that were not selected; whoever left a task that runs had been."""
    if not view.roster:
        return
    selected = {*view.roster, *(each.msp_id for each in departures if each.round)}
    wanted = view.spec.participants.most
    for msp_id in sorted(set(applicants) - selected):
        reason = f"not drawn: {len(applicants)} applied, the task takes {wanted} ({view.record['rules']['draw']})"
        yield Refusal(msp_id, 0, reason)


def _left_out(view: TaskView, one: RoundSummary, departures: Iterable[Departure]) -> Iterator[Refusal]:
    """Name whose update or report does not count in a round, and why."""
    stayed = {*view.roster, *(each.msp_id for each in departures if each.round >= one.number)}
    left = {each.msp_id for each in departures if each.round == one.number}
    for msp_id in one.without:
        why = "it left the task" if msp_id in left else "none had come by the deadline"
        yield Refusal(msp_id, one.number, f"no update: {why}")
    if one.state != "evaluated":
        return
    for msp_id in sorted(stayed - set(one.reported) - set(one.dissent)):
        yield Refusal(msp_id, one.number, "no report: none had come by the deadline, the metrics are without its rows")
    for msp_id, model in sorted(one.dissent.items()):
        reason = f"dissent: it reported model {model[:16]}, most others {str(one.model)[:16]}; its counts are left out"
        yield Refusal(msp_id, one.number, reason)
