"""What can be seen of a network: its processes, its ledgers, its certificates, the code that it runs.

Seen from the folders that lie here. Of an institution whose folder is elsewhere only its anchor peer is asked, where
the channel's configuration has it, by an institution of this folder: Fabric lets every member do so.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from befl.gateway import PeerAddress
from befl.gateway.ask import AnsweredError, Definition, PeerQuestions
from befl.network import certificates, commands, supervisor
from befl.network.layout import Home, Layout
from befl.network.topology import Institution, Topology, parse
from befl.rules import version
from befl.rules.errors import BeflError

PROCESSES: Final = ("ca", "orderer", "peer", "chaincode")
_OPERATIONS: Final = {name: f"{name}_operations" for name in PROCESSES}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of an institution.

    Parameters
    ----------
    name : str
        ``ca``, ``orderer``, ``peer`` or ``chaincode``.
    state : str
        ``running``, ``waiting`` (for its next start) or ``stopped``.
    healthy : bool
        Whether it listens and its ``/healthz`` says so.
    pid : int
        0 when it does not run.
    restarts : int
        How often the supervisor had to start it again.
    exit_status : int or None
        Of its last end; negative for a signal.
    memory_bytes : int
        Resident memory.
    address : str
        Where it listens.
    version : str
        What its ``/version`` says; empty when it does not answer.
    """

    name: str
    state: str
    healthy: bool
    pid: int
    restarts: int
    exit_status: int | None
    memory_bytes: int
    address: str
    version: str


@dataclass(frozen=True, slots=True)
class InstitutionStatus:
    """One institution.

    Parameters
    ----------
    name, msp_id : str
        Who; an institution whose folder is elsewhere has its MSP ID for a name.
    here : bool
        Whether it belongs to this network folder; of another one only the peer's ledger is known.
    height : int
        Of its peer's ledger; 0 when unknown.
    block_hash : str
        Hash (hex) of its peer's newest block at the height that all peers have; empty when unknown.
    leader : bool
        Whether its orderer leads.
    led : bool
        Whether its orderer leads or follows a leader, be that elsewhere.
    sequence : int
        Of the chaincode definition on its peer; 0 when there is none, or it is not known.
    definition : str
        Version of that definition.
    code_digest : str
        Of the code that its chaincode server runs; empty when that does not answer.
    expires : str
        When the first of its certificates ends, ISO 8601; empty when there is none here.
    expires_days : int or None
        Whole days until then; negative when it has ended.
    expires_file : str
        Which certificate, below the institution's folder.
    processes : tuple of ProcessStatus
        Empty when they are elsewhere.
    """

    name: str
    msp_id: str
    here: bool
    height: int
    block_hash: str
    leader: bool
    led: bool
    sequence: int
    definition: str
    code_digest: str
    expires: str
    expires_days: int | None
    expires_file: str
    processes: tuple[ProcessStatus, ...]


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """A network folder.

    Parameters
    ----------
    directory : str
        The folder.
    running : bool
        Whether a supervisor keeps it.
    ready : bool
        Whether every process of every institution here is healthy.
    supervisor_pid : int
        0 when none runs.
    supervisor_operations : str
        Where the supervisor shows health and metrics; empty when it does not.
    channel, chaincode : str
        Their names.
    fabric : str
        Version and origin of Fabric's programs at the last `up`, for example ``v3.1.1 (built)``; empty before.
    befl : str
        Version of this installation.
    code_digest : str
        Of the chaincode of this installation.
    leader : str
        The institution of this folder whose orderer leads; empty when none does.
    led : bool
        Whether any orderer here leads or follows a leader.
    common_height : int
        The height that every peer which answers has; 0 when none answers.
    forked : bool
        Whether two peers have different blocks at that height: somebody shows a false ledger.
    warnings : tuple of str
        What an operator should look at, the gravest first.
    memory_bytes : int
        Of all processes and the supervisor.
    institutions : tuple of InstitutionStatus
        In order of name.
    """

    directory: str
    running: bool
    ready: bool
    supervisor_pid: int
    supervisor_operations: str
    channel: str
    chaincode: str
    fabric: str
    befl: str
    code_digest: str
    leader: str
    led: bool
    common_height: int
    forked: bool
    warnings: tuple[str, ...]
    memory_bytes: int
    institutions: tuple[InstitutionStatus, ...]


