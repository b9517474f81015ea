"""Keys born where they are used: what the request holds, that asking again changes nothing, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.network import csr
from befl.rules.errors import BeflError


def signed(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_keys_stay_and_the_request_travels(tmp_path):
    made = csr.make(tmp_path, "ward")
    user = tmp_path / "users/ward"
    text = csr.load(user / "request.csr", "ward")
    assert csr.digest(text) in made.details[0]
    assert "PRIVATE" not in text
    keys = {"ca": user / "msp/keystore/key.pem", "tlsca": user / "tls/client.key"}
    for ca, request in csr.by_ca(text).items():
        key = serialization.load_pem_private_key(keys[ca].read_bytes(), None)
        assert x509.load_pem_x509_csr(request.encode()).public_key() == key.public_key()
        assert keys[ca].stat().st_mode & 0o777 == 0o600
        assert keys[ca].parent.stat().st_mode & 0o777 == 0o700
    assert user.stat().st_mode & 0o777 == 0o700
    before = {path: path.read_bytes() for path in user.rglob("*") if path.is_file()}
    assert len(before) == 3
    again = csr.make(tmp_path, "ward")
    assert (again.changed, again.details) == (False, made.details)
    assert {path: path.read_bytes() for path in user.rglob("*") if path.is_file()} == before
    assert [path.name for path in (tmp_path / "users").iterdir()] == ["ward"], "nothing temporary is left"


@pytest.mark.parametrize("name", ["", "Ward", "../ward", "w" * 33, "orderer", "registrar"])
def test_what_cannot_be_a_name(tmp_path, name):
    with pytest.raises(BeflError, match=r"BEFL-N-021: an identity cannot be called"):
        csr.make(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_keys_that_are_there_are_never_overwritten(tmp_path):
    (tmp_path / "users/agent/msp").mkdir(parents=True)
    with pytest.raises(BeflError, match=r"BEFL-N-021: .*users/agent is there already"):
        csr.make(tmp_path, "agent")
    assert [path.name for path in (tmp_path / "users/agent").iterdir()] == ["msp"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "users").write_text("a file")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        csr.make(tmp_path, "ward")


ONE = ec.generate_private_key(ec.SECP256R1())
SPOILT = signed("ward").splitlines()


def altered(before: bytes, after: bytes) -> str:
    """A request of which some bytes are others."""
    der = x509.load_pem_x509_csr(signed("ward").encode()).public_bytes(serialization.Encoding.DER)
    body = base64.encodebytes(der.replace(before, after, 1)).decode()
    return f"{SPOILT[0]}\n{body}{SPOILT[-1]}\n"


REFUSED = {
    "does not hold two": [
        "",
        signed("ward"),
        signed("ward") * 3,
        signed("ward") + "more\n" + signed("ward"),
        "\xff",
    ],
    "cannot be read": [
        signed("ward") + "\n".join([SPOILT[0], "AAAA", SPOILT[-1]]) + "\n",
        signed("ward") + altered(b"ward", b"\xe1ard"),  # a name that is no UTF-8
        signed("ward") + altered(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("008648ce3d0201")),  # a kind of key
    ],
    "asks for peer, not for ward": [signed("ward") + signed("peer")],
    "asks for nobody, not for ward": [signed("") + signed("ward")],
    "a key is not on P-256": [signed("ward") + signed("ward", ec.generate_private_key(ec.SECP384R1()))],
    "there must be two keys": [signed("ward", ONE) + signed("ward", ONE)],
}


@pytest.mark.parametrize(("words", "text"), [(words, text) for words, texts in REFUSED.items() for text in texts])
def test_what_is_no_request(tmp_path, words, text):
    path = tmp_path / "request.csr"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(BeflError, match=f"BEFL-N-022: .*{words}"):
        csr.load(path, "ward")


def test_a_request_that_another_key_signed(tmp_path):
    first, second = (signed("ward", key) for key in (ONE, ec.generate_private_key(ec.SECP256R1())))
    der = bytearray(x509.load_pem_x509_csr(second.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    spoilt = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    path = tmp_path / "request.csr"
    path.write_text(first + spoilt)
    with pytest.raises(BeflError, match=r"BEFL-N-022: .*did not sign its request"):
        csr.load(path, "ward")


def test_a_request_that_is_not_there(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*No such file"):
        csr.load(tmp_path / "request.csr", "ward")
