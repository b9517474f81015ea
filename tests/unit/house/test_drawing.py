"""The drawings of the state machines hold what the tables hold, and nothing lies on something else."""

from __future__ import annotations

import importlib
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from befl.rules.modes import MODES
from befl.rules.states import NONE

SVG = "{http://www.w3.org/2000/svg}"
MACHINES = [
    machine
    for version in MODES.names()
    for machine in (MODES[MODES.newest(version)].task_machine, MODES[MODES.newest(version)].round_machine)
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.kind)
def test_every_state_and_step_is_drawn_once(monkeypatch, machine):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "docs/_ext"))
    drawing = ET.fromstring(importlib.import_module("drawing").draw(machine, "a-task"))  # noqa: S314  # what was drawn here
    width, height = float(drawing.get("width", 0)), float(drawing.get("height", 0))

    states = {state for row in machine.transitions for state in (row.state, row.next)} - {NONE}
    steps = {(row.state, row.next): set() for row in machine.transitions}
    for row in machine.transitions:
        steps[row.state, row.next].add(row.transaction)
    texts = drawing.findall(f"{SVG}text")
    named = [each.text for each in texts if each.get("font-weight")]
    assert sorted(named) == sorted(states)
    others = sorted(sorted((each.text or "").split(", ")) for each in texts if not each.get("font-weight"))
    assert others == sorted(sorted(transactions) for transactions in steps.values())
    assert len(drawing.findall(f"{SVG}path")) == len(steps)

    boxes = [[float(box.get(key, 0)) for key in ("x", "y", "width", "height")] for box in drawing.findall(f"{SVG}rect")]
    outer = [box for box in boxes if box[3] == max(each[3] for each in boxes)]
    assert len(outer) == len(states)
    for (x, y, wide, high), (other_x, other_y, *_) in combinations(outer, 2):
        assert abs(x - other_x) > wide or abs(y - other_y) > high
    ways = [path.get("d", "") for path in drawing.findall(f"{SVG}path")]
    downwards = [re.fullmatch(r"M ([\d.]+) ([\d.]+)(?: H ([\d.]+) q .+)? V ([\d.]+)", way) for way in ways]
    for way in filter(None, downwards):
        along = float(way[1]) if way[3] is None else float(way[3]) + 10
        for x, y, wide, high in outer:
            assert not (x < along < x + wide and float(way[2]) < y + high / 2 < float(way[4])), (machine.kind, way[0])
    assert len(list(filter(None, downwards))) == sum(before != after for before, after in steps)
    for x, y, wide, high in boxes:
        assert 0 <= x <= width - wide
        assert 0 <= y <= height - high
