"""Identities of a simulated consortium: real certificates, as Fabric CA issues them.

Each institution has a certificate authority of its own in memory. Nobody's key is kept: on an in-memory ledger
nothing is signed, and contracts read only the certificate.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.contracts.stub import Creator

#: Where Fabric CA puts enrolment attributes: JSON ``{"attrs": {...}}``, not wrapped in ASN.1.
ATTRIBUTES_OID: Final = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")

_VALID_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_VALID_TO: Final = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)


@functools.cache
def make_creator(msp_id: str, role: str | None = None, *, ou: str = "client", name: str | None = None) -> Creator:
    """Return an identity of an institution; the same arguments give the same one as long as the process lives.

    Parameters
    ----------
    msp_id : str
        The institution.
    role : str, optional
        Value of the attribute ``befl.role``; several are joined by ``|``. Without it the certificate has no such
        attribute.
    ou : str
        The organisational unit by which NodeOUs tells clients, admins and peers apart.
    name : str, optional
        The enrolment id; the role, or else the unit, unless given.

    Returns
    -------
    Creator
        With an X.509 certificate on P-256, signed by the institution's certificate authority.
    """
    enrolment_id = name or role or ou
    attributes = {"hf.Affiliation": "", "hf.EnrollmentID": enrolment_id, "hf.Type": ou}
    if role is not None:
        attributes["befl.role"] = role
    authority_key, authority_name = _authority(msp_id)
    certificate = (
        x509.CertificateBuilder()
        .issuer_name(authority_name)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_TO)
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou),
                    x509.NameAttribute(NameOID.COMMON_NAME, enrolment_id),
                ]
            )
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.UnrecognizedExtension(
                ATTRIBUTES_OID, json.dumps({"attrs": attributes}, separators=(",", ":")).encode()
            ),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    return Creator(msp_id, certificate.public_bytes(serialization.Encoding.PEM))


@functools.cache
def _authority(msp_id: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Name]:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, msp_id),
            x509.NameAttribute(NameOID.COMMON_NAME, f"ca.{msp_id}"),
        ]
    )
    return ec.generate_private_key(ec.SECP256R1()), name