@dataclass(frozen=True, slots=True)
class Observer:
    """One institution that looks, by its admin.

    Parameters
    ----------
    home : Home
        Its folder.
    topology : Topology
        Of the network folder.
    institution : Institution
        Who looks.
    """

    home: Home
    topology: Topology
    institution: Institution

    def own_peer(self) -> PeerAddress:
        """Return where its own peer is; raises ``BEFL-G-023`` when the TLS CA's certificate is not there."""
        one = self.institution
        try:
            return PeerAddress(f"peer.{one.name}", one.address("peer"), self.home.tls_ca.read_bytes(), one.host)
        except OSError as error:
            raise BeflError("BEFL-G-023", f"{self.home.tls_ca}: {error.strerror}") from None

    def questions(self, peer: PeerAddress) -> PeerQuestions:
        """Open a connection to a peer; raises ``BEFL-G-023`` to ``025`` when the admin's files cannot be used."""
        return PeerQuestions(peer, self.home.user("admin"), self.institution.msp_id, self.topology.channel.name)

    def operations(self) -> ssl.SSLContext | None:
        """Make the TLS client that may read its own processes' metrics; None when it has no such certificate."""
        folder = self.home.user("admin") / "operations"
        try:
            return commands.tls_context(self.home.tls_ca, folder / "client.crt", folder / "client.key")
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Eyes:
    """Who of a network can look, and where the peers of the others are.

    Parameters
    ----------
    topology : Topology
        Of the network folder.
    here : dict
        Institutions whose folder lies here, by name.
    elsewhere : dict
        Anchor peers of the channel's other institutions, by MSP ID.
    """

    topology: Topology
    here: dict[str, Observer]
    elsewhere: dict[str, PeerAddress]

    def peer(self, name: str) -> PeerQuestions:
        """Open a connection to an institution's peer, as itself or as the first that is here."""
        if name in self.here:
            return self.here[name].questions(self.here[name].own_peer())
        return next(iter(self.here.values())).questions(self.elsewhere[name])


def must_be_network(layout: Layout) -> None:
    """Raise N-009 unless the folder is a network's."""
    if not layout.topology.is_file():
        raise BeflError(
            "BEFL-N-009", f"{layout.directory} holds no network", "`befl network up --network DIR` makes one."
        )


def read_topology(layout: Layout) -> Topology:
    """Return the topology of a network folder; raises N-009 when it is none."""
    must_be_network(layout)
    return parse(layout.topology.read_bytes(), str(layout.topology))


def status(directory: Path | str) -> NetworkStatus:
    """Ask every process of a network how it is.

    Raises
    ------
    BeflError
        N-009 there is no network.
    """
    return look(directory)[0]


