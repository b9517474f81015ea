"""``TaskContract``: tasks and applications."""

from __future__ import annotations

import re
from typing import Any, Final

from befl.contracts import model, parameter
from befl.contracts import round as rounds
from befl.contracts.context import Context, Transaction, task_id
from befl.contracts.reading import load, mode_of
from befl.rules import canonical, codec, reader
from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.draw import draw
from befl.rules.errors import BeflError
from befl.rules.layout import length, read_layout
from befl.rules.modes import MODES
from befl.rules.parameters import check_task
from befl.rules.statistics import preparation, read_sums
from befl.rules.view import TaskView

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_REASON: Final = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f]{1,500}")


def publish(context: Context, spec: str, app_digest: str, layout: str) -> bytes:
    """Publish a task; its id is the first 16 digits of the transaction id. The initial model travels transiently."""
    wanted = specs.from_json(spec)
    tensors = read_layout(canonical.loads(layout))
    if not _DIGEST.fullmatch(app_digest):
        raise BeflError("BEFL-T-008", "app_digest: must be 64 hex digits")
    data = context.transient("model")
    codec.check_initial(codec.read_model(data, length(tensors)))
    version, parameters = parameter.in_force(context)
    check_task(parameters, wanted, length(tensors))
    name = context.stub.get_tx_id()[:16]
    if context.read("task", name) is not None:
        raise BeflError("BEFL-T-010", f"there is a task {name} already")
    record = {
        "app": {"digest": app_digest, "name": wanted.app.name},
        "best": None,
        "contributors": {},
        "done": 0,
        "id": name,
        "issuer": context.caller.msp_id,
        "kind": "task",
        "layout": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in tensors],
        "length": length(tensors),
        "model": codec.digest(data),
        "parameters": version,
        "preparation": {},
        "published_ms": context.now_ms,
        "roster": [],
        "round": 0,
        "rules": wanted.rules(),
        "spec": reader.to_record(wanted),
        "stale": 0,
        "state": "published",
        "v": 1,
    }
    context.write(record, name)
    model.keep_bytes(context, name, 0, data)
    context.announce("Publish", name)
    return canonical.dumps({"task": name})


def apply(context: Context, task: str, app_digest: str, statistics: str) -> bytes:
    """Apply as a trainer, with the digest of the approved app and the sums that the task asks for (`{}` for none)."""
    msp_id = context.caller.msp_id
    view = load(context, task, mine=msp_id)
    mode_of(view).check_apply(view, msp_id)
    if app_digest != view.record["app"]["digest"]:
        raise BeflError(
            "BEFL-T-009", f"{msp_id} has approved {app_digest[:16]}, not {view.record['app']['digest'][:16]}"
        )
    sums = read_sums(canonical.loads(statistics), view.spec.data)
    record = {
        "app_digest": app_digest,
        "applied_ms": context.now_ms,
        "kind": "application",
        "msp_id": msp_id,
        "statistics": {name: reader.to_record(item) for name, item in sums.items()},
        "task": view.id,
        "v": 1,
    }
    context.write(record, view.id, msp_id)
    if msp_id in view.departed:
        context.forget("departure", view.id, msp_id)  # its operator has thought better of it
    context.announce("Apply", view.id)
    return canonical.dumps({"task": view.id})


def decline(context: Context, task: str, reason: str) -> bytes:
    """Say that the institution will not apply, so that nobody waits for it; it may apply all the same later."""
    view = load(context, task, mine=context.caller.msp_id)
    mode_of(view).check_decline(view, context.caller.msp_id)
    _depart(context, view, reason)
    context.announce("Decline", view.id)
    return canonical.dumps({"task": view.id})


def leave(context: Context, task: str, reason: str) -> bytes:
    """Leave a task: before it starts the application is withdrawn, later the next round opens without the caller."""
    view = load(context, task, mine=context.caller.msp_id)
    mode_of(view).check_leave(view, context.caller.msp_id)
    if view.state == "published":
        context.forget("application", view.id, context.caller.msp_id)
    _depart(context, view, reason)
    context.announce("Leave", view.id, view.record["round"])
    return canonical.dumps({"round": view.record["round"], "task": view.id})


def open_round(context: Context, task: str) -> bytes:
    """Open the next round; the first one selects the trainers, a later one evaluates the round before."""
    view = load(context, task)
    mode_of(view).check_open(view, context.caller.msp_id, context.now_ms)
    record = dict(view.record)
    record["roster"] = [msp_id for msp_id in view.roster if msp_id not in view.departed]
    if view.round is None:
        record["roster"] = draw(view.id, view.applicants, view.spec.participants.most)
        record["preparation"] = _pooled(context, view, record["roster"])
        start = record["model"]
    elif view.round.state == "void":
        start = view.round.record["start"]
    else:
        evaluated = rounds.evaluate(context, view)
        start = evaluated["model"]
        _count(view, record, evaluated)
    record["round"] += 1
    record["state"] = "running"
    context.write(record, view.id)
    rounds.begin(context, view, record["round"], start, record["roster"])
    context.announce("Open", view.id, record["round"])
    return canonical.dumps({"round": record["round"], "task": view.id})


