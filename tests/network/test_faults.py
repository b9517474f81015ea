"""Whatever process is killed at whatever step of a task: the model is the one that comes out undisturbed."""

from __future__ import annotations

import time

import pytest

from befl.gateway import wait

from .down import stopped
from .faults import PROCESSES, STEPS, Cell, besieged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 6
ROUNDS = {"supervisor": 24}
"""While the network starts again the task goes on: it takes more rounds to come to each step."""
FEW = 6
TASKS_MORE = 6
"""For kills that came too late in the first tasks."""


def test_each_process_killed_at_each_step(tmp_path):
    left: list[Cell] = []
    with besieged(tmp_path, SEED) as faults:
        for process in PROCESSES:
            task = faults.task(ROUNDS.get(process, FEW))
            left += faults.strike(task, [Cell(process, step) for step in STEPS])
            faults.check(task)
        for _ in range(TASKS_MORE):
            if left:
                task = faults.task(FEW)
                left = faults.strike(task, sorted(left, key=lambda cell: STEPS.index(cell.step)))
                faults.check(task)
        print(faults.table())
        assert all(faults.counts[Cell(process, step)] >= 1 for process in PROCESSES for step in STEPS), left
        assert faults.lost == 0
        for agent in faults.agents:
            assert "a mistake in befl" not in agent.log


def test_stopped_and_restarted(tmp_path):
    """A peer that stands still for a minute, an institution that does, and everything killed and started again."""
    with besieged(tmp_path, SEED) as faults:
        task = faults.task(3)

        def at(number: int) -> None:
            def open_now() -> bool:
                current = faults.look(task).round
                return current is not None and current.number >= number and current.state == "open"

            wait.until(open_now, timeout=60, interval=0.02, what=f"round {number} open")

        at(1)
        faults.restart_everything()
        at(2)
        with stopped([faults.pid("org2/peer")]):
            end = time.monotonic() + 60
            # an endorser whose copy goes to a peer that does not answer is held up by three seconds, not for good
            wait.until(lambda: len(faults.look(task).round.updates) >= 2, timeout=30, what="the updates of the others")
            wait.pause(max(0.0, end - time.monotonic()))
        at(3)
        with stopped(faults.processes("org3")):
            wait.pause(20)
            assert faults.look(task).state == "running", "it waits for the third institution"
        faults.check(task)
