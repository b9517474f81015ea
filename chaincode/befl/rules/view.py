"""What everybody sees of a task: the one answer by which contracts decide and agents predict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from befl.rules import spec as specs
from befl.rules.statistics import prepared


@dataclass(frozen=True)
class RoundView:
    """One round.

    Parameters
    ----------
    number : int
        From 1.
    state : str
        ``open``, ``closed``, ``void`` or ``evaluated``.
    opened_ms, deadline_ms : int
        When it opened and until when updates are taken, milliseconds since 1970.
    closed_ms : int
        When it was closed or found void; 0 before.
    report_deadline_ms : int
        Until when every report is waited for; 0 before it is closed.
    roster, updates, reports : tuple of str
        MSP IDs that train in this round, and that have delivered.
    loss_micro : int or None
        The mean loss over the held-back rows of all whose reports agree so far; None when they do not, when there are
        no rows, and in a task without patience.
    record : dict
        The round's record as it stands on the ledger.
    """

    number: int
    state: str
    opened_ms: int
    deadline_ms: int
    closed_ms: int
    report_deadline_ms: int
    roster: tuple[str, ...]
    updates: tuple[str, ...]
    reports: tuple[str, ...]
    loss_micro: int | None = None
    record: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class TaskView:
    """One task with its current round.

    Parameters
    ----------
    id : str
        The task's id.
    state : str
        ``published``, ``running``, ``finished`` or ``cancelled``.
    spec : TaskSpec
        What was published.
    published_ms : int
        When.
    applicants, roster : tuple of str
        MSP IDs, sorted; the roster is empty until training starts.
    departed : tuple of str
        MSP IDs of those who declined before training started, or left since; sorted.
    done : int
        Rounds closed with an aggregate and evaluated.
    best_loss_micro : int or None
        The best loss of those, and None before there is one.
    stale : int
        How many of them came after it without a better one.
    round : RoundView or None
        The current round.
    record : dict
        The task's record as it stands on the ledger.
    """

    id: str
    state: str
    spec: specs.TaskSpec
    published_ms: int
    applicants: tuple[str, ...]
    roster: tuple[str, ...]
    departed: tuple[str, ...]
    done: int
    best_loss_micro: int | None
    stale: int
    round: RoundView | None
    record: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def data(self) -> specs.DataSpec:
        """How rows become features: as published, with what was pooled when training started."""
        return prepared(self.spec.data, self.record["preparation"])


def make(
    task: dict[str, Any],
    applicants: list[str],
    departed: list[str],
    current: dict[str, Any] | None,
    updates: list[str],
    reports: list[str],
    loss_micro: int | None = None,
) -> TaskView:
    """Make the view from records."""
    return TaskView(
        id=task["id"],
        state=task["state"],
        spec=specs.from_record(task["spec"]),
        published_ms=task["published_ms"],
        applicants=tuple(applicants),
        roster=tuple(task["roster"]),
        departed=tuple(departed),
        done=task["done"],
        best_loss_micro=task["best"]["loss_micro"] if task["best"] else None,
        stale=task["stale"],
        round=None
        if current is None
        else RoundView(
            number=current["round"],
            state=current["state"],
            opened_ms=current["opened_ms"],
            deadline_ms=current["deadline_ms"],
            closed_ms=current["closed_ms"],
            report_deadline_ms=current["report_deadline_ms"],
            roster=tuple(current["roster"]),
            updates=tuple(updates),
            reports=tuple(reports),
            loss_micro=loss_micro,
            record=current,
        ),
        record=task,
    )


def to_record(view: TaskView) -> dict[str, Any]:
    """Return the JSON form of a view: the records and who has delivered."""
    return {
        "task": view.record,
        "applicants": list(view.applicants),
        "departed": list(view.departed),
        "round": view.round.record if view.round else None,
        "updates": list(view.round.updates) if view.round else [],
        "reports": list(view.round.reports) if view.round else [],
        "loss_micro": view.round.loss_micro if view.round else None,
    }


def from_record(record: dict[str, Any]) -> TaskView:
    """Read the JSON form that :func:`to_record` made."""
    names = ("task", "applicants", "departed", "round", "updates", "reports", "loss_micro")
    return make(*(record[name] for name in names))
