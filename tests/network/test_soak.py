"""`make soak`, with three kills."""

from __future__ import annotations

import re

import pytest
from tests.making import make

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KILLS = 3


def test_make_soak(tmp_path):
    """It kills as often as it is told, loses nothing, says so, and leaves neither folders nor (conftest) processes."""
    done = make("soak", SOAK_KILLS=str(KILLS), SOAK_SEED="1", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{KILLS} kills, seed 1"
    summary = re.fullmatch(
        r"(\d+) kills at their step, (\d+) a moment late; (\d+) tasks, (\d+) updates, 0 lost", lines[-2]
    )
    assert summary is not None, done.stdout
    hit, late, tasks, updates = map(int, summary.groups())
    assert hit == KILLS  # one that came late is tried again
    assert tasks >= 1
    assert updates > 0
    table = re.findall(r"^(\w+) +((?:\d+ *)+)$", "\n".join(lines[1:-2]), re.MULTILINE)
    assert sum(int(number) for _, numbers in table for number in numbers.split()) == hit
    assert len(re.findall(r"round \d+, \w+: \w+ of org\d", done.stderr)) == hit + late, done.stderr
    assert lines[-1] == "0 lost updates, 0 stuck tasks"
    assert list(tmp_path.iterdir()) == []
