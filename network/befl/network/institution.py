"""What one institution does to found or run the consortium, in its own folder, with its own keys.

Every method asks first and then acts, so each may be repeated. An institution reads of the others only what lies in the
public folder.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import hashlib
import ipaddress
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from befl.gateway import wait
from befl.network import commands, files, membership, supervisor
from befl.network.fabric import Fabric
from befl.network.layout import Layout
from befl.network.topology import Institution, Topology
from befl.rules.errors import BeflError

CAS: Final = ("ca", "tlsca", "opsca")
READY: Final = 60.0
"""Seconds that a process may take to answer."""
_STARTS: Final = 3
"""So often a process may end and be started again before we call it broken."""


class Member:
    """One institution of a network folder, able to act for itself.

    Parameters
    ----------
    topology : Topology
        With ports.
    institution : Institution
        Who acts.
    layout : Layout
        Where.
    fabric : Fabric
        With which programs.
    given_up : threading.Event
        Once it is set, nobody wants the result any more, and waiting ends.
    """

    def __init__(
        self, topology: Topology, institution: Institution, layout: Layout, fabric: Fabric, given_up: threading.Event
    ) -> None:
        self.topology = topology
        self.institution = institution
        self.layout = layout
        self.home = layout.home(institution.name)
        self.fabric = fabric
        self.given_up = given_up

    # --- identities -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folders and the CA server's configuration, and describe its process to the supervisor."""
        home = self.home
        for folder in (home.folder, home.ca, home.services, home.logs, home.builder / "bin", home.chaincode):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        registered = home.ca / "secrets.json"
        if not registered.exists():
            names = {"registrar", *(enrolment.identity for enrolment in files.ENROLMENTS)}
            _write(registered, files.render({name: secrets.token_hex(24) for name in sorted(names)}), private=True)
        known = json.loads(registered.read_text())
        if not home.ca_certificate.exists():
            _self_signed(home.ca, files.ca_name(self.institution, "server"), files.sans(self.institution))
        for ca in CAS:
            folder = home.ca if ca == "ca" else home.ca / ca
            folder.mkdir(mode=0o700, exist_ok=True)
            config = files.ca_config(self.institution, home, ca, known)
            _write(folder / "fabric-ca-server-config.yaml", files.render(config), private=True)
        service = files.ca_service(home, self.fabric.command("fabric-ca-server"))
        service["env"] |= commands.SERVICE_ENVIRONMENT
        supervisor.write_service(home.services, "ca", service)

    def await_ca(self) -> None:
        """Wait until the CA server answers."""
        context = commands.tls_context(self.home.ca_certificate)
        self._await("ca", lambda: self._healthy("ca_operations", context), "healthy")

    def enrol(self, pool: concurrent.futures.Executor) -> None:
        """Obtain every certificate that is not there yet, several at once."""
        missing = [enrolment for enrolment in files.ENROLMENTS if not (self.home.folder / enrolment.folder).exists()]
        for done in [pool.submit(self._enrol, enrolment) for enrolment in missing]:
            done.result()
        _chain_msp(self.home.msp, self.home.ca / "ca-cert.pem", self.home.tls_ca)

    def _enrol(self, enrolment: files.Enrolment) -> None:
        """Obtain one certificate: the key is made here, only a request travels."""
        target = self.home.folder / enrolment.folder
        for folder in reversed([parent for parent in target.parents if parent.is_relative_to(self.home.folder)]):
            folder.mkdir(mode=0o700, exist_ok=True)
        secret = json.loads((self.home.ca / "secrets.json").read_text())[enrolment.identity]
        with tempfile.TemporaryDirectory(prefix=".enrol-", dir=self.home.folder) as work:
            msp = Path(work) / "msp"
            argv = [
                self.fabric.command("fabric-ca-client"),
                "enroll",
                f"--caname={files.ca_name(self.institution, enrolment.ca)}",
                f"--mspdir={msp}",
                f"--csr.names=O={self.institution.name}",
                "--loglevel=error",
            ]
            if enrolment.ca != "ca":
                argv += ["--enrollment.profile=tls", f"--csr.hosts={','.join(files.sans(self.institution))}"]
            else:  # or the client puts this machine's name in
                argv += [f"--csr.hosts={enrolment.identity}.{self.institution.name}"]
            address = self.institution.address("ca")
            commands.run(
                argv,
                env={
                    "FABRIC_CA_CLIENT_HOME": work,
                    # the secret travels by environment, which others on this machine cannot read
                    "FABRIC_CA_CLIENT_URL": f"https://{enrolment.identity}:{secret}@{address}",
                    "FABRIC_CA_CLIENT_TLS_CERTFILES": str(self.home.ca_certificate),
                },
                what=f"{self.institution.name}: enrolling {enrolment.folder}",
            )
            fresh = Path(work) / "fresh"
            [key] = (msp / "keystore").iterdir()
            if enrolment.stem:
                fresh.mkdir(mode=0o700)
                ca = self.home.tls_ca if enrolment.ca == "tlsca" else self.home.operations_ca
                _copy(ca, fresh / "ca.crt")
                _copy(msp / "signcerts" / "cert.pem", fresh / f"{enrolment.stem}.crt")
                _write(fresh / f"{enrolment.stem}.key", key.read_text(), private=True)
            else:
                fresh.mkdir(mode=0o700)
                _chain_msp(fresh, self.home.ca / "ca-cert.pem", self.home.tls_ca)
                (fresh / "signcerts").mkdir(mode=0o700)
                (fresh / "keystore").mkdir(mode=0o700)
                _copy(msp / "signcerts" / "cert.pem", fresh / "signcerts" / "cert.pem")
                _write(fresh / "keystore" / key.name, key.read_text(), private=True)
            fresh.rename(target)

    def publish(self) -> None:
        """Hand the public definition to the others: MSP certificates and the orderer's TLS certificate."""
        public = self.layout.public(self.institution.name)
        public.folder.mkdir(parents=True, exist_ok=True)
        _chain_msp(public.msp, self.home.ca / "ca-cert.pem", self.home.tls_ca)
        _copy(self.home.orderer / "tls" / "server.crt", public.orderer_certificate)

    # --- nodes ------------------------------------------------------------------------------------------------

    def run_nodes(self) -> None:
        """Write what orderer and peer need, and describe their processes to the supervisor."""
        home = self.home
        _write(home.profile, files.render(files.connection_profile(self.topology, self.institution)))
        tls = home.peer / "tls"
        connection = files.chaincode_connection(
            self.institution,
            (tls / "server.crt").read_text(),
            (tls / "server.key").read_text(),
            (tls / "ca.crt").read_text(),
        )
        _write(home.chaincode / "connection.json", files.render(connection), private=True)
        for name, content in files.builder_scripts(home).items():
            _write(home.builder / "bin" / name, content)
            (home.builder / "bin" / name).chmod(0o700)
        for name, describe in (("orderer", files.orderer_service), ("peer", files.peer_service)):
            service = describe(self.topology, self.institution, home, self.fabric.command(name), self.fabric.config)
            service["env"] |= commands.SERVICE_ENVIRONMENT
            supervisor.write_service(home.services, name, service)

    def make_genesis(self) -> None:
        """Make the channel's first block from everybody's public definitions; the founder does it."""
        if self.layout.genesis.exists():
            return
        with tempfile.TemporaryDirectory(prefix=".genesis-", dir=self.home.folder) as work:
            _write(Path(work) / "configtx.yaml", files.render(files.configtx(self.topology, self.layout)))
            block = Path(work) / "genesis.block"
            commands.run(
                [
                    self.fabric.command("configtxgen"),
                    f"-configPath={work}",
                    f"-profile={files.PROFILE}",
                    f"-channelID={self.topology.channel.name}",
                    f"-outputBlock={block}",
                ],
                env={"FABRIC_LOGGING_SPEC": "error"},
                what="making the genesis block",
            )
            fresh = self.layout.genesis.with_suffix(".tmp")
            fresh.write_bytes(block.read_bytes())
            fresh.rename(self.layout.genesis)

    def join_orderer(self) -> None:
        """Let the orderer join the channel, when it has not."""
        context = self._operations_context()
        channel = self.topology.channel.name
        path = f"/participation/v1/channels/{channel}"
        host, port = self.institution.host, self.institution.port("orderer_admin")
        status = self._await("orderer", lambda: commands.get(host, port, path, context)[0], "answering")
        if status == 200:
            return
        operations = self.home.user("admin") / "operations"
        commands.run(
            [
                self.fabric.command("osnadmin"),
                "channel",
                "join",
                f"--channelID={channel}",
                f"--config-block={self.layout.genesis}",
                f"--orderer-address={self.institution.address('orderer_admin')}",
                f"--ca-file={self.home.tls_ca}",
                f"--client-cert={operations / 'client.crt'}",
                f"--client-key={operations / 'client.key'}",
            ],
            what=f"{self.institution.name}: the orderer joins channel {channel}",
        )
        if commands.get(host, port, path, context, timeout=10)[0] != 200:
            raise BeflError("BEFL-N-007", f"{self.institution.name}: the orderer did not join channel {channel}")

    def join_peer(self) -> None:
        """Let the peer join the channel, when it has not."""
        channel = self.topology.channel.name
        if channel in self._await("peer", self._channels, "answering").split():
            return
        self._peer("channel", "join", f"--blockpath={self.layout.genesis}", what=f"the peer joins channel {channel}")

    def _channels(self) -> str:
        """Ask the own peer for its channels; empty while it does not listen (its /healthz is there earlier)."""
        if not commands.listens(self.institution.host, self.institution.port("peer")):
            return ""
        return self._peer("channel", "list", what="listing channels")

    def await_leader(self) -> None:
        """Wait until the own orderer knows a Raft leader: before, it refuses every transaction."""
        channel = f'channel="{self.topology.channel.name}"'
        context = self._operations_context()

        def led() -> bool:
            port = self.institution.port("orderer_operations")
            _, text = commands.get(self.institution.host, port, "/metrics", context)
            return bool(commands.metric(text, "consensus_etcdraft_active_nodes", channel)) and (
                commands.metric(text, "consensus_etcdraft_is_leader", channel) == 1
                or (commands.metric(text, "consensus_etcdraft_leader_changes", channel) or 0) > 0
            )

        self._await("orderer", led, "following a Raft leader")

    def await_members(self) -> None:
        """Wait until the own peer knows the peers of the others: private data is pushed to them."""
        others = len(self.topology.institutions) - 1
        channel = f'channel="{self.topology.channel.name}"'
        context = self._operations_context()

        def known() -> bool:
            text = commands.get(self.institution.host, self.institution.port("peer_operations"), "/metrics", context)[1]
            return (commands.metric(text, "gossip_membership_total_peers_known", channel) or 0) >= others

        self._await("peer", known, f"knowing {others} other peers")

    # --- chaincode --------------------------------------------------------------------------------------------

    def package(self, version: str, code_digest: str) -> tuple[str, bytes]:
        """Make the chaincode package; return its package id and its bytes."""
        label = files.chaincode_label(self.topology.chaincode.name, version, code_digest)
        package = files.chaincode_package(label)
        return f"{label}:{hashlib.sha256(package).hexdigest()}", package

    def install(self, version: str, code_digest: str) -> str:
        """Install the chaincode package on the own peer, when it is not there; return its package id."""
        package_id, package = self.package(version, code_digest)
        installed = json.loads(
            self._peer("lifecycle", "chaincode", "queryinstalled", "--output=json", what="asking what is installed")
        )
        if package_id not in {entry["package_id"] for entry in installed.get("installed_chaincodes", [])}:
            path = self.home.chaincode / "package.tar.gz"
            path.write_bytes(package)
            self._peer("lifecycle", "chaincode", "install", str(path), what="installing the chaincode")
        return package_id

    def serve(self, version: str, code_digest: str) -> None:
        """Describe the chaincode server's process to the supervisor; its package id follows from the code."""
        package_id, _ = self.package(version, code_digest)
        config = files.chaincode_config(self.topology, self.institution, self.home, package_id, code_digest)
        _write(self.home.chaincode / "server.json", files.render(config), private=True)
        # the package id stands in the description too, so that the supervisor starts a server anew when it changes
        env = {**commands.SERVICE_ENVIRONMENT, **commands.python_environment(), "BEFL_PACKAGE_ID": package_id}
        supervisor.write_service(
            self.home.services, "chaincode", files.chaincode_service(self.home, sys.executable, env)
        )

    def committed(self) -> tuple[int, str]:
        """Return sequence and version of the chaincode definition on the channel; (0, "") when there is none."""
        answer = json.loads(
            self._peer(
                "lifecycle",
                "chaincode",
                "querycommitted",
                f"--channelID={self.topology.channel.name}",
                "--output=json",
                what="asking for the chaincode definition",
            )
        )
        for definition in answer.get("chaincode_definitions", []):
            if definition["name"] == self.topology.chaincode.name:
                return int(definition["sequence"]), str(definition["version"])
        return 0, ""

    def approve(self, package_id: str, version: str, sequence: int) -> None:
        """Approve the chaincode definition for the own institution, when it is not approved."""
        if self.readiness(version, sequence).get(self.institution.msp_id):
            return
        self._lifecycle(
            "approveformyorg",
            version,
            sequence,
            f"--package-id={package_id}",
            *self._ordering(),
            what="approving the chaincode",
        )

    def readiness(self, version: str, sequence: int) -> dict[str, bool]:
        """Return which institutions have approved the definition, by MSP ID."""
        answer = json.loads(
            self._lifecycle("checkcommitreadiness", version, sequence, "--output=json", what="asking for approvals")
        )
        approvals: dict[str, bool] = answer["approvals"]
        return approvals

    def commit(self, version: str, sequence: int) -> None:
        """Commit the definition that the institutions have approved; one institution does it for all."""
        peers = []
        for institution in self.topology.institutions:
            tls_ca = self.layout.public(institution.name).tls_ca
            peers += [f"--peerAddresses={institution.address('peer')}", f"--tlsRootCertFiles={tls_ca}"]
        self._lifecycle("commit", version, sequence, *peers, *self._ordering(), what="committing the chaincode")

    def await_chaincode(self) -> None:
        """Wait until the own peer gets an answer from the chaincode, be it a refusal in the chaincode's own words."""
        # each question is a process: asked less often, it leaves the processor to those who are to answer
        self._await("chaincode", self._chaincode_answers, "answering the peer", interval=0.2)

    def _chaincode_answers(self) -> bool:
        try:
            self._peer(
                "chaincode",
                "query",
                f"--channelID={self.topology.channel.name}",
                f"--name={self.topology.chaincode.name}",
                '--ctor={"Args":["TaskContract:Get",""]}',
                what="asking the chaincode",
            )
        except BeflError as error:
            return BeflError.parse(error.message) is not None  # the chaincode's own words
        return True

    def register(self) -> None:
        """Register the institution as a member with the chaincode, when it is not."""
        membership.register(
            self.home.profile, self.home.user("admin"), self.topology.channel.name, self.topology.chaincode.name
        )

    # --- helpers ----------------------------------------------------------------------------------------------

    def _lifecycle(self, verb: str, version: str, sequence: int, *extra: str, what: str) -> str:
        collections = self.home.chaincode / "collections.json"
        _write(collections, files.render(files.collections(self.topology)))
        return self._peer(
            "lifecycle",
            "chaincode",
            verb,
            f"--channelID={self.topology.channel.name}",
            f"--name={self.topology.chaincode.name}",
            f"--version={version}",
            f"--sequence={sequence}",
            f"--collections-config={collections}",
            *extra,
            what=what,
        )

    def _ordering(self) -> list[str]:
        """Return the options by which the peer command reaches the own orderer."""
        tls = self.home.user("admin") / "tls"
        return [
            f"--orderer={self.institution.address('orderer')}",
            "--tls",
            f"--cafile={self.home.tls_ca}",
            "--clientauth",
            f"--certfile={tls / 'client.crt'}",
            f"--keyfile={tls / 'client.key'}",
        ]

    def _peer(self, *arguments: str, what: str) -> str:
        return commands.run(
            [self.fabric.command("peer"), *arguments],
            env=files.cli_environment(self.institution, self.home, self.fabric.config),
            what=f"{self.institution.name}: {what}",
        )

    def _operations_context(self) -> Any:
        folder = self.home.user("admin") / "operations"
        return commands.tls_context(self.home.tls_ca, folder / "client.crt", folder / "client.key")

    def _healthy(self, port: str, context: Any) -> bool:
        return commands.get(self.institution.host, self.institution.port(port), "/healthz", context)[0] == 200

    def _await(self, process: str, check: Any, what: str, interval: float = 0.05) -> Any:
        """Wait until a question to a process is answered, and say early when it does not stay up."""
        name = f"{self.institution.name}/{process}"
        first = supervisor.states(self.layout.directory).get(name)
        before = first.restarts if first is not None else 0

        def ask() -> Any:
            if self.given_up.is_set():
                raise concurrent.futures.CancelledError
            if answer := check():
                return answer
            state = supervisor.states(self.layout.directory).get(name)
            if state is not None and state.restarts - before >= _STARTS:
                raise BeflError(
                    "BEFL-N-008",
                    f"{name} does not stay up (status {state.exit_status}): {self.log_tail(process)}",
                    f"The whole log: {self.home.logs / f'{process}.log'}",
                )
            return answer

        try:
            return wait.until(ask, timeout=READY, interval=interval, what=f"{name} {what}")
        except BeflError as error:
            if error.code != "BEFL-G-001":
                raise
            raise BeflError(error.code, error.message, f"Its log: {self.home.logs / f'{process}.log'}") from None

    def log_tail(self, process: str) -> str:
        """Return the last lines of a process's log, on one line."""
        with contextlib.suppress(OSError):
            lines = (self.home.logs / f"{process}.log").read_text(errors="replace").splitlines()
            plain = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in lines]
            return " | ".join([line for line in plain if line][-3:])[-600:]
        return "no log"


def _chain_msp(target: Path, ca: Path, tls_ca: Path) -> None:
    """Write an MSP folder without keys: CA certificates and node OUs."""
    for folder, source, name in (("cacerts", ca, "ca.pem"), ("tlscacerts", tls_ca, "tlsca.pem")):
        (target / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        _copy(source, target / folder / name)
    _write(target / "config.yaml", files.render(files.node_ous()))


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)


def _write(path: Path, content: str, *, private: bool = False) -> bool:
    """Write a file as a whole, when it differs; return whether it did."""
    if path.exists() and path.read_text() == content:
        return False
    fresh = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    fresh.rename(path)
    return True


def _self_signed(folder: Path, name: str, hosts: list[str]) -> None:
    """Make the CA server's own TLS certificate: its clients pin it, nobody else trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    alternatives: list[x509.GeneralName] = []
    for host in hosts:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            alternatives.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / "server.key", pem.decode(), private=True)
    _write(folder / "server.crt", certificate.public_bytes(serialization.Encoding.PEM).decode())
