"""``RoundContract``: rounds, updates and reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.contracts import parameter
from befl.contracts.context import Context, Transaction, number_key, task_id, whole_number
from befl.contracts.reading import check_reader, current_record, deliveries, load, mode_of
from befl.contracts.stub import create_composite_key
from befl.rules import canonical, codec
from befl.rules.aggregation import RULES
from befl.rules.aggregation.rule import MOST_WEIGHT
from befl.rules.agreement import agree
from befl.rules.draw import draw_round
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS
from befl.rules.reader import milliseconds, to_record
from befl.rules.view import TaskView

COLLECTION: Final = "updates"


def submit(context: Context, task: str, number: str, weight: str, digest: str) -> bytes:
    """Submit an update: its bytes travel transiently into the private collection, hash and weight are public."""
    msp_id, wanted, rows = context.caller.msp_id, whole_number(number, "round"), whole_number(weight, "weight")
    view = load(context, task, mine=msp_id)
    mode_of(view).check_submit(view, msp_id, wanted, context.now_ms)
    data = context.transient("update")
    if codec.digest(data) != digest:
        raise BeflError(
            "BEFL-M-007", f"the update has SHA-256 {codec.digest(data)[:16]}, the argument says {digest[:16]}"
        )
    if not 1 <= rows <= MOST_WEIGHT:
        raise BeflError("BEFL-M-003", f"weight: must be from 1 to {MOST_WEIGHT}, not {rows}")
    rule = view.spec.aggregation
    codec.read_update(data, view.record["length"], codec.bound(rule.scale_bits, rule.clip), rule.bits)
    context.stub.put_private_data(COLLECTION, _key("update", view.id, wanted, msp_id), data)
    record = {
        "kind": "update",
        "msp_id": msp_id,
        "round": wanted,
        "submitted_ms": context.now_ms,
        "task": view.id,
        "txid": context.stub.get_tx_id(),
        "update": digest,
        "v": 1,
        "weight": rows,
    }
    context.write(record, view.id, number_key(wanted), msp_id)
    context.announce("Submit", view.id, wanted)
    return canonical.dumps({"round": wanted, "task": view.id})


def close(context: Context, task: str, number: str) -> bytes:
    """Close a round: every endorser reads the updates, checks their hashes, and computes the aggregate itself."""
    wanted = whole_number(number, "round")
    view = load(context, task)
    enough = mode_of(view).check_close(view, context.caller.msp_id, wanted, context.now_ms)
    current = current_record(view)
    record = {**current, "closed_by": context.caller.msp_id, "closed_ms": context.now_ms}
    record["updates"] = {
        msp_id: {"update": item["update"], "weight": item["weight"]}
        for msp_id, item in deliveries(context, "update", view.id, wanted, current["roster"]).items()
    }
    if enough:
        rule = RULES[view.record["rules"]["aggregation"]]
        aggregate = rule.aggregate(_updates(context, view, wanted, record["updates"]), view.record["length"])
        record["aggregate"] = codec.digest(codec.model_bytes(aggregate))
        record["report_deadline_ms"] = context.now_ms + milliseconds(view.spec.rounds.deadline)
        record["weight"] = sum(item["weight"] for item in record["updates"].values())
    record["state"] = "closed" if enough else "void"
    _write(context, record)
    context.announce("Close", view.id, wanted)
    return canonical.dumps({"round": wanted, "state": record["state"], "task": view.id})


def report(context: Context, task: str, number: str, model: str, counts: str) -> bytes:
    """Report the hash of the new model and what it does on the institution's held-back rows."""
    msp_id, wanted = context.caller.msp_id, whole_number(number, "round")
    view = load(context, task, mine=msp_id)
    reported = view.round is not None and msp_id in view.round.reports
    before = context.read("report", view.id, number_key(wanted), msp_id) if reported else None
    corrects = before is not None and "corrects" not in before and before["model"] != model
    mode_of(view).check_report(view, msp_id, wanted, context.now_ms, corrects=corrects)
    if len(model) != 64 or set(model) - set("0123456789abcdef"):
        raise BeflError("BEFL-T-008", "model: must be 64 hex digits")
    counted = METRICS[view.record["rules"]["metrics"]].read_counts(canonical.loads(counts), view.spec.data)
    record = {
        "counts": to_record(counted),
        "kind": "report",
        "model": model,
        "msp_id": msp_id,
        "reported_ms": context.now_ms,
        "round": wanted,
        "task": view.id,
        "txid": context.stub.get_tx_id(),
        "v": 1,
    }
    if before is not None:
        record["corrects"] = before["model"]
    context.write(record, view.id, number_key(wanted), msp_id)
    context.announce("Report", view.id, wanted)
    return canonical.dumps({"round": wanted, "task": view.id})


