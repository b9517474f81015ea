"""An institution's public definition: what is written is read again, and whatever is wrong is said."""

from __future__ import annotations

import dataclasses
import json

import pytest

from befl.network import definition
from befl.network.definition import Definition
from befl.rules import canonical
from befl.rules.errors import BeflError


@pytest.fixture
def north(authority) -> Definition:
    return make(authority)


def make(authority, name: str = "north", port: int = 20_000, **other: str) -> Definition:
    fields = {
        "name": name,
        "msp_id": f"{name.capitalize()}MSP",
        "host": "127.0.0.1",
        "peer": f"127.0.0.1:{port}",
        "orderer": f"127.0.0.1:{port + 1}",
        "ca": authority.pem.decode(),
        "tls_ca": authority.pem.decode(),
        "orderer_certificate": authority.issue("orderer").certificate.decode(),
    }
    return Definition(**{**fields, **other})


def test_what_is_written_is_read_again(north, tmp_path):
    path = tmp_path / "north.json"
    path.write_bytes(north.dump())
    assert definition.load(path) == north
    assert definition.load(path).dump() == north.dump()
    assert len(north.digest) == 64


def refused(data: bytes) -> str:
    with pytest.raises(BeflError) as caught:
        definition.parse(data, "north.json")
    assert caught.value.code == "BEFL-N-012"
    return caught.value.message


def test_what_is_no_definition_is_refused(north, tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-N-012: .*No such file"):
        definition.load(tmp_path / "absent.json")
    for data, words in {
        b"\x00": "not canonical JSON",
        b"[]": "not an institution's public definition",
        b"x" * 200_000: "not an institution's public definition",
        json.dumps(json.loads(north.dump()), indent=1).encode(): "not canonical JSON",
    }.items():
        assert words in refused(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "other"}, "not an institution's public definition"),
        ({"v": 2}, "its version is 2, this befl reads version 1"),
        ({"more": 1}, "lacks a field or has one too many"),
        ({"node_ous": ["client"]}, "node_ous: must be client, peer, admin, orderer"),
        ({"name": "North"}, "name: 'North' is none"),
        ({"msp_id": "a'b"}, "msp_id: "),
        ({"host": 7}, "host: 7 is none"),
        ({"peer": "127.0.0.1"}, "peer: '127.0.0.1' is none"),
        ({"orderer": "h:70000"}, "orderer: h:70000 has no port"),
        ({"ca": "nothing"}, "ca: no PEM certificate"),
        ({"ca": 5}, "ca: no PEM certificate"),
    ],
)
def test_each_field_is_checked(north, change, words):
    assert words in refused(canonical.dumps({**json.loads(north.dump()), **change}))


def test_a_certificate_of_no_version_is_none(north, impossible):
    assert "ca: no PEM certificate" in refused(dataclasses.replace(north, ca=impossible.decode()).dump())


def test_certificates_are_checked(authority, another_authority, north):
    leaf, expired = authority.issue("x"), authority.issue("x", days=-2)
    for other, words in (
        ({"ca": leaf.certificate.decode()}, "ca: not the certificate of a CA"),
        ({"tls_ca": north.tls_ca * 2}, "tls_ca: must be one certificate and nothing else"),
        ({"ca": north.ca + leaf.key.decode()}, "ca: must be one certificate and nothing else"),
        ({"orderer_certificate": expired.certificate.decode()}, "orderer_certificate: the certificate has expired"),
        ({"tls_ca": another_authority.pem.decode()}, "orderer_certificate: tls_ca has not issued it"),
    ):
        assert words in refused(make(authority, **other).dump())
