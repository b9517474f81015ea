"""A certificate authority for the tests of shim and gateway: real TLS and real enrolment certificates."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates for P-256 keys (or another curve), valid as many days as asked."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key.public_key(), days=3650, ca=True)
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, days: int = 30, curve: ec.EllipticCurve | None = None) -> Pair:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), days=days, ca=False)
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int, ca: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        start, end = sorted([now - dt.timedelta(hours=1), now + dt.timedelta(days=days)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("ca.test")


@pytest.fixture(scope="session")
def another_authority() -> Authority:
    return Authority("ca.stranger")


@pytest.fixture
def impossible(authority: Authority) -> bytes:
    """A certificate of a version that X.509 does not have: what reads it raises neither ValueError nor TypeError."""
    data = x509.load_pem_x509_certificate(authority.pem).public_bytes(serialization.Encoding.DER)
    other = data.replace(bytes.fromhex("a003020102"), bytes.fromhex("a00302016b"), 1)
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(other) + b"-----END CERTIFICATE-----\n"


@pytest.fixture
def write_user(tmp_path: Path, authority: Authority) -> Callable[..., Path]:
    """Write a user's folder as Fabric lays it out: msp/ and tls/."""

    def write(name: str = "agent", identity: Pair | None = None, tls: Pair | None = None) -> Path:
        identity = identity or authority.issue(name)
        tls = tls or authority.issue(name)
        folder = tmp_path / name
        for path, data in {
            "msp/signcerts/cert.pem": identity.certificate,
            "msp/keystore/key_sk": identity.key,
            "tls/ca.crt": authority.pem,
            "tls/client.crt": tls.certificate,
            "tls/client.key": tls.key,
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    return write
