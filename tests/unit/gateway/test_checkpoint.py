"""The place of a follower: whole on the disk, private, and refused when it is something else."""

from __future__ import annotations

import json
import stat

import pytest

from befl.gateway import ChaincodeEvent, FileCheckpointer, InMemoryCheckpointer
from befl.rules.errors import BeflError


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    return InMemoryCheckpointer() if request.param == "memory" else FileCheckpointer(tmp_path / "place")


def test_it_moves_behind_what_was_handled(place):
    assert (place.block, place.txid) == (None, "")
    place.checkpoint_chaincode_event(ChaincodeEvent(7, "t1", "name", b""))
    assert (place.block, place.txid) == (7, "t1")
    place.checkpoint_transaction(7, "t2")
    assert (place.block, place.txid) == (7, "t2")
    place.checkpoint_block(7)
    assert (place.block, place.txid) == (8, "")


def test_the_file_is_private_and_alone(tmp_path):
    path = tmp_path / "place"
    FileCheckpointer(path).checkpoint_transaction(3, "t")
    again = FileCheckpointer(path)
    assert (again.block, again.txid) == (3, "t")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["place"]
    assert json.loads(path.read_text()) == {"block": 3, "txid": "t"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 5_000,
        "[]",
        "{}",
        '{"block": "1", "txid": ""}',
        '{"block": -1, "txid": ""}',
        '{"block": 1, "txid": 2}',
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "place").write_text(content)
    with pytest.raises(BeflError, match="BEFL-G-032"):
        FileCheckpointer(tmp_path / "place")


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(BeflError, match="BEFL-G-032"):
        FileCheckpointer(tmp_path)
