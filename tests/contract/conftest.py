"""A consortium of three institutions on the in-memory ledger, and a fourth that does not take part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from befl.contracts.chaincode import BeflChaincode
from befl.contracts.context import number_key
from befl.contracts.stub import Creator, Stub, create_composite_key
from befl.ledger import Endorsed, MemoryLedger, Submitted, make_creator
from befl.rules import canonical, codec, reader
from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.aggregation import RULES
from befl.rules.parameters import Parameters

ORGS = ("AlphaMSP", "BetaMSP", "GammaMSP")
OUTSIDER = "DeltaMSP"
APP = "ab" * 32
ARCHIVE = b"the archive of an app"
LAYOUT = canonical.dumps([{"name": "w", "shape": [2, 2]}, {"name": "b", "shape": [1]}]).decode()
LENGTH = 5
WEIGHTS = {"AlphaMSP": 100, "BetaMSP": 200, "GammaMSP": 301}
START = 1_700_000_000_000
WINDOW, DEADLINE = 60_000, 30_000

STAGES = (
    "empty",
    "published",
    "applied",
    "open",
    "updated",
    "closed",
    "reported",
    "last",
    "finished",
    "cancelled",
    "void",
    "asking",
)
ASKING = {"age": {"type": "number", "statistics": "pooled"}}


class Tamperer:
    """The chaincode, and beside it what no honest chaincode has: functions that write whatever a test wants."""

    def __init__(self) -> None:
        self._chaincode = BeflChaincode()

    def invoke(self, stub: Stub) -> bytes:
        function, arguments = stub.get_function_and_parameters()
        if function == "Tamper:Public":
            stub.put_state(arguments[0], arguments[1].encode())
            return b""
        if function == "Tamper:Private":
            stub.put_private_data(arguments[0], arguments[1], stub.get_transient()["value"])
            return b""
        return self._chaincode.invoke(stub)


class Consortium:
    """A ledger with the clock in hand; every call names who makes it."""

    orgs = ORGS
    outsider = OUTSIDER
    app = APP
    archive = ARCHIVE
    added = codec.digest(ARCHIVE)
    layout = LAYOUT
    length = LENGTH
    weights = WEIGHTS
    start = START

    def __init__(self) -> None:
        self.now = START
        self.ledger = MemoryLedger(Tamperer(), clock=lambda: self.now)
        self.register(*ORGS, OUTSIDER)
        self.task = "0" * 16
        self.loss, self.rows = 1_000, None  # what all report: the mean loss, and rows if not a tenth of the weight
        self.models: dict[int, NDArray[np.int64]] = {0: np.array([1, -2, 3, -4, 5], dtype=np.int64)}

    def register(self, *orgs: str) -> None:
        """Register institutions as members, in one block."""
        self.ledger.commit([self.endorse("MemberContract:Register", by=org, role="operator") for org in orgs])

    def approved_roles(self, msp_id: str, roles: list[str], *approvers: str) -> tuple[str, str]:
        """Let members approve roles; return the arguments of Approve and Assign."""
        words = canonical.dumps(roles).decode()
        for org in approvers or ORGS:
            self.call("MemberContract:Approve", msp_id, words, by=org, role="operator")
        return msp_id, words

    def approved_parameters(self, *approvers: str, **changes: Any) -> tuple[str]:
        """Let members approve parameters; return the argument of Approve and Assign."""
        words = canonical.dumps(reader.to_record(Parameters(**changes))).decode()
        for org in approvers or ORGS:
            self.call("ParameterContract:Approve", words, by=org, role="operator")
        return (words,)

    # --- calls -------------------------------------------------------------------------------------------------

    def endorse(
        self,
        function: str,
        *args: str,
        by: str | Creator = ORGS[0],
        role: str | None = "trainer",
        transient: Mapping[str, bytes] | None = None,
        txid: str | None = None,
    ) -> Endorsed:
        creator = make_creator(by, role) if isinstance(by, str) else by
        return self.ledger.endorse(creator, function, *args, transient=transient, txid=txid)

    def call(self, function: str, *args: str, **options: Any) -> Submitted:
        endorsed = self.endorse(function, *args, **options)
        self.ledger.commit_valid(endorsed)
        return Submitted(endorsed.result, endorsed.txid, self.ledger.height)

    def ask(self, function: str, *args: str, by: str = OUTSIDER, role: str | None = None) -> Any:
        return canonical.loads(self.ledger.evaluate(make_creator(by, role), function, *args))

    def view(self) -> views.TaskView:
        return views.from_record(self.ask("TaskContract:View", self.task))

    def everything(self) -> tuple[object, ...]:
        """Return all that a transaction could change."""
        ledger = self.ledger
        return ledger.state(), ledger.private_state("updates"), ledger.private_state("models"), ledger.height

    def record(self, kind: str, *names: str) -> dict[str, Any]:
        found: dict[str, Any] = canonical.loads(self.ledger.state()[create_composite_key(kind, names)])
        return found

    def round_record(self, number: int) -> dict[str, Any]:
        return self.record("round", self.task, number_key(number))

    # --- what an honest institution sends ----------------------------------------------------------------------

    def specification(self, **changes: Any) -> str:
        record: dict[str, Any] = {
            "befl": 1,
            "name": "heart disease",
            "mode": "horizontal",
            "app": {"name": "tabular", "settings": {"rate": "0.1"}},
            "data": {"alias": "heart", "label": "disease", "columns": {"age": "number"}},
            "participants": {"institutions": "any", "least": 2, "most": 3, "window": "60s"},
            "rounds": {"count": 2, "deadline": "30s", "quorum": 2},
            "aggregation": {"rule": "fedavg", "scale_bits": 16, "clip": "8"},
            "privacy": {"scheme": "none"},
        }
        for path, value in changes.items():
            table, _, key = path.partition("__")
            if key:
                record[table][key] = value
            else:
                record[table] = value
        return specs.to_json(specs.from_record(record))

    def model(self, number: int = 0) -> dict[str, bytes]:
        return {"model": codec.model_bytes(self.models[number])}

    def add_app(self, *approvers: str) -> str:
        """Let Alpha add an app and others approve it; return its digest."""
        self.call("AppContract:Add", self.added, "forest", role="issuer", transient={"archive": ARCHIVE})
        for org in approvers:
            self.call("AppContract:Approve", self.added, by=org, role="operator")
        return self.added

    def depart(self, *orgs: str, function: str = "Leave") -> None:
        """Let institutions leave, or decline."""
        for org in orgs:
            self.call(f"TaskContract:{function}", self.task, "no staff", by=org)

    def update(self, org: str, number: int = 1) -> NDArray[np.int32]:
        place = (*ORGS, OUTSIDER).index(org)
        return np.array([1_000 * number + place, -7 * place, 0, 524_288, -524_288], dtype=np.int32)

    def sums(self, org: str) -> str:
        """What an application carries: sums of `age`, of as many rows as the weight, where the task asks for them."""
        if not self.view().spec.data.pooled:
            return "{}"
        rows, place = self.weights.get(org, 400), (*ORGS, OUTSIDER).index(org)
        mean = 50_000_000 + 1_000_000 * place
        sums = {"values": rows, "total": rows * mean, "squares": rows * (mean**2 + 9 * 10**12)}
        return canonical.dumps({"age": sums}).decode()

    def counts(self, org: str = ORGS[0]) -> dict[str, Any]:
        rows = self.weights.get(org, 400) // 10 if self.rows is None else self.rows
        if rows == 0:
            return {"rows": 0, "correct": 0, "loss_micro": 0, "negatives": [0] * 64, "positives": [0] * 64}
        negatives = [rows - 4, *[0] * 63]
        return {
            "rows": rows,
            "correct": rows - 1,
            "loss_micro": self.loss * rows,
            "negatives": negatives,
            "positives": [1, *[0] * 62, 3],
        }

    # --- transactions ------------------------------------------------------------------------------------------

    def publish(self, **changes: Any) -> str:
        result = self.call(
            "TaskContract:Publish",
            self.specification(**changes),
            APP,
            LAYOUT,
            by=ORGS[0],
            role="issuer",
            transient=self.model(),
        )
        self.task = canonical.loads(result.result)["task"]
        return self.task

    def applying(self, org: str) -> Endorsed:
        return self.endorse("TaskContract:Apply", self.task, APP, self.sums(org), by=org)

    def opening(self, org: str = ORGS[0]) -> Endorsed:
        return self.endorse("TaskContract:Open", self.task, by=org)

    def submitting(self, org: str, number: int = 1) -> Endorsed:
        data = codec.update_bytes(self.update(org, number))
        arguments = (self.task, str(number), str(self.weights[org]), codec.digest(data))
        return self.endorse("RoundContract:Submit", *arguments, by=org, transient={"update": data})

    def closing(self, org: str = ORGS[0], number: int = 1) -> Endorsed:
        return self.endorse("RoundContract:Close", self.task, str(number), by=org)

    def reporting(self, org: str, number: int = 1, model: str | None = None) -> Endorsed:
        digest = model or codec.digest(codec.model_bytes(self.models[number]))
        counts = canonical.dumps(self.counts(org)).decode()
        return self.endorse("RoundContract:Report", self.task, str(number), digest, counts, by=org)

    def finishing(self, org: str = ORGS[0], number: int = 2) -> Endorsed:
        return self.endorse("TaskContract:Finish", self.task, by=org, transient=self.model(number))

    def cancelling(self, reason: str = "enough") -> Endorsed:
        return self.endorse("TaskContract:Cancel", self.task, reason, by=ORGS[0], role="issuer")

    def commit(self, *endorsed: Endorsed) -> None:
        for one in endorsed:
            self.ledger.commit_valid(one)

    def apply(self, *orgs: str) -> None:
        self.commit(*(self.applying(org) for org in orgs))

    def submit(self, *orgs: str, number: int = 1) -> None:
        self.commit(*(self.submitting(org, number) for org in orgs))

    def close(self, org: str = ORGS[0], number: int = 1) -> dict[str, Any]:
        """Close a round and make its model, as every institution does from the updates at its own peer."""
        self.commit(self.closing(org, number))
        found = self.ask("RoundContract:Get", self.task, str(number))["round"]
        before = self.models[max(place for place in self.models if place < number)]
        if found["state"] == "closed":
            rule = RULES["fedavg/1"]
            pairs = [(self.update(msp_id, number), item["weight"]) for msp_id, item in found["updates"].items()]
            aggregate, settings = rule.aggregate(pairs, LENGTH), self.view().spec.aggregation
            moved, _ = rule.step(aggregate, found["weight"], rule.start(LENGTH, settings), (1, 1), settings)
            self.models[number] = before + moved
        return dict(found)

    def report(self, *orgs: str, number: int = 1) -> None:
        self.commit(*(self.reporting(org, number) for org in orgs))

    # --- stages ------------------------------------------------------------------------------------------------

    def at(self, stage: str) -> Consortium:
        """Walk to a stage of a task.

        ``last`` is the last round, reported; in ``void`` nobody has delivered; ``asking`` is published and wants
        sums of a column; ``reserved`` is updated, and lets only trainers fetch.
        """
        if stage == "asking":
            self.publish(data__columns=ASKING)
            return self
        publish = (lambda: self.publish(participants__fetch="trainers")) if stage == "reserved" else self.publish
        steps: dict[str, Callable[[], object]] = {
            "empty": lambda: None,
            "published": publish,
            "applied": lambda: self.apply(*ORGS),
            "open": lambda: self.commit(self.opening()),
            "updated": lambda: self.submit(*ORGS),
            "closed": self.close,
            "reported": lambda: self.report(*ORGS),
            "last": self._last,
            "finished": lambda: self.commit(self.finishing()),
        }
        until = {"cancelled": "open", "void": "open", "reserved": "updated"}.get(stage, stage)
        for step, action in steps.items():
            action()
            if step == until:
                break
        if stage == "cancelled":
            self.commit(self.cancelling())
        if stage == "void":
            self.now += DEADLINE + 1
            self.close()
        return self

    def _last(self) -> None:
        self.commit(self.opening())
        self.submit(*ORGS, number=2)
        self.close(number=2)
        self.report(*ORGS, number=2)

    # --- what nobody may do ------------------------------------------------------------------------------------

    def tamper(self, kind: str, *names: str, **changes: Any) -> None:
        """Change a record behind the chaincode's back."""
        record = self.record(kind, *names) | changes
        self.call("Tamper:Public", create_composite_key(kind, names), canonical.dumps(record).decode())

    def tamper_private(self, collection: str, key: str, value: bytes) -> None:
        self.call("Tamper:Private", collection, key, transient={"value": value})


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture(scope="session")
def make_consortium() -> type[Consortium]:
    return Consortium


def update_key(task: str, number: int, msp_id: str) -> str:
    return create_composite_key("update", (task, number_key(number), msp_id))
