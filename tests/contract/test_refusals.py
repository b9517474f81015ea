"""Every refusal of every transaction: the code, the words, and that nothing has changed."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.contracts.chaincode import CONTRACTS
from befl.contracts.stub import Creator, create_composite_key
from befl.ledger import make_creator
from befl.ledger.identities import ATTRIBUTES_OID
from befl.rules import canonical, codec
from befl.rules.errors import CODES, BeflError

UNKNOWN = "f" * 16
DIGEST = "cd" * 32
ARCHIVE = b"the archive of an app"


def publish(**changes):
    """Make a call of Publish with one argument changed."""

    def call(c):
        arguments = {"spec": c.specification(), "app_digest": c.app, "layout": c.layout} | changes
        transient = arguments.pop("transient", c.model())
        c.call("TaskContract:Publish", *arguments.values(), role="issuer", transient=transient)

    return call


def spec_with(path: str, value: object) -> str:
    """Return a specification as canonical JSON with one value changed, valid or not."""
    record: dict = json.loads(_SPEC)
    *tables, key = path.split(".")
    place = record
    for table in tables:
        place = place[table]
    place[key] = value
    return canonical.dumps(record).decode()


def submit(
    org: str = "AlphaMSP",
    *,
    task: str | None = None,
    number: str = "1",
    weight: str = "100",
    digest: str | None = None,
    values: object = None,
    data: bytes | None = None,
    transient: str = "update",
):
    def call(c):
        update = c.update(org) if values is None else np.array(values, dtype=np.int32)
        sent = codec.update_bytes(update) if data is None else data
        arguments = (task or c.task, number, weight, digest or codec.digest(sent))
        c.call("RoundContract:Submit", *arguments, by=org, transient={transient: sent})

    return call


def report(
    *, by: str = "AlphaMSP", task: str | None = None, number: str = "1", model: str = DIGEST, counts: object = None
):
    def call(c):
        text = counts if isinstance(counts, str) else canonical.dumps(c.counts() | (counts or {})).decode()
        c.call("RoundContract:Report", task or c.task, number, model, text, by=by)

    return call


def finish(*, by: str = "AlphaMSP", model: bytes | None = None):
    def call(c):
        c.call(
            "TaskContract:Finish", c.task, by=by, transient={"model": c.model(2)["model"] if model is None else model}
        )

    return call


def call(function: str, *arguments: str, **options):
    """Make a call; the argument ``TASK`` is the task's id."""

    def made(c):
        c.call(function, *(c.task if argument == "TASK" else argument for argument in arguments), **options)

    return made


def after(milliseconds: int, following):
    """Let time pass first."""

    def made(c):
        c.now += milliseconds
        following(c)

    return made


def opening(org: str = "AlphaMSP"):
    return call("TaskContract:Open", "TASK", by=org)


def closing(number: str = "1", org: str = "AlphaMSP"):
    return call("RoundContract:Close", "TASK", number, by=org)


def applying(org: str = "AlphaMSP", app: str = "ab" * 32, statistics: str = "{}"):
    return call("TaskContract:Apply", "TASK", app, statistics, by=org)


def cancelling(reason: str = "enough", **options):
    return call("TaskContract:Cancel", "TASK", reason, **({"role": "issuer"} | options))


def operating(function: str, *arguments: str, **options):
    return call(function, *arguments, role="operator", **options)


def adding(
    archive: bytes | None = None, *, digest: str | None = None, name="forest", transient="archive", by="AlphaMSP"
):
    data = ARCHIVE if archive is None else archive
    return call(
        "AppContract:Add", digest or codec.digest(data), name, by=by, role="issuer", transient={transient: data}
    )


def prepared(preparation, following):
    """Do something first, so that the refusal is about what comes then."""

    def made(c):
        preparation(c)
        made.before = c.everything()
        following(c)

    made.before = None
    return made


def opened(**changes):
    """Publish a task of all three that differs, and open its first round."""

    def made(c):
        c.publish(**changes)
        c.apply(*c.orgs)
        c.commit(c.opening())

    return made


def not_drawn(following):
    """Let the one act that was not drawn for a round of two."""

    def made(c):
        (left,) = set(c.orgs) - set(c.round_record(1)["roster"])
        following(left)(c)

    return made


def dissent(*models: str):
    """Report so many different models in round 1."""

    def made(c):
        for org, model in zip(c.orgs, models, strict=False):
            report(by=org, model=model)(c)
        c.now += 30_001

    return made


def tampered_update(c):
    c.tamper_private("updates", create_composite_key("update", (c.task, "000001", "BetaMSP")), b"\0" * 20)


def many_bits(c):
    """An update that its own record describes well, and that is beyond the clip."""
    data = codec.update_bytes(np.array([2**20, 0, 0, 0, 0], dtype=np.int32))
    c.tamper_private("updates", create_composite_key("update", (c.task, "000001", "BetaMSP")), data)
    c.tamper("update", c.task, "000001", "BetaMSP", update=codec.digest(data))


def short_model(c):
    """All report the digest of something that is no model of the task."""
    for org in c.orgs:
        report(by=org, number="2", model=codec.digest(b"short"))(c)


def last_round_closed(c):
    c.commit(c.opening())
    c.submit(*c.orgs, number=2)
    c.close(number=2)


_SPEC = json.dumps(
    {
        "befl": 1,
        "name": "n",
        "mode": "horizontal",
        "app": {"name": "tabular"},
        "data": {"alias": "heart", "label": "disease", "columns": {"age": "number"}},
        "participants": {"least": 2},
        "aggregation": {"rule": "fedavg"},
        "privacy": {"scheme": "none"},
    }
)

