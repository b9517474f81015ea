"""Who attacks: identities that no CA would issue; and what is attacked: states of tasks, apps and members."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.contracts.chaincode import CONTRACTS
from befl.gateway import Contract, Gateway, Identity, Profile, open_channel, wait
from befl.gateway.identity import key_signer
from befl.network.layout import Layout
from befl.rules import canonical, codec
from befl.rules import spec as specs
from befl.rules.errors import BeflError

from .conftest import level
from .matrix import CALLERS, EVERY_ROLE, OK, SPECIFICATION, STAGES

ORGS = ("org1", "org2", "org3")  # the one whose turn it is, another member, and one that has not registered
ROLES = {"operator", "issuer", "trainer", "validator", "auditor"}
TRANSACTIONS = {f"{contract}:{name}": each for contract, table in CONTRACTS.items() for name, each in table.items()}
MODEL = codec.model_bytes(np.array([1, -2, 3, -4, 5], dtype=np.int64))
UPDATE = codec.update_bytes(np.zeros(5, dtype=np.int32))  # so every round's model is the first one
LAYOUT = [{"name": "w", "shape": [2, 2]}, {"name": "b", "shape": [1]}]
PARAMETERS = '{"most_rounds":9999}'
T = TypeVar("T")
COUNTS = {"correct": 9, "loss_micro": 5_000, "negatives": [6, *[0] * 63], "positives": [1, *[0] * 62, 3], "rows": 10}


# --- who asks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """A CA's certificate and key, so that a test can have certificates that the CA would not issue."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, folder: Path) -> Authority:
        certificate = x509.load_pem_x509_certificate((folder / "ca-cert.pem").read_bytes())
        for path in (folder / "msp" / "keystore").iterdir():
            if path.name.endswith("_sk"):
                key = serialization.load_pem_private_key(path.read_bytes(), None)
                if key.public_key() == certificate.public_key():
                    return cls(certificate, key)
        raise AssertionError(f"no key of the CA in {folder}")

    def imitated(self) -> Authority:
        """Return another CA that says it is this one."""
        key, old = ec.generate_private_key(ec.SECP256R1()), self.certificate
        builder = x509.CertificateBuilder(
            old.subject, old.subject, key.public_key(), 1, old.not_valid_before_utc, old.not_valid_after_utc
        )
        for extension in old.extensions:
            if extension.oid not in (x509.OID_SUBJECT_KEY_IDENTIFIER, x509.OID_AUTHORITY_KEY_IDENTIFIER):
                builder = builder.add_extension(extension.value, extension.critical)
        return Authority(builder.sign(key, hashes.SHA256()), key)

    def issue(self, msp_id: str, roles: set[str], ends: dt.datetime | None = None) -> Identity:
        """Certify a fresh key of a client with these roles."""
        key, own = ec.generate_private_key(ec.SECP256R1()), self.certificate
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "client"),
                x509.NameAttribute(NameOID.COMMON_NAME, "somebody"),
            ]
        )
        begins = own.not_valid_before_utc + dt.timedelta(seconds=1)
        builder = x509.CertificateBuilder(
            own.subject,
            subject,
            key.public_key(),
            x509.random_serial_number(),
            begins,
            ends or begins + dt.timedelta(days=1),
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if roles:
            attributes = json.dumps({"attrs": {"befl.role": "|".join(sorted(roles))}}).encode()
            oid = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, attributes), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Identity(msp_id, certificate, key_signer(key))


# --- what is asked for ------------------------------------------------------------------------------------------------


class Subject:
    """What a state is about: a task with its current round, or an app."""

    def __init__(self, stage: str, archive: bytes = b"") -> None:
        self.stage = stage
        self.archive = archive
        self.task = "0" * 16
        self.round = 0


