"""`make fuzz`, with a second a target: it reports what each did, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from tests.making import ROOT, make

from .targets import TARGETS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # atheris comes from a package registry


@pytest.fixture
def atheris(tmp_path, monkeypatch):
    """The release that requirements/fuzz.txt locks, for this test's children, and a folder for temporary files."""
    folder, temporary = tmp_path / "atheris", tmp_path / "t"
    temporary.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    locked = ROOT / "requirements" / "fuzz.txt"
    subprocess.run([*pip, "--target", str(folder), "-r", str(locked)], check=True, stdin=subprocess.DEVNULL)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, str(folder)]))
    monkeypatch.setenv("FUZZ_FOLDER", str(tmp_path / "found"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    return temporary


def test_make_fuzz(atheris, tmp_path):
    done = make("fuzz", FUZZ_SECONDS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [re.fullmatch(r"(\S+) +(\d+) +(\d+) +(\d+)  ok", line) for line in done.stdout.splitlines()[1:-1]]
    assert all(rows), done.stdout
    assert [row[1] for row in rows] == list(TARGETS)
    assert all(int(row[2]) > 0 for row in rows), "each was given inputs"
    assert done.stdout.splitlines()[-1] == f"{len(TARGETS)} targets, 0 failed"
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == sorted(TARGETS)
    assert list(atheris.iterdir()) == []


def test_what_fails_is_said(atheris):
    """A target of that name there is not: its process ends with an error, as with a crash."""
    known = next(iter(TARGETS))
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fuzz" / "run.py"), known, "nothing"],
        env={**os.environ, "FUZZ_SECONDS": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "2 targets, 1 failed: nothing"
    assert "KeyError: 'nothing'" in run.stdout
    assert list(atheris.iterdir()) == []
