"""The public definition of an institution: the one file that it hands to a consortium; it holds no secret.

Canonical JSON (:mod:`befl.rules.canonical`) with a kind and a version, so that two exports of the same institution are
the same bytes and a digest read over the telephone says whether the right file arrived. From it follow both of the
institution's groups in the channel configuration (:mod:`befl.network.configuration`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from befl.gateway.identity import UNREADABLE
from befl.network.files import NODE_OUS
from befl.rules import canonical
from befl.rules.errors import BeflError

KIND: Final = "institution"
VERSION: Final = 1
MOST_BYTES: Final = 100_000

_TEXT: Final = {
    "name": r"[a-z][a-z0-9-]{0,31}",
    "msp_id": r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}",
    "host": r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}",
    "peer": r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}:[0-9]{1,5}",
    "orderer": r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}:[0-9]{1,5}",
}
_CERTIFICATES: Final = ("ca", "tls_ca", "orderer_certificate")
_WORDS: Final = {"ca": "CA", "tls_ca": "TLS CA", "orderer_certificate": "orderer"}
_MOST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Definition:
    """What others need to know about an institution.

    Parameters
    ----------
    name, msp_id : str
        Its short name and its MSP ID.
    host : str
        Where its processes listen.
    peer, orderer : str
        ``host:port``, as the others reach them.
    ca : str
        The certificate of the CA of its identities, PEM.
    tls_ca : str
        The certificate of its TLS CA, PEM.
    orderer_certificate : str
        The TLS certificate of its orderer, PEM; Raft knows an orderer by its key.
    """

    name: str
    msp_id: str
    host: str
    peer: str
    orderer: str
    ca: str
    tls_ca: str
    orderer_certificate: str

    def dump(self) -> bytes:
        """Write the file: canonical JSON and a newline."""
        content = {"kind": KIND, "v": VERSION, "node_ous": list(NODE_OUS), **dataclasses.asdict(self)}
        return canonical.dumps(content) + b"\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the file, to compare over another way than the file came."""
        return hashlib.sha256(self.dump()).hexdigest()

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each certificate, by what it is: `befl channel sign` prints the same of an update."""
        return {word: fingerprint(getattr(self, name)) for name, word in _WORDS.items()}


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of a certificate (DER), as every tool shows it; ``unreadable`` of what is none."""
    try:
        return x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
    except UNREADABLE:
        return "unreadable"


def load(path: Path) -> Definition:
    """Read a definition from a file.

    Raises
    ------
    BeflError
        ``BEFL-N-012`` when it cannot be read or is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BeflError("BEFL-N-012", f"{path}: {error.strerror}") from None
    return parse(data, str(path))


def parse(data: bytes, what: str) -> Definition:
    """Read a definition that somebody else made, and check that it holds together.

    Parameters
    ----------
    data : bytes
        The file.
    what : str
        Its name, for messages.

    Raises
    ------
    BeflError
        ``BEFL-N-012``, with what is wrong.
    """
    try:
        content: Any = canonical.loads(data.removesuffix(b"\n")) if len(data) <= MOST_BYTES else None
    except BeflError as error:
        raise BeflError("BEFL-N-012", f"{what}: {error.message}") from None
    wrong = _wrong(content)
    if wrong:
        raise BeflError("BEFL-N-012", f"{what}: {wrong}")
    return Definition(**{field.name: content[field.name] for field in dataclasses.fields(Definition)})


def _wrong(content: Any) -> str:
    """Say what is wrong with the file's content; nothing when it is well."""
    if not isinstance(content, dict) or content.get("kind") != KIND:
        return "this is not an institution's public definition"
    if content.get("v") != VERSION:
        return f"its version is {content.get('v')}, this befl reads version {VERSION}"
    if set(content) != {"kind", "v", "node_ous", *_TEXT, *_CERTIFICATES}:
        return "it lacks a field or has one too many"
    if content["node_ous"] != list(NODE_OUS):
        return f"node_ous: must be {', '.join(NODE_OUS)}"
    for name, pattern in _TEXT.items():
        if not isinstance(content[name], str) or not re.fullmatch(pattern, content[name]):
            return f"{name}: {content[name]!r} is none"
    for name in ("peer", "orderer"):
        if not 0 < int(content[name].rpartition(":")[2]) <= _MOST_PORT:
            return f"{name}: {content[name]} has no port"
    return _wrong_certificates({name: content[name] for name in _CERTIFICATES})


def _wrong_certificates(pems: dict[str, Any]) -> str:
    found: dict[str, x509.Certificate] = {}
    for name, pem in pems.items():
        try:
            certificates = x509.load_pem_x509_certificates(pem.encode())
        except (AttributeError, *UNREADABLE):
            return f"{name}: no PEM certificate"
        if len(certificates) != 1 or "PRIVATE KEY" in pem:
            return f"{name}: must be one certificate and nothing else"
        found[name] = certificates[0]
        if found[name].not_valid_after_utc <= dt.datetime.now(dt.UTC):
            return f"{name}: the certificate has expired"
    for name in ("ca", "tls_ca"):
        try:
            if not found[name].extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                return f"{name}: not the certificate of a CA"
        except UNREADABLE:
            return f"{name}: not the certificate of a CA"
    try:
        found["orderer_certificate"].verify_directly_issued_by(found["tls_ca"])
    except (InvalidSignature, *UNREADABLE):
        return "orderer_certificate: tls_ca has not issued it"
    return ""
