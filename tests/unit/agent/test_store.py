"""The state folder: whole or not at all, for its owner's eyes only, one agent at a time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from befl.agent.store import Store, write_whole
from befl.rules import codec
from befl.rules.errors import BeflError

TASK = "0123456789abcdef"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "state")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_the_owners(store):
    store.keep_update(TASK, 1, 7, b"update")
    store.keep_model(TASK, 0, b"model")
    store.approve("a" * 64, {"name": "tabular"}, b"archive")
    store.lock()
    assert mode(store.folder) == 0o700
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {mode(path) for path in files} == {0o600}
    store.unlock()


def test_an_approval_and_its_archive_go_together(store):
    archive = b"the archive"
    digest = codec.digest(archive)
    assert store.app(digest) is None
    store.approve(digest, {"name": "forest"}, archive)
    store.approve("b" * 64, {"name": "tabular"})
    assert Store(store.folder).app(digest) == archive
    assert set(store.approvals()) == {digest, "b" * 64}
    (store.folder / "apps" / f"{digest}.befl-app").write_bytes(b"another")
    assert store.app(digest) is None
    store.withdraw(digest)
    store.withdraw("b" * 64)
    assert store.approvals() == {}
    assert list((store.folder / "apps").iterdir()) == []


def test_an_update_comes_back_as_it_was(store):
    assert store.kept_update(TASK, 1) is None
    store.keep_update(TASK, 1, 7, b"line\nline\0")
    assert Store(store.folder).kept_update(TASK, 1) == (7, b"line\nline\0")
    assert store.kept_update(TASK, 2) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_damaged_update_counts_as_none(store, data):
    """Whatever byte is changed, cut off or added: the update is made again rather than sent."""
    store.keep_update(TASK, 1, 12, b"0123456789")
    path = store.folder / "tasks" / TASK / "update-000001"
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["change", "cut", "add"]))
    byte = data.draw(st.integers(0, 255))
    if kind == "cut":
        damaged = whole[:place]
    elif kind == "add":
        damaged = whole[:place] + bytes([byte]) + whole[place:]
    else:
        damaged = whole[:place] + bytes([whole[place] ^ (byte or 1)]) + whole[place + 1 :]
    path.write_bytes(damaged)
    assert store.kept_update(TASK, 1) in (None, (12, b"0123456789"))


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\nx", b"null\nx", b"{}\nx", b'{"digest": 1}\nx', b"\xff\xfe\nx"])
def test_what_is_no_update_counts_as_none(store, content):
    store.keep_update(TASK, 1, 1, b"x")
    (store.folder / "tasks" / TASK / "update-000001").write_bytes(content)
    assert store.kept_update(TASK, 1) is None


def test_the_newest_model_up_to_a_round(store):
    assert store.kept_model(TASK, 9) is None
    store.keep_model(TASK, 3, b"three")
    assert store.kept_model(TASK, 9) == (3, b"three")
    assert store.kept_model(TASK, 3) == (3, b"three")
    assert store.kept_model(TASK, 2) is None


def test_older_models_and_updates_are_forgotten(store):
    store.keep_model(TASK, 0, b"zero")
    for number in (1, 2):
        store.keep_update(TASK, number, 1, b"update")
    store.keep_model(TASK, 2, b"two")
    names = {path.name for path in (store.folder / "tasks" / TASK).iterdir()}
    assert names == {"model-000002", "update-000002"}


def test_a_damaged_model_counts_as_none(store):
    store.keep_model(TASK, 1, b"one")
    folder = store.folder / "tasks" / TASK
    (folder / "model-000005").write_bytes(b"0" * 64 + b"\nmodel")
    (folder / "model-notes").write_bytes(b"an operator's")
    assert store.kept_model(TASK, 9) == (1, b"one")


def test_what_an_interrupted_write_left_is_not_read(store, monkeypatch):
    """The process dies between writing and renaming: the old file stands."""
    store.keep_update(TASK, 1, 1, b"old")

    def die(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", die)
    with pytest.raises(KeyboardInterrupt):
        store.keep_update(TASK, 1, 2, b"new")
    monkeypatch.undo()
    assert store.kept_update(TASK, 1) == (1, b"old")
    assert [path.name for path in (store.folder / "tasks" / TASK).iterdir()] == ["update-000001"]


def test_a_task_is_forgotten(store):
    store.keep_update(TASK, 1, 1, b"update")
    store.keep_model(TASK, 1, b"model")
    store.forget(TASK)
    store.forget(TASK)
    assert store.kept_update(TASK, 1) is None
    assert not (store.folder / "tasks" / TASK).exists()


def test_the_digest_of_a_tasks_data_is_that_of_its_first_use(store):
    assert store.keep_data("aa", "1" * 64) == "1" * 64
    assert store.keep_data("aa", "2" * 64) == "1" * 64
    assert store.keep_data("bb", "2" * 64) == "2" * 64
    assert Store(store.folder).keep_data("aa", "3" * 64) == "1" * 64
    store.forget("aa")
    assert store.keep_data("aa", "2" * 64) == "2" * 64


def test_approvals_add_up(store):
    assert store.approvals() == {}
    store.approve("a" * 64, {"name": "one"})
    store.approve("b" * 64, {"name": "two"})
    assert Store(store.folder).approvals() == {"a" * 64: {"name": "one"}, "b" * 64: {"name": "two"}}


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"null", b'{"a": 1.5}'])
def test_damaged_approvals_are_refused_and_the_file_named(store, content):
    """Ignoring them would forget what the operator decided; believing them would run what nobody approved."""
    (store.folder / "approvals.json").write_bytes(content)
    with pytest.raises(BeflError, match=r"BEFL-C-001: .*approvals\.json"):
        store.approvals()


def test_a_second_agent_is_kept_out(store):
    store.lock()
    second = Store(store.folder)
    with pytest.raises(BeflError, match="BEFL-C-008") as caught:
        second.lock()
    assert str(store.folder) in str(caught.value)
    store.unlock()
    store.unlock()
    second.lock()
    second.unlock()


def test_the_lock_ends_with_the_process(store):
    code = (
        "import os, pathlib, sys, befl.agent.store as s; "
        "s.Store(pathlib.Path(sys.argv[1])).lock(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False).returncode == -9
    store.lock()
    store.unlock()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        Store(tmp_path / "file" / "state")


def test_a_lock_that_cannot_be_made(store):
    (store.folder / "agent.lock").mkdir()
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*agent\.lock"):
        store.lock()


def test_a_file_that_cannot_be_read_or_written(store):
    (store.folder / "approvals.json").mkdir()
    with pytest.raises(BeflError, match="BEFL-C-006"):
        store.approvals()
    (store.folder / "tasks").write_text("")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        store.keep_update(TASK, 1, 1, b"x")


def test_a_mode_of_its_own(tmp_path):
    write_whole(tmp_path / "card.md", b"x", mode=0o644)
    assert mode(tmp_path / "card.md") == 0o644


def test_a_write_is_on_disk_before_it_returns(store, monkeypatch):
    """The file, and the folder that names it."""
    synced = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    store.keep_update(TASK, 1, 1, b"x")
    assert synced == [False, True]


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_only_files_are_written_over(tmp_path, what):
    """Root that names /dev/null would else put a file in its place."""
    place = tmp_path / what
    os.mkfifo(place) if what == "pipe" else place.mkdir()
    before = place.stat().st_ino
    with pytest.raises(BeflError, match=r"BEFL-C-006: .* is a folder or a device"):
        write_whole(place, b"x")
    assert place.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [place]
