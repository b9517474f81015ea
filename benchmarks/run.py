"""Measure what befl claims to be fast at: ``make bench``, or ``python benchmarks/run.py NAME...`` for some of it.

Writes ``build/bench.json``, a list: each figure with its value (a median), its raw samples, its bar and whether it is
met, the command that measures it and the one that measures its baseline, and the commit, moment and machine of its own.
A figure that is measured again replaces what stood there by its name, all others stay; so what was measured before an
interruption is in it too. Few samples (``--quick``) replace no figure that has all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import against_go
import learning
import ledger_tax as tax
import memory
import processor
import replay
import rounds as whole_rounds
import simulated
from consortium import network
from figure import BARS, Figure, median, table

import befl.network
from befl.network.versions import versions
from befl.rules.errors import BeflError


def network_up_4orgs_s(*, quick: bool) -> list[Figure]:
    """Four institutions from nothing to ready, Fabric built; and the memory of their processes."""
    samples, held = [], []
    for _ in range(1 if quick else 3):
        started = time.monotonic()
        with network(4) as folder:
            samples.append(time.monotonic() - started)
            processes = [one for each in befl.network.status(folder).institutions for one in each.processes]
            held.append(sum(one.memory_bytes for one in processes) / 2**20)
    return [median("network_up_4orgs_s", samples, "s"), median("network_memory_4orgs_mb", held, "MB")]


@cache
def rounds(name: str, parameters: int, institutions: int, *, quick: bool) -> tuple[Figure, Figure]:
    """Whole rounds of agents that have trained already; and the work of one institution in one of them."""
    with network(institutions) as folder:
        found = whole_rounds.measure(folder, parameters, institutions, 3 if quick else 12)
    took = [sum(each) for each in zip(*found.split.values(), strict=True)]
    work = name.removesuffix("_s") + "_processor_s"
    return median(name, took, "s", found.split), median(work, found.processor, "s")


def round_10k_s(*, quick: bool) -> list[Figure]:
    """Three institutions, 10,000 parameters."""
    return list(rounds("round_10k_s", 10_000, 3, quick=quick))


def round_1m_s(*, quick: bool) -> list[Figure]:
    """Three institutions, a million parameters."""
    return list(rounds("round_1m_s", 1_000_000, 3, quick=quick))


def round_10k_8orgs_s(*, quick: bool) -> list[Figure]:
    """Eight institutions; how a round grows from three to eight, its time and each one's work: 1 is in proportion."""
    found = []
    pairs = zip(round_10k_s(quick=quick), rounds("round_10k_8orgs_s", 10_000, 8, quick=quick), strict=True)
    for name, (three, eight) in zip(("growth_3_to_8_orgs", "growth_3_to_8_orgs_processor"), pairs, strict=True):
        eight.baseline, eight.ratio = three.name, round(eight.value / three.value, 4)
        found += [eight, Figure(name, round(eight.value / three.value * 3 / 8, 4), "", [], baseline=three.name)]
    return found


def ratios_to_go(*, quick: bool) -> list[Figure]:
    """The smallest chaincode on befl's shim and on Fabric's Go shim, 32 in flight, in turns on one network."""
    with network(3) as folder:
        measured = against_go.measure(folder, pairs=3 if quick else 9)
    found = []
    for kind, samples in measured.items():
        go, python = (statistics.median(samples[language]) for language in ("go", "python"))
        found.append(median(f"{kind}_go_per_s", samples["go"], "1/s"))
        rate = median(f"{kind}_per_s", samples["python"], "1/s")
        rate.ratio = round(python / go, 4)
        ratio = median(f"{kind}_ratio_to_go", against_go.ratio(samples), "")
        rate.baseline = ratio.baseline = f"{kind}_go_per_s"
        found += [rate, ratio]
    return found