def look(directory: Path | str) -> tuple[NetworkStatus, Eyes]:
    """Ask every process of a network how it is; return also with whose eyes it was seen."""
    from befl.shim.digest import code_digest  # noqa: PLC0415  # reads all chaincode source: only here

    layout = Layout(Path(directory).absolute())
    topology = read_topology(layout)
    pid = supervisor.running(layout.directory)
    states = supervisor.states(layout.directory) if pid else {}
    here = {
        one.name: Observer(layout.home(one.name), topology, one)
        for one in topology.institutions
        if layout.home(one.name).profile.is_file()
    }
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        digest = pool.submit(code_digest)
        others = pool.submit(_elsewhere, topology, here if pid else {})
        seen = list(pool.map(lambda one: _institution(layout, here.get(one.name), one, states), topology.institutions))
        eyes = Eyes(topology, here, others.result())
        seen += pool.map(lambda name: _other(eyes, name), eyes.elsewhere)
        common = min((one.height for one, _ in seen if one.height), default=0)
        institutions = tuple(pool.map(lambda entry: _at(eyes, entry[0], entry[1], common), seen))
        forked = any(pool.map(lambda entry: _differs(eyes, seen, entry), seen))
    processes = [process for institution in institutions for process in institution.processes]
    found = NetworkStatus(
        directory=str(layout.directory),
        running=pid != 0,
        ready=pid != 0 and all(process.healthy for process in processes),
        supervisor_pid=pid,
        supervisor_operations=supervisor.operations_address(layout.directory) if pid else "",
        channel=topology.channel.name,
        chaincode=topology.chaincode.name,
        fabric=layout.fabric.read_text().strip() if layout.fabric.exists() else "",
        befl=version.__version__,
        code_digest=digest.result(),
        leader=next((one.name for one in institutions if one.leader), ""),
        led=any(one.led for one in institutions),
        common_height=common,
        forked=forked or len({one.block_hash for one in institutions if one.block_hash}) > 1,
        warnings=(),
        memory_bytes=sum(process.memory_bytes for process in processes) + (_memory(pid) if pid else 0),
        institutions=institutions,
    )
    return replace(found, warnings=tuple(warnings(found))), eyes


def warnings(found: NetworkStatus) -> list[str]:
    """Say what an operator should look at; a pure function of what was seen, the gravest first."""
    lines = []
    if found.forked:
        hashes = {one.name: one.block_hash[:16] for one in found.institutions if one.block_hash}
        where = f"at height {found.common_height}: {', '.join(map(' '.join, hashes.items()))}"
        if len(set(hashes.values())) == 1:  # two differ where a third one says that it has no block yet
            where = f"above height {found.common_height}"
        lines.append(
            f"THE LEDGERS DIFFER {where}. Somebody shows a false ledger: stop the agents, keep every peer's data, and "
            "talk to the other institutions"
        )
    for one in found.institutions:
        if one.expires_days is not None and one.expires_days < certificates.WARN_DAYS:
            when = "has expired" if one.expires_days < 0 else f"expires in {one.expires_days} days"
            loud = "SOON: " if one.expires_days < certificates.ALARM_DAYS else ""
            lines.append(f"{loud}{one.name}: certificate {one.expires_file} {when} ({one.expires})")
        agreed = one.definition.rpartition("-")[2]
        if one.code_digest and one.sequence and one.code_digest != agreed:
            lines.append(
                f"{one.name}: its chaincode server runs code {one.code_digest[:16]}, the channel agreed on "
                f"{agreed[:16]}"
            )
        if one.code_digest and one.code_digest != found.code_digest:
            lines.append(
                f"{one.name}: its chaincode server runs code {one.code_digest[:16]}, this installation of befl has "
                f"{found.code_digest[:16]}"
            )
    if found.running and found.common_height and not found.led:
        lines.append("no orderer leads: nothing can be committed")
    if len({(one.sequence, one.definition) for one in found.institutions if one.sequence}) > 1:
        lines.append("peers have different chaincode definitions; one of them is behind")
    return lines


def _elsewhere(topology: Topology, here: dict[str, Observer]) -> dict[str, PeerAddress]:
    """Ask the first peer that answers who else is in the channel; nobody when none answers."""
    ours = {one.msp_id for one in topology.institutions}
    for observer in here.values():
        if not commands.listens(observer.institution.host, observer.institution.port("peer")):
            continue
        try:
            with observer.questions(observer.own_peer()) as peer:
                members = peer.members()
        except (BeflError, AnsweredError):
            continue
        return {name: address for name, address in members.items() if address is not None and name not in ours}
    return {}


