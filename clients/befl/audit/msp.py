"""Who an identity is: certificates, chains, revocations and node OUs, as Fabric's MSP judges them.

Follows ``msp/mspimpl.go`` and ``msp/mspimplvalidate.go`` of Fabric 3.1. A certificate is judged at its own time (a
second after it begins), never by today's clock, so a judgement stays what it is; a revocation counts from the
configuration block on that carries the list, whatever date the list gives.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

from befl.gateway.identity import ORDERS, UNREADABLE

_Role: Final = msp_principal_pb2.MSPRole
_Principal: Final = msp_principal_pb2.MSPPrincipal
_SECOND: Final = dt.timedelta(seconds=1)


class InvalidIdentityError(Exception):
    """The identity is nobody's in this channel, and why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity that an institution's MSP vouches for.

    Parameters
    ----------
    msp_id : str
        The institution.
    certificate : Certificate
        The enrolment certificate.
    units : frozenset of str
        Its organisational units.
    roles : frozenset of int
        ``MSPRole`` values: member, and what node OUs make of it.
    certifiers : bytes
        SHA-256 over the certificates above it.
    """

    msp_id: str
    certificate: x509.Certificate = field(repr=False)
    units: frozenset[str]
    roles: frozenset[int]
    certifiers: bytes = field(repr=False)

    @property
    def unique(self) -> tuple[str, bytes]:
        """Return what two identities share only when they are one: not the issuer's signature, which has two forms."""
        return self.msp_id, self.certificate.tbs_certificate_bytes

    def __str__(self) -> str:
        names = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return f"{str(names[0].value) if names else '?'}@{self.msp_id}"

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature under the message is this identity's, and ECDSA with low S as Fabric wants it."""
        try:
            key = self.certificate.public_key()
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
                return True
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ORDERS:
                return False
            if decode_dss_signature(signature)[1] > ORDERS[key.curve.name] // 2:
                return False
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, *UNREADABLE):
            return False
        return True

    def valid_at(self, milliseconds: int) -> bool:
        """Whether the certificate was valid at a time (since 1970-01-01 UTC)."""
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begin.timestamp() * 1000 <= milliseconds <= end.timestamp() * 1000

    def is_a(self, principal: Any) -> bool:
        """Whether an ``MSPPrincipal`` means this identity; one that cannot be read means nobody."""
        try:
            return self._is_a(principal)
        except DecodeError:
            return False

    def _is_a(self, principal: Any) -> bool:
        kind, data = principal.principal_classification, principal.principal
        if kind == _Principal.ROLE:
            role = _Role.FromString(data)
            return role.msp_identifier == self.msp_id and role.role in self.roles
        if kind == _Principal.ORGANIZATION_UNIT:
            unit = msp_principal_pb2.OrganizationUnit.FromString(data)
            return (
                unit.msp_identifier == self.msp_id
                and unit.organizational_unit_identifier in self.units
                and unit.certifiers_identifier == self.certifiers
            )
        if kind == _Principal.IDENTITY:
            return _same(identities_pb2.SerializedIdentity.FromString(data), self)
        if kind == _Principal.COMBINED:
            parts = msp_principal_pb2.CombinedPrincipal.FromString(data).principals
            return bool(parts) and all(self._is_a(part) for part in parts)
        anonymity = msp_principal_pb2.MSPIdentityAnonymity.FromString(data).anonymity_type
        return bool(anonymity == msp_principal_pb2.MSPIdentityAnonymity.NOMINAL)


