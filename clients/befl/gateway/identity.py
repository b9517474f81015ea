"""Who submits a transaction: an enrolment certificate and a function that signs."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fabric_protos.msp import identities_pb2

from befl.rules.errors import BeflError

Signer = Callable[[bytes], bytes]
"""Signs a message (not a digest); returns the signature that Fabric's MSP verifies."""

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises, at once or when a part is asked for, for certificates and keys that are none."""

# SEC 2, sections 2.4.2 and 2.5.1: the order n of the base point.
_AGAIN: Final = "A certificate for the key that is here: befl identity renew NAME."
ORDERS: Final = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}
_HINT: Final = "Expected is an MSP folder with signcerts/*.pem and one key in keystore/."


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity that can sign.

    Parameters
    ----------
    msp_id : str
        The institution.
    certificate : bytes
        Enrolment certificate, PEM.
    sign : callable
        The signer; the key itself is never held here.
    """

    msp_id: str
    certificate: bytes
    sign: Signer = field(repr=False)

    @classmethod
    def load(cls, msp_dir: Path, msp_id: str) -> Identity:
        """Read an MSP folder as Fabric CA and cryptogen write it.

        Raises
        ------
        BeflError
            ``BEFL-G-023`` when a file is missing or no PEM, ``BEFL-G-024`` when the key belongs to another certificate,
            ``BEFL-G-025`` when the certificate is not valid now.
        """
        certificate = read(_only(msp_dir / "signcerts"))
        key_pem = read(_only(msp_dir / "keystore"))
        key = check_pair(certificate, key_pem, str(msp_dir))
        return cls(msp_id, certificate, key_signer(key))

    @classmethod
    def without_key(cls, msp_id: str, certificate: bytes) -> Identity:
        """Make an identity whose key is elsewhere: it can propose, and others sign (:mod:`befl.gateway.steps`)."""
        return cls(msp_id, certificate, _no_key)

    @property
    def creator(self) -> bytes:
        """The identity as Fabric serialises it into headers."""
        identity = identities_pb2.SerializedIdentity(mspid=self.msp_id, id_bytes=self.certificate)
        return bytes(identity.SerializeToString())


def key_signer(key: ec.EllipticCurvePrivateKey) -> Signer:
    """Make a signer: ECDSA over SHA-256 with low S, which is the only form Fabric's MSP accepts (bccsp/utils/ecdsa.go).

    Parameters
    ----------
    key : EllipticCurvePrivateKey
        On P-256 or P-384.
    """
    order = ORDERS[key.curve.name]
    algorithm = ec.ECDSA(hashes.SHA256())

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(message, algorithm))
        return encode_dss_signature(r, min(s, order - s))

    return sign


def certificate_hash(pem: bytes) -> bytes:
    """Return the SHA-256 of a certificate as the Deliver service wants it; ``b""`` for none."""
    if not pem:
        return b""
    return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)).digest()


def _no_key(message: bytes) -> bytes:
    raise BeflError(
        "BEFL-G-033", f"{len(message)} bytes are to be signed, and this identity has no key", "Sign them elsewhere."
    )


def check_pair(certificate_pem: bytes, key_pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """Check that a certificate is valid now and that a key belongs to it.

    Raises
    ------
    BeflError
        ``BEFL-G-023``, ``BEFL-G-024`` or ``BEFL-G-025``, naming ``where``.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        subject, public = certificate.subject.rfc4514_string(), certificate.public_key()
    except UNREADABLE:
        raise BeflError("BEFL-G-023", f"{where}: the certificate is no PEM certificate", _HINT) from None
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except UNREADABLE:
        raise BeflError("BEFL-G-023", f"{where}: the key is no PEM key, or it has a password", _HINT) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in ORDERS:
        raise BeflError("BEFL-G-023", f"{where}: the key is on neither P-256 nor P-384", "Enrol with another key.")
    if key.public_key() != public:
        raise BeflError("BEFL-G-024", f"{where}: the private key belongs to another certificate", _AGAIN)
    now = dt.datetime.now(dt.UTC)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        raise BeflError(
            "BEFL-G-025",
            f"{where}: the certificate of {subject} is valid from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
            "Renew it: befl identity renew NAME." if now > end else "Compare this machine's clock with the CA's.",
        )
    return key


def read(path: Path) -> bytes:
    """Read a file of a user's folder.

    Raises
    ------
    BeflError
        ``BEFL-G-023`` when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BeflError("BEFL-G-023", f"{path} cannot be read ({error.strerror})", _HINT) from None


def _only(folder: Path) -> Path:
    """Return the one file of a folder; the newest when a re-enrolment left older ones."""
    try:
        files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    except OSError as error:
        raise BeflError("BEFL-G-023", f"{folder} cannot be read ({error.strerror})", _HINT) from None
    if not files:
        raise BeflError("BEFL-G-023", f"{folder} is empty", _HINT)
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