def get_round(context: Context, task: str, number: str) -> bytes:
    """Answer a round with its updates' and reports' records."""
    wanted = whole_number(number, "round")
    record = context.require("round", task_id(task), number_key(wanted))
    found = {
        f"{kind}s": {each["msp_id"]: each for each in context.read_below(kind, task, number_key(wanted))}
        for kind in ("update", "report")
    }
    return canonical.dumps({"round": record, **found})


def list_rounds(context: Context, task: str, page_size: str, bookmark: str) -> bytes:
    """Answer a page of a task's rounds."""
    return context.page("round", (task_id(task),), page_size, bookmark)


def get_update(context: Context, task: str, number: str, msp_id: str) -> bytes:
    """Answer the bytes of an update from this peer's private data."""
    wanted = whole_number(number, "round")
    check_reader(context, task)
    context.require("update", task, number_key(wanted), msp_id)
    return context.stub.get_private_data(COLLECTION, _key("update", task, wanted, msp_id))


def begin(context: Context, view: TaskView, number: int, start: str, trainers: list[str]) -> None:
    """Write the record of a round that opens now: which trainers train in it, and who has left since the one before."""
    record = {
        "closed_ms": 0,
        "deadline_ms": context.now_ms + milliseconds(view.spec.rounds.deadline),
        "kind": "round",
        "left": sorted(set(view.roster) - set(trainers)),
        "opened_by": context.caller.msp_id,
        "opened_ms": context.now_ms,
        "parameters": parameter.in_force(context)[0],
        "report_deadline_ms": 0,
        "roster": draw_round(view.id, number, trainers, view.spec.trainers_a_round(len(trainers))),
        "round": number,
        "start": start,
        "state": "open",
        "task": view.id,
        "trainers": len(trainers),
        "v": 1,
    }
    _write(context, record)


def evaluate(context: Context, view: TaskView) -> dict[str, Any]:
    """Make the metrics of the current round from its reports and write them to its record.

    The model is the one that most reports name; it must have a quorum and more than any other. Whoever named
    another one stands under ``dissent``, and its counts are left out.

    Raises
    ------
    BeflError
        ``BEFL-M-008`` when no model has a quorum.
    """
    record = dict(current_record(view))
    reports = deliveries(context, "report", view.id, record["round"], view.roster)
    agreed = agree(view, reports)
    if agreed is None:
        named = ", ".join(f"{msp_id}: {item['model'][:16]}" for msp_id, item in reports.items())
        raise BeflError("BEFL-M-008", f"round {record['round']} of task {view.id}: no model has a quorum ({named})")
    model, record["metrics"] = agreed
    record["dissent"] = {msp_id: item["model"] for msp_id, item in reports.items() if item["model"] != model}
    record["model"] = model
    record["state"] = "evaluated"
    _write(context, record)
    return record


def _updates(
    context: Context, view: TaskView, number: int, listed: dict[str, dict[str, Any]]
) -> Iterator[tuple[NDArray[np.int32], int]]:
    """Read the updates one by one and hold each against its public record."""
    rule = view.spec.aggregation
    most = codec.bound(rule.scale_bits, rule.clip)
    for msp_id, item in listed.items():
        data = context.stub.get_private_data(COLLECTION, _key("update", view.id, number, msp_id))
        if codec.digest(data) != item["update"]:
            raise BeflError(
                "BEFL-M-007", f"the update of {msp_id} in round {number} does not have its recorded SHA-256"
            )
        yield codec.read_update(data, view.record["length"], most, rule.bits), item["weight"]


def _write(context: Context, record: dict[str, Any]) -> None:
    context.write(record, record["task"], number_key(record["round"]))


def _key(kind: str, task: str, number: int, msp_id: str) -> str:
    return create_composite_key(kind, (task, number_key(number), msp_id))


TRANSACTIONS: Final = {
    "Submit": Transaction(submit, ("task", "round", "weight", "digest"), role="trainer", transient=("update",)),
    "Close": Transaction(close, ("task", "round"), role="trainer"),
    "Report": Transaction(report, ("task", "round", "model", "counts"), role="trainer"),
    "Get": Transaction(get_round, ("task", "round")),
    "List": Transaction(list_rounds, ("task", "page_size", "bookmark")),
    "Update": Transaction(get_update, ("task", "round", "msp_id")),
}