def _institution(
    layout: Layout, observer: Observer | None, institution: Institution, states: dict[str, supervisor.ProcessState]
) -> tuple[InstitutionStatus, bytes]:
    """Look at an institution of this folder; the bytes are the hash of its peer's newest block."""
    home = layout.home(institution.name)
    seen = InstitutionStatus(
        name=institution.name,
        msp_id=institution.msp_id,
        here=True,
        height=0,
        block_hash="",
        leader=False,
        led=False,
        sequence=0,
        definition="",
        code_digest="",
        expires="",
        expires_days=None,
        expires_file="",
        processes=tuple(_process(institution, home, name, states) for name in PROCESSES),
    )
    if observer is None:
        return seen, b""
    soonest = certificates.soonest(certificates.certificates(home))
    if soonest is not None:
        seen = replace(
            seen,
            expires=soonest.ends.isoformat(timespec="seconds"),
            expires_days=soonest.days_left(dt.datetime.now(dt.UTC)),
            expires_file=soonest.file,
        )
    if not states:
        return seen, b""
    leader, led = _leads(observer)
    served = str(_version(institution, home, "chaincode").get("code_digest", ""))
    seen = replace(seen, leader=leader, led=led, code_digest=served)
    if not commands.listens(institution.host, institution.port("peer")):
        return seen, b""
    return _ledger(seen, lambda: observer.questions(observer.own_peer()), observer.topology)


def _other(eyes: Eyes, name: str) -> tuple[InstitutionStatus, bytes]:
    """Look at the peer of an institution whose folder is elsewhere."""
    seen = InstitutionStatus(
        name=name,
        msp_id=name,
        here=False,
        height=0,
        block_hash="",
        leader=False,
        led=False,
        sequence=0,
        definition="",
        code_digest="",
        expires="",
        expires_days=None,
        expires_file="",
        processes=(),
    )
    return _ledger(seen, lambda: eyes.peer(name), eyes.topology)


def _ledger(
    seen: InstitutionStatus, ask: Callable[[], PeerQuestions], topology: Topology
) -> tuple[InstitutionStatus, bytes]:
    """Add what the peer says about ledger and chaincode."""
    try:
        with ask() as peer:
            height, newest = peer.chain()
            found = peer.definition(topology.chaincode.name)
    except (BeflError, AnsweredError):
        return seen, b""
    definition = found or Definition(0, "")
    return replace(seen, height=height, sequence=definition.sequence, definition=definition.version), newest


def _at(eyes: Eyes, one: InstitutionStatus, newest: bytes, common: int) -> InstitutionStatus:
    """Add the hash of the block at the common height."""
    if not one.height:
        return one
    found = newest
    if one.height > common:
        try:
            with eyes.peer(one.name) as peer:
                found = peer.block_hash(common)
        except (BeflError, AnsweredError):
            return one
    return replace(one, block_hash=found.hex())


def _differs(
    eyes: Eyes, seen: Sequence[tuple[InstitutionStatus, bytes]], entry: tuple[InstitutionStatus, bytes]
) -> bool:
    """Whether a peer has another block than the highest one here has, at the height that these two have.

    The height that all have would not do: who says it is far behind would keep the others from being compared.
    """
    reference, newest = max((each for each in seen if each[0].here), key=lambda each: each[0].height, default=entry)
    one, other = entry
    height = min(reference.height, one.height)
    if not height:
        return False
    left, right = _at(eyes, reference, newest, height), _at(eyes, one, other, height)
    return bool(left.block_hash and right.block_hash) and left.block_hash != right.block_hash


def _leads(observer: Observer) -> tuple[bool, bool]:
    """Return whether the orderer leads, and whether it knows a leader (without one, no node counts as active)."""
    context = observer.operations()
    if context is None:
        return False, False
    one = observer.institution
    channel = f'channel="{observer.topology.channel.name}"'
    _, text = commands.get(one.host, one.port("orderer_operations"), "/metrics", context)
    leads = commands.metric(text, "consensus_etcdraft_is_leader", channel) == 1
    return leads, leads or bool(commands.metric(text, "consensus_etcdraft_active_nodes", channel))


