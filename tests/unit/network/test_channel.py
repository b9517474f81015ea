"""Configuration updates as files: read, merged, and whatever is none refused."""

from __future__ import annotations

import os
import stat

import pytest
from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import identities_pb2

from befl.network import channel
from befl.network.channel import Update
from befl.rules.errors import BeflError


def signature(msp_id: str) -> tuple[str, bytes]:
    creator = identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=b"certificate").SerializeToString()
    header = common_pb2.SignatureHeader(creator=creator, nonce=b"n").SerializeToString()
    return msp_id, configtx_pb2.ConfigSignature(signature_header=header, signature=b"s").SerializeToString()


def update(*signers: str, name: str = "befl") -> Update:
    inner = configtx_pb2.ConfigUpdate(channel_id=name).SerializeToString()
    return Update(name, inner, tuple(signature(msp_id) for msp_id in signers))


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "update.pb"
    made = update("AMSP", "BMSP")
    path.write_bytes(made.dump())
    assert channel.load(path) == made
    assert made.signers == ("AMSP", "BMSP")


def test_copies_bring_their_signatures_together():
    merged = channel.merge([update("BMSP"), update("AMSP", "BMSP"), update()])
    assert merged.signers == ("AMSP", "BMSP")
    assert len(merged.signatures) == 2
    with pytest.raises(BeflError, match="BEFL-N-015: the files hold different updates"):
        channel.merge([update("AMSP"), update("AMSP", name="other")])


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", b"{}", common_pb2.Envelope(payload=b"x").SerializeToString()])
def test_what_is_no_update_is_refused(tmp_path, data):
    path = tmp_path / "update.pb"
    path.write_bytes(data)
    with pytest.raises(BeflError, match=r"BEFL-N-015: .*update\.pb: this is no configuration update"):
        channel.load(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-N-015: .*No such file"):
        channel.load(tmp_path / "update.pb")


def test_another_channel_in_the_header_is_refused(tmp_path):
    path = tmp_path / "update.pb"
    inner = update().update
    path.write_bytes(Update("other", inner, ()).dump())
    with pytest.raises(BeflError, match="BEFL-N-015"):
        channel.load(path)


def test_a_file_for_others_is_not_written_through_anothers_link(tmp_path):
    """In a folder that several users share, one may have laid a link under the name of the unfinished file."""
    victim = tmp_path / "profile"
    victim.write_text("the operator's own")
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in (".update.pb.tmp", "update.pb"):
        (shared / name).symlink_to(victim)
    mask = os.umask(0o077)
    try:
        channel.write_public(shared / "update.pb", b"an update")
    finally:
        os.umask(mask)
    assert victim.read_text() == "the operator's own"
    written = shared / "update.pb"
    assert (written.is_symlink(), written.read_bytes()) == (False, b"an update")
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert sorted(path.name for path in shared.iterdir()) == [".update.pb.tmp", "update.pb"]
    with pytest.raises(BeflError, match="BEFL-C-006"):
        channel.write_public(tmp_path / "absent" / "update.pb", b"an update")
