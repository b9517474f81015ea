"""The topology: who is in the consortium, where its processes listen, what the channel is like.

It is what ``network.toml`` holds. Reading is strict; everything that follows from it is made by the pure functions of
:mod:`befl.network.files`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from befl.rules.errors import BeflError
from befl.rules.names import MSP_ID, msp_id_of
from befl.rules.reader import Boolean, Duration, Integer, Mapped, Table, Text, parse_toml, read, setting

MOST_INSTITUTIONS: Final = 32
RESERVED: Final = frozenset({"public", "supervisor"})

_NAME: Final = Text(
    most=32, pattern=r"[a-z][a-z0-9-]*", expects="an institution's name (a letter, then letters, digits and -)"
)
_HOST: Final = Text(most=253, pattern=r"[A-Za-z0-9][A-Za-z0-9.\-]*", expects="a host name or an IPv4 address")
_CHANNEL_NAME: Final = Text(
    most=100,
    pattern=r"[a-z][a-z0-9.-]*",
    expects="a channel name (a small letter, then small letters, digits, . and -)",
)
_PORT: Final = Integer(1024, 65535)


@dataclass(frozen=True, slots=True)
class Ports:
    """``[institutions.NAME.ports]``: where the processes of one institution listen."""

    ca: int = setting(_PORT, "Fabric CA: identity, TLS and operations CA")
    ca_operations: int = setting(_PORT, "Fabric CA: health")
    orderer: int = setting(_PORT, "orderer: clients and other orderers")
    orderer_admin: int = setting(_PORT, "orderer: joining channels")
    orderer_operations: int = setting(_PORT, "orderer: health and metrics")
    peer: int = setting(_PORT, "peer: clients and other peers")
    peer_chaincode: int = setting(_PORT, "peer: chaincode that dials in (unused, but the peer opens it)")
    peer_operations: int = setting(_PORT, "peer: health and metrics")
    chaincode: int = setting(_PORT, "chaincode server")
    chaincode_operations: int = setting(_PORT, "chaincode server: health and metrics")
    chaincode_next: int = setting(_PORT, "chaincode server that comes, while an upgrade goes on beside the old one")
    chaincode_next_operations: int = setting(_PORT, "chaincode server that comes: health and metrics")


PORTS: Final = tuple(field.name for field in dataclasses.fields(Ports))


@dataclass(frozen=True, slots=True)
class InstitutionTable:
    """``[institutions.NAME]``: one Fabric organisation, as it is written."""

    msp_id: str = setting(MSP_ID, "the institution's MSP ID; made from the name when absent", default="")
    host: str = setting(_HOST, "where its processes listen", default="127.0.0.1")
    ports: Ports | None = setting(Table(Ports), "chosen free at the first `up` when absent", default=None)


@dataclass(frozen=True, slots=True)
class Channel:
    """``[channel]``: what all institutions agree on about the channel."""

    name: str = setting(_CHANNEL_NAME, "the channel's name", default="befl")
    batch_timeout: str = setting(
        Duration("1ms", "60s"), "how long an orderer waits to fill a block: the latency of a lone one", default="25ms"
    )
    raft_tick: str = setting(
        Duration("20ms", "5s"), "Raft's clock: one heartbeat each, an election after ten without", default="200ms"
    )


@dataclass(frozen=True, slots=True)
class Chaincode:
    """``[chaincode]``: how the peers run it."""

    name: str = setting(
        Text(most=50, pattern=r"[a-z][a-z0-9_-]*", expects="a chaincode name"),
        "its name on the channel",
        default="befl",
    )
    time_tolerance: str = setting(
        Duration("1s", "15m"),
        "how far a proposal's timestamp may be behind an endorser's clock; it may be ahead by as much, but 5s at most",
        default="60s",
    )
    execute_timeout: str = setting(Duration("1s", "60m"), "how long one transaction may run", default="120s")
    endorsement_timeout: str = setting(
        Duration("1s", "60m"), "how long the gateway waits for endorsements", default="180s"
    )


@dataclass(frozen=True, slots=True)
class TopologyTable:
    """The whole file, as it is written."""

    befl: int = setting(Integer(1, 1), "the file's version")
    institutions: Mapping[str, InstitutionTable] = setting(
        Mapped(Table(InstitutionTable), MOST_INSTITUTIONS, key=_NAME), "one table an institution"
    )
    channel: Channel = setting(Table(Channel), "the channel", default=Channel())
    chaincode: Chaincode = setting(Table(Chaincode), "the chaincode", default=Chaincode())
    joins: bool = setting(
        Boolean(), "whether these institutions join a running channel, instead of founding one", default=False
    )


@dataclass(frozen=True, slots=True)
class Institution:
    """One institution of the consortium, complete.

    Parameters
    ----------
    name : str
        Its folder and its short name.
    msp_id : str
        Its MSP ID.
    host : str
        Where its processes listen.
    ports : Ports or None
        None until the first ``up`` chose them.
    """

    name: str
    msp_id: str
    host: str
    ports: Ports | None = None

    def port(self, name: str) -> int:
        """Return a port by the name it has in :class:`Ports`."""
        if self.ports is None:
            raise BeflError("BEFL-N-004", f"institutions.{self.name}.ports: not chosen yet")
        value: int = getattr(self.ports, name)
        return value

    def address(self, name: str) -> str:
        """Return ``host:port``."""
        return f"{self.host}:{self.port(name)}"


@dataclass(frozen=True, slots=True)
class Topology:
    """What a folder holds: its institutions in order of name, its channel, its chaincode.

    With ``joins`` the institutions did not found the channel; who else is in it stands in the channel's configuration.
    """

    institutions: tuple[Institution, ...]
    channel: Channel = Channel()
    chaincode: Chaincode = Chaincode()
    joins: bool = False

    def institution(self, name: str) -> Institution:
        """Return an institution by its name."""
        for institution in self.institutions:
            if institution.name == name:
                return institution
        known = ", ".join(institution.name for institution in self.institutions)
        raise BeflError("BEFL-C-009", f"no institution is called {name!r}", f"There are: {known}.")


def make(names: Sequence[str]) -> Topology:
    """Make a topology of institutions with these names and everything else by default.

    Raises
    ------
    BeflError
        ``BEFL-C-004`` a name or their number, ``BEFL-N-004`` a name twice or a reserved one.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise BeflError("BEFL-N-004", f"institutions: {twice[0]} stands twice")
    return from_table({"befl": 1, "institutions": {name: {} for name in names}})


