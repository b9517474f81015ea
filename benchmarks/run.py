"""Measure what befl claims to be fast at: ``make bench``, or ``python benchmarks/run.py NAME...``.

Writes ``build/bench.json``: a list of ``{name, value, unit, baseline, ratio, samples}``; values are medians, and the
raw samples stand beside them. Each run states machine and commit. Baselines are measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import against_go
import learning
import ledger_tax as tax
import numpy as np
import replay

import befl.network
from befl import client
from befl.agent.ledger import Ledger
from befl.agent.worker import RACES
from befl.gateway import wait
from befl.rules import codec
from befl.rules import spec as specs
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.metrics.binary import BINS, Counts

ROUNDS = 10
TASK = """
befl = 1
name = "benchmark"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "none"
label = "y"
columns = {{ x = "number" }}
[participants]
least = {institutions}
most = {institutions}
[rounds]
count = {rounds}
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""


@dataclass
class Figure:
    """One measured figure."""

    name: str
    value: float
    unit: str
    samples: list[float]
    baseline: str = ""
    ratio: float | None = None
    steps: dict[str, float] = field(default_factory=dict)


def median(name: str, samples: list[float], unit: str, steps: dict[str, list[float]] | None = None) -> Figure:
    """Make a figure of samples."""
    split = {key: round(statistics.median(values), 4) for key, values in (steps or {}).items()}
    return Figure(name, round(statistics.median(samples), 4), unit, [round(each, 4) for each in samples], steps=split)


@contextmanager
def network(institutions: int) -> Iterator[Path]:
    """Run a throw-away network."""
    folder = Path(tempfile.mkdtemp(prefix="befl-bench-"))
    try:
        names = tuple(f"org{number}" for number in range(1, institutions + 1))
        befl.network.up(folder / "network", befl.network.make(names), owner=os.getpid())
        yield folder / "network"
    finally:
        befl.network.down(folder / "network")
        shutil.rmtree(folder, ignore_errors=True)


def network_up_4orgs_s() -> list[Figure]:
    """Four institutions from nothing to ready, Fabric built; and the memory of their processes."""
    samples, memory = [], []
    for _ in range(3):
        started = time.monotonic()
        with network(4) as folder:
            samples.append(time.monotonic() - started)
            processes = [one for each in befl.network.status(folder).institutions for one in each.processes]
            memory.append(sum(one.memory_bytes for one in processes) / 2**20)
    return [median("network_up_4orgs_s", samples, "s"), median("network_memory_4orgs_mb", memory, "MB")]


def persist(act: Callable[[], Any]) -> Any:
    """Do what an agent does when an endorser is a block behind: try again in a moment."""

    def attempt() -> tuple[Any] | None:
        try:
            return (act(),)
        except BeflError as error:
            if error.code not in RACES:
                raise
            return None

    return wait.until(attempt, timeout=30, interval=0.02, what="the transaction")[0]


def rounds(
    parameters: int,
    institutions: int,
    name: str,
    count: int = ROUNDS,
    then: Callable[[Path, str], list[Figure]] = lambda folder, task: [],  # noqa: ARG005  # its signature
) -> list[Figure]:
    """Whole rounds without training on a real network: open, updates, close, reports; as the agents do them."""
    orgs = [f"org{number}" for number in range(1, institutions + 1)]
    spec = specs.from_toml(TASK.format(institutions=institutions, rounds=count).encode())
    steps: dict[str, list[float]] = {"open": [], "submit": [], "close": [], "report": []}
    rule = RULES[spec.rules()["aggregation"]]
    generator = np.random.default_rng(1)
    counts = Counts(0, 0, 0, (0,) * BINS, (0,) * BINS)
    with network(institutions) as folder, ExitStack() as stack, ThreadPoolExecutor(institutions) as pool:
        ledgers = [stack.enter_context(client.connect(network=folder, identity=org)).ledger for org in orgs]
        issuer = stack.enter_context(client.connect(network=folder, identity="org1/issuer")).ledger
        model = np.zeros(parameters, dtype=np.int64)
        state = rule.start(parameters, spec.aggregation)
        layout = (Tensor("weights", (parameters,)),)
        task = issuer.publish(spec, "0" * 64, layout, codec.model_bytes(model)).value["task"]
        list(pool.map(lambda ledger: ledger.apply(task, "0" * 64), ledgers))
        for number in range(1, count + 1):
            values = [codec.encode(generator.normal(0, 0.1, parameters), 16, "8") for _ in orgs]
            data = [codec.update_bytes(each) for each in values]
            opener, current = ledgers[number % institutions], number

            def timed(step: str, act: Callable[[], Any]) -> None:
                started = time.monotonic()
                persist(act)
                steps[step].append(time.monotonic() - started)

            def submit(place: int, current: int = current, data: list[bytes] = data) -> None:
                persist(lambda: ledgers[place].submit(task, current, 1, data[place]))

            timed("open", lambda ledger=opener: ledger.open(task))
            timed("submit", lambda: list(pool.map(submit, range(institutions))))
            timed("close", lambda ledger=opener, current=current: ledger.close(task, current))
            aggregate = rule.aggregate(((each, 1) for each in values), parameters)
            share = (institutions, institutions)
            moved, state = rule.step(aggregate, institutions, state, share, spec.aggregation)
            model = model + moved
            digest = codec.digest(codec.model_bytes(model))

            def report(ledger: Ledger, current: int = current, digest: str = digest) -> None:
                persist(lambda: ledger.report(task, current, digest, counts))

            timed("report", lambda: list(pool.map(report, ledgers)))
        persist(lambda: ledgers[0].finish(task, codec.model_bytes(model)))
        further = then(folder, task)
    return further or [median(name, [sum(each) for each in zip(*steps.values(), strict=True)], "s", steps)]


