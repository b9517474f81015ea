"""An institution's identities on a real network: enrolled, renewed with the same keys, revoked and then refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from befl.gateway import Profile, connect
from befl.network import consortium as running
from befl.network import identities
from befl.network.layout import Home
from befl.rules.errors import BeflError

from .hospitals import befl, befl_json


def profile_of(consortium, peer_of: str, tmp_path: Path) -> Path:
    """Org1's connection profile, but with another institution's peer."""
    own = json.loads(consortium.profile("org1").read_text())
    other = json.loads(consortium.profile(peer_of).read_text())
    folder = consortium.profile(peer_of).parent
    own["peers"] = other["peers"]
    for peer in own["peers"].values():
        peer["tlsCACerts"] = {"path": str(folder / peer["tlsCACerts"]["path"])}
    own["organizations"]["org1"]["peers"] = list(other["peers"])
    path = tmp_path / f"{peer_of}.json"
    path.write_text(json.dumps(own))
    return path


def members(consortium, tmp_path: Path, user: Path, peer_of: str = "org1") -> bytes:
    with connect(Profile.load(profile_of(consortium, peer_of, tmp_path)), user) as gateway:
        return gateway.network("befl").contract("befl").evaluate("MemberContract:Get", "Org1MSP", timeout=20)


def test_a_new_identity_works_until_it_is_revoked(consortium, tmp_path):
    network = ("--network", consortium.directory, "--as", "org1")
    user = consortium.user("org1", "second")
    assert "is enrolled as client with role trainer|auditor" in befl(
        "identity", "enroll", "second", "--role", "trainer", "--role", "auditor", *network
    )
    again = befl("identity", "enroll", "second", "--role", "trainer", "--role", "auditor", *network)
    assert "nothing to change" in again
    [signs, tls] = befl_json("identity", "show", "second", *network)
    assert (signs["use"], signs["kind"], signs["role"], signs["revoked"]) == ("msp", "client", "trainer|auditor", False)
    assert (tls["use"], tls["role"]) == ("tls", "")
    for name in ("org1", "org2"):
        assert b"Org1MSP" in members(consortium, tmp_path, user, name)
    for key in user.rglob("*"):
        if key.is_file() and b"PRIVATE KEY" in key.read_bytes():
            assert key.stat().st_mode & 0o077 == 0, key

    height = consortium.level()
    assert "second is revoked" in befl("identity", "revoke", "second", *network)
    assert "nothing to change" in befl("identity", "revoke", "second", *network)
    assert consortium.level() == height + 1
    for name in ("org1", "org2", "org3"):  # every institution's peer, not only the own one
        with pytest.raises(BeflError, match=r"access denied|creator"):
            members(consortium, tmp_path, user, name)
    assert b"Org1MSP" in members(consortium, tmp_path, consortium.user("org1"))
    listed = befl("identity", "list", *network)
    assert [line.split()[-1] for line in listed.splitlines() if line.startswith("second")] == ["revoked", "valid"]
    with (
        running.acting(consortium.directory, "org1") as member,
        pytest.raises(BeflError, match="BEFL-N-021: second is"),
    ):
        identities.renew(member, "second")


def test_an_identity_that_is_refused(consortium):
    with running.acting(consortium.directory, "org2") as member:
        for name, words in {
            "peer": "an identity cannot be called 'peer'",
            "Upper": "an identity cannot be called",
            "agent": "agent exists already, as client with role trainer",
        }.items():
            with pytest.raises(BeflError, match=f"BEFL-N-021: {words}"):
                identities.enroll(member, name, ["issuer"])
        for name in ("orderer", "admin"):
            with pytest.raises(BeflError, match=f"BEFL-N-021: {name} cannot be revoked"):
                identities.revoke(member, name)
        with pytest.raises(BeflError, match="BEFL-N-021: org2 has no identity 'nobody'"):
            identities.find(member, "nobody")


@pytest.mark.parametrize("name", ["orderer", "peer", "agent"])
def test_renewed_with_the_same_key(consortium, name):
    home = Home(consortium.directory / "org2")
    files = {
        "orderer": home.orderer / "tls/server.crt",
        "peer": home.peer / "tls/server.crt",
        "agent": home.user("agent") / "tls/client.crt",
    }
    before = x509.load_pem_x509_certificate(files[name].read_bytes())
    height = consortium.status().institutions[1].height
    said = befl("identity", "renew", name, "--network", consortium.directory, "--as", "org2")
    assert f"{name} is renewed" in said
    after = x509.load_pem_x509_certificate(files[name].read_bytes())
    assert after.serial_number != before.serial_number
    assert after.not_valid_after_utc >= before.not_valid_after_utc
    assert after.public_key() == before.public_key()
    assert after.subject == before.subject
    assert (
        after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        == before.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )
    befl("network", "up", "--network", consortium.directory)
    assert consortium.status().ready
    assert consortium.status().institutions[1].height == height  # no configuration update was needed
    if name == "peer":  # what dials the chaincode server is the new one
        builds = (home.peer / "data/externalbuilder/builds").glob("*/release/chaincode/server/connection.json")
        assert {json.loads(path.read_text())["client_cert"] for path in builds} == {files[name].read_text()}
    with connect(Profile.load(consortium.profile("org2")), consortium.user("org2")) as gateway:
        contract = gateway.network("befl").contract("befl")
        assert contract.submit("MemberContract:Announce", "", "").block > height - 1
