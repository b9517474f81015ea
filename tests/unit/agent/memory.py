"""A consortium on the in-memory ledger for the tests of agent and client: real contracts, no Fabric, no torch."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from befl.agent import Ledger
from befl.agent.config import AgentConfig, DataTable, IdentityTable, NetworkTable, Policy
from befl.agent.store import Store
from befl.agent.worker import Worker
from befl.contracts.chaincode import BeflChaincode
from befl.ledger import Event, MemoryLedger, Submitted, make_creator
from befl.operations.watch import AgentWatch
from befl.rules import codec
from befl.rules import spec as specs
from befl.rules.layout import Tensor
from befl.rules.metrics.binary import BINS, Counts
from befl.rules.reader import to_record

APP = "a" * 64
LAYOUT = (Tensor("linear.weight", (2, 3)), Tensor("linear.bias", (2,)))
LENGTH = 8
WILLING = Policy(apply="always", schemes=("none",), least=1)

_TOML = """\
befl = 1
name = "hearts"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "heart"
label = "disease"
columns = {{ age = "number" }}
[participants]
least = {least}
most = {most}
window = "{window}"
[rounds]
count = {count}
deadline = "{deadline}"
quorum = {quorum}
{rounds}
[aggregation]
rule = "{rule}"
{aggregation}
[privacy]
scheme = "none"
"""


def task_toml(**wanted) -> str:
    """Make a task's file; ``rounds`` and ``aggregation`` are more lines of their tables."""
    default = {"least": 1, "most": 1, "window": "60s", "count": 2, "deadline": "60s", "quorum": 0}
    more = {"rule": "fedavg", "rounds": "", "aggregation": ""}
    return _TOML.format(**{**default, **more, **wanted})


def spec_of(**wanted) -> specs.TaskSpec:
    return specs.from_toml(task_toml(**wanted).encode())


def asking(spec: specs.TaskSpec) -> specs.TaskSpec:
    """The same task, which makes the column's centre and spread from all institutions' sums."""
    record = to_record(spec)
    record["data"]["columns"]["age"]["statistics"] = "pooled"
    return specs.from_record(record)


class Killed(BaseException):
    """Stands for the end of the process: nothing in befl catches it."""


class Caller:
    """A transactor: one identity of one institution on the in-memory ledger, with what a test does to its calls."""

    def __init__(self, consortium: Consortium, msp_id: str, role: str) -> None:
        self._consortium = consortium
        self._creator = make_creator(msp_id, role)
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda function: None
        self.after: Callable[[str], None] = lambda function: None
        self.answers: Callable[[str, bytes], bytes] = lambda function, answer: answer

    def evaluate(self, function: str, *args: str) -> bytes:
        self.calls.append(function)
        self.before(function)
        answer = self._consortium.memory.evaluate(self._creator, function, *args)
        self.after(function)
        return self.answers(function, answer)

    def submit(self, function: str, *args: str, transient: Mapping[str, bytes] | None = None) -> Submitted:
        self.calls.append(function)
        self.before(function)
        done = self._consortium.memory.submit(self._creator, function, *args, transient=transient)
        self._consortium.committed(self._consortium.memory.events(done.block))
        self.after(function)
        return done


class Consortium:
    """The ledger, and streams of its events."""

    def __init__(self) -> None:
        self.memory = MemoryLedger(BeflChaincode())
        self._streams: list[queue.SimpleQueue[Event | None]] = []
        self.register("IssuerMSP", *(f"Org{number}MSP" for number in range(1, 10)))
        self.founded = self.memory.height

    def register(self, *msp_ids: str) -> None:
        for msp_id in msp_ids:
            self.memory.submit(make_creator(msp_id, "operator"), "MemberContract:Register")

    def caller(self, msp_id: str, role: str = "trainer") -> Caller:
        return Caller(self, msp_id, role)

    def ledger(self, msp_id: str, role: str = "trainer") -> Ledger:
        return Ledger(self.caller(msp_id, role))

    def committed(self, events: list[Event]) -> None:
        for event in events:
            for stream in list(self._streams):
                stream.put(event)

    @contextmanager
    def events(self, *, start_block: int | None = None, after: str | None = None) -> Iterator[Iterator[Event]]:
        """Follow the events from now on, or from a block or transaction; it ends with :meth:`end_events`."""
        stream: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        there = self.memory.events() if start_block is not None or after else []
        known = [event.txid for event in there]
        for event in there[known.index(after) + 1 if after else 0 :]:
            if event.block >= (start_block or 0):
                stream.put(event)
        self._streams.append(stream)
        try:
            yield iter(stream.get, None)
        finally:
            self._streams.remove(stream)

    def end_events(self) -> None:
        for stream in list(self._streams):
            stream.put(None)

    def publish(self, spec: specs.TaskSpec | None = None, **wanted) -> str:
        model = codec.model_bytes(initial())
        made = self.ledger("IssuerMSP", "issuer").publish(spec or spec_of(**wanted), APP, LAYOUT, model)
        return made.value["task"]


