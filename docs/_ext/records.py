"""The records on the ledger: key, fields, and which transactions write them; a test holds this against the contracts.

A field's form is ``number`` (whole), ``text``, ``list`` or ``object``. A field that starts with ``+`` comes later than
the record: it is there once the transaction named has been.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One kind of record: what it is, the parts of its key behind its kind, who writes it, its fields."""

    what: str
    key: tuple[str, ...]
    written: tuple[str, ...]
    fields: dict[str, tuple[str, str]]
    deleted: tuple[str, ...] = ()


TIME = "time of the transaction that says so, milliseconds since 1970"
TXID = "id of the transaction that wrote it"

RECORDS = {
    "task": Record(
        "A task, from its publication on: the specification as published, and where it stands.",
        ("task",),
        ("TaskContract:Publish", "TaskContract:Open", "TaskContract:Finish", "TaskContract:Cancel"),
        {
            "app": ("object", "name and SHA-256 of the app's archive"),
            "best": ("object", "round and loss of the best round, in millionths; null before there is one"),
            "contributors": ("object", "by MSP ID: how many rounds its update was in, and the sum of its weights"),
            "done": ("number", "rounds that were closed and evaluated"),
            "id": ("text", "the first 16 digits of the publishing transaction's id"),
            "issuer": ("text", "MSP ID of who published it"),
            "layout": ("list", "name and shape of each tensor of the model, in order"),
            "length": ("number", "parameters of the model"),
            "model": ("text", "SHA-256 of the initial integer model"),
            "parameters": ("number", "version of the consortium's parameters that it was checked against"),
            "preparation": (
                "object",
                "centre and spread by column, where pooled when training started; the task's own if no value is known",
            ),
            "published_ms": ("number", TIME),
            "roster": ("list", "MSP IDs of the trainers; empty until training starts"),
            "round": ("number", "the current round; 0 before training starts"),
            "rules": ("object", "the version of each rule that the task keeps to its end"),
            "spec": ("object", "the specification, as [TASK.toml](task.md) says"),
            "stale": ("number", "evaluated rounds since the best one"),
            "state": ("text", "see [states](states.md)"),
            "+finished_ms": ("number", f"{TIME} (`Finish`)"),
            "+cancelled_ms": ("number", f"{TIME} (`Cancel`)"),
            "+reason": ("text", "why it was cancelled (`Cancel`)"),
        },
    ),
    "application": Record(
        "An institution's application to a task.",
        ("task", "msp_id"),
        ("TaskContract:Apply",),
        {
            "app_digest": ("text", "SHA-256 of the app that its operator has approved"),
            "applied_ms": ("number", TIME),
            "msp_id": ("text", "the institution"),
            "statistics": ("object", "by column: count, sum and sum of squares, where the task asks for them"),
            "task": ("text", "the task"),
        },
        deleted=("TaskContract:Leave",),
    ),
    "departure": Record(
        "An institution takes no, or no further, part in a task.",
        ("task", "msp_id"),
        ("TaskContract:Decline", "TaskContract:Leave"),
        {
            "departed_ms": ("number", TIME),
            "msp_id": ("text", "the institution"),
            "reason": ("text", "in its own words"),
            "round": ("number", "the round then; 0 before training started"),
            "task": ("text", "the task"),
        },
        deleted=("TaskContract:Apply",),
    ),
    "round": Record(
        "A round of a task.",
        ("task", "round"),
        ("TaskContract:Open", "RoundContract:Close", "TaskContract:Finish"),
        {
            "closed_ms": ("number", "when it was closed or found void; 0 before"),
            "deadline_ms": ("number", "until when updates are waited for"),
            "left": ("list", "MSP IDs of trainers that left since the round before"),
            "opened_by": ("text", "MSP ID of who opened it"),
            "opened_ms": ("number", TIME),
            "parameters": ("number", "version of the consortium's parameters in force"),
            "report_deadline_ms": ("number", "until when all reports are waited for; 0 before it is closed"),
            "roster": ("list", "MSP IDs that train in this round"),
            "round": ("number", "from 1"),
            "start": ("text", "SHA-256 of the integer model that it starts from"),
            "state": ("text", "see [states](states.md)"),
            "task": ("text", "the task"),
            "trainers": ("number", "trainers of the task when it opened"),
            "+closed_by": ("text", "MSP ID of who asked for the closing (`Close`)"),
            "+updates": ("object", "by MSP ID: SHA-256 and weight of each update that counts (`Close`)"),
            "+aggregate": ("text", "SHA-256 of the aggregate, unless the round is void (`Close`)"),
            "+weight": ("number", "sum of the weights (`Close`)"),
            "+metrics": ("object", "of each institution and of all together (`Open` of the next, `Finish`)"),
            "+dissent": ("object", "by MSP ID: the other model that it reported (`Open` of the next, `Finish`)"),
            "+model": ("text", "SHA-256 of the new integer model (`Open` of the next, `Finish`)"),
        },
    ),
    "update": Record(
        "One institution's update of a round; its bytes are private data under the same key.",
        ("task", "round", "msp_id"),
        ("RoundContract:Submit",),
        {
            "msp_id": ("text", "the institution"),
            "round": ("number", "the round"),
            "submitted_ms": ("number", TIME),
            "task": ("text", "the task"),
            "txid": ("text", TXID),
            "update": ("text", "SHA-256 of the update's bytes"),
            "weight": ("number", "rows it was trained on"),
        },
    ),
    "report": Record(
        "One institution's report on a round: the model it made, and how it does on its held-back rows.",
        ("task", "round", "msp_id"),
        ("RoundContract:Report",),
        {
            "counts": ("object", "from which the contract makes the metrics"),
            "model": ("text", "SHA-256 of the integer model that it made"),
            "msp_id": ("text", "the institution"),
            "reported_ms": ("number", TIME),
            "+corrects": (
                "string",
                "SHA-256 of the model that its first report of the round named (a report corrects once)",
            ),
            "round": ("number", "the round"),
            "task": ("text", "the task"),
            "txid": ("text", TXID),
        },
    ),
    "model": Record(
        "A task's final model; its bytes, and those of the initial one, are private data.",
        ("task",),
        ("TaskContract:Finish",),
        {
            "contributors": ("object", "as in the task"),
            "digest": ("text", "SHA-256 of the model folder's manifest"),
            "files": ("object", "SHA-256 of each file of the folder"),
            "finished_ms": ("number", TIME),
            "initial_model": ("text", "SHA-256 of the integer model that training started from"),
            "issuer": ("text", "MSP ID of who published the task"),
            "metrics": ("object", "of the last round, over all institutions"),
            "model": ("text", "SHA-256 of the integer model"),
            "name": ("text", "the task's name"),
            "round": ("number", "the round it came out of"),
            "rules": ("object", "the version of each rule"),
            "scheme": ("text", "the privacy scheme"),
            "task": ("text", "the task"),
            "txid": ("text", TXID),
        },
    ),
    "app": Record(
        "An app on its way to the institutions; its archive is private data.",
        ("digest",),
        ("AppContract:Add",),
        {
            "added_ms": ("number", TIME),
            "bytes": ("number", "size of the archive"),
            "digest": ("text", "SHA-256 of the archive"),
            "msp_id": ("text", "who added it"),
            "name": ("text", "what its issuer calls it"),
            "txid": ("text", TXID),
        },
    ),
    "app_approval": Record(
        "An institution lets its agent run an app.",
        ("digest", "msp_id"),
        ("AppContract:Approve",),
        {
            "approved_ms": ("number", TIME),
            "digest": ("text", "SHA-256 of the archive"),
            "msp_id": ("text", "the institution"),
            "txid": ("text", TXID),
        },
        deleted=("AppContract:Withdraw",),
    ),
    "member": Record(
        "A member of the consortium, and what it may do.",
        ("msp_id",),
        ("MemberContract:Register", "MemberContract:Leave", "MemberContract:Assign"),
        {
            "approved_by": ("list", "MSP IDs whose approvals gave it its roles; empty as it registered"),
            "changed_ms": ("number", TIME),
            "msp_id": ("text", "the institution"),
            "roles": ("list", "issuer, trainer, validator, auditor; empty when it has left"),
            "since_ms": ("number", "when it registered"),
        },
    ),
    "agent": Record(
        "Where an institution's agent is found.",
        ("msp_id",),
        ("MemberContract:Announce",),
        {
            "announced_ms": ("number", TIME),
            "endpoint": ("text", "HOST:PORT, or empty"),
            "key": ("text", "its X25519 public key, or empty"),
            "msp_id": ("text", "the institution"),
        },
    ),
    "approval": Record(
        "A member's approval of something that a majority decides.",
        ("subject", "msp_id"),
        ("MemberContract:Approve", "ParameterContract:Approve"),
        {
            "approved_ms": ("number", TIME),
            "msp_id": ("text", "who approves"),
            "subject": ("text", "`member:MSPID` or `parameters:VERSION`"),
            "words": ("text", "what exactly: roles or parameters, in canonical JSON"),
        },
        deleted=("MemberContract:Assign", "ParameterContract:Assign"),
    ),
    "parameters": Record(
        "The consortium's parameters in force; without a record the defaults are.",
        ("`current`",),
        ("ParameterContract:Assign",),
        {
            "approved_by": ("list", "MSP IDs of those who approved"),
            "assigned_ms": ("number", TIME),
            "parameters": ("object", "as `befl parameters show` prints them"),
            "version": ("number", "from 1; 0 are the defaults"),
        },
    ),
    "parameters_version": Record(
        "A version of the parameters that is, or was, in force.",
        ("version",),
        ("ParameterContract:Assign",),
        {
            "approved_by": ("list", "MSP IDs of those who approved"),
            "assigned_ms": ("number", TIME),
            "parameters": ("object", "as `befl parameters show` prints them"),
            "version": ("number", "from 1"),
        },
    ),
}

PRIVATE = {
    "updates": {"update": ("task", "round", "msp_id")},
    "models": {"model": ("task", "round"), "app": ("digest",)},
}
"""Private data: by collection, the kinds of values and the parts of their keys; values are bytes as they travelled."""