def finish(context: Context, task: str) -> bytes:
    """Evaluate the last round and register the final model; its bytes travel transiently and are kept."""
    view = load(context, task)
    mode_of(view).check_finish(view, context.caller.msp_id, context.now_ms)
    evaluated = rounds.evaluate(context, view)
    record = dict(view.record)
    _count(view, record, evaluated)
    record["state"] = "finished"
    record["finished_ms"] = context.now_ms
    context.write(record, view.id)
    digest = model.register(context, record, evaluated, context.transient("model"))
    context.announce("Finish", view.id, evaluated["round"])
    return canonical.dumps({"digest": digest, "task": view.id})


def cancel(context: Context, task: str, reason: str) -> bytes:
    """Cancel a task; what is on the ledger stays there."""
    found = context.require("task", task_id(task))  # nothing else is read: no update or report makes this invalid
    MODES[found["rules"]["mode"]].task_machine.require(task, found["state"], "Cancel")
    if context.caller.msp_id != found["issuer"]:
        raise BeflError("BEFL-A-004", f"task {task} was published by {found['issuer']}")
    record = {**found, "cancelled_ms": context.now_ms, "reason": _reason(reason), "state": "cancelled"}
    context.write(record, task)
    context.announce("Cancel", task)
    return canonical.dumps({"task": task})


def view_task(context: Context, task: str) -> bytes:
    """Answer a task with its current round and who has delivered: all that an agent needs to decide."""
    return canonical.dumps(views.to_record(load(context, task)))


def list_tasks(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of tasks."""
    return context.page("task", (), page_size, bookmark)


def list_applications(context: Context, task: str, page_size: str, bookmark: str) -> bytes:
    """Answer a page of a task's applications."""
    return context.page("application", (task_id(task),), page_size, bookmark)


def _pooled(context: Context, view: TaskView, roster: list[str]) -> dict[str, dict[str, str]]:
    """Make centre and spread of the columns that ask for it from the selected trainers' applications."""
    data = view.spec.data
    if not data.pooled:
        return {}
    applications = [context.require("application", view.id, msp_id) for msp_id in roster]
    return preparation(data, [read_sums(item["statistics"], data) for item in applications])


def list_departures(context: Context, task: str, page_size: str, bookmark: str) -> bytes:
    """Answer a page of those who declined a task or left it, with their reasons."""
    return context.page("departure", (task_id(task),), page_size, bookmark)


def _reason(text: str) -> str:
    if not _REASON.fullmatch(text):
        raise BeflError("BEFL-T-008", "reason: must be text of 1 to 500 characters, without control characters")
    return text


def _depart(context: Context, view: TaskView, reason: str) -> None:
    """Write that the caller's institution takes no further part; round 0 is before training started."""
    record = {
        "departed_ms": context.now_ms,
        "kind": "departure",
        "msp_id": context.caller.msp_id,
        "reason": _reason(reason),
        "round": view.record["round"],
        "task": view.id,
        "v": 1,
    }
    context.write(record, view.id, context.caller.msp_id)


def _count(view: TaskView, record: dict[str, Any], evaluated: dict[str, Any]) -> None:
    """Add an evaluated round to the task's sums, and keep the best one."""
    record["done"] += 1
    loss = evaluated["metrics"]["pooled"]["loss_micro"]
    if mode_of(view).improves(view, loss):
        record["best"] = {"loss_micro": loss, "round": evaluated["round"]}
    record["stale"] = 0 if record["best"] and record["best"]["round"] == evaluated["round"] else record["stale"] + 1
    contributors = {msp_id: dict(item) for msp_id, item in record["contributors"].items()}
    for msp_id, update in evaluated["updates"].items():
        item = contributors.setdefault(msp_id, {"rounds": 0, "weight": 0})
        item["rounds"] += 1
        item["weight"] += update["weight"]
    record["contributors"] = contributors


TRANSACTIONS: Final = {
    "Publish": Transaction(publish, ("spec", "app_digest", "layout"), role="issuer", transient=("model",)),
    "Apply": Transaction(apply, ("task", "app_digest", "statistics"), role="trainer"),
    "Decline": Transaction(decline, ("task", "reason"), role="trainer"),
    "Leave": Transaction(leave, ("task", "reason"), role="trainer"),
    "Open": Transaction(open_round, ("task",), role="trainer"),
    "Finish": Transaction(finish, ("task",), role="trainer", transient=("model",)),
    "Cancel": Transaction(cancel, ("task", "reason"), role="issuer"),
    "View": Transaction(view_task, ("task",)),
    "List": Transaction(list_tasks, ("page_size", "bookmark")),
    "Applications": Transaction(list_applications, ("task", "page_size", "bookmark")),
    "Departures": Transaction(list_departures, ("task", "page_size", "bookmark")),
}
