"""What one institution does to found or run the consortium, in its own folder, with its own keys.

Every method asks first and then acts, so each may be repeated. An institution reads of the others only what lies in the
public folder.
"""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import datetime as dt
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fabric_protos.msp import msp_principal_pb2

from befl.gateway import wait
from befl.network import commands, files, membership, supervisor
from befl.network.definition import Definition
from befl.network.fabric import Fabric
from befl.network.layout import Layout
from befl.network.topology import Institution, Topology, dump, parse, swap_chaincode_ports
from befl.rules.errors import BeflError

CAS: Final = ("ca", "tlsca", "opsca")
READY: Final = 60.0
"""Seconds that a process may take to answer."""
CURRENT: Final = "chaincode"
NEXT: Final = "chaincode-next"
"""Two places for a chaincode server: an upgrade starts the new one beside the old one."""
_OK: Final = 200
_STARTS: Final = 3
"""So often a process may end and be started again before we call it broken."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The chaincode definition that is in force on the channel.

    Parameters
    ----------
    sequence : int
        0 when there is none.
    version : str
        Carries befl's version and the code digest.
    members : frozenset of str
        The MSP IDs that are members of the collections.
    approvals : mapping
        By MSP ID: whether the institution has approved it.
    """

    sequence: int
    version: str
    members: frozenset[str]
    approvals: Mapping[str, bool]


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
        """Obtain every certificate that is not there yet, several at once; nothing for whom is revoked."""
        missing = [
            enrolment
            for enrolment in files.ENROLMENTS
            if not (self.home.folder / enrolment.folder).exists()
            and not self.revoked(self.home.user(enrolment.identity) / "msp")
        ]
        for done in [pool.submit(self.obtain, enrolment) for enrolment in missing]:
            done.result()
        _chain_msp(self.home.msp, self.home.ca / "ca-cert.pem", self.home.tls_ca)

    def obtain(self, enrolment: files.Enrolment, request: str = "") -> None:
        """Obtain one certificate; the key is made here, or it is where ``request`` (PEM) comes from."""
        target = self.home.folder / enrolment.folder
        for folder in reversed([parent for parent in target.parents if parent.is_relative_to(self.home.folder)]):
            folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".enrol-", dir=self.home.folder) as work:
            fresh = Path(work) / "fresh"
            fresh.mkdir(mode=0o700)
            keys: dict[str, str] = {}
            if request:
                certificate = self.certify(enrolment, request)
            else:
                certificate, keys = self._enrol(enrolment, Path(work))
            if enrolment.stem:
                ca = self.home.tls_ca if enrolment.ca == "tlsca" else self.home.operations_ca
                _copy(ca, fresh / "ca.crt")
                _write(fresh / f"{enrolment.stem}.crt", certificate)
                for key in keys.values():
                    _write(fresh / f"{enrolment.stem}.key", key, private=True)
            else:
                _chain_msp(fresh, self.home.ca / "ca-cert.pem", self.home.tls_ca)
                (fresh / "signcerts").mkdir(mode=0o700)
                (fresh / "keystore").mkdir(mode=0o700)
                _write(fresh / "signcerts" / "cert.pem", certificate)
                for name, key in keys.items():
                    _write(fresh / "keystore" / name, key, private=True)
            fresh.rename(target)

    def _enrol(self, enrolment: files.Enrolment, work: Path) -> tuple[str, dict[str, str]]:
        """Make a key and have it certified: only a request travels. Return the certificate, and the key by its name."""
        msp = work / "msp"
        address = self.institution.address("ca")
        commands.run(
            [
                self.fabric.command("fabric-ca-client"),
                "enroll",
                f"--caname={files.ca_name(self.institution, enrolment.ca)}",
                f"--mspdir={msp}",
                "--loglevel=error",
                *self.request_options(enrolment),
            ],
            env={
                "FABRIC_CA_CLIENT_HOME": str(work),
                # the secret travels by environment, which others on this machine cannot read
                "FABRIC_CA_CLIENT_URL": f"https://{enrolment.identity}:{self.secret(enrolment.identity)}@{address}",
                "FABRIC_CA_CLIENT_TLS_CERTFILES": str(self.home.ca_certificate),
            },
            what=f"{self.institution.name}: enrolling {enrolment.folder}",
        )
        certificate = (msp / "signcerts" / "cert.pem").read_text()
        return certificate, {key.name: key.read_text() for key in (msp / "keystore").iterdir()}

    def certify(self, enrolment: files.Enrolment, request: str) -> str:
        """Have the own CA certify a key that is elsewhere; return the certificate, PEM.

        ``fabric-ca-client`` makes requests of its own only, so this is its call. Subject and names are said here: of
        the request (PEM) only the key counts, and that its common name is the identity's.
        """
        what = f"{self.institution.name}: certifying {enrolment.folder}"
        body = {
            "caname": files.ca_name(self.institution, enrolment.ca),
            "certificate_request": request,
            "profile": "" if enrolment.ca == "ca" else "tls",
            "subject": {"CN": enrolment.identity, "names": [{"O": self.institution.name}]},
            "hosts": [f"{enrolment.identity}.{self.institution.name}"],
        }
        user = f"{enrolment.identity}:{self.secret(enrolment.identity)}"
        answer = commands.post(
            self.institution.host,
            self.institution.port("ca"),
            "/api/v1/enroll",
            commands.tls_context(self.home.ca_certificate),
            json.dumps(body),
            user,
            what=what,
        )
        return base64.b64decode(json.loads(answer)["result"]["Cert"]).decode()

    def revoked(self, msp: Path) -> bool:
        """Whether the certificate in an MSP folder stands on the institution's own revocation list."""
        listed, certificate = self.home.msp / "crls" / "crl.pem", msp / "signcerts" / "cert.pem"
        if not listed.exists() or not certificate.exists():
            return False
        serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
        revoked = x509.load_pem_x509_crl(listed.read_bytes())
        return revoked.get_revoked_certificate_by_serial_number(serial) is not None

    def request_options(self, enrolment: files.Enrolment) -> list[str]:
        """Return what a certificate request says, as options of ``fabric-ca-client``."""
        names = f"--csr.names=O={self.institution.name}"
        if enrolment.ca != "ca":
            return [names, "--enrollment.profile=tls", f"--csr.hosts={','.join(files.sans(self.institution))}"]
        # or the client puts this machine's name in
        return [names, f"--csr.hosts={enrolment.identity}.{self.institution.name}"]

    def secret(self, identity: str) -> str:
        """Return the enrolment secret of an identity; empty when it is not registered."""
        known: dict[str, str] = json.loads((self.home.ca / "secrets.json").read_text())
        return known.get(identity, "")

    def keep_secret(self, identity: str, secret: str) -> None:
        """Write down the enrolment secret of an identity."""
        path = self.home.ca / "secrets.json"
        known = json.loads(path.read_text())
        _write(path, files.render({**known, identity: secret}), private=True)

    def write(self, path: Path, content: str) -> bool:
        """Write a file of the institution as a whole, when it differs; return whether it did."""
        return _write(path, content)

    def publish(self) -> None:
        """Hand the public definition to the others: MSP certificates and the orderer's TLS certificate."""
        public = self.layout.public(self.institution.name)
        public.folder.mkdir(parents=True, exist_ok=True)
        _chain_msp(public.msp, self.home.ca / "ca-cert.pem", self.home.tls_ca)
        _write(public.orderer_certificate, (self.home.orderer / "tls" / "server.crt").read_text())

    @property
    def tls_ca(self) -> str:
        """Return the certificate of the own TLS CA, PEM."""
        return self.home.tls_ca.read_text()

    def definition(self) -> Definition:
        """Return the institution's public definition."""
        return Definition(
            name=self.institution.name,
            msp_id=self.institution.msp_id,
            host=self.institution.host,
            peer=self.institution.address("peer"),
            orderer=self.institution.address("orderer"),
            ca=(self.home.ca / "ca-cert.pem").read_text(),
            tls_ca=self.tls_ca,
            orderer_certificate=(self.home.orderer / "tls" / "server.crt").read_text(),
        )

    # --- nodes ------------------------------------------------------------------------------------------------

    def run_nodes(self) -> None:
        """Write what orderer and peer need, and describe their processes to the supervisor."""
        home = self.home
        _write(home.profile, files.render(files.connection_profile(self.topology, self.institution)))
        for name, content in files.builder_scripts(home).items():
            _write(home.builder / "bin" / name, content)
            (home.builder / "bin" / name).chmod(0o700)
        for name, describe in (("orderer", files.orderer_service), ("peer", files.peer_service)):
            service = describe(self.topology, self.institution, home, self.fabric.command(name), self.fabric.config)
            # described anew when certificates or revocation lists are others, so that the supervisor starts it again
            service["env"] |= {**commands.SERVICE_ENVIRONMENT, "BEFL_CERTIFICATES": _certificates(home.folder / name)}
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

    def joined(self) -> bool:
        """Whether the own peer is in the channel."""
        return self.topology.channel.name in self._await("peer", self._channels, "answering").split()

    def await_nodes(self) -> None:
        """Wait until orderer and peer answer, whatever channel they are in."""
        context = self._operations_context()
        host, port = self.institution.host, self.institution.port("orderer_admin")
        self._await("orderer", lambda: commands.get(host, port, "/participation/v1/channels", context)[0], "answering")
        self._await("peer", self._channels, "answering")

    def await_orderer(self, height: int) -> None:
        """Wait until the own orderer is a consenter of the channel and has so many blocks."""
        context = self._operations_context()
        host, port = self.institution.host, self.institution.port("orderer_admin")

        def caught_up() -> bool:
            path = f"/participation/v1/channels/{self.topology.channel.name}"
            status, text = commands.get(host, port, path, context)
            state = json.loads(text) if status == _OK else {}
            return state.get("status") == "active" and int(state.get("height", 0)) >= height

        self._await("orderer", caught_up, f"active with {height} blocks")

    def await_height(self, height: int) -> None:
        """Wait until the own peer has so many blocks of the channel."""
        context = self._operations_context()
        host, port = self.institution.host, self.institution.port("peer_operations")

        def caught_up() -> bool:
            text = commands.get(host, port, "/metrics", context)[1]
            labels = f'channel="{self.topology.channel.name}"'
            return (commands.metric(text, "ledger_blockchain_height", labels) or 0) >= height

        self._await("peer", caught_up, f"having {height} blocks")

    def join_orderer(self, block: Path) -> None:
        """Let the orderer join the channel with a configuration block, when it has not."""
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
                f"--config-block={block}",
                f"--orderer-address={self.institution.address('orderer_admin')}",
                f"--ca-file={self.home.tls_ca}",
                f"--client-cert={operations / 'client.crt'}",
                f"--client-key={operations / 'client.key'}",
            ],
            what=f"{self.institution.name}: the orderer joins channel {channel}",
        )
        if commands.get(host, port, path, context, timeout=10)[0] != 200:
            raise BeflError("BEFL-N-007", f"{self.institution.name}: the orderer did not join channel {channel}")

    def join_peer(self, block: Path) -> None:
        """Let the peer join the channel with its first block, when it has not."""
        channel = self.topology.channel.name
        if channel in self._await("peer", self._channels, "answering").split():
            return
        self.peer_command("channel", "join", f"--blockpath={block}", what=f"the peer joins channel {channel}")

    def _channels(self) -> str:
        """Ask the own peer for its channels; empty while it does not listen (its /healthz is there earlier)."""
        if not commands.listens(self.institution.host, self.institution.port("peer")):
            return ""
        try:
            return self.peer_command("channel", "list", what="listing channels")
        except BeflError as error:
            if "failed to connect" in error.message:  # it listens, and is too busy to shake hands within Fabric's 3 s
                return ""
            raise

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

    def await_members(self, others: int) -> None:
        """Wait until the own peer knows the peers of so many others: private data is pushed to them."""
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

    def install(self, version: str, code_digest: str, address: str = "") -> tuple[str, bool]:
        """Install the chaincode package on the own peer; return its package id, and False when it is there already.

        The peer will dial ``address``; when it is empty, the server that :meth:`serve` describes for this package.
        """
        package_id, package = self.package(version, code_digest)
        installed = json.loads(
            self.peer_command(
                "lifecycle", "chaincode", "queryinstalled", "--output=json", what="asking what is installed"
            )
        )
        new = package_id not in {entry["package_id"] for entry in installed.get("installed_chaincodes", [])}
        if new:
            path = self.home.chaincode / "package.tar.gz"
            path.write_bytes(package)
            # the builder puts it into what the peer keeps of this package
            slot = NEXT if self._described(NEXT)[0] == package_id else CURRENT
            address = address or self.institution.address(self._port_name(slot))
            _write(self.home.chaincode / "connection.json", files.render(self.connection(address)), private=True)
            self.peer_command("lifecycle", "chaincode", "install", str(path), what="installing the chaincode")
        return package_id, new

    def refresh_connections(self) -> None:
        """Put the peer's present TLS certificate into what it keeps of installed packages: it dials servers with it."""
        builds = self.home.peer / "data" / "externalbuilder" / "builds"
        for path in builds.glob("*/release/chaincode/server/connection.json"):
            address = json.loads(path.read_text())["address"]
            _write(path, files.render(self.connection(address)), private=True)

    def restart(self, name: str) -> None:
        """Start a node again when its certificates or revocation lists have changed, and wait until it serves."""
        before = supervisor.states(self.layout.directory)
        self.run_nodes()
        for slot in (CURRENT, NEXT):
            path = self.home.services / f"{slot}.json"
            if name == "chaincode" and path.exists():
                description = json.loads(path.read_text())
                description["env"]["BEFL_CERTIFICATES"] = _certificates(self.home.chaincode)
                supervisor.write_service(self.home.services, slot, description)
        self.look_again()
        process = f"{self.institution.name}/{name}"
        if name not in ("orderer", "peer", "chaincode") or process not in before:
            return
        described = json.loads((self.home.services / f"{name}.json").read_text())["env"]["BEFL_CERTIFICATES"]

        def again() -> bool:
            state = supervisor.states(self.layout.directory).get(process)
            return (
                state is not None and bool(state.pid) and _environment(state.pid).get("BEFL_CERTIFICATES") == described
            )

        self._await(name, again, "started again")
        if name == "chaincode":
            self.await_chaincode()
        else:
            self.await_nodes()
            if self.joined():  # where two order, one that starts again leaves the channel without a leader for a while
                self.await_leader()

    def connection(self, address: str) -> dict[str, Any]:
        """Make what tells the own peer how to dial a chaincode server."""
        tls = self.home.peer / "tls"
        return files.chaincode_connection(
            address,
            (tls / "server.crt").read_text(),
            (tls / "server.key").read_text(),
            (tls / "ca.crt").read_text(),
        )

    def serve(self, version: str, code_digest: str) -> None:
        """Describe the chaincode server's process to the supervisor; its package id follows from the code.

        Where a server for another package is, the new one comes beside it, at another address, until :meth:`retire`.
        """
        package_id, _ = self.package(version, code_digest)
        slot = CURRENT if self._described(CURRENT)[0] in ("", package_id) else NEXT
        port = self._port_name(slot)
        config = files.chaincode_config(self.topology, self.institution, self.home, package_id, code_digest, port)
        path = self.home.chaincode / f"server-{self.institution.port(port)}.json"
        _write(path, files.render(config), private=True)
        # the package id stands in the description too, so that the supervisor starts a server anew when it changes
        env = {
            **commands.SERVICE_ENVIRONMENT,
            **commands.python_environment(),
            "BEFL_PACKAGE_ID": package_id,
            "BEFL_CERTIFICATES": _certificates(self.home.chaincode),
        }
        supervisor.write_service(
            self.home.services, slot, files.chaincode_service(self.home, sys.executable, path, env)
        )

    def retire(self, version: str, code_digest: str) -> bool:
        """End the chaincode server that the channel no longer needs; return whether there was one.

        The new server takes the old one's name without being started again.
        """
        package_id, _ = self.package(version, code_digest)
        upcoming = self.home.services / f"{NEXT}.json"
        found = upcoming.exists()
        if self._described(NEXT)[0] == package_id:
            upcoming.rename(self.home.services / f"{CURRENT}.json")
        elif self._described(CURRENT)[0] == package_id:  # a step back
            upcoming.unlink(missing_ok=True)
        self._keep_ports()
        return found

    def _described(self, slot: str) -> tuple[str, int]:
        """Return package id and port of the chaincode server in a slot; ("", 0) when there is none."""
        try:
            description = json.loads((self.home.services / f"{slot}.json").read_text())
        except FileNotFoundError:
            return "", 0
        found = re.search(r"-(\d+)\.json$", description["argv"][-1])
        return description["env"].get("BEFL_PACKAGE_ID", ""), int(found[1]) if found else 0

    def _port_name(self, slot: str) -> str:
        """Return the name of a slot's port: what runs keeps its port, the other slot has the other one."""
        swapped = self._described(CURRENT)[1] == self.institution.port("chaincode_next")
        return "chaincode_next" if (slot == NEXT) != swapped else "chaincode"

    def _keep_ports(self) -> None:
        """Write into the topology file at which of its two ports the chaincode server is now."""
        if self._port_name(CURRENT) == "chaincode":
            return
        with self.layout.topology.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several institutions may share the file
            kept = parse(self.layout.topology.read_bytes(), str(self.layout.topology))
            swapped = swap_chaincode_ports(kept, self.institution.name)
            fresh = self.layout.topology.with_suffix(".tmp")
            fresh.write_text(dump(swapped))
            fresh.rename(self.layout.topology)
        self.institution = swapped.institution(self.institution.name)

    def committed(self) -> Committed:
        """Return the chaincode definition on the channel."""
        try:
            answer = json.loads(
                self.peer_command(
                    "lifecycle",
                    "chaincode",
                    "querycommitted",
                    f"--channelID={self.topology.channel.name}",
                    f"--name={self.topology.chaincode.name}",
                    "--output=json",
                    what="asking for the chaincode definition",
                )
            )
        except BeflError as error:
            if "is not defined" not in error.message:
                raise
            return Committed(0, "", frozenset(), {})
        members: frozenset[str] = frozenset()
        for collection in (answer.get("collections") or {}).get("config", []):
            policy = collection["Payload"]["StaticCollectionConfig"]["member_orgs_policy"]
            members = frozenset(
                _role(identity["principal"]) for identity in policy["Payload"]["SignaturePolicy"]["identities"]
            )
        return Committed(int(answer["sequence"]), str(answer["version"]), members, answer["approvals"])

    def approve(self, package_id: str, version: str, sequence: int, members: Sequence[str]) -> None:
        """Approve a chaincode definition, with these institutions in the collections, for the own institution."""
        self._lifecycle(
            "approveformyorg",
            version,
            sequence,
            members,
            f"--package-id={package_id}",
            *self.ordering(),
            what="approving the chaincode",
        )

    def readiness(self, version: str, sequence: int, members: Sequence[str]) -> dict[str, bool]:
        """Return which institutions have approved the definition, by MSP ID."""
        answer = json.loads(
            self._lifecycle(
                "checkcommitreadiness", version, sequence, members, "--output=json", what="asking for approvals"
            )
        )
        approvals: dict[str, bool] = answer["approvals"]
        return approvals

    def commit(self, version: str, sequence: int, members: Sequence[str], peers: Mapping[str, str]) -> None:
        """Commit the definition that the institutions have approved; one institution does it for all.

        ``peers`` are those who endorse it: ``host:port``, and the TLS CA's certificate in PEM.
        """
        with tempfile.TemporaryDirectory(prefix=".commit-", dir=self.home.chaincode) as work:
            options = []
            for number, (address, tls_ca) in enumerate(peers.items()):
                path = Path(work) / f"{number}.pem"
                path.write_text(tls_ca)
                options += [f"--peerAddresses={address}", f"--tlsRootCertFiles={path}"]
            self._lifecycle(
                "commit", version, sequence, members, *options, *self.ordering(), what="committing the chaincode"
            )

    def await_chaincode(self) -> None:
        """Wait until the own peer gets an answer from the chaincode, be it a refusal in the chaincode's own words."""
        # each question is a process: asked less often, it leaves the processor to those who are to answer
        self._await("chaincode", self._chaincode_answers, "answering the peer", interval=0.2)

    def _chaincode_answers(self) -> bool:
        try:
            self.peer_command(
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

    def look_again(self) -> None:
        """Tell the supervisor that a description has changed."""
        pid = supervisor.running(self.layout.directory)
        if pid:
            os.kill(pid, signal.SIGHUP)

    def _lifecycle(self, verb: str, version: str, sequence: int, members: Sequence[str], *extra: str, what: str) -> str:
        collections = self.home.chaincode / "collections.json"
        _write(collections, files.render(files.collections(members)))
        return self.peer_command(
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

    def ordering(self, address: str = "", tls_ca: Path | None = None) -> list[str]:
        """Return the options by which the peer command reaches an orderer: the own one, or a member's."""
        tls = self.home.user("admin") / "tls"
        return [
            f"--orderer={address or self.institution.address('orderer')}",
            "--tls",
            f"--cafile={tls_ca or self.home.tls_ca}",
            "--clientauth",
            f"--certfile={tls / 'client.crt'}",
            f"--keyfile={tls / 'client.key'}",
        ]

    def peer_command(self, *arguments: str, what: str) -> str:
        """Run Fabric's ``peer`` command as the institution's admin; return what it prints."""
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


def _role(principal: str) -> str:
    """Return the MSP ID in a role principal of a collection's policy."""
    return str(msp_principal_pb2.MSPRole.FromString(base64.b64decode(principal)).msp_identifier)


def _chain_msp(target: Path, ca: Path, tls_ca: Path) -> None:
    """Write an MSP folder without keys: CA certificates and node OUs."""
    for folder, source, name in (("cacerts", ca, "ca.pem"), ("tlscacerts", tls_ca, "tlsca.pem")):
        (target / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        _copy(source, target / folder / name)
    _write(target / "config.yaml", files.render(files.node_ous()))


def _certificates(folder: Path) -> str:
    """Return a digest of what a process reads of certificates and revocation lists when it starts."""
    digest = hashlib.sha256()
    for name in ("msp/signcerts/cert.pem", "msp/crls/crl.pem", "tls/server.crt"):
        if (folder / name).exists():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def _environment(pid: int) -> dict[str, str]:
    """Return the environment of a process of ours."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


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
