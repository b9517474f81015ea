"""Channel verbs on the real network: what the pure functions make is what Fabric makes, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

import befl.network
from befl.network import channel, configuration
from befl.network import consortium as running
from befl.network.configuration import Configuration
from befl.network.definition import Definition, load
from befl.network.layout import Layout
from befl.rules.errors import BeflError

from .hospitals import befl as type_befl
from .hospitals import befl_json


def timeout(text: str):
    def change(now: Configuration) -> Configuration:
        changed = json.loads(json.dumps(now))
        changed["channel_group"]["groups"]["Orderer"]["values"]["BatchTimeout"]["value"]["timeout"] = text
        return changed

    return change


def as_made(now: Configuration) -> Configuration:
    """Without what an earlier test may have left in org3: versions, revocations."""

    def plain(value):
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items() if name not in ("version", "revocation_list")}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return plain(now)


@pytest.mark.parametrize("org", [0, 1, 2])
def test_an_institution_that_is_added_is_as_configtxgen_made_it(consortium, org):
    with running.acting(consortium.directory, consortium.institutions[org]) as member:
        now, definition = channel.current(member), member.definition()
    without = configuration.remove(now, consortium.msp_ids[org])
    assert [one.msp_id for one in configuration.present(without)] == [
        msp_id for msp_id in consortium.msp_ids if msp_id != consortium.msp_ids[org]
    ]
    again = configuration.add(without, definition)

    def consenters(found: Configuration) -> list[dict]:
        return found["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"]["value"]["metadata"]["consenters"]

    # an orderer's certificate may have been renewed since, with the same key
    assert [one["port"] for one in consenters(now)] == sorted(one["port"] for one in consenters(again))
    for found in (now, again):
        consenters(found).clear()
    assert as_made(again) == as_made(now)


def test_a_definition_is_exported_with_its_digest(consortium, tmp_path):
    file = tmp_path / "org1.json"
    made = befl_json("org", "export", "--output", file, "--network", consortium.directory, "--as", "org1")
    definition = load(file)
    known = {"msp_id": consortium.msp_ids[0], "digest": definition.digest, "fingerprints": definition.fingerprints}
    assert made == {**known, "file": str(file)}
    assert made["fingerprints"].keys() == {"CA", "TLS CA", "orderer"}


def test_an_update_is_signed_apart_and_has_its_time(consortium, tmp_path):
    ours, theirs, late = (tmp_path / f"{name}.pb" for name in ("ours", "theirs", "late"))
    with running.acting(consortium.directory, "org1") as member:
        proposed = channel.propose(member, timeout("51ms"), ours)
        assert proposed.message.endswith("2 of 3 institutions must sign it")
        assert channel.propose(member, timeout("52ms"), late).changed
        assert channel.propose(member, timeout("25ms"), tmp_path / "same.pb").changed is False
        assert not (tmp_path / "same.pb").exists()
    with running.acting(consortium.directory, "org2") as member:
        assert channel.sign(member, ours, theirs).details == ("changed: value Channel/Orderer/BatchTimeout",)
        assert channel.sign(member, theirs, theirs).changed is False
    with running.acting(consortium.directory, "org3") as member:
        with pytest.raises(BeflError, match="BEFL-N-016: 2 of 3 institutions must sign; Org3MSP did"):
            channel.submit(member, [ours])
        assert channel.submit(member, [ours, theirs]).message == "the update is in force"
        assert channel.submit(member, [theirs]).changed is False
        for act in (lambda: channel.sign(member, late, late), lambda: channel.submit(member, [late])):
            with pytest.raises(BeflError, match="BEFL-N-017: Channel/Orderer/BatchTimeout has changed"):
                act()
        channel.propose(member, timeout("25ms"), ours)
    consortium.level()
    with running.acting(consortium.directory, "org2") as member:
        channel.sign(member, ours, ours)
    with running.acting(consortium.directory, "org1") as member:
        channel.submit(member, [ours])
        picture = json.loads((consortium.directory / "public/channel.json").read_text())
        assert [one["msp_id"] for one in picture["institutions"]] == list(consortium.msp_ids)


def test_whoever_is_not_in_the_channel_does_not_join(consortium, tmp_path):
    (tmp_path / "none.block").write_bytes(b"no block")
    with running.acting(consortium.directory, "org1") as member:
        own = member.definition()
        for path in (tmp_path / "none.block", tmp_path / "absent.block"):
            with pytest.raises(BeflError, match="BEFL-N-018"):
                channel.join(member, path, None)
        block = tmp_path / "latest.block"
        assert channel.fetch(member, block).changed
        assert channel.join(member, block, None).changed is False
        without = Definition(**{**{name: getattr(own, name) for name in own.__slots__}, "orderer": own.peer})
        with pytest.raises(BeflError, match="BEFL-N-018: Org1MSP does not hand out the block"):
            channel.join(member, None, without)
    path = Path(tmp_path / "org1.json")
    path.write_bytes(own.dump())
    assert load(path) == own


def test_a_newcomer_joins_by_a_block_that_was_handed_over(tmp_path):
    """Instead of `--from`: then the newcomer need reach no member before it joins. Both make the same package."""
    there, here = tmp_path / "network", tmp_path / "north"
    files = {name: tmp_path / name for name in ("north.json", "add.pb", "latest.block")}
    befl.network.up(there, befl.network.make(["alone"]), owner=os.getpid())
    try:
        type_befl("org", "init", here, "--name", "north")
        type_befl("org", "export", "--network", here, "--output", files["north.json"])
        type_befl("channel", "fetch", "--network", there, "--output", tmp_path / "early.block")
        early = type_befl("channel", "join", "--network", here, "--block", tmp_path / "early.block", status=2)
        assert "BEFL-N-018: the channel of this block (0) does not have NorthMSP" in early
        update = ("--add", files["north.json"], "--output", files["add.pb"])
        type_befl("channel", "propose", "--network", there, *update)
        type_befl("channel", "submit", "--network", there, files["add.pb"])
        assert "the configuration block is in" in type_befl(
            "channel", "fetch", "--network", there, "--output", files["latest.block"]
        )
        joined = type_befl("channel", "join", "--network", here, "--block", files["latest.block"])
        assert "NorthMSP is in channel befl with AloneMSP, NorthMSP" in joined
        assert [one.height for one in befl.network.status(here).institutions] == [
            one.height for one in befl.network.status(there).institutions
        ]

        said = {}
        for network in (there, here):
            package = tmp_path / f"{network.name}.tar.gz"
            said[package] = type_befl("chaincode", "package", "--network", network, "--output", package)
        one, other = said
        assert one.read_bytes() == other.read_bytes()
        package_id = said[one].split()[-1]
        assert said[other].split()[-1] == package_id
        assert hashlib.sha256(one.read_bytes()).hexdigest() == package_id.rpartition(":")[2]
        assert f"{package_id} is installed already" in type_befl("chaincode", "install", "--network", there)
        assert f"{package_id} is installed\n" in type_befl("chaincode", "install", "--network", here)
    finally:
        for network in (here, there):
            if Layout(network).topology.exists():
                befl.network.down(network)


def test_an_update_for_another_channel_is_refused(consortium, tmp_path):
    path = tmp_path / "update.pb"
    with running.acting(consortium.directory, "org1") as member:
        channel.propose(member, timeout("53ms"), path)
        made = channel.load(path)
        other = channel.Update("other", made.update.replace(b"befl", b"othr", 1), ())
        path.write_bytes(channel.Update("othr", other.update, ()).dump())
        for act in (lambda: channel.sign(member, path, path), lambda: channel.submit(member, [path])):
            with pytest.raises(BeflError, match="BEFL-N-015: the update is for channel othr, not befl"):
                act()
