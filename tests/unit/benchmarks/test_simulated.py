"""The simulations that are measured are of the hospitals' task, whole and as many as they say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def simulated(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("simulated")


def test_what_is_measured(simulated):
    found = simulated.measure((40, 30, 20), rounds=2)
    assert found.updates == [3, 3]
    assert 0 < found.seconds < 60
    assert 0 < found.processor_s < 60
    assert 50 < found.memory_mb < 4_000
    assert (len(simulated.HOSPITALS), len(simulated.HUNDRED)) == (4, 100)
