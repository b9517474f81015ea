"""An institution's identities on a real network: enrolled, renewed with the same keys, revoked and then refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from befl.gateway import Gateway, Identity, Profile, connect, open_channel, wait
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.gateway.identity import key_signer
from befl.network import consortium as running
from befl.network import files, identities, topology
from befl.network.layout import Home
from befl.rules.errors import BeflError

from .down import described, pid, wrong
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
    stolen = shutil.copytree(user, tmp_path / "stolen")
    assert "second is revoked" in befl("identity", "revoke", "second", *network)
    assert not (user / "tls").exists()
    assert "nothing to change" in befl("identity", "revoke", "second", *network)
    assert consortium.level() == height + 1
    for name in ("org1", "org2", "org3"):  # every institution's peer, not only the own one; TLS knows no revocation
        with pytest.raises(BeflError, match=r"access denied|creator"):
            members(consortium, tmp_path, stolen, name)
    assert b"Org1MSP" in members(consortium, tmp_path, consortium.user("org1"))
    listed = befl("identity", "list", *network)
    assert [line.split()[-1] for line in listed.splitlines() if line.startswith("second")] == ["revoked"]
    [shown] = befl_json("identity", "show", "second", *network)
    assert (shown["use"], shown["revoked"]) == ("msp", True)
    with (
        running.acting(consortium.directory, "org1") as member,
        pytest.raises(BeflError, match="BEFL-N-021: second is revoked"),
    ):
        identities.renew(member, "second")
    said = befl("identity", "enroll", "second", "--role", "trainer", "--role", "auditor", *network, status=2)
    assert "BEFL-N-021: second is revoked" in said
    assert not (user / "tls").exists()


def test_a_stolen_admin_is_revoked(tmp_path):
    """The institution goes on with new keys for the same name; who has the old ones decides nothing any more."""
    directory = tmp_path / "network"
    network = ("--network", directory, "--as", "one")
    running.up(directory, topology.make(["one", "two"]), owner=os.getpid())
    try:
        admin = Home(directory / "one").user("admin")
        befl("identity", "renew", "admin", *network)  # the certificate before it counts too
        stolen = shutil.copytree(admin, tmp_path / "stolen")
        assert "admin is revoked as it was, and goes on with new keys" in befl("identity", "revoke", "admin", *network)
        [signs, tls, *_] = befl_json("identity", "show", "admin", *network)
        assert (signs["kind"], signs["role"], signs["revoked"], tls["use"]) == ("admin", "operator", False, "tls")
        for name in ("msp/signcerts/cert.pem", "tls/client.crt"):
            old, new = (x509.load_pem_x509_certificate((each / name).read_bytes()) for each in (stolen, admin))
            assert old.public_key() != new.public_key()
            assert old.subject == new.subject

        for name in ("one", "two"):
            [peer] = Profile.load(directory / name / "connection.json").peers
            with (
                PeerQuestions(peer, stolen, "OneMSP", "befl") as questions,
                pytest.raises(AnsweredError, match="access denied"),
            ):
                questions.chain()
            with PeerQuestions(peer, admin, "OneMSP", "befl") as questions:
                assert questions.chain()[0] > 0
        with running.acting(directory, "one") as member, pytest.MonkeyPatch.context() as patch:
            usual = files.cli_environment
            changed = {"CORE_PEER_MSPCONFIGPATH": str(stolen / "msp")}
            patch.setattr(files, "cli_environment", lambda *each: {**usual(*each), **changed})
            with pytest.raises(BeflError, match=r"BEFL-N-007: .*(revoked|denied|creator)"):
                member.peer_command("lifecycle", "chaincode", "queryinstalled", what="asking")

        # with the new keys it acts: in the channel, at the peer, at the orderer, and again
        assert "issuer is revoked" in befl("identity", "revoke", "issuer", *network)
        assert "nothing to change" in befl("chaincode", "install", *network)
        assert "goes on with new keys" in befl("identity", "revoke", "admin", *network)
        running.down(directory)
        assert running.up(directory, owner=os.getpid()).ready
        assert not (Home(directory / "one").user("issuer") / "tls").exists(), "`up` obtains nothing for whom is revoked"
    finally:
        running.down(directory)


def test_an_identity_that_is_refused(consortium):
    with running.acting(consortium.directory, "org2") as member:
        for name, words in {
            "peer": "an identity cannot be called 'peer'",
            "Upper": "an identity cannot be called",
            "agent": "agent exists already, as client with role trainer",
        }.items():
            with pytest.raises(BeflError, match=f"BEFL-N-021: {words}"):
                identities.enroll(member, name, ["issuer"])
        for name in ("orderer", "peer"):
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


@contextmanager
def brief_certificates(consortium, name: str, seconds: int) -> Iterator[None]:
    """Let an institution's CA certify for so many seconds; it counts from the nearest full minute."""
    folder = Home(consortium.directory / name).ca
    configs = {
        path: path.read_text() for path in (folder / each / "fabric-ca-server-config.yaml" for each in ("", "tlsca"))
    }
    expiry = f"{seconds}s"

    def marked(service):
        service["env"]["BEFL_TEST_CERTIFICATES"] = "brief"

    def again(before: int) -> None:
        wait.until(lambda: pid(consortium, f"{name}/ca") != before, timeout=30, what="the CA started again")

    first = pid(consortium, f"{name}/ca")
    try:
        for path, text in configs.items():
            config = json.loads(text)
            config["signing"]["default"]["expiry"] = config["signing"]["profiles"]["tls"]["expiry"] = expiry
            path.write_text(json.dumps(config))
        with described(consortium, marked, f"{name}/ca"):
            again(first)
            yield
            second = pid(consortium, f"{name}/ca")
            for path, text in configs.items():
                path.write_text(text)
        again(second)
    finally:
        for path, text in configs.items():
            path.write_text(text)


