"""Reading a task: its view, as the rules want it, from the records of one round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from befl.contracts.context import Context, number_key, task_id
from befl.rules import view as views
from befl.rules.agreement import agree
from befl.rules.errors import BeflError
from befl.rules.modes import MODES, Mode
from befl.rules.view import TaskView


def load(context: Context, task: str, *, mine: str | None = None) -> TaskView:
    """Read a task's view.

    Parameters
    ----------
    context : Context
        The transaction.
    task : str
        The task's id.
    mine : str or None
        With an MSP ID only that institution's own keys are read, so that parallel submissions do not meet.

    Raises
    ------
    BeflError
        ``BEFL-T-007`` when there is no such task.
    """
    record = context.require("task", task_id(task))
    departed = _named(context, "departure", record["id"], mine)
    if record["state"] == "published":
        return views.make(record, _named(context, "application", record["id"], mine), departed, None, [], [])
    if record["round"] == 0:
        return views.make(record, [], departed, None, [], [])
    current = context.require("round", record["id"], number_key(record["round"]))

    def delivered(kind: str, members: list[str]) -> dict[str, dict[str, Any]]:
        asked = (msp_id for msp_id in members if mine in (None, msp_id))
        return deliveries(context, kind, record["id"], record["round"], asked)

    if current["state"] == "open":
        updates = list(delivered("update", current["roster"]))
        return views.make(record, record["roster"], departed, current, updates, [])
    reports = delivered("report", record["roster"])
    view = views.make(record, record["roster"], departed, current, list(current["updates"]), list(reports))
    if mine is not None or view.round is None or not view.spec.rounds.patience:
        return view
    agreed = agree(view, reports)
    loss = agreed[1]["pooled"]["loss_micro"] if agreed else None
    return replace(view, round=replace(view.round, loss_micro=loss))


def deliveries(
    context: Context, kind: str, task: str, number: int, members: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Read the records of one kind, ``update`` or ``report``, of those members that have delivered."""
    found = ((msp_id, context.read(kind, task, number_key(number), msp_id)) for msp_id in members)
    return {msp_id: record for msp_id, record in found if record is not None}


def check_reader(context: Context, task: str) -> None:
    """Refuse to give bytes of a task to who may not fetch them (``BEFL-A-008``, ``BEFL-T-007`` for no such task)."""
    record = context.require("task", task_id(task))
    msp_id = context.caller.msp_id
    allowed = {record["issuer"], *record["roster"], *record["contributors"]}
    if record["spec"]["participants"]["fetch"] == "trainers" and msp_id not in allowed:
        raise BeflError("BEFL-A-008", f"task {task} gives models to its trainers and issuer, and {msp_id} is neither")


def mode_of(view: TaskView) -> Mode:
    """Return the rules of the task's mode, in the version that it fixed."""
    return MODES[view.record["rules"]["mode"]]


def current_record(view: TaskView) -> dict[str, Any]:
    """Return the record of the current round; raises ``BEFL-T-004`` when there is none."""
    if view.round is None:
        raise BeflError("BEFL-T-004", f"task {view.id} has no round yet")
    return view.round.record


def _named(context: Context, kind: str, task: str, mine: str | None) -> list[str]:
    """Name the institutions that have a record of a kind about the task."""
    if mine is None:
        return [item["msp_id"] for item in context.read_below(kind, task)]
    return [mine] if context.read(kind, task, mine) is not None else []
