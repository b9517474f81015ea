"""Connection profiles and users' folders: everything that can be wrong with them has a code."""

from __future__ import annotations

import json
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from befl.gateway import Identity, Profile, connect
from befl.rules.errors import BeflError


def edited(profile_path, change):
    raw = json.loads(profile_path.read_text())
    change(raw)
    profile_path.write_text(json.dumps(raw))
    return profile_path


def test_a_profile(profile_path, service, authority):
    profile = Profile.load(profile_path)
    assert (profile.organization, profile.msp_id) == ("alpha", "AlphaMSP")
    assert profile.msp_ids == {"alpha": "AlphaMSP", "beta": "BetaMSP"}
    [peer] = profile.peers
    assert (peer.name, peer.address, peer.server_name) == ("peer0", f"127.0.0.1:{service.port}", "localhost")
    assert peer.tls_ca == authority.pem


@pytest.mark.parametrize("as_list", [False, True])
def test_a_profile_with_the_certificate_inside(profile_path, authority, as_list):
    pem = authority.pem.decode()
    value = {"pem": [pem] if as_list else pem}
    path = edited(profile_path, lambda raw: raw["peers"]["peer0"].update(tlsCACerts=value, grpcOptions=None))
    [peer] = Profile.load(path).peers
    assert (peer.tls_ca, peer.server_name) == (authority.pem, "")


BAD = {
    "no client": (lambda raw: raw.pop("client"), "client.organization is missing"),
    "no organizations": (lambda raw: raw.pop("organizations"), "organizations is missing"),
    "unknown institution": (lambda raw: raw["client"].update(organization="gamma"), "client.organization is gamma"),
    "no peers": (lambda raw: raw["organizations"]["alpha"].pop("peers"), "organizations.alpha.peers"),
    "institution no object": (lambda raw: raw["organizations"].update(alpha=1), "organizations.alpha.peers"),
    "no mspid": (lambda raw: raw["organizations"]["beta"].pop("mspid"), "organizations.beta.mspid is missing"),
    "unknown peer": (lambda raw: raw["organizations"]["alpha"].update(peers=["x"]), "peers.x.url is missing"),
    "plain text": (lambda raw: raw["peers"]["peer0"].update(url="grpc://h:1"), "is not grpcs://host:port"),
    "no port": (lambda raw: raw["peers"]["peer0"].update(url="grpcs://h"), "is not grpcs://host:port"),
    "bad port": (lambda raw: raw["peers"]["peer0"].update(url="grpcs://h:x"), "is not grpcs://host:port"),
    "no ca": (lambda raw: raw["peers"]["peer0"].pop("tlsCACerts"), "tlsCACerts.path is missing"),
    "ca file": (lambda raw: raw["peers"]["peer0"].update(tlsCACerts={"path": "absent.pem"}), "cannot be read"),
    "ca noise": (lambda raw: raw["peers"]["peer0"].update(tlsCACerts={"pem": "noise"}), "no PEM certificate"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_profile_is_named(profile_path, case):
    change, words = BAD[case]
    with pytest.raises(BeflError, match="BEFL-G-022") as caught:
        Profile.load(edited(profile_path, change))
    assert words in caught.value.message


@pytest.mark.parametrize("text", ["{", "[" * 5_000, "[]", '"x"'])
def test_a_profile_that_is_none(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BeflError, match="BEFL-G-022"):
        Profile.load(tmp_path / "c.json")


def test_a_profile_that_is_not_there(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-G-022: .*absent.json cannot be read"):
        Profile.load(tmp_path / "absent.json")


def test_an_identity(write_user, authority):
    pair = authority.issue("agent")
    identity = Identity.load(write_user(identity=pair) / "msp", "AlphaMSP")
    assert (identity.msp_id, identity.certificate) == ("AlphaMSP", pair.certificate)
    assert "sign" not in repr(identity)


def test_after_a_second_enrolment_the_newest_files_count(write_user, authority):
    user, new = write_user(), authority.issue("agent")
    for folder, data in {"signcerts": new.certificate, "keystore": new.key}.items():
        path = user / "msp" / folder / "a_newer_one.pem"
        path.write_bytes(data)
        os.utime(path, ns=(2**62, 2**62))
    assert Identity.load(user / "msp", "AlphaMSP").certificate == new.certificate


def refused(code, user, words=""):
    with pytest.raises(BeflError, match=code) as caught:
        Identity.load(user / "msp", "AlphaMSP")
    assert words in caught.value.message


def test_no_folder_no_key_no_pem(write_user, tmp_path, impossible):
    refused("BEFL-G-023", tmp_path / "nobody", "signcerts cannot be read")
    user = write_user()
    (user / "msp/signcerts/cert.pem").write_bytes(b"noise")
    refused("BEFL-G-023", user, "no PEM certificate")
    (user / "msp/signcerts/cert.pem").write_bytes(impossible)
    refused("BEFL-G-023", user, "no PEM certificate")
    user = write_user()
    (user / "msp/keystore/key_sk").write_bytes(b"noise")
    refused("BEFL-G-023", user, "no PEM key")
    (user / "msp/keystore/key_sk").unlink()
    refused("BEFL-G-023", user, "keystore is empty")


def test_a_key_with_a_password_and_a_key_of_another_kind(write_user):
    user = write_user()
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (user / "msp/keystore/key_sk").write_bytes(secret)
    refused("BEFL-G-023", user, "password")
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP521R1())):
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (user / "msp/keystore/key_sk").write_bytes(plain)
        refused("BEFL-G-023", user, "neither P-256 nor P-384")


def test_a_key_of_another_certificate(write_user, authority):
    user = write_user()
    (user / "msp/keystore/key_sk").write_bytes(authority.issue("agent").key)
    refused("BEFL-G-024", user)


def test_an_expired_certificate(write_user, authority):
    pair = authority.issue("agent", days=-2)
    user = write_user(identity=pair)
    until = x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc
    refused("BEFL-G-025", user, f"{until:%Y-%m-%d %H:%M} UTC")


def test_tls_files_are_checked_before_anything_is_sent(profile_path, write_user, authority):
    profile = Profile.load(profile_path)
    for pair, code in ((authority.issue("agent", days=-2), "BEFL-G-025"),):
        with pytest.raises(BeflError, match=code):
            connect(profile, write_user(tls=pair))
    user = write_user()
    (user / "tls/client.key").write_bytes(authority.issue("agent").key)
    with pytest.raises(BeflError, match="BEFL-G-024"):
        connect(profile, user)
    (user / "tls/client.crt").unlink()
    with pytest.raises(BeflError, match=r"BEFL-G-023: .*client.crt cannot be read"):
        connect(profile, user)
