"""The identities of one institution: list, enroll, show, renew, revoke, with its own Fabric CA.

Peers never ask a CA: an identity is revoked when the channel's configuration says so. So revoking is three steps: the
CA revokes and writes a list (CRL), the list goes into both of the institution's groups by a configuration update that
its own admin may sign alone, and the nodes' own MSPs get it. Fabric looks at no list for TLS: the TLS key here is
deleted, and whoever has a copy gets a connection, and no answer.
Certificates are renewed with the same key: orderers know one another by their TLS keys, so nothing else changes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID, ObjectIdentifier

from befl.network import channel, commands, configuration, csr, files
from befl.network.channel import Outcome
from befl.network.configuration import Configuration
from befl.network.files import Enrolment
from befl.network.institution import Member
from befl.rules.errors import BeflError
from befl.rules.parameters import ROLES as MEMBER_ROLES

ROLES: Final = ("operator", *MEMBER_ROLES)
"""What ``befl.role`` may say of an identity."""
NODES: Final = ("orderer", "peer")
ADMIN: Final = "admin"
"""The identity with which the institution acts."""
_ATTRIBUTES: Final = ObjectIdentifier("1.2.3.4.5.6.7.8.1")


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate of one identity.

    Parameters
    ----------
    name : str
        The identity.
    use : str
        ``msp`` (it signs), ``tls`` or ``operations``.
    kind : str
        Its OU: client, peer, admin or orderer.
    role : str
        The attribute ``befl.role``; empty for none.
    serial : str
        Serial number, hexadecimal.
    begins, ends : str
        From when until when it is valid, ISO 8601, UTC.
    revoked : bool
        Whether it stands on the institution's revocation list.
    sha256 : str
        Fingerprint of the certificate.
    file : str
        Its path below the institution's folder.
    """

    name: str
    use: str
    kind: str
    role: str
    serial: str
    begins: str
    ends: str
    revoked: bool
    sha256: str
    file: str


def find(member: Member, name: str = "") -> tuple[Identity, ...]:
    """Return the certificates of the institution's identities, or of one of them.

    Raises
    ------
    BeflError
        ``BEFL-N-021`` when there is no identity of that name.
    """
    found = [_read(member, enrolment) for enrolment in _enrolments(member) if name in ("", enrolment.identity)]
    if name and not found:
        names = ", ".join(sorted({enrolment.identity for enrolment in _enrolments(member)}))
        raise BeflError("BEFL-N-021", f"{member.institution.name} has no identity {name!r}", f"It has {names}.")
    return tuple(found)


def enroll(
    member: Member, name: str, roles: Sequence[str], kind: str = "client", request: Path | None = None
) -> Outcome:
    """Register a new identity with the own CA and obtain its certificates.

    Its keys are made here, or they are where the request comes from: then what comes here is public, and goes back.

    Parameters
    ----------
    member : Member
        Who enrolls.
    name : str
        Of the identity, and of its folder in ``users``.
    roles : sequence of str
        The roles that ``befl.role`` shall name.
    kind : str
        ``client`` or ``admin``.
    request : Path, optional
        The request of an identity whose keys are elsewhere (:mod:`befl.network.csr`).

    Raises
    ------
    BeflError
        ``BEFL-N-021`` when the name cannot be one, or is that of a node, or of an identity with other roles or keys;
        ``BEFL-C-006`` and ``BEFL-N-022`` for the request.
    """
    if not csr.may_be_called(name):
        raise BeflError("BEFL-N-021", f"an identity cannot be called {name!r}", csr.NAMES)
    if member.revoked(member.home.user(name) / "msp"):
        raise BeflError("BEFL-N-021", f"{name} is revoked", "Enroll an identity with another name.")
    role = "|".join(dict.fromkeys(roles))
    enrolments = files.user_enrolments(name, kind, role)
    text = csr.load(request, name) if request is not None else ""
    kept = member.home.user(name) / csr.FILE
    if (member.home.user(name) / "msp").exists():
        there = [one for one in find(member, name) if one.use == "msp"]
        if [(one.kind, one.role) for one in there] != [(kind, role)]:
            raise BeflError("BEFL-N-021", f"{name} exists already, as {there[0].kind} with role {there[0].role}")
        if text and (not kept.exists() or kept.read_text() != text):
            raise BeflError("BEFL-N-021", f"{name} exists already, with other keys", "Enroll it under another name.")
        if all((member.home.folder / enrolment.folder).exists() for enrolment in enrolments):
            return Outcome(f"nothing to change: {name} is enrolled", changed=False)
    member.await_ca()
    if text:
        member.home.user(name).mkdir(mode=0o700, exist_ok=True)
        member.write(kept, text)
    secret = member.secret(name) or secrets.token_hex(24)
    member.keep_secret(name, secret)
    for enrolment in enrolments:
        if (member.home.folder / enrolment.folder).exists():
            continue
        _register(member, enrolment, secret)
        member.obtain(enrolment, _request(member, enrolment))
    details = (f"the request has SHA-256 {csr.digest(text)}",) if text else ()
    return Outcome(f"{name} is enrolled as {kind} with role {role}: {member.home.user(name)}", details)