def initial() -> np.ndarray:
    return np.arange(LENGTH, dtype=np.int64) * 1000 - 3000


def seeded(*names: object) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def deterministic(task: str, number: int, msp_id: str, model: np.ndarray) -> tuple[int, np.ndarray]:
    """What an institution trains: it follows from task, round, institution and model."""
    chance = seeded("train", task, number, msp_id, codec.digest(codec.model_bytes(model)))
    return int(chance.integers(1, 500)), chance.integers(-70_000, 70_000, LENGTH).astype(np.int32)


def counted(msp_id: str, model: np.ndarray) -> Counts:
    chance = seeded("count", msp_id, codec.digest(codec.model_bytes(model)))
    negatives, positives = (tuple(int(each) for each in chance.integers(0, 5, BINS)) for _ in range(2))
    rows = sum(negatives) + sum(positives)
    return Counts(rows, rows // 2, rows * 1000, negatives, positives)


class Participant:
    """Trains by arithmetic; what a test puts into ``trouble`` is raised by the next call that is named."""

    def __init__(self, msp_id: str, trouble: Mapping[str, BaseException] | None = None) -> None:
        self.msp_id = msp_id
        self.trouble = dict(trouble or {})
        self.trained: list[int] = []
        self.closed = False

    def statistics(self, view):
        return {}

    def train(self, view, model, number, correction):
        self._raise("train")
        self.trained.append(number)
        return deterministic(view.id, number, self.msp_id, model)

    def evaluate(self, view, model):
        self._raise("evaluate")
        return counted(self.msp_id, model)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def _raise(self, name: str) -> None:
        if name in self.trouble:
            raise self.trouble.pop(name)


def expected(consortium: Consortium, task: str) -> np.ndarray:
    """Compute a task's model from who delivered in which round, in Python's own integers."""
    model = [int(value) for value in initial()]
    for record in consortium.ledger("AuditorMSP", "auditor").rounds(task):
        if record["state"] == "void" or not record["updates"]:
            continue
        start = np.array(model, dtype=np.int64)
        made = [deterministic(task, record["round"], msp_id, start) for msp_id in record["updates"]]
        weight = sum(each for each, _ in made)
        for place in range(LENGTH):
            total = sum(each * int(update[place]) for each, update in made)
            model[place] += (2 * total + weight) // (2 * weight)  # half up
    return np.array(model, dtype=np.int64)


def config(state, *, policy: Policy = WILLING) -> AgentConfig:
    return AgentConfig(
        befl=1,
        network=NetworkTable(profile="connection.json"),
        identity=IdentityTable(msp_dir="msp"),
        data={"heart": DataTable(path="heart.csv")},
        policy=policy,
        state=str(state),
    )


class Institution:
    """One institution: its caller, its state folder, its participants and a worker that can be started again."""

    def __init__(self, consortium: Consortium, msp_id: str, folder, *, policy: Policy = WILLING) -> None:
        self.msp_id = msp_id
        self.caller = consortium.caller(msp_id)
        self.store = Store(folder)
        self.store.approve(APP, {"name": "tabular"})
        self.policy = policy
        self.aliases = frozenset({"heart"})
        self.watch = AgentWatch()
        self.made: list[Participant] = []
        self.make: Callable[[], Participant] = lambda: Participant(msp_id)

    def participant(self, view) -> Participant:
        self.made.append(self.make())
        return self.made[-1]

    def worker(self, task: str) -> Worker:
        return Worker(
            task,
            msp_id=self.msp_id,
            ledger=Ledger(self.caller),
            store=Store(self.store.folder),
            policy=self.policy,
            aliases=self.aliases,
            participant=self.participant,
            watch=self.watch,
        )


@contextmanager
def working(consortium: Consortium, workers: list[Worker]) -> Iterator[None]:
    """Run workers, woken by events as the agent does it; they are stopped at the end."""

    def wake(events: Iterator[Event]) -> None:
        for _ in events:
            for worker in workers:
                worker.wake()

    with consortium.events() as events:
        follower = threading.Thread(target=wake, args=(events,))
        follower.start()
        try:
            for worker in workers:
                worker.start()
            yield
        finally:
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.join(10)
                assert not worker.is_alive()
            consortium.end_events()
            follower.join(10)
