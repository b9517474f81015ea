"""Measures what befl promises, on this machine: `make bench`.

Without a network: aggregation and the ledger in memory. With real Fabric networks in a temporary folder: how soon
four institutions are ready and what their processes take, and how long a round lasts when nobody trains.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from befl import network
from befl.gateway import Contract, Gateway, Profile, connect, wait
from befl.ledger import MemoryLedger, make_creator
from befl.network import topology
from befl.rules import canonical, codec, metrics
from befl.rules import spec as specs
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.reader import read

INSTITUTIONS = ("one", "two", "three")
ROUNDS = 5
TOO_EARLY = ("BEFL-T-002", "BEFL-T-005", "BEFL-T-007", "BEFL-A-002")


@dataclass(frozen=True)
class Figure:
    """One line of the result; ``most`` is the promise, where there is one."""

    what: str
    value: float
    unit: str
    most: float | None = None


def best(run: Callable[[], Any], times: int = 5) -> float:
    """Seconds of the fastest of a few runs."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def in_memory() -> Iterator[Figure]:
    """What needs no network."""
    rule = RULES[RULES.newest("fedavg")]
    random = np.random.default_rng(1)
    for length in (10_000, 1_000_000):
        updates = [(random.integers(-(2**19), 2**19, length, dtype=np.int32), 100 + place) for place in range(4)]
        seconds = best(lambda updates=updates, length=length: rule.aggregate(iter(updates), length))
        yield Figure(f"fedavg of 4 updates, {length} parameters", seconds * 1e3, "ms")

    class Counter:
        def invoke(self, stub: Any) -> bytes:
            stub.put_state("n", str(int(stub.get_state("n") or b"0") + 1).encode())
            return b""

    ledger, caller = MemoryLedger(Counter()), make_creator("OneMSP", "trainer")
    seconds = best(lambda: [ledger.submit(caller, "Bench:Add") for _ in range(1_000)])
    yield Figure("transactions on the ledger in memory", 1_000 / seconds, "1/s")


def task() -> str:
    """A task whose rounds are closed by the last update, as canonical JSON."""
    return specs.to_json(
        read(
            specs.TaskSpec,
            {
                "befl": 1,
                "name": "benchmark",
                "mode": "horizontal",
                "app": {"name": "tabular"},
                "data": {"alias": "none", "label": "y", "columns": {"x": "number"}},
                "participants": {"least": len(INSTITUTIONS), "most": len(INSTITUTIONS)},
                "rounds": {"count": ROUNDS, "deadline": "10m"},
                "aggregation": {"rule": "fedavg"},
                "privacy": {"scheme": "none"},
            },
        )
    )


def counts() -> str:
    """Counts of an evaluation."""
    bins = tuple([1] * metrics.BINS)
    counted = metrics.Counts(rows=2 * metrics.BINS, correct=64, loss_micro=10**6, negatives=bins, positives=bins)
    return canonical.dumps(metrics.counts_record(counted)).decode()


def submit(contract: Contract, *call: str, transient: dict[str, bytes] | None = None) -> None:
    """Submit; as an agent does, try again while an endorsing peer is a block behind and refuses what is too early."""

    def attempt() -> bool:
        try:
            contract.submit(*call, transient=transient)
        except BeflError as error:
            if error.code not in TOO_EARLY:
                raise
            return False
        return True

    wait.until(attempt, timeout=30, interval=0.01, what=call[0])


def rounds(issuer: Contract, agents: list[Contract], length: int) -> list[float]:
    """Seconds of each round: updates of all at once, close, reports of all at once, open the next one or finish."""
    model = codec.model_bytes(np.zeros(length, dtype=np.int64))
    layout = canonical.dumps([{"name": "w", "shape": [length]}]).decode()
    app = "0" * 64
    answer = issuer.submit("TaskContract:Publish", task(), app, layout, transient={"model": model})
    name = json.loads(answer.result)["task"]
    update = codec.update_bytes(np.ones(length, dtype=np.int32))
    digest, reported, seconds = codec.digest(update), counts(), []
    with ThreadPoolExecutor(len(agents)) as pool:

        def everybody(*call: str, transient: dict[str, bytes] | None = None) -> None:
            list(pool.map(lambda agent: submit(agent, *call, transient=transient), agents))

        everybody("TaskContract:Apply", name, app)
        submit(agents[0], "TaskContract:Open", name)
        for number in map(str, range(1, ROUNDS + 1)):
            begin = time.perf_counter()
            everybody("RoundContract:Submit", name, number, "100", digest, transient={"update": update})
            submit(agents[0], "RoundContract:Close", name, number)
            everybody("RoundContract:Report", name, number, codec.digest(model), reported)
            if int(number) < ROUNDS:
                submit(agents[0], "TaskContract:Open", name)
            else:
                submit(agents[0], "TaskContract:Finish", name, transient={"model": model})
            seconds.append(time.perf_counter() - begin)
    return seconds


def on_fabric(folder: Path) -> Iterator[Figure]:
    """What needs a network: made in ``folder``, taken down again."""

    def progress(line: str) -> None:
        print(f"  {line}", file=sys.stderr, flush=True)

    four, three = folder / "four", folder / "three"
    begin = time.perf_counter()
    status = network.up(four, topology.make(("one", "two", "three", "four")), progress, owner=os.getpid())
    yield Figure("network of 4 institutions ready from nothing", time.perf_counter() - begin, "s", 12)
    processes = sum(len(institution.processes) for institution in status.institutions)
    yield Figure(f"memory of its {processes} processes and the supervisor", status.memory_bytes / 2**20, "MiB")
    network.down(four)
    begin = time.perf_counter()
    network.up(four, progress=progress, owner=os.getpid())
    yield Figure("the same network started again", time.perf_counter() - begin, "s")
    network.down(four)

    network.up(three, topology.make(INSTITUTIONS), progress, owner=os.getpid())
    try:
        with contextlib.ExitStack() as stack:

            def contract(institution: str, user: str) -> Contract:
                profile = Profile.load(three / institution / "connection.json")
                gateway: Gateway = stack.enter_context(connect(profile, three / institution / "users" / user))
                return gateway.network("befl").contract("befl")

            issuer = contract(INSTITUTIONS[0], "issuer")
            agents = [contract(institution, "agent") for institution in INSTITUTIONS]
            for length, most in ((10_000, 0.7), (250_000, None), (1_000_000, None)):
                seconds = statistics.median(rounds(issuer, agents, length))
                yield Figure(f"a round without training, 3 institutions, {length} parameters", seconds, "s", most)
    finally:
        network.down(three)


def main() -> int:
    """Measure, print, and say whether the promises are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-network", action="store_true", help="only what needs no Fabric")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args()
    figures = []

    def show(figure: Figure) -> None:
        figures.append(figure)
        if options.format == "text":
            promise = "" if figure.most is None else f"  (at most {figure.most:g})"
            broken = "" if figure.most is None or figure.value <= figure.most else "  TOO MUCH"
            print(f"{figure.what:<62} {figure.value:10.3f} {figure.unit}{promise}{broken}", flush=True)

    for figure in in_memory():
        show(figure)
    if not options.no_network:
        with tempfile.TemporaryDirectory(prefix="befl-bench-") as folder:
            for figure in on_fabric(Path(folder)):
                show(figure)
    if options.format == "json":
        print(json.dumps([vars(figure) for figure in figures], indent=1))
    return int(any(figure.most is not None and figure.value > figure.most for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