def _register(member: Member, enrolment: Enrolment, secret: str) -> None:
    """Make an identity known to one of the CAs, unless it is."""
    with _registrar(member, enrolment.ca) as registrar:
        attributes = [f"--id.attrs=befl.role={enrolment.role}:ecert"] if enrolment.role else []
        try:
            registrar(
                "register",
                f"--id.name={enrolment.identity}",
                f"--id.type={enrolment.kind}",
                *attributes,
                env={"FABRIC_CA_CLIENT_ID_SECRET": secret},
            )
        except BeflError as error:
            if "is already registered" not in error.message:
                raise


def renew(member: Member, name: str) -> Outcome:
    """Obtain all certificates of an identity anew, with the same keys; a node whose certificate it is starts again.

    Raises
    ------
    BeflError
        ``BEFL-N-021`` when there is no such identity, or it is revoked.
    """
    before = find(member, name)
    if any(one.revoked for one in before):
        raise BeflError("BEFL-N-021", f"{name} is revoked", "Enroll an identity with another name.")
    member.await_ca()
    for enrolment in _enrolments(member):
        if enrolment.identity == name:
            _reenroll(member, enrolment)
    member.publish()
    member.refresh_connections()
    member.restart(name)
    after = find(member, name)
    lines = tuple(
        f"{one.file}: {old.serial} until {old.ends} -> {one.serial} until {one.ends}"
        for old, one in zip(before, after, strict=True)
    )
    return Outcome(f"{name} is renewed, with the same keys", lines)


def revoke(member: Member, name: str) -> Outcome:
    """Revoke an identity, for the whole channel, and delete its TLS key here; the institution's own admin decides it.

    The admin itself is never without certificates: its old ones are revoked, and it goes on with new keys.

    Raises
    ------
    BeflError
        ``BEFL-N-021`` when there is no such identity, or it is a node's.
    """
    if name in csr.RESERVED:
        raise BeflError("BEFL-N-021", f"{name} cannot be revoked: the institution runs with it")
    if name != ADMIN:
        find(member, name)
    member.await_ca()
    crl = _revoke_at_cas(member, name)
    changed = _keep_crl(member, crl)
    if member.joined():
        me = member.institution.msp_id

        def listed(now: Configuration) -> Configuration:
            """Put the list in, unless the channel's says the same (a list made anew differs in its date)."""
            [own] = [one for one in configuration.present(now) if one.msp_id == me]
            same = serials(own.revocations) == serials([crl])
            return now if same else configuration.revoke(now, me, [crl])

        changed = channel.apply(member, listed) or changed
    for node in NODES:
        member.restart(node)
    if name == ADMIN:
        return Outcome(f"{name} is revoked as it was, and goes on with new keys: {member.home.user(name)}")
    tls = member.home.user(name) / "tls"
    if tls.exists():  # last of all: what was interrupted is done again
        shutil.rmtree(tls)
        changed = True
    if not changed:
        return Outcome(f"nothing to change: {name} is revoked", changed=False)
    return Outcome(f"{name} is revoked: the channel refuses what it signs")


def _revoke_at_cas(member: Member, name: str) -> str:
    """Have the CAs revoke an identity, and give the admin other certificates; return the revocation list."""
    with _registrar(member, "tlsca") as registrar:
        registrar.revoke(name)
    with _registrar(member, "ca") as registrar:
        registrar.revoke(name)
        registrar("gencrl")
        crl = (registrar.msp / "crls" / "crl.pem").read_text()
    if name == ADMIN:
        for enrolment in files.user_enrolments(ADMIN, "admin", "operator"):
            shutil.rmtree(member.home.folder / enrolment.folder, ignore_errors=True)
            member.obtain(enrolment)
    return crl


def serials(lists: Sequence[str]) -> frozenset[int]:
    """Return the serial numbers on revocation lists (PEM)."""
    return frozenset(one.serial_number for pem in lists for one in x509.load_pem_x509_crl(pem.encode()))


def _enrolments(member: Member) -> Iterator[Enrolment]:
    """Yield what the institution has: what it was founded with, and the users that came later."""
    known = {enrolment.identity for enrolment in files.ENROLMENTS}
    users = sorted(path.name for path in (member.home.folder / "users").iterdir() if path.name not in known)
    later = [enrolment for name in users for enrolment in files.user_enrolments(name, "client", "")]
    yield from (one for one in (*files.ENROLMENTS, *later) if (member.home.folder / one.folder).is_dir())


def _file(member: Member, enrolment: Enrolment) -> Path:
    folder = member.home.folder / enrolment.folder
    return folder / f"{enrolment.stem}.crt" if enrolment.stem else folder / "signcerts" / "cert.pem"


def _request(member: Member, enrolment: Enrolment) -> str:
    """Return the certificate request of an identity whose keys are elsewhere; empty when they are here."""
    kept = (member.home.folder / enrolment.folder).parent / csr.FILE
    return csr.by_ca(csr.load(kept, enrolment.identity))[enrolment.ca] if kept.exists() else ""


