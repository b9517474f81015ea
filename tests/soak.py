"""Kill processes of a consortium for long: ``make soak``, or ``python -m tests.soak`` in the checkout.

``SOAK_KILLS`` (200) kills, drawn by ``SOAK_SEED`` (1): which kind of process, at which step, of which institution. What
comes a moment late, when the step is over, is a kill besides and does not count. The seed fixes the plan; the machine's
load decides which of it comes in time. Exit status 0 when no update was lost and no task stuck, 1 otherwise.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from befl.rules.errors import BeflError

from .network.faults import PROCESSES, STEPS, Cell, Faults, besieged

ROUNDS = 10


def plan(chance: random.Random) -> list[Cell]:
    """Draw the kills of one task: each of its steps that come once at most once."""
    inner = [Cell(chance.choice(PROCESSES), chance.choice(STEPS[1:-1])) for _ in range(ROUNDS)]
    ends = [[Cell(chance.choice(PROCESSES), step)] for step in (STEPS[0], STEPS[-1])]
    return [*ends[0], *inner, *ends[1]]


def soak(faults: Faults, kills: int) -> str:
    """Kill so often; return what went wrong, nothing when nothing did."""
    began = time.monotonic()
    while (done := faults.counts.total()) < kills:
        faults.say(f"{done} of {kills} kills, {time.monotonic() - began:.0f} s")
        try:
            task = faults.task(ROUNDS)
            faults.strike(task, plan(faults.chance)[: kills - done])
            faults.check(task)
        except BeflError as error:
            return f"stuck: {error}"
        except AssertionError as error:
            return f"lost: {error}"
    return ""


def main() -> int:
    """Run; what was killed and what came of it is printed."""
    kills, seed = int(os.environ.get("SOAK_KILLS", "200")), int(os.environ.get("SOAK_SEED", "1"))
    print(f"{kills} kills, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="befl-soak-") as folder, besieged(Path(folder), seed) as faults:
        wrong = soak(faults, kills)
        print(faults.table())
        print(
            f"{faults.counts.total()} kills at their step, {faults.late.total()} a moment late; {faults.tasks} tasks, "
            f"{faults.updates} updates, {faults.lost} lost"
        )
    print(wrong or "0 lost updates, 0 stuck tasks")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
