"""The folder of a training process: its agent's alone, and removed in the end, were the agent killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from befl.training import workspace
from befl.training.workspace import Workspace

KEEPER = (
    "import sys; from befl.training.workspace import Workspace\n"
    "made = Workspace(); print(made.path, flush=True); sys.stdin.read(); made.remove()"
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    workspace._sweep.cache_clear()
    yield tmp_path
    workspace._sweep.cache_clear()


def keeper() -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_it_is_private_and_ends_with_what_is_in_it(place):
    made = Workspace()
    folder = Path(made.path)
    assert folder.parent == place
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "sub").mkdir()
    (folder / "sub" / "rows").write_text("1,2")
    made.remove()
    made.remove()
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(place):
    with keeper() as killed, keeper() as living:
        left, held = (Path(process.stdout.readline().strip()) for process in (killed, living))
        (left / "rows").write_text("1,2")
        killed.kill()
        killed.wait()
        assert left.exists()
        made = Workspace()
        assert sorted(place.iterdir()) == sorted([held, Path(made.path)])
        made.remove()
        living.communicate("")
    assert list(place.iterdir()) == []


def test_nothing_but_folders_of_its_name_is_touched(place):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows").write_text("1,2")
    (place / "befl-train-link").symlink_to(elsewhere)
    (place / "befl-train-file").write_text("")
    Workspace().remove()
    assert {path.name for path in place.iterdir()} == {"elsewhere", "befl-train-link", "befl-train-file"}
    assert (elsewhere / "rows").exists()


def test_a_folder_swept_before_it_was_locked_is_made_again(place, monkeypatch):
    hold, seen = workspace._hold, []

    def first_too_late(path):
        seen.append(path)
        if len(seen) == 1:
            Path(path).rmdir()
        return hold(path)

    monkeypatch.setattr(workspace, "_hold", first_too_late)
    made = Workspace()
    assert [path.name for path in place.iterdir()] == [Path(made.path).name]
    assert seen[0] != seen[1] == made.path
    made.remove()