class World:
    """The running network, and every caller's way to every peer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        layout = Layout(directory)
        homes = {org: layout.home(org) for org in ORGS}
        profiles = {org: Profile.load(homes[org].profile) for org in ORGS}
        self.msp_ids = {org: profiles[org].msp_id for org in ORGS}
        self.channels = {org: open_channel(profiles[org].peers[0], homes[org].user("agent") / "tls") for org in ORGS}
        self.tls = {org: (homes[org].user("agent") / "tls" / "client.crt").read_bytes() for org in ORGS}
        self.authorities = {org: Authority.of(homes[org].ca) for org in ORGS}
        self.imitation = self.authorities["org1"].imitated()
        self.revoked: Identity | None = None
        self._identities: dict[tuple[str, str], Identity] = {}
        self._lock = threading.Lock()
        self._apps = 0

    # --- callers ---------------------------------------------------------------------------------------------------

    def identity(self, caller: str, role: str | None) -> Identity:
        with self._lock:
            key = (caller, role or "auditor")
            if key not in self._identities:
                self._identities[key] = self._make(*key)
            return self._identities[key]

    def _make(self, caller: str, role: str) -> Identity:
        org = CALLERS[caller]
        authority, msp_id = self.authorities[org], self.msp_ids[org]
        if caller == "revoked":
            assert self.revoked is not None
            return self.revoked
        if caller == "expired":
            return authority.issue(msp_id, {role}, authority.certificate.not_valid_before_utc + dt.timedelta(seconds=2))
        if caller == "unknown CA":
            return self.imitation.issue(msp_id, {role})
        roles = {"wrong role": ROLES - {role}, "no attribute": set()}.get(caller, {role})
        return authority.issue(msp_id, roles)

    def contract(self, identity: Identity, peer: str) -> Contract:
        gateway = Gateway(self.channels[peer], identity, tls_certificate=self.tls[peer])
        return gateway.network("befl").contract("befl")

    def acting(self, name: str, org: str = "org1") -> Contract:
        """Return an institution's contract with the role that a transaction wants, at its own peer."""
        caller = {"org1": "right role", "org2": "other institution", "org3": "not registered"}[org]
        return self.contract(self.identity(caller, TRANSACTIONS[name].role), org)

    def heights(self) -> list[int]:
        auditor = self.identity("right role", None)
        return [self.contract(auditor, org).network.height() for org in ORGS]

    def level(self) -> int:
        return level(self.heights)

    # --- states ----------------------------------------------------------------------------------------------------

    def subject(self, stage: str) -> Subject:
        with self._lock:
            self._apps += 1
            return Subject(stage, b"archive %d" % self._apps)

    def walk(self, stage: str) -> Subject:
        """Make a task, an app or a decision and bring it into a state."""
        subject = self.subject(stage)
        for step in STAGES[stage]:
            self.do(subject, step)
        return subject

    def do(self, subject: Subject, step: str) -> None:
        """Submit the next step of a state; ``org2 NAME`` is another institution's."""
        org, _, name = step.rpartition(" ")
        arguments, transient = self.asked(subject, name)
        self.level()  # an endorser a block behind would refuse
        contract = self.acting(name, org or "org1")
        done = patiently(lambda: contract.submit(name, *arguments, transient=transient))
        if name == "TaskContract:Publish":
            subject.task = canonical.loads(done.result)["task"]
        if name == "TaskContract:Open":
            subject.round += 1

    def late(self, subject: Subject) -> None:
        """Wait until the time of a round is over."""
        name = "RoundContract:Close"
        arguments, transient = self.asked(subject, name)
        question = self.acting(name)
        wait.until(lambda: outcome(question, name, arguments, transient) == OK, timeout=20, what="the round's end")

    def arguments(self, subject: Subject, name: str) -> dict[str, str]:
        """Return the arguments that would do in a state."""
        app = name.startswith("AppContract")
        known = {
            "app_digest": "ab" * 32,
            "bookmark": "",
            "counts": canonical.dumps(COUNTS).decode(),
            "digest": codec.digest(subject.archive if app else UPDATE),
            "endpoint": "alpha.example:7443",
            "key": "",
            "layout": canonical.dumps(LAYOUT).decode(),
            "model": codec.digest(MODEL),
            "msp_id": self.msp_ids["org1"],
            "name": "forest",
            "page_size": "5",
            "parameters": PARAMETERS,
            "reason": "enough",
            "roles": EVERY_ROLE,
            "round": str(subject.round or 1),
            "spec": specification(subject.stage),
            "statistics": "{}",
            "task": subject.task,
            "weight": "100",
        }
        return {argument: known[argument] for argument in TRANSACTIONS[name].arguments}

    def asked(self, subject: Subject, name: str) -> tuple[list[str], dict[str, bytes]]:
        known = {"model": MODEL, "update": UPDATE, "archive": subject.archive}
        transient = {key: known[key] for key in TRANSACTIONS[name].transient}
        return list(self.arguments(subject, name).values()), transient

    # --- the public state, as the contracts answer it ---------------------------------------------------------------

    def everything(self, *tasks: str) -> dict[str, Any]:
        """Return all records; with ``tasks`` only of these what stands below a task."""
        found: dict[str, Any] = {}
        for name in _paged("page_size", "bookmark"):
            found[name] = self._pages(name)
        for task in tasks or [record["id"] for record in found["TaskContract:List"]]:
            for name in _paged("task", "page_size", "bookmark"):
                found[f"{name} {task}"] = self._pages(name, task)
            for record in found[f"RoundContract:List {task}"]:
                found[f"{task} {record['round']}"] = self._ask("RoundContract:Get", task, str(record["round"]))
        for member in found["MemberContract:List"]:
            found[member["msp_id"]] = self._ask("MemberContract:Get", member["msp_id"])
        return found | {"parameters": self._ask("ParameterContract:Get")}

    def _ask(self, name: str, *arguments: str) -> Any:
        return canonical.loads(self.acting(name).evaluate(name, *arguments))

    def _pages(self, name: str, *arguments: str) -> list[dict[str, Any]]:
        page = self._ask(name, *arguments, "50", "")
        records = page["records"]
        while page["bookmark"]:
            page = self._ask(name, *arguments, "50", page["bookmark"])
            records += page["records"]
        return records


def patiently(act: Callable[[], T]) -> T:
    """Do what is possible, again when it is refused: a peer counts a block a moment before its state has it."""
    end = time.monotonic() + 20
    while True:
        try:
            return act()
        except BeflError:
            if time.monotonic() > end:
                raise
        wait.pause(0.2)


def _paged(*arguments: str) -> list[str]:
    return [name for name, transaction in TRANSACTIONS.items() if transaction.arguments == arguments]


def specification(stage: str) -> str:
    record: dict[str, Any] = {
        "befl": 1,
        "name": "attacked",
        "mode": "horizontal",
        "app": {"name": "tabular"},
        "data": {"alias": "attacked", "label": "disease", "columns": {"age": "number"}},
        "participants": {"institutions": ["Org1MSP"], "least": 1, "most": 1, "window": "1h", "fetch": "trainers"},
        "rounds": {"count": 2, "deadline": "1h"},
        "aggregation": {"rule": "fedavg"},
        "privacy": {"scheme": "none"},
    }
    return specs.to_json(specs.from_record(record | SPECIFICATION.get(stage, {})))


def outcome(contract: Contract, name: str, arguments: list[str], transient: Mapping[str, bytes]) -> str:
    """Ask for a transaction at one peer, and say what came of it; nothing is ordered."""
    try:
        contract.evaluate(name, *arguments, transient=transient)
    except BeflError as error:
        return error.code.removeprefix("BEFL-")
    return OK