@pytest.mark.slow  # Fabric CA certifies for a minute at least
def test_an_expired_identity_is_renewed(consortium):
    """Its certificates have really ended, and nobody accepts them; the CA certifies the same keys all the same."""
    network = ("--network", consortium.directory, "--as", "org2")
    user = consortium.user("org2", "brief")
    files = (user / "msp" / "signcerts" / "cert.pem", user / "tls" / "client.crt")
    profile = Profile.load(consortium.profile("org2"))
    healthy = wrong(consortium.directory)

    def certificates() -> list[x509.Certificate]:
        return [x509.load_pem_x509_certificate(path.read_bytes()) for path in files]

    def ask(gateway: Gateway) -> bytes:
        return gateway.network("befl").contract("befl").evaluate("MemberContract:Get", "Org2MSP", timeout=20)

    with brief_certificates(consortium, "org2", 45):  # the registrar's own must last as long as it takes to register
        befl("identity", "enroll", "brief", "--role", "trainer", *network)
    before = certificates()
    ends = max(each.not_valid_after_utc for each in before)
    assert ends < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=90)
    wait.until(lambda: dt.datetime.now(dt.UTC) > ends, timeout=100, what="the end of both certificates")

    for folder in (user / "msp", user / "tls"):  # the client sends nothing with either
        with pytest.raises(BeflError, match=r"BEFL-G-025: .* is valid from"):
            Identity.load(folder, "Org2MSP") if folder.name == "msp" else open_channel(profile.peers[0], folder)
    [path] = (user / "msp" / "keystore").iterdir()
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    with (  # nor does the peer accept what the expired one signs
        open_channel(profile.peers[0], consortium.user("org2") / "tls") as channel,
        Gateway(channel, Identity("Org2MSP", files[0].read_bytes(), key_signer(key))) as gateway,
        pytest.raises(BeflError, match=r"BEFL-G-025: .*identity expired"),
    ):
        ask(gateway)
    expired = [said for said in wrong(consortium.directory)["certificates"] if " has expired on " in said]
    assert sorted(said.partition(" has")[0] for said in expired) == [
        "org2/users/brief/msp/signcerts/cert.pem",
        "org2/users/brief/tls/client.crt",
    ]

    assert "brief is renewed, with the same keys" in befl("identity", "renew", "brief", *network)
    for old, new in zip(before, certificates(), strict=True):
        assert new.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=300)
        assert new.public_key() == old.public_key()
        assert new.subject == old.subject
    with connect(profile, user) as gateway:
        assert b"Org2MSP" in ask(gateway)
    assert wrong(consortium.directory) == healthy