def from_table(table: Mapping[str, Any]) -> Topology:
    """Make a topology of what a topology file would hold; raises what :func:`parse` does."""
    return _complete(read(TopologyTable, table))


def parse(data: bytes, what: str) -> Topology:
    """Read a topology file.

    Parameters
    ----------
    data : bytes
        TOML.
    what : str
        The file's name, for messages.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-005`` when a field is unknown, missing or wrong or the file is no TOML;
        ``BEFL-N-004`` when the values do not go together.
    """
    return from_table(parse_toml(data, what))


def dump(topology: Topology) -> str:
    """Write a topology as TOML; :func:`parse` of it gives the same topology."""
    lines = [
        "# The consortium, as `befl network up` made it. Ports stand in the channel configuration: do not change them."
    ]
    lines += ["befl = 1", *(["joins = true"] if topology.joins else []), ""]
    for name, table in (("channel", topology.channel), ("chaincode", topology.chaincode)):
        lines += [f"[{name}]", *_keys(dataclasses.asdict(table)), ""]
    for institution in topology.institutions:
        lines += [f"[institutions.{institution.name}]"]
        lines += [*_keys({"msp_id": institution.msp_id, "host": institution.host}), ""]
        if institution.ports is not None:
            lines += [f"[institutions.{institution.name}.ports]", *_keys(dataclasses.asdict(institution.ports)), ""]
    return "\n".join(lines)


def with_ports(topology: Topology, ports: Sequence[int]) -> Topology:
    """Give ports, in order, to the institutions that have none."""
    left = iter(ports)
    return dataclasses.replace(
        topology,
        institutions=tuple(
            institution
            if institution.ports is not None
            else dataclasses.replace(institution, ports=Ports(*(next(left) for _ in PORTS)))
            for institution in topology.institutions
        ),
    )


def swap_chaincode_ports(topology: Topology, name: str) -> Topology:
    """Exchange the ports of an institution's chaincode server and of the one that comes."""
    changed = []
    for institution in topology.institutions:
        ports = institution.ports
        if institution.name == name and ports is not None:
            ports = dataclasses.replace(
                ports,
                chaincode=ports.chaincode_next,
                chaincode_operations=ports.chaincode_next_operations,
                chaincode_next=ports.chaincode,
                chaincode_next_operations=ports.chaincode_operations,
            )
        changed.append(dataclasses.replace(institution, ports=ports))
    return dataclasses.replace(topology, institutions=tuple(changed))


def _keys(values: Mapping[str, Any]) -> list[str]:
    # every text here was accepted by a pattern without quotes, backslashes or control characters
    return [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in values.items()]


def _complete(table: TopologyTable) -> Topology:
    """Fill in what follows, and refuse what does not go together."""
    institutions = tuple(
        Institution(name, entry.msp_id or msp_id_of(name), entry.host, entry.ports)
        for name, entry in sorted(table.institutions.items())
    )
    if not institutions:
        raise BeflError("BEFL-N-004", "institutions: a consortium has at least one")
    seen: dict[str, str] = {}
    taken: dict[tuple[str, int], str] = {}
    for institution in institutions:
        where = f"institutions.{institution.name}"
        if institution.name in RESERVED:
            raise BeflError("BEFL-N-004", f"{where}: {institution.name} is a reserved name")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,63}", institution.msp_id):
            raise BeflError("BEFL-N-004", f"{where}.msp_id: {institution.msp_id!r} is no MSP ID")
        if institution.msp_id in seen:
            raise BeflError("BEFL-N-004", f"{where}.msp_id: {institution.msp_id} is that of {seen[institution.msp_id]}")
        seen[institution.msp_id] = institution.name
        for name in PORTS if institution.ports is not None else ():
            key = (institution.host, institution.port(name))
            if key in taken:
                raise BeflError("BEFL-N-004", f"{where}.ports.{name}: port {key[1]} is {taken[key]}")
            taken[key] = f"{where}.ports.{name}"
    return Topology(institutions, table.channel, table.chaincode, table.joins)
