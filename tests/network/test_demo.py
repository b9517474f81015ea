"""`make demo`, as somebody runs it who reads the output through a pipe, and who loses patience."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from befl.gateway import wait
from befl.rules.errors import BeflError

DEMO = Path(__file__).parents[2] / "examples" / "heart" / "demo.py"

pytestmark = pytest.mark.slow  # the hospitals' data come from a package registry the first time


def left(folder: Path) -> list[str]:
    """What works in a folder, still after a moment: a supervisor may have to notice yet that its owner has ended."""
    with contextlib.suppress(BeflError):
        wait.until(lambda: not working_in(folder), timeout=5, what="the end of all processes")
    return working_in(folder)


def working_in(folder: Path) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in command or str(folder) in str((place / "cwd").readlink()):
                found.append(f"{place.name} {command}")
        except OSError:
            continue
    return found


@contextlib.contextmanager
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(DEMO), "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("words", ["Each hospital runs", "certificate authorities", "    1  "])
def test_interrupted_it_leaves_nothing_and_runs_again(tmp_path, words):
    """Ctrl-C reaches every process of the terminal: before there is a network, while it starts, in a round."""
    folder = tmp_path / "demo"
    with demo(folder) as process:
        said, sent = "", False
        for line in process.stdout:
            said += line
            if words in line and not sent:
                os.killpg(process.pid, signal.SIGINT)
                sent = True
        assert process.wait(60) == 130, said
    assert "Traceback" not in said
    assert said.rstrip().endswith("interrupted; nothing is left running")
    assert left(folder) == []
    with demo(folder) as process:  # what was left behind is no hindrance
        for line in process.stdout:
            if "institutions," in line:
                process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert left(folder) == []


def test_the_demo(tmp_path):
    folder = tmp_path / "demo"
    with demo(folder) as process:
        said, _ = process.communicate(timeout=280)
        assert process.returncode == 0, said
    assert "\x1b" not in said, "plain when piped"
    assert left(folder) == []
    assert "4 institutions, 16 processes" in said
    assert [int(number) for number in re.findall(r"^ +(\d+)  cleveland [\d.]+ ", said, re.MULTILINE)] == list(
        range(1, 11)
    )
    [difference] = re.findall(r"The difference in AUC is ([+-]\d\.\d+)", said)
    assert abs(float(difference)) <= 0.01
    [(alone, federated)] = re.findall(r"^ *all together +\d+ +([\d.]+) \([\d.]+\) +([\d.]+)", said, re.MULTILINE)
    assert float(federated) > max(0.75, float(alone))
    assert "Budapest found all" in said
    assert re.search(r"10 aggregates and models computed again.*the same blocks at 4 peers", said, re.DOTALL)
    assert said.splitlines()[-1] == "verdict: PASS"
    assert {"manifest.json", "model.safetensors", "card.md"} <= {path.name for path in (folder / "model").iterdir()}
    places = re.findall(rf"({re.escape(str(folder))}\S+)$", said, re.MULTILINE)
    assert len(places) >= 4
    for place in places:
        assert Path(place).exists(), place