def _process(
    institution: Institution, home: Home, name: str, states: dict[str, supervisor.ProcessState]
) -> ProcessStatus:
    state = states.get(f"{institution.name}/{name}")
    alive = state is not None and state.pid != 0
    return ProcessStatus(
        name=name,
        state=state.state if state is not None else "stopped",
        healthy=alive and _answers(institution, home, name),
        pid=state.pid if state is not None else 0,
        restarts=state.restarts if state is not None else 0,
        exit_status=state.exit_status if state is not None else None,
        memory_bytes=_memory(state.pid) if state is not None and state.pid else 0,
        address=institution.address(name),
        version=str(_version(institution, home, name).get("Version", "")) if alive else "",
    )


def _answers(institution: Institution, home: Home, name: str) -> bool:
    """Whether a process listens and calls itself healthy."""
    if not commands.listens(institution.host, institution.port(name)):
        return False
    context = _context(home, name)
    if context is None:
        return False
    return commands.get(institution.host, institution.port(_OPERATIONS[name]), "/healthz", context)[0] == 200


def _version(institution: Institution, home: Home, name: str) -> dict[str, object]:
    """Return what a process's ``/version`` says; empty when it does not answer."""
    context = _context(home, name)
    if context is None:
        return {}
    _, text = commands.get(institution.host, institution.port(_OPERATIONS[name]), "/version", context)
    with contextlib.suppress(ValueError):
        content = json.loads(text)
        if isinstance(content, dict):
            return content
    return {}


def _context(home: Home, name: str) -> ssl.SSLContext | None:
    try:
        return commands.tls_context(home.ca_certificate if name == "ca" else home.tls_ca)
    except OSError:
        return None


def _memory(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def topology_dot(topology: Topology) -> str:
    """Draw a topology in Graphviz' language: who runs what, and who talks to whom."""
    lines = ["graph befl {", "  rankdir=LR;", "  node [shape=box];", f'  label="channel {topology.channel.name}";']
    for one in topology.institutions:
        lines.append(f'  subgraph "cluster_{one.name}" {{')
        lines.append(f'    label="{one.name} ({one.msp_id})";')
        lines += [f'    "{one.name}/{name}" [label="{name}\\n{_address(one, name)}"];' for name in PROCESSES]
        lines += [f'    "{one.name}/peer" -- "{one.name}/{other}";' for other in ("orderer", "chaincode")]
        lines.append("  }")
    for kind, label in (("orderer", "Raft"), ("peer", "gossip")):
        lines += [
            f'  "{one.name}/{kind}" -- "{other.name}/{kind}" [label="{label}"];'
            for one, other in _pairs(topology.institutions)
        ]
    return "\n".join([*lines, "}", ""])


def topology_mermaid(topology: Topology) -> str:
    """Draw a topology in Mermaid's language, which Markdown viewers show as a picture."""
    lines = ["graph LR"]
    number = {one.name: index for index, one in enumerate(topology.institutions)}
    for one in topology.institutions:
        index = number[one.name]
        lines.append(f'  subgraph i{index}["{one.name} ({one.msp_id})"]')
        lines += [f'    i{index}_{name}["{name}<br/>{_address(one, name)}"]' for name in PROCESSES]
        lines += [f"    i{index}_peer --- i{index}_{other}" for other in ("orderer", "chaincode")]
        lines.append("  end")
    for kind, label in (("orderer", "Raft"), ("peer", "gossip")):
        lines += [
            f"  i{number[one.name]}_{kind} ---|{label}| i{number[other.name]}_{kind}"
            for one, other in _pairs(topology.institutions)
        ]
    return "\n".join([*lines, ""])


def _pairs(institutions: Sequence[Institution]) -> list[tuple[Institution, Institution]]:
    return [(one, other) for index, one in enumerate(institutions) for other in institutions[index + 1 :]]


def _address(institution: Institution, name: str) -> str:
    return institution.address(name) if institution.ports is not None else institution.host
