"""What can be seen of a network: its processes, its ledgers."""

from __future__ import annotations

import concurrent.futures
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from befl.network import commands, supervisor
from befl.network.layout import Home, Layout
from befl.network.topology import Institution, Topology, parse
from befl.rules.errors import BeflError

_PROCESSES: Final = ("ca", "orderer", "peer", "chaincode")
_HEALTH: Final = {"ca": "ca_operations", "orderer": "orderer_operations", "peer": "peer_operations"}


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
        Whether it listens and its ``/healthz`` says so; a chaincode server has only its port.
    pid : int
        0 when it does not run.
    restarts : int
        How often the supervisor had to start it again.
    memory_bytes : int
        Resident memory.
    address : str
        Where it listens.
    """

    name: str
    state: str
    healthy: bool
    pid: int
    restarts: int
    memory_bytes: int
    address: str


@dataclass(frozen=True, slots=True)
class InstitutionStatus:
    """One institution: its processes, the height of its peer's ledger (0 when unknown), whether its orderer leads."""

    name: str
    msp_id: str
    height: int
    leader: bool
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
        Whether every process of every institution is healthy.
    supervisor_pid : int
        0 when none runs.
    channel, chaincode : str
        Their names.
    fabric : str
        Version and origin of Fabric's programs at the last `up`, for example ``v3.1.1 (built)``; empty before.
    memory_bytes : int
        Of all processes and the supervisor.
    institutions : tuple of InstitutionStatus
        In order of name.
    """

    directory: str
    running: bool
    ready: bool
    supervisor_pid: int
    channel: str
    chaincode: str
    fabric: str
    memory_bytes: int
    institutions: tuple[InstitutionStatus, ...]


def must_be_network(layout: Layout) -> None:
    """Raise N-009 unless the folder is a network's."""
    if not layout.topology.is_file():
        raise BeflError("BEFL-N-009", f"{layout.directory} holds no network")


def status(directory: Path | str) -> NetworkStatus:
    """Ask every process of a network how it is.

    Raises
    ------
    BeflError
        N-009 there is no network.
    """
    layout = Layout(Path(directory).absolute())
    must_be_network(layout)
    topology = parse(layout.topology.read_bytes(), str(layout.topology))
    pid = supervisor.running(layout.directory)
    states = supervisor.states(layout.directory) if pid else {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        institutions = tuple(
            pool.map(lambda one: _institution_status(layout, topology, one, states), topology.institutions)
        )
    processes = [process for institution in institutions for process in institution.processes]
    return NetworkStatus(
        directory=str(layout.directory),
        running=pid != 0,
        ready=pid != 0 and all(process.healthy for process in processes),
        supervisor_pid=pid,
        channel=topology.channel.name,
        chaincode=topology.chaincode.name,
        fabric=layout.fabric.read_text().strip() if layout.fabric.exists() else "",
        memory_bytes=sum(process.memory_bytes for process in processes) + (_memory(pid) if pid else 0),
        institutions=institutions,
    )


def _institution_status(
    layout: Layout, topology: Topology, institution: Institution, states: dict[str, supervisor.ProcessState]
) -> InstitutionStatus:
    home = layout.home(institution.name)
    channel = f'channel="{topology.channel.name}"'
    processes = []
    for name in _PROCESSES:
        state = states.get(f"{institution.name}/{name}")
        alive = state is not None and state.pid != 0
        processes.append(
            ProcessStatus(
                name=name,
                state=state.state if state is not None else "stopped",
                healthy=alive and _answers(institution, home, name),
                pid=state.pid if state is not None else 0,
                restarts=state.restarts if state is not None else 0,
                memory_bytes=_memory(state.pid) if state is not None and state.pid else 0,
                address=institution.address(name),
            )
        )
    height: float | None = None
    leader: float | None = None
    operations = home.user("admin") / "operations"
    if states and operations.exists():
        context = commands.tls_context(home.tls_ca, operations / "client.crt", operations / "client.key")
        _, peer = commands.get(institution.host, institution.port("peer_operations"), "/metrics", context)
        _, orderer = commands.get(institution.host, institution.port("orderer_operations"), "/metrics", context)
        height = commands.metric(peer, "ledger_blockchain_height", channel)
        leader = commands.metric(orderer, "consensus_etcdraft_is_leader", channel)
    return InstitutionStatus(institution.name, institution.msp_id, int(height or 0), leader == 1, tuple(processes))


def _answers(institution: Institution, home: Home, name: str) -> bool:
    """Whether a process listens and calls itself healthy."""
    if not commands.listens(institution.host, institution.port(name)):
        return False
    if name not in _HEALTH:
        return True
    ca = home.ca_certificate if name == "ca" else home.tls_ca
    if not ca.exists():
        return False
    context = commands.tls_context(ca)
    return commands.get(institution.host, institution.port(_HEALTH[name]), "/healthz", context)[0] == 200


def _memory(pid: int) -> int:
    """Return the resident memory of a process in bytes; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