def ledger_tax(*, quick: bool) -> list[Figure]:
    """A real torch job of three institutions on the ledger, against the same loop without it."""
    with network(3) as folder:
        found = tax.measure(folder, pairs=1 if quick else 2)
    plain = median("round_without_ledger_s", found["without"], "s")
    figure = median("round_with_ledger_s", found["with"], "s")
    ratio = Figure("ledger_tax", round(tax.ratio(found), 4), "", [])
    figure.ratio = ratio.value
    figure.baseline = ratio.baseline = plain.name
    return [plain, figure, ratio]


def replay_50_rounds_s(*, quick: bool) -> list[Figure]:
    """The replay of a task of 50 rounds, 10,000 parameters, three institutions, from an institution's peer."""
    with network(3) as folder:
        task = whole_rounds.measure(folder, 10_000, 3, 4 if quick else 49).task  # and one that ends it
        return [median("replay_50_rounds_s", replay.measure(folder, task), "s")]


def simulate_hospitals_s(*, quick: bool) -> list[Figure]:
    """The hospitals' task, four institutions and ten rounds, in one process without Fabric; imports are before."""
    found = [simulated.measure(simulated.HOSPITALS) for _ in range(1 if quick else 5)]
    return [simulation("simulate_hospitals_s", found)]


def simulate_100_s(*, quick: bool) -> list[Figure]:
    """The same with a hundred institutions of 46 rows; and the memory of its largest process."""
    return [simulation("simulate_100_s", [simulated.measure(simulated.HUNDRED, rounds=2 if quick else 10)])]


def simulation(name: str, found: list[simulated.Simulated]) -> Figure:
    """Make the figure of some simulations, with what the whole command took."""
    details = {"processor_s": [each.processor_s for each in found], "max_rss_mb": [each.memory_mb for each in found]}
    return median(name, [each.seconds for each in found], "s", details)


def join_s(*, quick: bool) -> list[Figure]:  # noqa: ARG001  # a page has no short form
    """A fifth institution joins four: machine time of the page's commands, as the test that types the page sums it."""
    page = "tests/network/test_join.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-m", "slow", "-p", "no:cacheprovider", page],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = re.search(r"^joining took ([0-9.]+) s in (\d+) commands", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        sys.exit(f"{page} has failed:\n{done.stdout[-2000:]}")
    return [Figure("join_s", float(found[1]), "s", [float(found[1])], steps={"commands": float(found[2])})]


def profile_1m(*, quick: bool) -> list[Figure]:
    """Where the processor time of a round of a million parameters goes, by kind of process and what it does."""
    with network(processor.INSTITUTIONS) as folder:
        found = processor.measure(folder, 1_000_000, *((3, 5) if quick else (12, 25)))
    print(processor.table(found))
    return [
        Figure(
            f"profile_1m {kind}", round(total, 4), "s", [], steps={name: round(each, 4) for name, each in parts.items()}
        )
        for kind, (total, parts) in found.items()
    ]


def memory_500_rounds(*, quick: bool) -> list[Figure]:
    """Resident memory of every process while agents train 500 rounds; the process that grows most."""
    held = memory.measure(*((20, 10, 1) if quick else (500, 10)))
    growth = {name: round(memory.growth(samples), 2) for name, samples in held.items()}
    return [Figure("memory_growth_per_cent", max(growth.values()), "%", held, steps=growth)]


def learned(name: str) -> Callable[..., list[Figure]]:
    """Make the measurement of a study: a real data set, learned by institutions together and in one place."""

    def measure(*, quick: bool) -> list[Figure]:  # noqa: ARG001  # accuracy has no short form
        try:
            lines = learning.STUDIES[name]()
        except learning.NotHereError as error:
            print(f"{name}: left out, {error}")
            return []
        print(learning.table(lines))
        return figures_of(name, lines)

    return measure


def figures_of(name: str, lines: list[learning.Learned]) -> list[Figure]:
    """Make figures of what a study found, each beside that of one place; where a bar is a difference, that as well."""
    central = next((each for each in lines if each.how == "in one place"), None)
    made = []
    for each in lines:
        figure = Figure(f"{name} {each.partition} {each.how}", round(each.score, 4), "", each.scores)
        made.append(figure)
        if central is None or each is central:
            continue
        figure.baseline, figure.ratio = f"{name} - in one place", round(each.score / central.score, 4)
        behind = f"{figure.name}, points behind"
        if behind in BARS:
            points = round(100 * (central.score - each.score), 2)
            made.append(Figure(behind, points, "", [points], baseline=figure.baseline))
    return made


SPEED: dict[str, Callable[..., list[Figure]]] = {
    "network_up_4orgs_s": network_up_4orgs_s,
    "join_s": join_s,
    "ratios_to_go": ratios_to_go,
    "round_10k_s": round_10k_s,
    "round_10k_8orgs_s": round_10k_8orgs_s,
    "round_1m_s": round_1m_s,
    "ledger_tax": ledger_tax,
    "replay_50_rounds_s": replay_50_rounds_s,
    "simulate_hospitals_s": simulate_hospitals_s,
    "simulate_100_s": simulate_100_s,
}
#: Measured by name only: 500 rounds and studies take minutes each, a profile slows what it looks at.
BY_NAME: dict[str, Callable[..., list[Figure]]] = {
    "memory_500_rounds": memory_500_rounds,
    "profile_1m": profile_1m,
    **{name: learned(name) for name in learning.STUDIES},
}
FIGURES = SPEED | BY_NAME


def where() -> dict[str, Any]:
    """Say what was measured, and on what."""
    git = ["git", "-C", str(Path(__file__).parent)]
    commit, changed = (
        subprocess.run([*git, *command], capture_output=True, text=True, check=False).stdout.strip()
        for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "commit": commit,
        "uncommitted_changes": bool(changed),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "processors": os.cpu_count(),
            "model": models[0].partition(":")[2].strip() if models else platform.machine(),
            "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "system": platform.platform(),
            "load_at_start": list(os.getloadavg()),
        },
        "versions": versions(),
    }