def _key(member: Member, enrolment: Enrolment) -> Path:
    folder = member.home.folder / enrolment.folder
    if enrolment.stem:
        return folder / f"{enrolment.stem}.key"
    [key] = (folder / "keystore").iterdir()
    return key


def _read(member: Member, enrolment: Enrolment) -> Identity:
    path = _file(member, enrolment)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    ous = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Identity(
        enrolment.identity,
        {"ca": "msp", "tlsca": "tls", "opsca": "operations"}[enrolment.ca],
        str(ous[0].value) if ous else "",
        _role(certificate),
        f"{certificate.serial_number:x}",
        certificate.not_valid_before_utc.isoformat(),
        certificate.not_valid_after_utc.isoformat(),
        enrolment.ca == "ca" and member.revoked(member.home.folder / enrolment.folder),
        certificate.fingerprint(hashes.SHA256()).hex(),
        str(path.relative_to(member.home.folder)),
    )


def _role(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_oid(_ATTRIBUTES).value
    except x509.ExtensionNotFound:
        return ""
    attributes: dict[str, Any] = {}
    if isinstance(extension, x509.UnrecognizedExtension):
        attributes = json.loads(extension.value)["attrs"]
    return str(attributes.get("befl.role", ""))


def _reenroll(member: Member, enrolment: Enrolment) -> None:
    """Obtain one certificate anew for the same key; an expired one still proves who asks."""
    if request := _request(member, enrolment):
        member.write(_file(member, enrolment), member.certify(enrolment, request))
        return
    with tempfile.TemporaryDirectory(prefix=".renew-", dir=member.home.folder) as work:
        msp = Path(work) / "msp"
        for name in ("signcerts", "keystore"):
            (msp / name).mkdir(mode=0o700, parents=True)
        shutil.copyfile(_file(member, enrolment), msp / "signcerts" / "cert.pem")
        key = msp / "keystore" / f"{_ski(_file(member, enrolment))}_sk"
        key.touch(mode=0o600)
        key.write_text(_key(member, enrolment).read_text())
        _Client(member, enrolment.ca, work)(
            "reenroll", "--csr.keyrequest.reusekey", *member.request_options(enrolment), env={}
        )
        fresh = (msp / "signcerts" / "cert.pem").read_text()
        if _ski(msp / "signcerts" / "cert.pem") != _ski(_file(member, enrolment)):
            raise BeflError("BEFL-N-007", f"{enrolment.folder}: the CA certified another key")
        member.write(_file(member, enrolment), fresh)


def _ski(certificate: Path) -> str:
    """Return the name that Fabric's key store gives a key: SHA-256 of its public point."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return hashlib.sha256(point).hexdigest()


def _crl(member: Member) -> Path:
    return member.home.msp / "crls" / "crl.pem"


def _keep_crl(member: Member, crl: str) -> bool:
    """Put the list into the institution's MSP folders; return whether it says more than before."""
    if _crl(member).exists() and serials([_crl(member).read_text()]) == serials([crl]):
        return False
    for msp in (member.home.msp, member.home.orderer / "msp", member.home.peer / "msp"):
        (msp / "crls").mkdir(mode=0o700, exist_ok=True)
        member.write(msp / "crls" / "crl.pem", crl)
    return True


class _Client:
    """Runs ``fabric-ca-client`` against one of the institution's CAs, with what its folder holds."""

    def __init__(self, member: Member, ca: str, work: str) -> None:
        self._member = member
        self._ca = ca
        self._work = work
        self.msp = Path(work) / "msp"

    def __call__(self, verb: str, *options: str, env: dict[str, str] | None = None, user: str = "") -> None:
        member = self._member
        commands.run(
            [
                member.fabric.command("fabric-ca-client"),
                verb,
                f"--caname={files.ca_name(member.institution, self._ca)}",
                f"--mspdir={self.msp}",
                "--loglevel=error",
                *options,
            ],
            env={
                "FABRIC_CA_CLIENT_HOME": self._work,
                # secrets travel by environment, which others on this machine cannot read
                "FABRIC_CA_CLIENT_URL": f"https://{user}{member.institution.address('ca')}",
                "FABRIC_CA_CLIENT_TLS_CERTFILES": str(member.home.ca_certificate),
                **(env or {}),
            },
            what=f"{member.institution.name}: {verb} at {self._ca}",
        )

    def revoke(self, name: str) -> None:
        """Revoke an identity for good; of the admin only every certificate that it has, so that it gets others."""
        if name != ADMIN:
            self("revoke", f"--revoke.name={name}")
            return
        found = Path(self._work) / "certificates"
        self("certificate", "list", f"--id={name}", "--notrevoked", f"--store={found}")
        for path in found.iterdir():
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
            aki = (issuer or b"").hex()
            self("revoke", f"--revoke.serial={certificate.serial_number:x}", f"--revoke.aki={aki}")


@contextmanager
def _registrar(member: Member, ca: str) -> Iterator[_Client]:
    """Act as a CA's registrar; nothing of it stays on disk."""
    with tempfile.TemporaryDirectory(prefix=".registrar-", dir=member.home.folder) as work:
        client = _Client(member, ca, work)
        client("enroll", user=f"registrar:{member.secret('registrar')}@")
        yield client
