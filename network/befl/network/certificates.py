"""The certificates in an institution's folder: until when they are valid, and whose CA signed them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from befl.network.layout import Home

WARN_DAYS: Final = 30
ALARM_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of an institution.

    Parameters
    ----------
    file : str
        Its path below the institution's folder.
    subject : str
        Whom it names.
    begins, ends : datetime
        From when until when it is valid (UTC).
    signed : bool
        Whether the CA of this institution that should have signed it did.
    problem : str
        Why it cannot be read; empty when it can.
    """

    file: str
    subject: str
    begins: dt.datetime
    ends: dt.datetime
    signed: bool
    problem: str = ""

    def days_left(self, now: dt.datetime) -> int:
        """Return the whole days for which it is still valid; negative when it has expired."""
        return (self.ends - now).days


def certificates(home: Home) -> list[Certificate]:
    """Read every certificate of an institution's folder, those of its CAs included."""
    return [_read(home, path, ca) for path, ca in _places(home) if path.is_file()]


def soonest(found: list[Certificate]) -> Certificate | None:
    """Return the certificate that ends first; None when there is none that can be read."""
    return min((one for one in found if not one.problem), key=lambda one: one.ends, default=None)


def _places(home: Home) -> Iterator[tuple[Path, Path]]:
    """Yield each certificate's file with that of the CA it must be from; a CA's own is its own."""
    ca, operations = home.ca / "ca-cert.pem", home.operations_ca
    for own in (ca, home.tls_ca, operations, home.ca_certificate):
        yield own, own
    for node in (home.orderer, home.peer):
        yield node / "msp" / "signcerts" / "cert.pem", ca
        yield node / "tls" / "server.crt", home.tls_ca
    yield home.chaincode / "tls" / "server.crt", home.tls_ca
    for user in sorted((home.folder / "users").glob("*")):
        for path in sorted((user / "msp" / "signcerts").glob("*")):
            yield path, ca
        yield user / "tls" / "client.crt", home.tls_ca
        yield user / "operations" / "client.crt", operations


def _read(home: Home, path: Path, ca: Path) -> Certificate:
    name = str(path.relative_to(home.folder))
    never = dt.datetime.fromtimestamp(0, dt.UTC)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        return Certificate(name, "", never, never, signed=False, problem=str(error))
    return Certificate(
        name,
        certificate.subject.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        signed=_signed(certificate, ca),
    )


def _signed(certificate: x509.Certificate, ca: Path) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca.read_bytes()))
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return True