# what: (stage, code, words of the message, call)
REFUSED = {
    # --- the dispatcher
    "no such contract": ("empty", "BEFL-T-008", "no transaction 'Task:Publish'", call("Task:Publish")),
    "no such function": ("empty", "BEFL-T-008", "no transaction 'TaskContract:Delete'", call("TaskContract:Delete")),
    "no contract at all": ("empty", "BEFL-T-008", "no transaction 'Publish'", call("Publish")),
    "an empty function": ("empty", "BEFL-T-008", "no transaction ''", call("")),
    "a function of a thousand letters": ("empty", "BEFL-T-008", "no transaction", call("x" * 1_000)),
    "a function with something behind": ("empty", "BEFL-T-008", "no transaction", call("TaskContract:List:", "1", "")),
    "an argument of a megabyte": (
        "published",
        "BEFL-T-008",
        "task: 1000001 characters",
        call("TaskContract:View", "f" * 1_000_001),
    ),
    # --- Publish
    "publish: no JSON": ("empty", "BEFL-C-001", "cannot be read", publish(spec="TASK.toml")),
    "publish: JSON of another form": ("empty", "BEFL-C-001", "sorted", publish(spec="{ }")),
    "publish: a key twice": ("empty", "BEFL-C-001", "unique", publish(spec='{"a":1,"a":2}')),
    "publish: a float": ("empty", "BEFL-C-001", "cannot be read", publish(spec='{"befl":1.0}')),
    "publish: nested deeply": ("empty", "BEFL-C-001", "", publish(spec="[" * 5_000)),
    "publish: an oversized specification": ("empty", "BEFL-C-004", "at most 200000 bytes", publish(spec="1" * 200_001)),
    "publish: an unknown key": ("empty", "BEFL-C-002", "budget: unknown", publish(spec=spec_with("budget", 1))),
    "publish: a missing table": ("empty", "BEFL-C-003", "missing", publish(spec="{}")),
    "publish: no table": ("empty", "BEFL-C-004", "must be a table", publish(spec="[]")),
    "publish: a wrong value": (
        "empty",
        "BEFL-C-004",
        "participants.least: must",
        publish(spec=spec_with("participants.least", 0)),
    ),
    "publish: a contradiction": (
        "empty",
        "BEFL-C-004",
        "participants.most: must",
        publish(spec=spec_with("participants.least", 9)),
    ),
    "publish: an unknown rule": (
        "empty",
        "BEFL-C-004",
        "aggregation.rule",
        publish(spec=spec_with("aggregation.rule", "sum")),
    ),
    "publish: a key of another rule": (
        "empty",
        "BEFL-C-002",
        "aggregation.momentum: unknown key for rule fedavg",
        publish(spec=spec_with("aggregation.momentum", "0.9")),
    ),
    "publish: a clip whose squares could overflow": (
        "empty",
        "BEFL-C-004",
        "aggregation.clip: must be at most 2^22 / 2^scale_bits with rule fedyogi",
        publish(spec=spec_with("aggregation", {"rule": "fedyogi", "scale_bits": 20})),
    ),
    "publish: no layout": ("empty", "BEFL-M-006", "1 to 1000 tensors", publish(layout="[]")),
    "publish: a layout that is no JSON": ("empty", "BEFL-C-001", "", publish(layout="w")),
    "publish: a tensor twice": (
        "empty",
        "BEFL-M-006",
        "one name",
        publish(layout='[{"name":"w","shape":[]},{"name":"w","shape":[]}]'),
    ),
    "publish: a model that is too large": (
        "empty",
        "BEFL-M-006",
        "6000000 at most",
        publish(layout='[{"name":"w","shape":[3000000,3000000]}]'),
    ),
    "publish: a short digest": ("empty", "BEFL-T-008", "app_digest", publish(app_digest="ab" * 31)),
    "publish: a digest in capitals": ("empty", "BEFL-T-008", "app_digest", publish(app_digest="AB" * 32)),
    "publish: a digest and a line": ("empty", "BEFL-T-008", "app_digest", publish(app_digest="ab" * 32 + "\n")),
    "publish: no model": ("empty", "BEFL-T-008", "no transient value 'model'", publish(transient={})),
    "publish: the model under another name": (
        "empty",
        "BEFL-T-008",
        "no transient value 'model'",
        publish(transient={"update": b"\0" * 40}),
    ),
    "publish: a model that is too short": ("empty", "BEFL-M-001", "39 bytes", publish(transient={"model": b"\0" * 39})),
    "publish: an empty model": ("empty", "BEFL-M-001", "0 bytes", publish(transient={"model": b""})),
    "publish: a model without bounds": (
        "empty",
        "BEFL-M-002",
        "beyond 2^30",
        publish(transient={"model": b"\xff" * 39 + b"\x7f"}),
    ),
    "publish: an id that is taken": (
        "published",
        "BEFL-T-010",
        "already",
        lambda c: c.call(
            "TaskContract:Publish",
            c.specification(),
            c.app,
            c.layout,
            role="issuer",
            transient=c.model(),
            txid=c.task + "0" * 48,
        ),
    ),
    # --- Apply
    "apply: no such task": (
        "published",
        "BEFL-T-007",
        "no task ffff",
        call("TaskContract:Apply", UNKNOWN, DIGEST, "{}"),
    ),
    "apply: no task id": (
        "published",
        "BEFL-T-007",
        "is no task id",
        call("TaskContract:Apply", "../task", DIGEST, "{}"),
    ),
    "apply: an id in capitals": (
        "published",
        "BEFL-T-007",
        "is no task id",
        call("TaskContract:Apply", "F" * 16, DIGEST, "{}"),
    ),
    "apply: an id and a line": (
        "published",
        "BEFL-T-007",
        "is no task id",
        call("TaskContract:Apply", UNKNOWN + "\n", DIGEST, "{}"),
    ),
    "apply: a very long id": (
        "published",
        "BEFL-T-007",
        "is no task id",
        call("TaskContract:Apply", "f" * 9_999, DIGEST, "{}"),
    ),
    "apply: an id with U+0000": (
        "published",
        "BEFL-T-007",
        "is no task id",
        call("TaskContract:Apply", "\0" * 16, DIGEST, "{}"),
    ),
    "apply: another app": ("published", "BEFL-T-009", "has approved cdcd", applying(app=DIGEST)),
    "apply: twice": ("applied", "BEFL-T-003", "AlphaMSP has already applied", applying()),
    "apply: sums that nobody asked for": (
        "published",
        "BEFL-M-005",
        "asks for sums of no column, not of age",
        applying(statistics='{"age":{"squares":1,"total":1,"values":1}}'),
    ),
    "apply: sums that are no JSON": ("published", "BEFL-C-001", "JSON", applying(statistics="{")),
    "apply: sums in another form": ("published", "BEFL-C-001", "canonical", applying(statistics="{ }")),
    "apply: no sums where they are asked for": (
        "asking",
        "BEFL-M-005",
        "asks for sums of age, not of no column",
        applying(),
    ),
    "apply: sums that no rows have": (
        "asking",
        "BEFL-M-005",
        "statistics.age.total",
        applying(statistics='{"age":{"squares":1,"total":2,"values":1}}'),
    ),
    "apply: too late": ("open", "BEFL-T-002", "is running: Apply", applying("DeltaMSP")),
    "apply: finished": ("finished", "BEFL-T-002", "is finished: Apply", applying("DeltaMSP")),
    "apply: cancelled": ("cancelled", "BEFL-T-002", "is cancelled: Apply", applying("DeltaMSP")),
    "apply: not invited": (
        "empty",
        "BEFL-A-003",
        "DeltaMSP is not invited",
        prepared(lambda c: c.publish(participants__institutions=["AlphaMSP", "BetaMSP"]), applying("DeltaMSP")),
    ),
    # --- Open
    "open: no such task": ("applied", "BEFL-T-007", "no task", call("TaskContract:Open", UNKNOWN)),
    "open: nobody has applied": ("published", "BEFL-A-002", "AlphaMSP does not take part", opening()),
    "open: not an applicant": ("applied", "BEFL-A-002", "DeltaMSP does not take part", opening("DeltaMSP")),
    "open: too few applicants": (
        "published",
        "BEFL-T-005",
        "has 1 applicants",
        prepared(lambda c: c.apply("AlphaMSP"), after(10**9, opening())),
    ),
    "open: before the window ends": (
        "published",
        "BEFL-T-005",
        "has 2 applicants",
        prepared(lambda c: c.apply("AlphaMSP", "BetaMSP"), after(59_999, opening())),
    ),
    "open: an outsider": ("reported", "BEFL-A-002", "DeltaMSP does not take part", opening("DeltaMSP")),
    "open: twice": ("open", "BEFL-T-002", "round 1 is open: Open", opening()),
    "open: before the reports": (
        "closed",
        "BEFL-T-005",
        "waits for the reports of AlphaMSP, BetaMSP, GammaMSP",
        opening(),
    ),
    "open: while a report may come": (
        "closed",
        "BEFL-T-005",
        "reports of GammaMSP",
        prepared(lambda c: c.report("AlphaMSP", "BetaMSP"), after(30_000, opening())),
    ),
    "open: no quorum of reports": (
        "closed",
        "BEFL-T-005",
        "for 2 in any case",
        prepared(lambda c: c.report("AlphaMSP"), after(10**9, opening())),
    ),
    "open: no model has a quorum": (
        "closed",
        "BEFL-M-008",
        "AlphaMSP: eeee",
        prepared(dissent("ee" * 32, "dd" * 32), opening("GammaMSP")),
    ),
    "open: all reports differ": (
        "closed",
        "BEFL-M-008",
        "no model has a quorum",
        prepared(dissent("ee" * 32, "dd" * 32, "cc" * 32), opening()),
    ),
    "open: no round is left": ("last", "BEFL-T-002", "has closed all its rounds", opening()),
    "open: finished": ("finished", "BEFL-T-002", "is finished: Open", opening()),
    "open: cancelled": ("cancelled", "BEFL-T-002", "is cancelled: Open", opening()),
    # --- Submit
    "submit: no such task": ("open", "BEFL-T-007", "no task", submit(task=UNKNOWN)),
    "submit: before the round": ("applied", "BEFL-T-002", "is published: Submit", submit()),
    "submit: another round": ("open", "BEFL-T-004", "in round 1, not 2", submit(number="2")),
    "submit: round 0": ("open", "BEFL-T-004", "in round 1, not 0", submit(number="0")),
    "submit: not drawn": ("open", "BEFL-A-002", "DeltaMSP does not take part", submit("DeltaMSP")),
    "submit: twice": ("updated", "BEFL-T-003", "already submitted", submit()),
    "submit: too late": ("open", "BEFL-T-006", "took updates until", after(30_001, submit())),
    "submit: closed": ("closed", "BEFL-T-002", "round 1 is closed: Submit", submit()),
    "submit: void": ("void", "BEFL-T-002", "round 1 is void: Submit", submit()),
    "submit: cancelled": ("cancelled", "BEFL-T-002", "is cancelled: Submit", submit()),
    "submit: finished": ("finished", "BEFL-T-002", "is finished: Submit", submit(number="2")),
    "submit: no update": ("open", "BEFL-T-008", "no transient value 'update'", submit(transient="model")),
    "submit: another digest": ("open", "BEFL-M-007", "the argument says cdcd", submit(digest=DIGEST)),
    "submit: another's update": (
        "open",
        "BEFL-M-007",
        "the update has SHA-256",
        lambda c: submit(digest=codec.digest(codec.update_bytes(c.update("BetaMSP"))))(c),
    ),
    "submit: a short update": (
        "open",
        "BEFL-M-001",
        "the update has 19 bytes, the model wants 20",
        submit(data=b"\0" * 19),
    ),
    "submit: a long update": ("open", "BEFL-M-001", "the update has 24 bytes", submit(data=b"\0" * 24)),
    "submit: an empty update": ("open", "BEFL-M-001", "the update has 0 bytes", submit(data=b"")),
    "submit: beyond the clip": ("open", "BEFL-M-004", "(524288 in fixed point)", submit(values=[524_289, 0, 0, 0, 0])),
    "submit: beyond the clip below": ("open", "BEFL-M-004", "beyond", submit(values=[0, 0, 0, 0, -(2**31)])),
    "submit: not drawn for the round": (
        "empty",
        "BEFL-A-002",
        "was not drawn for round 1",
        prepared(opened(rounds__fraction=1), not_drawn(submit)),
    ),
    "submit: 32 bits a value where the task has 12": (
        "empty",
        "BEFL-M-001",
        "the update has 20 bytes, the model wants 8",
        prepared(opened(aggregation__bits=12), submit()),
    ),
    "submit: bits behind the last value": (
        "empty",
        "BEFL-M-001",
        "bits behind its last value",
        prepared(opened(aggregation__bits=12), submit(data=b"\0" * 7 + b"\x10")),
    ),
    "submit: beyond the clip in 12 bits": (
        "empty",
        "BEFL-M-004",
        "(524288 in fixed point)",
        prepared(opened(aggregation__bits=12), submit(data=(1025).to_bytes(8, "little"))),
    ),
    "submit: no weight": ("open", "BEFL-M-003", "weight: must be from 1 to 16777216, not 0", submit(weight="0")),
    "submit: a weight that is too large": ("open", "BEFL-M-003", "not 16777217", submit(weight="16777217")),
    "submit: an absurd weight": ("open", "BEFL-T-008", "weight: must be a whole number", submit(weight="9" * 5_000)),
    "submit: a negative weight": ("open", "BEFL-T-008", "weight: must be a whole number", submit(weight="-1")),
    "submit: half a weight": ("open", "BEFL-T-008", "weight: must be a whole number", submit(weight="1.5")),
    "submit: a weight in words": ("open", "BEFL-T-008", "weight: must be a whole number", submit(weight="many")),
    "submit: an empty weight": ("open", "BEFL-T-008", "weight: must be a whole number", submit(weight="")),
    "submit: a round with zeros": (
        "open",
        "BEFL-T-008",
        "round: must be a whole number, not '01'",
        submit(number="01"),
    ),
    "submit: a round and a line": ("open", "BEFL-T-008", "round: must be a whole number", submit(number="1\n")),
    "submit: a round in other digits": ("open", "BEFL-T-008", "round: must be a whole number", submit(number="\u0661")),
    # --- Close
    "close: no such task": ("updated", "BEFL-T-007", "no task", call("RoundContract:Close", UNKNOWN, "1")),
    "close: before the round": ("applied", "BEFL-T-002", "is published: Close", closing()),
    "close: no number": ("updated", "BEFL-T-008", "round: must be a whole number", closing("one")),
    "close: another round": ("updated", "BEFL-T-004", "in round 1, not 2", closing("2")),
    "close: an outsider": ("updated", "BEFL-A-002", "DeltaMSP does not take part", closing(org="DeltaMSP")),
    "close: too early": (
        "open",
        "BEFL-T-005",
        "waits for BetaMSP until",
        prepared(lambda c: c.submit("AlphaMSP", "GammaMSP"), after(30_000, closing())),
    ),
    "close: twice": ("closed", "BEFL-T-002", "round 1 is closed: Close", closing()),
    "close: void twice": ("void", "BEFL-T-002", "round 1 is void: Close", closing()),
    "close: cancelled": ("cancelled", "BEFL-T-002", "is cancelled: Close", closing()),
    "close: an update that was altered": (
        "updated",
        "BEFL-M-007",
        "the update of BetaMSP in round 1",
        prepared(tampered_update, closing()),
    ),
    "close: an update beyond the clip": ("updated", "BEFL-M-004", "beyond", prepared(many_bits, closing())),
    # --- Report
    "report: no such task": ("closed", "BEFL-T-007", "no task", report(task=UNKNOWN)),
    "report: too early": ("updated", "BEFL-T-002", "round 1 is open: Report", report()),
    "report: void": ("void", "BEFL-T-002", "round 1 is void: Report", report()),
    "report: twice": ("reported", "BEFL-T-003", "already reported", report()),
    "report: another round": ("closed", "BEFL-T-004", "in round 1, not 3", report(number="3")),
    "report: too late": ("finished", "BEFL-T-002", "is finished: Report", report(number="2")),
    "report: an outsider": ("closed", "BEFL-A-002", "DeltaMSP does not take part", report(by="DeltaMSP")),
    "report: a short digest": ("closed", "BEFL-T-008", "model: must be 64 hex digits", report(model="cd" * 31)),
    "report: a digest in capitals": ("closed", "BEFL-T-008", "model: must be 64 hex digits", report(model="CD" * 32)),
    "report: no digest": ("closed", "BEFL-T-008", "model: must be 64 hex digits", report(model="")),
    "report: no number": ("closed", "BEFL-T-008", "round: must be a whole number", report(number="")),
    "report: counts that are no JSON": ("closed", "BEFL-C-001", "cannot be read", report(counts="rows=5")),
    "report: counts as floats": ("closed", "BEFL-C-001", "cannot be read", report(counts='{"rows":5.0}')),
    "report: no counts": ("closed", "BEFL-M-005", "counts.rows: missing", report(counts="{}")),
    "report: counts that contradict": (
        "closed",
        "BEFL-M-005",
        "counts.rows: must be the sum",
        report(counts={"rows": 99}),
    ),
    "report: more right than rows": (
        "closed",
        "BEFL-M-005",
        "counts.correct: must be at most",
        report(counts={"correct": 99}),
    ),
    "report: an unknown count": ("closed", "BEFL-M-005", "counts.auc: unknown key", report(counts={"auc": 1})),
    "report: absurd counts": ("closed", "BEFL-M-005", "counts.rows: must be a whole", report(counts={"rows": 2**64})),
    # --- Finish
    "finish: no such task": ("last", "BEFL-T-007", "no task", call("TaskContract:Finish", UNKNOWN)),
    "finish: published": ("applied", "BEFL-T-002", "is published: Finish", finish(model=b"")),
    "finish: rounds are left": ("reported", "BEFL-T-005", "has closed 1 of 2 rounds", finish(model=b"")),
    "finish: in a round": ("open", "BEFL-T-002", "round 1 is open: Finish", finish(model=b"")),
    "finish: after a void round": ("void", "BEFL-T-002", "round 1 is void: Finish", finish(model=b"")),
    "finish: before the reports": (
        "reported",
        "BEFL-T-005",
        "waits for the reports of",
        prepared(last_round_closed, finish()),
    ),
    "finish: no model has a quorum": (
        "reported",
        "BEFL-M-008",
        "no model has a quorum",
        prepared(
            lambda c: (
                last_round_closed(c),
                [report(by=org, number="2", model=f"{place}f" * 32)(c) for place, org in enumerate(c.orgs)],
            ),
            finish(),
        ),
    ),
    "finish: an outsider": ("last", "BEFL-A-002", "DeltaMSP does not take part", finish(by="DeltaMSP")),
    "finish: no model": ("last", "BEFL-T-008", "no transient value 'model'", call("TaskContract:Finish", "TASK")),
    "finish: another model": ("last", "BEFL-M-007", "the reports say", finish(model=b"\0" * 40)),
    "finish: a model of another length": (
        "reported",
        "BEFL-M-001",
        "the model has 5 bytes",
        prepared(lambda c: (last_round_closed(c), short_model(c)), finish(model=b"short")),
    ),
    "finish: twice": ("finished", "BEFL-T-002", "is finished: Finish", finish()),
    "finish: cancelled": ("cancelled", "BEFL-T-002", "is cancelled: Finish", finish(model=b"")),
    # --- Cancel
    "cancel: no such task": ("open", "BEFL-T-007", "no task", call("TaskContract:Cancel", UNKNOWN, "x", role="issuer")),
    "cancel: no task id": ("open", "BEFL-T-007", "is no task id", call("TaskContract:Cancel", "", "x", role="issuer")),
    "cancel: another's task": ("open", "BEFL-A-004", "published by AlphaMSP", cancelling(by="BetaMSP")),
    "cancel: without a reason": ("open", "BEFL-T-008", "reason: must be text", cancelling("")),
    "cancel: a reason without end": ("open", "BEFL-T-008", "reason: must be text", cancelling("x" * 501)),
    "cancel: a reason that steers": ("open", "BEFL-T-008", "without control", cancelling("enough\x1b[2K")),
    "cancel: twice": ("cancelled", "BEFL-T-002", "is cancelled: Cancel", cancelling()),
    "cancel: finished": ("finished", "BEFL-T-002", "is finished: Cancel", cancelling()),
    # --- Decline, Leave
    "decline: no such task": ("published", "BEFL-T-007", "no task", call("TaskContract:Decline", UNKNOWN, "x")),
    "decline: not invited": (
        "empty",
        "BEFL-A-003",
        "DeltaMSP is not invited",
        prepared(
            lambda c: c.publish(participants__institutions=["AlphaMSP", "BetaMSP"]),
            call("TaskContract:Decline", "TASK", "x", by="DeltaMSP"),
        ),
    ),
    "decline: applied": ("applied", "BEFL-T-003", "has already applied", call("TaskContract:Decline", "TASK", "x")),
    "decline: twice": (
        "published",
        "BEFL-T-003",
        "has already declined",
        prepared(
            lambda c: c.depart("AlphaMSP", function="Decline"),
            call("TaskContract:Decline", "TASK", "x"),
        ),
    ),
    "decline: too late": ("open", "BEFL-T-002", "is running", call("TaskContract:Decline", "TASK", "x")),
    "decline: without a reason": ("published", "BEFL-T-008", "reason: must", call("TaskContract:Decline", "TASK", "")),
    "decline: a reason that steers": (
        "published",
        "BEFL-T-008",
        "without control characters",
        call("TaskContract:Decline", "TASK", "no staff\x9b2K", by="DeltaMSP"),
    ),
    "leave: no such task": ("applied", "BEFL-T-007", "no task", call("TaskContract:Leave", UNKNOWN, "x")),
    "leave: has not applied": ("published", "BEFL-A-002", "AlphaMSP does", call("TaskContract:Leave", "TASK", "x")),
    "leave: an outsider": ("open", "BEFL-A-002", "DeltaMSP", call("TaskContract:Leave", "TASK", "x", by="DeltaMSP")),
    "leave: twice": (
        "open",
        "BEFL-T-003",
        "or left",
        prepared(lambda c: c.depart("AlphaMSP"), call("TaskContract:Leave", "TASK", "x")),
    ),
    "leave: finished": ("finished", "BEFL-T-002", "is finished", call("TaskContract:Leave", "TASK", "x")),
    "leave: a reason without end": ("open", "BEFL-T-008", "reason", call("TaskContract:Leave", "TASK", "x" * 501)),
    "leave: a reason that steers": ("open", "BEFL-T-008", "without", call("TaskContract:Leave", "TASK", "bye\r")),
    "open: too few have stayed": (
        "reported",
        "BEFL-T-012",
        "BetaMSP, GammaMSP left task",
        prepared(lambda c: c.depart("BetaMSP", "GammaMSP"), opening()),
    ),
    "departures: no task id": ("published", "BEFL-T-007", "is no", call("TaskContract:Departures", "x", "5", "")),
    # --- apps
    "add: a short digest": ("empty", "BEFL-T-008", "digest: must be 64", adding(digest="ab")),
    "add: a digest in capitals": ("empty", "BEFL-T-008", "digest: must be 64", adding(digest="AB" * 32)),
    "add: another digest": ("empty", "BEFL-M-007", "the argument says cdcd", adding(digest=DIGEST)),
    "add: no archive": ("empty", "BEFL-T-008", "no transient value 'archive'", adding(transient="app")),
    "add: an empty archive": ("empty", "BEFL-G-013", "empty value", adding(b"")),
    "add: too large": ("empty", "BEFL-C-004", "at most 4194304 bytes, not 4194305", adding(bytes(2**22 + 1))),
    "add: no name": ("empty", "BEFL-C-004", "name: must be a word", adding(name="")),
    "add: a path for a name": ("empty", "BEFL-C-004", "name: must be a word", adding(name="../forest")),
    "add: twice": ("empty", "BEFL-T-003", "is on the ledger already", prepared(lambda c: c.add_app(), adding())),
    "add: by another": (
        "empty",
        "BEFL-T-003",
        "is on the ledger already",
        prepared(lambda c: c.add_app(), adding(by="BetaMSP")),
    ),
    "approve: an app by no digest": ("empty", "BEFL-T-008", "digest", operating("AppContract:Approve", "forest")),
    "approve: an app twice": (
        "empty",
        "BEFL-T-003",
        "AlphaMSP has already approved",
        prepared(lambda c: c.add_app("AlphaMSP"), operating("AppContract:Approve", codec.digest(ARCHIVE))),
    ),
    "withdraw: no digest": ("empty", "BEFL-T-008", "digest", operating("AppContract:Withdraw", "")),
    "withdraw: never approved": ("empty", "BEFL-T-007", "no app_approval", operating("AppContract:Withdraw", DIGEST)),
    "withdraw: a digest and a line": (
        "empty",
        "BEFL-T-008",
        "digest",
        operating("AppContract:Withdraw", DIGEST + "\n"),
    ),
    "withdraw: twice": (
        "empty",
        "BEFL-T-007",
        "no app_approval",
        prepared(
            lambda c: (c.add_app("AlphaMSP"), c.call("AppContract:Withdraw", c.added, role="operator")),
            operating("AppContract:Withdraw", codec.digest(ARCHIVE)),
        ),
    ),
    "withdraw: another's": (
        "empty",
        "BEFL-T-007",
        "no app_approval",
        prepared(lambda c: c.add_app("BetaMSP"), operating("AppContract:Withdraw", codec.digest(ARCHIVE))),
    ),
    "app: unknown": ("empty", "BEFL-T-007", "no app cdcd", call("AppContract:Get", DIGEST)),
    "app: no digest": ("empty", "BEFL-T-008", "digest", call("AppContract:Get", "forest")),
    "archive: unknown": ("empty", "BEFL-T-007", "no app cdcd", call("AppContract:Bytes", DIGEST)),
    "archive: only approved": (
        "empty",
        "BEFL-T-007",
        "no app cdcd",
        prepared(lambda c: c.call("AppContract:Approve", DIGEST, role="operator"), call("AppContract:Bytes", DIGEST)),
    ),
    # --- members
    "register: a name that nobody could vote on": (
        "empty",
        "BEFL-C-004",
        "must be an MSP ID (letters, digits, dots and hyphens), not 'Evil_MSP'",
        call("MemberContract:Register", by="Evil_MSP", role="operator"),
    ),
    "register: twice": ("empty", "BEFL-T-003", "is a member already", call("MemberContract:Register", role="operator")),
    "leave: no member": ("empty", "BEFL-T-007", "no member OmegaMSP", operating("MemberContract:Leave", by="OmegaMSP")),
    "approve: by no member": (
        "empty",
        "BEFL-T-007",
        "no member OmegaMSP",
        operating("MemberContract:Approve", "BetaMSP", "[]", by="OmegaMSP"),
    ),
    "approve: about no member": (
        "empty",
        "BEFL-T-007",
        "no member OmegaMSP",
        operating("MemberContract:Approve", "OmegaMSP", "[]"),
    ),
    "approve: no MSP ID": ("empty", "BEFL-C-004", "msp_id", operating("MemberContract:Approve", "a\0b", "[]")),
    "approve: an unknown role": (
        "empty",
        "BEFL-C-004",
        "roles[0]",
        operating("MemberContract:Approve", "BetaMSP", '["king"]'),
    ),
    "approve: a role twice": (
        "empty",
        "BEFL-C-004",
        "different",
        operating("MemberContract:Approve", "BetaMSP", '["issuer","issuer"]'),
    ),
    "approve: no JSON": ("empty", "BEFL-C-001", "canonical", operating("MemberContract:Approve", "BetaMSP", "issuer")),
    "approve: parameters by no member": (
        "empty",
        "BEFL-T-007",
        "no member OmegaMSP",
        operating("ParameterContract:Approve", "{}", by="OmegaMSP"),
    ),
    "approve: an unknown parameter": (
        "empty",
        "BEFL-C-002",
        "wealth",
        operating("ParameterContract:Approve", '{"wealth":1}'),
    ),
    "assign: by no member": (
        "empty",
        "BEFL-T-007",
        "no member OmegaMSP",
        operating("MemberContract:Assign", "BetaMSP", "[]", by="OmegaMSP"),
    ),
    "assign: about no member": (
        "empty",
        "BEFL-T-007",
        "no member OmegaMSP",
        operating("MemberContract:Assign", "OmegaMSP", "[]"),
    ),
    "assign: two of four": (
        "empty",
        "BEFL-A-007",
        "2 of 4 members have approved (AlphaMSP, BetaMSP); 3 are needed",
        prepared(
            lambda c: c.approved_roles("GammaMSP", [], "AlphaMSP", "BetaMSP"),
            operating("MemberContract:Assign", "GammaMSP", "[]"),
        ),
    ),
    "assign: other roles than were approved": (
        "empty",
        "BEFL-A-007",
        "0 of 4 members have approved (none)",
        prepared(
            lambda c: c.approved_roles("GammaMSP", ["trainer"]),
            operating("MemberContract:Assign", "GammaMSP", '["issuer","trainer"]'),
        ),
    ),
    "assign: approved by one who left": (
        "empty",
        "BEFL-A-007",
        "1 of 3 members have approved (AlphaMSP); 2 are needed",
        prepared(
            lambda c: (
                c.approved_roles("GammaMSP", [], "AlphaMSP", "BetaMSP"),
                c.call("MemberContract:Leave", by="BetaMSP", role="operator"),
            ),
            operating("MemberContract:Assign", "GammaMSP", "[]"),
        ),
    ),
    "assign: parameters of another version": (
        "empty",
        "BEFL-A-007",
        "0 of 4",
        prepared(
            lambda c: c.call("ParameterContract:Assign", *c.approved_parameters(), role="operator"),
            operating("ParameterContract:Assign", "{}"),
        ),
    ),
    "announce: no member": (
        "empty",
        "BEFL-A-006",
        "OmegaMSP is not registered",
        call("MemberContract:Announce", "", "", by="OmegaMSP"),
    ),
    "announce: no port": ("empty", "BEFL-T-008", "endpoint", call("MemberContract:Announce", "alpha.example", "")),
    "announce: a path": ("empty", "BEFL-T-008", "endpoint", call("MemberContract:Announce", "alpha.example:1/x", "")),
    "announce: a short key": ("empty", "BEFL-T-008", "key", call("MemberContract:Announce", "", "ab")),
    "announce: a key in capitals": ("empty", "BEFL-T-008", "key", call("MemberContract:Announce", "", "AB" * 32)),
    "member: none of that name": ("empty", "BEFL-T-007", "no member", call("MemberContract:Get", "OmegaMSP")),
    "apply: not registered": ("published", "BEFL-A-006", "OmegaMSP is not registered", applying("OmegaMSP")),
    "apply: not the role": (
        "published",
        "BEFL-A-001",
        "BetaMSP has the roles issuer in the consortium; the transaction wants trainer",
        prepared(
            lambda c: c.call("MemberContract:Assign", *c.approved_roles("BetaMSP", ["issuer"]), role="operator"),
            applying("BetaMSP"),
        ),
    ),
    "submit: after leaving": (
        "open",
        "BEFL-A-001",
        "BetaMSP has the roles none",
        prepared(lambda c: c.call("MemberContract:Leave", by="BetaMSP", role="operator"), submit("BetaMSP")),
    ),
    "publish: beyond the parameters": (
        "empty",
        "BEFL-T-011",
        "least_trainers is 3, the task has 2; most_parameters is 4, the task has 5; most_rounds is 1, the task has 2",
        prepared(
            lambda c: c.call(
                "ParameterContract:Assign",
                *c.approved_parameters(least_trainers=3, most_parameters=4, most_rounds=1, most_deadline="59s"),
                role="operator",
            ),
            publish(),
        ),
    ),
    # --- queries
    "view: no such task": ("published", "BEFL-T-007", "no task", call("TaskContract:View", UNKNOWN)),
    "view: no task id": ("published", "BEFL-T-007", "is no task id", call("TaskContract:View", "x")),
    "list: no page": (
        "published",
        "BEFL-T-008",
        "page_size: must be from 1 to 50",
        call("TaskContract:List", "0", ""),
    ),
    "list: a huge page": (
        "published",
        "BEFL-T-008",
        "page_size: must be from 1 to 50",
        call("TaskContract:List", "51", ""),
    ),
    "list: no number": ("published", "BEFL-T-008", "page_size: must be a whole", call("TaskContract:List", "all", "")),
    "list: a strange bookmark": ("published", "BEFL-T-008", "bookmark", call("TaskContract:List", "5", "zzz")),
    "applications: no task id": ("published", "BEFL-T-007", "is no", call("TaskContract:Applications", "x", "5", "")),
    "rounds: no task id": ("published", "BEFL-T-007", "is no task id", call("RoundContract:List", "", "5", "")),
    "round: no such round": ("open", "BEFL-T-007", "no round", call("RoundContract:Get", "TASK", "2")),
    "round: no number": ("open", "BEFL-T-008", "round: must be", call("RoundContract:Get", "TASK", "-1")),
    "round: no such task": ("open", "BEFL-T-007", "no round", call("RoundContract:Get", UNKNOWN, "1")),
    "update: not submitted": ("open", "BEFL-T-007", "no update", call("RoundContract:Update", "TASK", "1", "AlphaMSP")),
    "update: no such institution": (
        "updated",
        "BEFL-T-007",
        "no update",
        call("RoundContract:Update", "TASK", "1", "X"),
    ),
    "update: a name that no key holds": (
        "updated",
        "BEFL-G-018",
        "U+0000",
        call("RoundContract:Update", "TASK", "1", "Alpha\0MSP"),
    ),
    "model: not finished": ("last", "BEFL-T-007", "no model", call("ModelContract:Get", "TASK")),
    "model: no task id": ("last", "BEFL-T-007", "is no task id", call("ModelContract:Get", "x")),
    "bytes: no such round": (
        "finished",
        "BEFL-T-007",
        "no stored model after round 1",
        call("ModelContract:Bytes", "TASK", "1"),
    ),
    "update: only for trainers": (
        "reserved",
        "BEFL-A-008",
        "to its trainers and issuer, and DeltaMSP is neither",
        call("RoundContract:Update", "TASK", "1", "AlphaMSP", by="DeltaMSP"),
    ),
    "bytes: no number": (
        "finished",
        "BEFL-T-008",
        "round: must be a whole",
        call("ModelContract:Bytes", "TASK", "last"),
    ),
    # --- a release that lacks a rule of the task
    "a mode of a newer release": (
        "applied",
        "BEFL-T-001",
        "no mode 'horizontal/9'",
        prepared(lambda c: c.tamper("task", c.task, rules={"mode": "horizontal/9"}), opening()),
    ),
    "an aggregation rule of a newer release": (
        "updated",
        "BEFL-T-001",
        "no aggregation rule 'krum/1'",
        prepared(
            lambda c: c.tamper("task", c.task, rules=c.record("task", c.task)["rules"] | {"aggregation": "krum/1"}),
            closing(),
        ),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_and_nothing_changed(consortium, what):
    stage, code, words, attempt = REFUSED[what]
    consortium.at(stage)
    before = consortium.everything()
    with pytest.raises(BeflError) as caught:
        attempt(consortium)
    assert caught.value.code == code
    assert words in caught.value.message
    assert len(caught.value.message) < 600
    assert consortium.everything() == (getattr(attempt, "before", None) or before)


# --- which model the reports name ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quorum", "reports", "accepted"),
    [
        (2, "aabb", None),  # a tie, both with a quorum
        (2, "aabc", "a"),
        (2, "abbb", "b"),
        (2, "abb", "b"),
        (2, "abc", None),
        (2, "aab-", "a"),
        (2, "ab--", None),
        (3, "aabc", None),  # the most, and no quorum
        (3, "aab-", None),
        (3, "baaa", "a"),
        (1, "a---", "a"),
        (1, "ab--", None),
    ],
)
def test_a_model_needs_a_quorum_and_more_reports_than_any_other(consortium, quorum, reports, accepted):
    c = consortium
    four = [*c.orgs, c.outsider]
    c.publish(participants__least=3, participants__most=4, rounds__quorum=quorum)
    c.apply(*four)
    c.commit(c.opening())
    c.submit(*c.orgs)
    c.now += 30_001
    c.close()
    for org, name in zip(four, reports, strict=False):
        if name != "-":
            report(by=org, model=name * 64)(c)
    c.now += 30_001
    if accepted is None:
        with pytest.raises(BeflError) as caught:
            c.opening()
        assert caught.value.code == "BEFL-M-008"
        return
    c.commit(c.opening())
    found = c.round_record(1)
    assert found["model"] == c.round_record(2)["start"] == accepted * 64
    named = dict(zip(four, reports, strict=False))
    assert found["dissent"] == {org: name * 64 for org, name in named.items() if name not in (accepted, "-")}
    assert set(found["metrics"]["institutions"]) == {org for org, name in named.items() if name == accepted}


# --- who calls -------------------------------------------------------------------------------------------------------

BOUND = {
    f"{contract}:{name}": transaction.role
    for contract, table in CONTRACTS.items()
    for name, transaction in table.items()
    if transaction.role is not None
}
ALL = {
    f"{contract}:{name}": transaction for contract, table in CONTRACTS.items() for name, transaction in table.items()
}


def certificate(*extensions: bytes, twice: bool = False) -> bytes:
    """Make an enrolment certificate with these attribute extensions, for what no Fabric CA would issue."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    whole = make_creator("AlphaMSP").certificate
    start = x509.load_pem_x509_certificate(whole)
    builder = x509.CertificateBuilder(
        name, name, _KEY.public_key(), 1, start.not_valid_before_utc, start.not_valid_after_utc
    )
    for place, value in enumerate(extensions):
        identifier = ATTRIBUTES_OID if place == 0 else x509.ObjectIdentifier("1.2.3.4.5.6.7.8.2")
        builder = builder.add_extension(x509.UnrecognizedExtension(identifier, value), critical=False)
    data = builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    if twice:  # what the library refuses to make: one extension two times
        data = data.replace(bytes.fromhex("06082a03040506070802"), bytes.fromhex("06082a03040506070801"))
    return x509.load_der_x509_certificate(data).public_bytes(serialization.Encoding.PEM)


def versioned(number: int) -> bytes:
    """Make a certificate that says it is of another version of X.509."""
    data = x509.load_pem_x509_certificate(certificate()).public_bytes(serialization.Encoding.DER)
    other = data.replace(bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes([number]), 1)
    body = base64.encodebytes(other)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


_KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = b'{"attrs":{"befl.role":"trainer|issuer"}}'
CERTIFICATES = {
    "nothing": (b"", "BEFL-A-005", "is no X.509 certificate"),
    "no PEM": (b"agent", "BEFL-A-005", "is no X.509 certificate"),
    "PEM of nothing": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "BEFL-A-005",
        "is no X.509 certificate",
    ),
    "a key": (
        _KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "BEFL-A-005",
        "is no X.509 certificate",
    ),
    "a version that there is not": (versioned(107), "BEFL-A-005", "is no X.509 certificate"),
    "no attributes": (certificate(), "BEFL-A-001", "has befl.role none"),
    "attributes without a role": (certificate(b'{"attrs":{"hf.Type":"client"}}'), "BEFL-A-001", "has befl.role none"),
    "an empty role": (certificate(b'{"attrs":{"befl.role":""}}'), "BEFL-A-001", "has befl.role none"),
    "bars around": (
        certificate(b'{"attrs":{"befl.role":"|validator||auditor|"}}'),
        "BEFL-A-001",
        "has befl.role auditor, validator;",
    ),
    "only bars": (certificate(b'{"attrs":{"befl.role":"|||"}}'), "BEFL-A-001", "has befl.role none"),
    "other roles": (certificate(b'{"attrs":{"befl.role":"validator|auditor"}}'), "BEFL-A-001", "auditor, validator"),
    "a role in capitals": (certificate(b'{"attrs":{"befl.role":"TRAINER|ISSUER"}}'), "BEFL-A-001", "ISSUER, TRAINER"),
    "roles with commas": (certificate(b'{"attrs":{"befl.role":"trainer,issuer"}}'), "BEFL-A-001", "trainer,issuer"),
    "a role with a space": (certificate(b'{"attrs":{"befl.role":"trainer |issuer "}}'), "BEFL-A-001", "befl.role"),
    "attributes that are no JSON": (certificate(b"befl.role=issuer"), "BEFL-A-005", "extension"),
    "attributes that are no text": (certificate(b"\xff\xfe\xfd"), "BEFL-A-005", "extension"),
    "attributes under another key": (certificate(b'{"attributes":{}}'), "BEFL-A-005", "extension"),
    "a list": (certificate(b'["attrs"]'), "BEFL-A-005", "extension"),
    "attributes in a list": (certificate(b'{"attrs":["issuer"]}'), "BEFL-A-005", "extension"),
    "a role that is no text": (certificate(b'{"attrs":{"befl.role":["issuer","trainer"]}}'), "BEFL-A-005", "extension"),
    "a role that is null": (certificate(b'{"attrs":{"befl.role":null}}'), "BEFL-A-005", "extension"),
    "attributes nested deeply": (certificate(b'{"attrs":' + b"[" * 9_000), "BEFL-A-005", "extension"),
    "attributes twice": (certificate(GOOD, GOOD, twice=True), "BEFL-A-005", "is no X.509 certificate"),
}


@pytest.mark.parametrize("name", BOUND)
@pytest.mark.parametrize("what", CERTIFICATES)
def test_who_has_not_the_role_is_refused(consortium, name, what):
    pem, code, words = CERTIFICATES[what]
    consortium.at("published")
    before = consortium.everything()
    arguments = [consortium.task] * len(ALL[name].arguments)
    with pytest.raises(BeflError) as caught:
        consortium.call(name, *arguments, by=Creator("AlphaMSP", pem))
    assert caught.value.code == code
    assert words in caught.value.message
    assert consortium.everything() == before


@pytest.mark.parametrize("name", BOUND)
def test_the_other_role_is_not_enough(consortium, name):
    other = {"issuer": "trainer", "trainer": "issuer", "operator": "trainer"}[BOUND[name]]
    consortium.at("published")
    arguments = [consortium.task] * len(ALL[name].arguments)
    with pytest.raises(BeflError, match=f"has befl.role {other}; the transaction wants {BOUND[name]}") as caught:
        consortium.call(name, *arguments, role=other)
    assert caught.value.code == "BEFL-A-001"


def test_the_certificates_of_this_page_would_do(consortium):
    consortium.at("published").call(
        "TaskContract:Apply", consortium.task, consortium.app, "{}", by=Creator("BetaMSP", certificate(GOOD))
    )
    assert consortium.view().applicants == ("BetaMSP",)


@pytest.mark.parametrize("name", [name for name in ALL if name not in BOUND])
def test_a_query_needs_no_role(consortium, name):
    consortium.at("finished").add_app()
    arguments = {
        "task": consortium.task,
        "digest": consortium.added,
        "round": "2",
        "msp_id": "BetaMSP",
        "page_size": "5",
        "bookmark": "",
    }
    asked = [arguments[argument] for argument in ALL[name].arguments]
    assert consortium.ledger.evaluate(Creator("DeltaMSP", certificate()), name, *asked)


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_number_of_arguments_is_refused(consortium, name):
    consortium.at("published")
    before = consortium.everything()
    wanted = ALL[name].arguments
    for count in {0, max(len(wanted) - 1, 0), len(wanted) + 1, 50} - {len(wanted)}:
        with pytest.raises(BeflError, match=f"{name} takes {len(wanted)} arguments") as caught:
            consortium.call(name, *[consortium.task] * count, role="trainer|issuer")
        assert caught.value.code == "BEFL-T-008"
    assert consortium.everything() == before


# --- private data ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("org", ["AlphaMSP", "BetaMSP", "GammaMSP"])
def test_a_round_closes_only_where_every_update_has_arrived(consortium, org):
    c = consortium.at("updated")
    before = c.everything()
    key = create_composite_key("update", (c.task, "000001", org))
    with c.ledger.private_data_missing("updates", key):
        for asked in (closing(), lambda c: c.ask("RoundContract:Update", c.task, "1", org)):
            with pytest.raises(BeflError) as caught:
                asked(c)
            assert caught.value.code == "BEFL-G-010"
            assert caught.value.retryable
    assert c.everything() == before
    c.close()


def test_a_void_round_needs_no_private_data(consortium):
    c = consortium.at("open")
    c.submit("AlphaMSP")
    c.now += 30_001
    with c.ledger.private_data_missing("updates", create_composite_key("update", (c.task, "000001", "AlphaMSP"))):
        assert c.close()["state"] == "void"


def test_a_model_that_has_not_arrived(consortium):
    c = consortium.at("finished")
    with (
        c.ledger.private_data_missing("models", create_composite_key("model", (c.task, "000002"))),
        pytest.raises(BeflError) as caught,
    ):
        c.ledger.evaluate(make_creator("DeltaMSP"), "ModelContract:Bytes", c.task, "2")
    assert caught.value.code == "BEFL-G-010"


# --- completeness ----------------------------------------------------------------------------------------------------


def raised_by(*packages: str) -> set[str]:
    """Find the codes that a package's source raises: the first arguments of BeflError."""
    found = set()
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations:
            for path in Path(folder).rglob("*.py"):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BeflError":
                        found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def test_every_code_that_contracts_can_raise_is_expected_here():
    raised = raised_by("befl.rules", "befl.contracts")
    assert raised <= set(CODES)
    families = {code for code in raised if code[5] in "ATM"}
    assert len(families) >= 20
    expected = {row[1] for row in REFUSED.values()} | {row[1] for row in CERTIFICATES.values()}
    assert families - expected == set()


def test_every_transaction_has_refusals_of_its_own():
    for name, transaction in ALL.items():
        if transaction.role is not None:
            own = [what for what in REFUSED if what.startswith(f"{name.split(':')[1].lower()}: ")]
            assert len(own) >= (5 if transaction.arguments else 1), name