class Msp:
    """One institution's MSP, as a channel configuration defines it.

    Parameters
    ----------
    definition : bytes
        ``msp.MSPConfig``.

    Raises
    ------
    ValueError
        When it cannot be read: then it is no definition that Fabric accepts either.
    """

    def __init__(self, definition: bytes) -> None:
        try:
            config = msp_config_pb2.FabricMSPConfig.FromString(msp_config_pb2.MSPConfig.FromString(definition).config)
            self._roots = [_certificate(pem) for pem in config.root_certs]
            self._intermediates = [_certificate(pem) for pem in config.intermediate_certs]
            self._admins = [_certificate(pem) for pem in config.admins]
            self._revocations = [x509.load_pem_x509_crl(pem) for pem in config.revocation_list]
            self._roles = _node_ous(config.fabric_node_ous)
            self._wanted = [
                (each.organizational_unit_identifier, _certificate(each.certificate))
                for each in config.organizational_unit_identifiers
            ]
            self._above = {chain[1] for chain in map(self._chain, self._intermediates)}
        except (DecodeError, InvalidIdentityError, *UNREADABLE) as error:
            raise ValueError(f"the definition of an MSP cannot be read: {error}") from None
        self.id = str(config.name)

    def identity(self, pem: bytes) -> Identity:
        """Return the identity that a certificate makes.

        Raises
        ------
        InvalidIdentityError
            When it is not this institution's, or revoked, or has no role that is told apart.
        """
        try:
            certificate = _certificate(pem)
            if _is_authority(certificate):
                raise InvalidIdentityError("the certificate is a certificate authority's")
            chain = self._chain(certificate)
            if chain[1] in self._above:
                raise InvalidIdentityError("the certificate's issuer issues only for other certificate authorities")
            self._refuse_revoked(certificate, chain[1])
            return self._classified(certificate, chain)
        except UNREADABLE as error:
            raise InvalidIdentityError(f"the certificate cannot be read: {error}") from None

    def _classified(self, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> Identity:
        names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        units = frozenset(str(name.value) for name in names)
        if self._wanted and not any(unit in units and issuer == chain[1] for unit, issuer in self._wanted):
            raise InvalidIdentityError("none of the certificate's organisational units is the institution's")
        roles = [role for name in names for unit, role, _ in self._roles if unit == name.value]
        if self._roles:
            if len(roles) != 1:
                raise InvalidIdentityError(f"the certificate has {len(roles)} node OUs instead of one")
            if any(role == roles[0] and issuer not in (None, chain[1]) for _, role, issuer in self._roles):
                raise InvalidIdentityError("another certificate authority gives this node OU")
        if certificate in self._admins:
            roles.append(_Role.ADMIN)
        above = b"".join(each.public_bytes(serialization.Encoding.DER) for each in chain[1:])
        certifiers = hashlib.sha256(above).digest()
        return Identity(self.id, certificate, units, frozenset((_Role.MEMBER, *roles)), certifiers)

    def _chain(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        """Return the certificate and those above it up to a root, all valid at the certificate's own time."""
        at = certificate.not_valid_before_utc + _SECOND
        if at > certificate.not_valid_after_utc:
            raise InvalidIdentityError("the certificate is never valid")
        _refuse_usage(certificate)
        chain = [certificate]
        while len(chain) == 1 or chain[-1] not in self._roots:
            issuers = [
                each
                for each in (*self._roots, *self._intermediates)
                if each not in chain and _issued(chain[-1], each, at, len(chain) - 1)
            ]
            if not issuers:
                raise InvalidIdentityError("the certificate is of none of the institution's certificate authorities")
            chain.append(issuers[0])
        return chain

    def _refuse_revoked(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        for revocations in self._revocations:
            known = revocations.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
            revoked = revocations.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if known == key and revoked is not None:
                public: Any = issuer.public_key()
                if revocations.is_signature_valid(public):
                    raise InvalidIdentityError("the certificate is revoked")


def _node_ous(config: Any) -> list[tuple[str, int, x509.Certificate | None]]:
    """Return unit, role and issuer of each node OU; empty when roles are not told apart."""
    if not config.enable:
        return []
    found = []
    for name in ("client", "peer", "admin", "orderer"):
        if config.HasField(f"{name}_ou_identifier"):
            unit, role = getattr(config, f"{name}_ou_identifier"), _Role.MSPRoleType.Value(name.upper())
            issuer = _certificate(unit.certificate) if unit.certificate else None
            found.append((unit.organizational_unit_identifier, role, issuer))
    return found


def _certificate(pem: bytes) -> x509.Certificate:
    """Read a certificate with its names; what cryptography warns of in them, Fabric does not look at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = x509.load_pem_x509_certificate(pem)
        _ = certificate.subject, certificate.issuer  # read now, and then kept
    return certificate


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _refuse_usage(certificate: x509.Certificate) -> None:
    """Refuse what Go's x509 refuses without further options: extended key usages that leave out servers."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
        raise InvalidIdentityError("the certificate's extended key usage does not allow this")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, at: dt.datetime, below: int) -> bool:
    """Whether a certificate authority issued the certificate and might, with so many authorities between."""
    if certificate.issuer != issuer.subject or not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and limits.path_length < below):
            return False
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except InvalidSignature:
        return False
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def _same(serialized: Any, identity: Identity) -> bool:
    try:
        other = _certificate(serialized.id_bytes)
    except UNREADABLE:
        return False
    return serialized.mspid == identity.msp_id and other == identity.certificate
