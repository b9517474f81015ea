"""Simulations: the hospitals' task of examples/heart with four institutions, and with a hundred.

The task is the example's own; the rows are made up here, for what a simulation costs does not depend on their values.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from befl.rules.spec import DataSpec, from_toml

TASK = Path(__file__).parents[1] / "examples" / "heart" / "task.toml"
#: Patients of Cleveland, Hungary, Switzerland and Long Beach.
HOSPITALS = (303, 294, 123, 200)
#: As many institutions as there are patients in 4,600.
HUNDRED = (46,) * 100


@dataclass(frozen=True)
class Simulated:
    """Seconds from the publication to the model, torch imported before; of the whole command processor seconds, and MB
    of its largest process.
    """

    seconds: float
    processor_s: float
    memory_mb: float
    updates: list[int]


def measure(rows: Sequence[int], rounds: int = 10) -> Simulated:
    """Run ``befl simulate`` as a process, with an institution for each number of rows."""
    with tempfile.TemporaryDirectory(prefix="befl-bench-simulate-") as folder:
        place = Path(folder)
        toml = _changed(TASK.read_text(), least=len(rows), most=len(rows), count=rounds)
        (place / "TASK.toml").write_text(toml)
        (place / "data").mkdir()
        for number, count in enumerate(rows, start=1):
            _write(place / "data" / f"org{number}.csv", from_toml(toml.encode()).data, count, number)
        command = [sys.executable, "-m", "befl.cli.main", "simulate", str(place / "TASK.toml"), "--format", "json"]
        with (place / "said.json").open("wb") as said, subprocess.Popen(command, stdout=said) as process:
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} has failed")
        made = json.loads((place / "said.json").read_text())
    updates = [len(each["record"]["updates"]) for each in made["rounds"]]
    return Simulated(made["seconds"], usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, updates)


def _changed(toml: str, **wanted: int) -> str:
    """Give settings of a TASK.toml that are whole numbers other values."""
    lines = toml.splitlines(keepends=True)
    for name, value in wanted.items():
        [place] = [place for place, line in enumerate(lines) if line.startswith(f"{name} = ")]
        lines[place] = f"{name} = {value}\n"
    return "".join(lines)


def _write(path: Path, data: DataSpec, rows: int, seed: int) -> None:
    """Make up a table; its first column says something about the label."""
    chance = np.random.default_rng(seed)
    first = next(iter(data.columns))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*data.columns, data.label])
        for _ in range(rows):
            sick = int(chance.integers(2))
            cells = [
                str(chance.choice(column.values))
                if column.type == "category"
                else f"{float(column.centre) + float(column.spread) * (chance.normal() + sick * (name == first)):.1f}"
                for name, column in data.columns.items()
            ]
            writer.writerow([*cells, data.classes[sick]])
