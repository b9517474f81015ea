"""Certificate requests: an identity's keys are born where it is used; only requests and certificates travel."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.gateway.identity import UNREADABLE
from befl.network import files
from befl.network.channel import Outcome
from befl.rules.errors import BeflError

FILE: Final = "request.csr"
"""In a user's folder whose keys are, or came to be, on another machine than the institution's."""
RESERVED: Final = frozenset(
    {"registrar", *(enrolment.identity for enrolment in files.ENROLMENTS if "users/" not in enrolment.folder)}
)
"""Names of nodes, and of who registers."""
NAMES: Final = "A letter first, then letters, digits and hyphens, all small, at most 32; no node's name."

_KEYS: Final = {"ca": "msp/keystore/key.pem", "tlsca": "tls/client.key"}
"""By the CA that certifies it, in the order of the requests: the key that signs, the key for TLS."""
_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE REQUEST-----[^-]+-----END CERTIFICATE REQUEST-----\n")
_MOST: Final = 10_000


def may_be_called(name: str) -> bool:
    """Say whether an institution can give an identity this name."""
    return re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name) is not None and name not in RESERVED


def make(folder: Path, name: str) -> Outcome:
    """Make an identity's two keys in ``users/NAME``, with the request for their certificates (PKCS #10, PEM).

    Raises
    ------
    BeflError
        ``BEFL-N-021`` when the name cannot be one or the folder is one with other keys, ``BEFL-C-006`` when it cannot
        be written, ``BEFL-N-022`` when the request that is there is spoilt.
    """
    if not may_be_called(name):
        raise BeflError("BEFL-N-021", f"an identity cannot be called {name!r}", NAMES)
    user = folder / "users" / name
    if (user / FILE).exists():
        return Outcome(f"nothing to change: {user / FILE}", (_compare(load(user / FILE, name)),), changed=False)
    if user.exists():
        raise BeflError("BEFL-N-021", f"{user} is there already, without a request", "Choose another name.")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    text = ""
    try:
        user.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".request-", dir=user.parent) as work:
            fresh = Path(work) / name
            for place in _KEYS.values():
                for parent in reversed((fresh / place).relative_to(work).parents[:-1]):
                    (Path(work) / parent).mkdir(mode=0o700, exist_ok=True)
                key = ec.generate_private_key(ec.SECP256R1())
                (fresh / place).touch(mode=0o600)
                (fresh / place).write_bytes(
                    key.private_bytes(
                        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    )
                )
                request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
                text += request.public_bytes(serialization.Encoding.PEM).decode()
            (fresh / FILE).write_text(text)
            fresh.rename(user)
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{user}: {error.strerror}") from None
    return Outcome(f"give {user / FILE} to the institution; the keys stay here", (_compare(text),))


def load(path: Path, name: str) -> str:
    """Read an identity's request, as :func:`make` wrote it.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the file cannot be read, ``BEFL-N-022`` when it holds something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST).decode("ascii", errors="replace")
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None
    found = _BLOCK.findall(text)
    if len(found) != len(_KEYS) or "".join(found) != text:
        raise BeflError("BEFL-N-022", f"{path} does not hold two certificate requests and nothing else")
    keys = set()
    for block in found:
        try:
            request = x509.load_pem_x509_csr(block.encode())
            key, proven = request.public_key(), request.is_signature_valid
            asks = [str(one.value) for one in request.subject]
        except UNREADABLE:
            raise BeflError("BEFL-N-022", f"{path}: a certificate request cannot be read") from None
        if asks != [name]:
            raise BeflError("BEFL-N-022", f"{path} asks for {', '.join(asks) or 'nobody'}, not for {name}")
        if not proven or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise BeflError("BEFL-N-022", f"{path}: a key is not on P-256, or did not sign its request")
        keys.add(key.public_numbers())
    if len(keys) != len(_KEYS):
        raise BeflError("BEFL-N-022", f"{path}: to sign and for TLS there must be two keys")
    return text


def by_ca(text: str) -> Mapping[str, str]:
    """Return what :func:`load` read by the CA that is to certify it, ``ca`` or ``tlsca``."""
    return dict(zip(_KEYS, _BLOCK.findall(text), strict=True))


def digest(text: str) -> str:
    """Return the SHA-256 of a request, by which two people compare it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _compare(text: str) -> str:
    return f"SHA-256 {digest(text)}"