def command(name: str, figure: str = "") -> str:
    """Return what is typed to measure a figure: by its own name, or by that of what measures it among others."""
    return f"python benchmarks/run.py {figure if figure in FIGURES else name}"


def keep(output: Path, entry: dict[str, Any]) -> None:
    """Write a figure into the file, over what stood there by its name; the file is never half written."""
    try:
        there = json.loads(output.read_text())
    except (FileNotFoundError, ValueError):
        there = []
    kept = {each["name"]: each for each in there} if isinstance(there, list) else {}
    if entry["quick"] and not kept.get(entry["name"], entry)["quick"]:
        return
    kept[entry["name"]] = entry
    output.parent.mkdir(parents=True, exist_ok=True)
    new = output.with_name(f"{output.name}.new")
    new.write_text(json.dumps(list(kept.values()), indent=2) + "\n")
    new.replace(output)


def measure(names: Iterable[str], output: Path, *, quick: bool) -> list[Figure]:
    """Measure the named figures one after another, and keep the file up to date."""
    about, found = where(), []
    print(
        f"{about['machine']['processors']} x {about['machine']['model']}, Python {about['versions']['python']}, "
        f"Fabric {about['versions']['fabric']}, commit {about['commit'][:12]}"
    )
    for name in names:
        about = {"command": command(name), **where(), "quick": quick}
        for figure in FIGURES[name](quick=quick):
            found.append(figure)
            if figure.baseline:
                figure.baseline_command = command(name, figure.baseline)
            steps = "".join(f"  {step} {value}" for step, value in figure.steps.items())
            print(f"{figure.name:<24} {figure.value:>9} {figure.unit}  {figure.samples}{steps}", flush=True)
            keep(output, {**figure.to_json(), **about})
    return found


def main() -> int:
    """Measure the named figures, those of speed by default; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(SPEED)}; by name only {', '.join(BY_NAME)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewest samples: shows that it runs, measures nothing")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FIGURES)
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = measure(arguments.names or SPEED, arguments.output, quick=arguments.quick)
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        return 130
    except BeflError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n" + table(found))
    if arguments.quick:
        print("--quick: too few samples to hold against a bar")
    print(f"raw samples: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
