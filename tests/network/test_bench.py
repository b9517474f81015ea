"""``make bench`` measures on a real network, and leaves nothing behind when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from befl.gateway import wait

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"

pytestmark = pytest.mark.slow


def command(tmp_path: Path, *names: str) -> list[str]:
    return [sys.executable, str(RUN), "--quick", "--output", str(tmp_path / "bench.json"), *names]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path)}


def left(tmp_path: Path) -> list[str]:
    """Return the processes that have to do with a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(tmp_path) in arguments:
            found.append(arguments)
    return found


def measured(tmp_path: Path, name: str) -> tuple[str, list[dict[str, Any]]]:
    """Measure a figure; return what was printed, and what is written."""
    done = subprocess.run(
        command(tmp_path, name), env=environment(tmp_path), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads((tmp_path / "bench.json").read_text())


def test_rounds_are_measured_by_step(tmp_path):
    printed, figures = measured(tmp_path, "round_10k_s")
    [figure, work] = figures
    assert (figure["name"], figure["bar"], len(figure["samples"])) == ("round_10k_s", "<= 0.5", 3)
    assert list(figure["steps"]) == ["pack", "submit", "close", "follow", "report", "open"]
    assert sum(figure["steps"].values()) == pytest.approx(figure["value"], rel=0.5)  # medians, each of its own
    assert (work["name"], len(work["samples"])) == ("round_10k_processor_s", 3)
    assert min(work["samples"]) > 0
    assert "round_10k_s" in printed.splitlines()[-4]
    assert left(tmp_path) == []
    assert [each.name for each in tmp_path.iterdir()] == ["bench.json"]


def test_interrupted_it_leaves_nothing_running(tmp_path):
    with subprocess.Popen(
        command(tmp_path, "round_10k_s"), env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait.until(lambda: len(left(tmp_path)) > 3, timeout=120, what="processes of a network")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert left(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_profile_says_what_processes_do(tmp_path):
    _, figures = measured(tmp_path, "profile_1m")
    found = {each["name"].removeprefix("profile_1m "): each for each in figures}
    assert found.keys() == {"agent", "ca", "chaincode", "orderer", "peer"}
    for kind in ("agent", "chaincode", "peer"):
        assert sum(found[kind]["steps"].values()) == pytest.approx(found[kind]["value"], abs=0.01)
    assert found["peer"]["steps"]["committing blocks"] > 0
    assert found["agent"]["steps"]["rules.codec.encode"] > 0, "a participant packs its update"
    assert left(tmp_path) == []