def ratios_to_go() -> list[Figure]:
    """The smallest chaincode on befl's shim and on Fabric's Go shim, 32 in flight, in turns on one network."""
    with network(3) as folder:
        measured = against_go.measure(folder)
    found = []
    for kind, samples in measured.items():
        go, python = (statistics.median(samples[language]) for language in ("go", "python"))
        found.append(median(f"{kind}_go_per_s", samples["go"], "1/s"))
        figure = median(f"{kind}_per_s", samples["python"], "1/s")
        figure.baseline, figure.ratio = f"{kind}_go_per_s", round(python / go, 4)
        ratio = median(f"{kind}_ratio_to_go", against_go.ratio(samples), "")
        ratio.baseline = f"{kind}_go_per_s"
        found += [figure, ratio]
    return found


def ledger_tax() -> list[Figure]:
    """A real torch job of three institutions on the ledger, against the same loop without it."""
    with network(3) as folder:
        found = tax.measure(folder)
    plain = median("round_without_ledger_s", found["without"], "s")
    figure = median("round_with_ledger_s", found["with"], "s")
    figure.baseline, figure.ratio = plain.name, round(tax.ratio(found), 4)
    return [plain, figure, Figure("ledger_tax", round(tax.ratio(found), 4), "", [], baseline=plain.name)]


def learned(name: str) -> list[Figure]:
    """Train on a real data set, as institutions and in one place; the table of Markdown is printed too."""
    try:
        lines = learning.STUDIES[name]()
    except learning.NotHereError as error:
        print(f"{name}: left out, {error}")
        return []
    print(learning.table(lines))
    [central] = [each for each in lines if each.how == "in one place"]
    made = []
    for each in lines:
        figure = Figure(f"{name} {each.partition} {each.how}", round(each.score, 4), "", each.scores)
        if each is not central:
            figure.baseline, figure.ratio = f"{name} - in one place", round(each.score / central.score, 4)
        made.append(figure)
    return made


def replay_50_rounds_s() -> list[Figure]:
    """The replay of a task of 50 rounds, 10 000 parameters, three institutions, from an institution's peer."""

    def then(folder: Path, task: str) -> list[Figure]:
        return [median("replay_50_rounds_s", replay.measure(folder, task), "s")]

    return rounds(10_000, 3, "", 50, then)


FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "network_up_4orgs_s": network_up_4orgs_s,
    "ratios_to_go": ratios_to_go,
    "round_10k_s": lambda: rounds(10_000, 3, "round_10k_s"),
    "round_1m_s": lambda: rounds(1_000_000, 3, "round_1m_s"),
    "ledger_tax": ledger_tax,
    "replay_50_rounds_s": replay_50_rounds_s,
    **{name: lambda name=name: learned(name) for name in learning.STUDIES},  # type: ignore[misc]  # the default binds it
}


def main() -> int:
    """Measure the named figures, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607  # whichever git the user has
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    print(f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}, commit {commit[:12]}")
    found: list[Figure] = []
    for name in arguments.names or FIGURES:
        for figure in FIGURES[name]():
            found.append(figure)
            steps = "".join(f"  {step} {value}" for step, value in figure.steps.items())
            print(f"{figure.name:<24} {figure.value:>9} {figure.unit}  {figure.samples}{steps}", flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
