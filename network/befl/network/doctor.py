"""What is wrong with an installation and a network, and what to do: facts are gathered first, then judged.

Each check is a pure function of the facts, so each fault can be shown to it without making one. ``befl.client.doctor``
has the checks of an agent and its data.
"""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import email.utils
import functools
import json
import os
import re
import shutil
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from befl.gateway import wait
from befl.gateway.ask import AnsweredError
from befl.network import commands, fabric, observe
from befl.network.certificates import WARN_DAYS, Certificate, certificates
from befl.network.layout import Layout
from befl.network.observe import Eyes, InstitutionStatus, NetworkStatus, Observer
from befl.network.ports import bindable
from befl.network.topology import PORTS, Topology
from befl.operations.findings import Finding
from befl.rules.errors import BeflError
from befl.rules.reader import milliseconds

DISK_PROBLEM: Final = 1_000_000_000
DISK_WARNING: Final = 5_000_000_000
OLDEST_PYTHON: Final = (3, 11)
AHEAD_S: Final = 5.0
"""How far ahead of its own clock an endorser takes a timestamp; :mod:`befl.shim.stream` refuses more."""
_CLOCK_WARNING_S: Final = 2.0
CORE_KEYS: Final = {
    "chaincode.system": "without it the peer has no _lifecycle, cscc and qscc, and does not join a channel",
    "peer.handlers.authFilters": "without it expired identities are accepted",
    "peer.handlers.endorsers": "without it nothing is endorsed",
    "peer.handlers.validators": "without it no block is validated",
    "peer.discovery.enabled": "without it the peer has no gateway",
    "peer.gossip.orgLeader": "without it the peer gets no blocks",
    "peer.gossip.pvtData": "without it missing private data is never fetched",
}
"""Keys of core.yaml that have no default in the peer's code, and what their absence does."""

_CATCH_UP_S: Final = 3.0
_RESTARTS: Final = 3
_TASKS: Final = 20
"""So many of the newest tasks have their private values looked for."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the disk of a folder, in bytes."""

    folder: str
    free: int


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts about this installation.

    Parameters
    ----------
    python : tuple of int
        Its version.
    packages : mapping
        Version by name of what befl depends on; None for what is missing.
    torch : str or None
        Its version; None when it is not installed.
    programs : str
        Version and origin of Fabric's programs; empty when there are none that can be used.
    programs_problem : BeflError or None
        Why there are none.
    built_later : bool
        Whether there are none because `befl network up` has not built them yet.
    core : mapping
        Keys and scalars of the peer's core.yaml, by dotted path; empty when there is none.
    core_file : str
        Which file.
    disk : Disk
        Of the cache folder.
    """

    python: tuple[int, int, int]
    packages: Mapping[str, str | None]
    torch: str | None
    programs: str
    programs_problem: BeflError | None
    built_later: bool
    core: Mapping[str, str]
    core_file: str
    disk: Disk


@dataclass(frozen=True, slots=True)
class Missing:
    """A private value whose hash stands on the ledger and that a peer does not have."""

    institution: str
    collection: str
    what: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a network.

    Parameters
    ----------
    status : NetworkStatus
        What was seen.
    later : mapping
        Height by institution, a little after the first look.
    taken : mapping
        Ports that somebody else holds while the process that they are for does not run: ``org.ports.name`` to port.
    gone : mapping
        Programs that the network's processes are started from and that are not there, by process.
    certificates : mapping
        All certificates by institution.
    clocks : mapping
        Seconds by which an institution's processes are ahead of this machine.
    tolerance_s : float
        How far a timestamp may be from an endorser's clock.
    known_peers : mapping
        How many other peers each peer knows by gossip.
    missing : tuple of Missing
        Private values that a peer lacks.
    disk : Disk
        Of the network folder.
    now : datetime
        When.
    """

    status: NetworkStatus
    later: Mapping[str, int]
    taken: Mapping[str, int]
    gone: Mapping[str, str]
    certificates: Mapping[str, tuple[Certificate, ...]]
    clocks: Mapping[str, float]
    tolerance_s: float
    known_peers: Mapping[str, int]
    missing: tuple[Missing, ...]
    disk: Disk
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


# --- judging an installation ------------------------------------------------------------------------------------


def check_python(facts: Installation) -> list[Finding]:
    """Check that Python is new enough."""
    shown = ".".join(map(str, facts.python))
    if facts.python[:2] < OLDEST_PYTHON:
        return _bad("installation", "Python", f"Python {shown} is too old", "Install Python 3.11 or newer.")
    return _good("installation", "Python", f"Python {shown}")


def check_packages(facts: Installation) -> list[Finding]:
    """Check that everything befl depends on is installed."""
    missing = sorted(name for name, version in facts.packages.items() if version is None)
    if not facts.packages:
        said = "befl runs from a source folder and is not installed, so nobody knows what it needs"
        return [Finding("installation", "Python packages", "warning", said, "pip install -e . in that folder.")]
    if missing:
        return _bad(
            "installation",
            "Python packages",
            f"not installed: {', '.join(missing)}",
            f"pip install {' '.join(missing)}, or install befl again.",
        )
    return _good("installation", "Python packages", f"all {len(facts.packages)} are installed")


def check_torch(facts: Installation) -> list[Finding]:
    """Check that torch is there for those who train."""
    if facts.torch is None:
        return [
            Finding(
                "installation",
                "torch",
                "warning",
                "torch is not installed: this machine can run a network and look at tasks, but not train",
                "pip install 'befl[train]', or name a Python that has torch in AGENT.toml ([training] python).",
            )
        ]
    return _good("installation", "torch", f"torch {facts.torch}")


def check_programs(facts: Installation) -> list[Finding]:
    """Check that Fabric's programs are there and new enough."""
    name = "Fabric's programs"
    if facts.built_later:
        return [
            Finding(
                "installation",
                name,
                "warning",
                "not built yet; only a machine that runs peers and orderers needs them",
                "`befl network fabric` builds them; `befl network up` does it too, the first time.",
            )
        ]
    if facts.programs_problem is not None:
        error = facts.programs_problem
        return _bad("installation", name, f"{error.code}: {error.message}", error.hint)
    return _good("installation", name, facts.programs)


def check_core(facts: Installation) -> list[Finding]:
    """Check that the peer's core.yaml holds what has no default in the peer's code."""
    name = "core.yaml"
    if not facts.core_file:
        return []
    lacking = [f"{key} ({why})" for key, why in CORE_KEYS.items() if not any(_below(path, key) for path in facts.core)]
    for key in ("peer.discovery.enabled", "peer.gossip.orgLeader"):
        election = key.endswith("orgLeader") and facts.core.get("peer.gossip.useLeaderElection") == "true"
        if facts.core.get(key) == "false" and not election:
            lacking.append(f"{key} is false ({CORE_KEYS[key]})")
    if lacking:
        return _bad(
            "installation",
            name,
            f"{facts.core_file} lacks {'; '.join(lacking)}",
            "Start from the core.yaml of Fabric's release, and put what you change into the environment (CORE_...).",
        )
    return _good("installation", name, f"{facts.core_file} has every key that the peer's code has no default for")


def check_cache_disk(facts: Installation) -> list[Finding]:
    """Check that there is room where befl keeps Fabric's programs."""
    return _disk("installation", facts.disk, "Free some, or name another folder in BEFL_CACHE.")


# --- judging a network ------------------------------------------------------------------------------------------


def check_running(facts: Facts) -> list[Finding]:
    """Check that the network runs at all."""
    status = facts.status
    if not status.running:
        return _bad(
            "network", "supervisor", "the network does not run", f"befl network up --network {status.directory}"
        )
    return _good("network", "supervisor", f"runs, pid {status.supervisor_pid}")


def check_ports(facts: Facts) -> list[Finding]:
    """Check that no stranger listens where a process of the network should."""
    if facts.taken:
        return [
            finding
            for where, port in facts.taken.items()
            for finding in _bad(
                "network",
                "ports",
                f"port {port} ({where}) is taken by another process",
                f"`ss -ltnp 'sport = :{port}'` names it; end it. The channel's configuration holds the port.",
            )
        ]
    return _good("network", "ports", "nobody else listens on the network's ports")


def check_network_programs(facts: Facts) -> list[Finding]:
    """Check that the programs which the processes are started from are still there."""
    if facts.gone:
        return [
            finding
            for name, program in facts.gone.items()
            for finding in _bad(
                "network",
                "programs",
                f"{name} is started from {program}, which is not there",
                "`befl network fabric` finds or builds the programs; `befl network up` describes the processes anew.",
            )
        ]
    return _good("network", "programs", "every process's program is there")


def check_processes(facts: Facts) -> list[Finding]:
    """Check that every process runs, answers and stays up."""
    if not facts.status.running:
        return []
    found = []
    for one in facts.status.institutions:
        for process in one.processes:
            name = f"{one.name}/{process.name}"
            log = f"befl network logs {name} --network {facts.status.directory}"
            if process.state != "running":
                how = f" (it ended with {process.exit_status})" if process.exit_status is not None else ""
                found += _bad("network", "processes", f"{name} is dead{how}, restarted {process.restarts} times", log)
            elif not process.healthy:
                found += _bad("network", "processes", f"{name} runs and does not answer at {process.address}", log)
            elif process.restarts >= _RESTARTS:
                said = f"{name} was restarted {process.restarts} times (it last ended with {process.exit_status})"
                found.append(Finding("network", "processes", "warning", said, log))
    return found or _good("network", "processes", "all run and answer")


def check_heights(facts: Facts) -> list[Finding]:
    """Check that every peer has come to the height that the highest had at first."""
    heights = {one.name: one.height for one in facts.status.institutions if one.height}
    if not heights:
        return []
    highest = max(heights.values())
    behind = {name: facts.later.get(name, height) for name, height in heights.items()}
    found = [
        finding
        for name, height in behind.items()
        if height < highest
        for finding in _bad(
            "network",
            "ledger heights",
            f"the peer of {name} is behind: height {height}, others have {highest}",
            f"It gets no blocks: look for its orderer's address and gossip in `befl network logs {name}/peer`.",
        )
    ]
    return found or _good("network", "ledger heights", f"every peer has height {highest} or more")


def check_fork(facts: Facts) -> list[Finding]:
    """Check that all peers have the same blocks."""
    status = facts.status
    if status.forked:
        return _bad(
            "network",
            "block hashes",
            observe.warnings(status)[0],
            "Stop the agents and compare with the other operators.",
        )
    if not status.common_height:
        return []
    return _good("network", "block hashes", f"the same block at height {status.common_height} at every peer")


def check_leader(facts: Facts) -> list[Finding]:
    """Check that an orderer leads."""
    status = facts.status
    if not status.running:
        return []
    if not status.led:
        orderers = [process for one in status.institutions for process in one.processes if process.name == "orderer"]
        healthy = sum(process.healthy for process in orderers)
        return _bad(
            "network",
            "Raft leader",
            f"no orderer leads; {healthy} of the {len(orderers)} orderers here answer, a majority of all must",
            "Start the orderers that are down; when enough run, look for `raft` in `befl network logs`.",
        )
    return _good("network", "Raft leader", f"the orderer of {status.leader or 'another institution'} leads")


def check_certificates(facts: Facts) -> list[Finding]:
    """Check that every certificate is valid now, for some time, and from the right CA."""
    found = []
    count = 0
    for name, entries in facts.certificates.items():
        for one in entries:
            count += 1
            where = f"{name}/{one.file}"
            renew = f"befl identity renew, as {name}; the CA renews expired certificates too."
            if one.problem:
                found += _bad("network", "certificates", f"{where} cannot be read: {one.problem}", renew)
            elif one.ends <= facts.now:
                found += _bad("network", "certificates", f"{where} has expired on {one.ends:%Y-%m-%d %H:%M}", renew)
            elif one.begins > facts.now:
                said = f"{where} is valid only from {one.begins:%Y-%m-%d %H:%M}"
                found += _bad("network", "certificates", said, "Check the clock of this machine and of the CA's.")
            elif not one.signed:
                said = f"{where} is not from the CA of {name}: nobody will accept it"
                found += _bad("network", "certificates", said, "Enrol it again at the institution's own CA.")
            elif one.days_left(facts.now) < WARN_DAYS:
                said = f"{where} expires in {one.days_left(facts.now)} days"
                found.append(Finding("network", "certificates", "warning", said, renew))
    return found or (_good("network", "certificates", f"{count} are valid and from the right CA") if count else [])


def check_clocks(facts: Facts) -> list[Finding]:
    """Check that no clock is so far from ours that one of both is refused what it submits.

    The tolerance is for a proposal that takes its time; whoever is ahead has the few seconds that clocks may differ.
    """
    found = []
    advice = "Set the clocks by NTP (chrony, systemd-timesyncd); endorsers refuse timestamps that are too far away."
    most = min(AHEAD_S, facts.tolerance_s)
    for name, seconds in facts.clocks.items():
        said = f"the clock of {name} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
        if abs(seconds) > most:
            found += _bad("network", "clocks", f"{said}; whoever is more than {most:g} s ahead is refused", advice)
        elif abs(seconds) >= _CLOCK_WARNING_S:
            found.append(Finding("network", "clocks", "warning", said, advice))
    return found or (_good("network", "clocks", "agree with this machine's") if facts.clocks else [])


def check_network_disk(facts: Facts) -> list[Finding]:
    """Check that there is room for the ledgers."""
    return _disk("network", facts.disk, "A peer or orderer stops when its disk is full: free some, or add a disk.")


def check_gossip(facts: Facts) -> list[Finding]:
    """Check that every peer knows all others."""
    others = len(facts.status.institutions) - 1
    found = [
        finding
        for name, known in facts.known_peers.items()
        if known < others
        for finding in _bad(
            "network",
            "gossip",
            f"gossip has not formed: the peer of {name} knows {known} of {others} other peers",
            "Private data cannot be handed on: check that the peers reach one another, anchor peers and TLS CAs.",
        )
    ]
    return found or (_good("network", "gossip", f"every peer knows {others} others") if facts.known_peers else [])


def check_code(facts: Facts) -> list[Finding]:
    """Check that every chaincode server runs the code that the channel agreed on."""
    found = []
    served = 0
    for one in facts.status.institutions:
        agreed = one.definition.rpartition("-")[2]
        if not one.code_digest:
            continue
        served += 1
        if one.sequence and one.code_digest != agreed:
            found += _bad(
                "network",
                "chaincode",
                f"wrong chaincode digest: the server of {one.name} runs {one.code_digest[:16]}, the channel agreed on "
                f"{agreed[:16]} (sequence {one.sequence})",
                "Install the version of befl that the definition names, or upgrade the chaincode with the others.",
            )
        elif one.code_digest != facts.status.code_digest:
            said = (
                f"this installation of befl has chaincode {facts.status.code_digest[:16]}, the server of {one.name} "
                f"runs {one.code_digest[:16]}"
            )
            advice = "An agent must run the code that the channel agreed on: install that version here."
            found.append(Finding("network", "chaincode", "warning", said, advice))
    return found or (_good("network", "chaincode", "every server runs what the channel agreed on") if served else [])


def check_collections(facts: Facts) -> list[Finding]:
    """Check that no peer lacks a private value that the ledger has a hash of."""
    found = [
        finding
        for one in facts.missing
        for finding in _bad(
            "network",
            "private data",
            f"the peer of {one.institution} lacks data of collection {one.collection}: {one.what}",
            "It fetches it when peers that have it can be reached: see gossip above, and pvtData in its log.",
        )
    ]
    return found or (_good("network", "private data", "no peer lacks any") if facts.status.common_height else [])


INSTALLATION: Final[tuple[Callable[[Installation], list[Finding]], ...]] = (
    check_python,
    check_packages,
    check_torch,
    check_programs,
    check_core,
    check_cache_disk,
)
NETWORK: Final[tuple[Callable[[Facts], list[Finding]], ...]] = (
    check_running,
    check_ports,
    check_network_programs,
    check_processes,
    check_network_disk,
    check_certificates,
    check_clocks,
    check_leader,
    check_heights,
    check_fork,
    check_gossip,
    check_code,
    check_collections,
)


def examine_installation() -> list[Finding]:
    """Look at this installation; see :data:`INSTALLATION`."""
    facts = installation()
    return [finding for check in INSTALLATION for finding in check(facts)]


def examine_network(directory: Path | str, institution: str = "") -> list[Finding]:
    """Look at a network; see :data:`NETWORK`.

    Parameters
    ----------
    directory : Path
        A network folder.
    institution : str
        Look at the processes and certificates of this one only; at all when empty.

    Raises
    ------
    BeflError
        N-004 no such institution, N-009 there is no network.
    """
    facts = network(directory, institution)
    return [finding for check in NETWORK for finding in check(facts)]


# --- gathering --------------------------------------------------------------------------------------------------


def installation() -> Installation:
    """Gather the facts about this installation; nothing is built or changed."""
    programs, problem, core_file = "", None, None
    try:
        found = fabric.locate(build=_no_build)
        programs, core_file = f"Fabric {found.version} ({found.origin}) in {found.folder}", found.config / "core.yaml"
    except BeflError as error:
        problem = error
    return Installation(
        python=sys.version_info[:3],
        packages=packages(),
        torch=_version("torch"),
        programs=programs,
        programs_problem=problem,
        built_later=problem is not None and problem.message == _NOT_BUILT,
        core=outline(core_file.read_text()) if core_file is not None and core_file.is_file() else {},
        core_file=str(core_file or ""),
        disk=disk(fabric.cache_dir()),
    )


_NOT_BUILT: Final = "Fabric is not built yet"


def _no_build(*_: Any) -> None:
    raise BeflError("BEFL-N-002", _NOT_BUILT)


def packages() -> dict[str, str | None]:
    """Return the installed version of each package that befl always needs; None for those that are missing."""
    try:
        wanted = metadata.requires("befl") or []
    except metadata.PackageNotFoundError:
        return {}
    names = [match[0] for one in wanted if "extra ==" not in one and (match := re.match(r"[A-Za-z0-9._-]+", one))]
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def outline(text: str) -> dict[str, str]:
    """Return the keys of a YAML file of block mappings by dotted path, with their scalars; enough for core.yaml."""
    found: dict[str, str] = {}
    open_: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.match(r"( *)([A-Za-z_][\w.-]*):(?:\s+(.*?))?\s*(?:\s#.*)?$", line)
        if match is None:
            continue
        depth = len(match[1])
        while open_ and open_[-1][0] >= depth:
            open_.pop()
        open_.append((depth, match[2]))
        found[".".join(name for _, name in open_)] = (match[3] or "").strip("\"'")
    return found


def disk(folder: Path) -> Disk:
    """Return the room where a folder is, or would be made."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Disk(str(folder), shutil.disk_usage(place).free)


def network(directory: Path | str, institution: str = "") -> Facts:
    """Gather the facts about a network; nothing is changed."""
    layout = Layout(Path(directory).absolute())
    topology = observe.read_topology(layout)
    if institution:
        topology.institution(institution)
    seen, eyes = observe.look(layout.directory)
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        here = list(eyes.here)
        clocks = pool.map(lambda name: _clock(eyes.here[name]), here)
        known = pool.map(lambda name: _known_peers(eyes.here[name]), here)
        later = _later(eyes, seen)
        facts = Facts(
            status=seen,
            later=later,
            taken=_taken(topology, seen),
            gone=_gone(layout),
            certificates={name: tuple(certificates(layout.home(name))) for name in here},
            clocks={name: seconds for name, seconds in zip(here, clocks, strict=True) if seconds is not None},
            tolerance_s=milliseconds(topology.chaincode.time_tolerance) / 1000,
            known_peers={name: count for name, count in zip(here, known, strict=True) if count is not None},
            missing=tuple(_missing(eyes, seen)),
            disk=disk(layout.directory),
        )
    return _only(facts, institution) if institution else facts


def _only(facts: Facts, name: str) -> Facts:
    """Leave out what concerns only other institutions."""
    institutions = tuple(one if one.name == name else _silent(one) for one in facts.status.institutions)

    def own(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if re.split(r"[./]", key)[0] == name}

    return Facts(
        status=replace(facts.status, institutions=institutions),
        later=facts.later,
        taken=own(facts.taken),
        gone=own(facts.gone),
        certificates=own(facts.certificates),
        clocks=own(facts.clocks),
        tolerance_s=facts.tolerance_s,
        known_peers=own(facts.known_peers),
        missing=tuple(one for one in facts.missing if one.institution == name),
        disk=facts.disk,
        now=facts.now,
    )


def _silent(one: InstitutionStatus) -> InstitutionStatus:
    return replace(one, processes=(), code_digest="")


def _later(eyes: Eyes, seen: NetworkStatus) -> dict[str, int]:
    """Ask those that seemed behind again, for a moment: blocks travel."""
    heights = {one.name: one.height for one in seen.institutions if one.height}
    highest = max(heights.values(), default=0)

    def again(name: str) -> int:
        try:
            with eyes.peer(name) as peer:
                return peer.chain()[0]
        except (BeflError, AnsweredError):
            return 0

    for name in [name for name, height in heights.items() if height < highest]:
        try:
            wait.until(
                lambda name=name: heights.update({name: again(name)}) or heights[name] >= highest,  # type: ignore[misc]  # binds the loop's name
                timeout=_CATCH_UP_S,
                interval=0.3,
                what="the same height",
            )
        except BeflError:
            continue
    return heights


def _taken(topology: Topology, seen: NetworkStatus) -> dict[str, int]:
    """Return the ports of processes that do not run where somebody listens all the same."""
    found = {}
    running = {
        (one.name, process.name) for one in seen.institutions for process in one.processes if process.state == "running"
    }
    for institution in topology.institutions:
        for name in PORTS if institution.ports is not None else ():
            if (institution.name, name.partition("_")[0]) in running:
                continue
            port = institution.port(name)
            if not bindable(institution.host, port):
                found[f"{institution.name}.ports.{name}"] = port
    return found


def _gone(layout: Layout) -> dict[str, str]:
    """Return the programs of described processes that are not there, or may not be run."""
    found = {}
    for path in sorted(layout.directory.glob("*/services/*.json")):
        try:
            program = str(json.loads(path.read_text())["argv"][0])
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if not os.access(program, os.X_OK):
            found[f"{path.parent.parent.name}/{path.stem}"] = program
    return found


def _clock(observer: Observer) -> float | None:
    """Return by how many seconds an institution's peer is ahead of us, from the Date of its answers (whole seconds)."""
    one = observer.institution
    try:
        context = commands.tls_context(observer.home.tls_ca)
    except OSError:
        return None
    return clock(one.host, one.port("peer_operations"), context)


def clock(host: str, port: int, context: ssl.SSLContext) -> float | None:
    """Return by how many seconds an HTTPS server's clock is ahead of ours; None when it does not say."""
    _, headers, _ = commands.ask(host, port, "/healthz", context)
    try:
        theirs = email.utils.parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError):
        return None
    # they cut the fraction off
    away = (theirs - dt.datetime.now(dt.UTC)).total_seconds() + 0.5
    return 0.0 if abs(away) < 1 else away


def _known_peers(observer: Observer) -> int | None:
    context = observer.operations()
    if context is None:
        return None
    one = observer.institution
    status, text = commands.get(one.host, one.port("peer_operations"), "/metrics", context)
    if status != 200:  # HTTP's OK
        return None
    channel = f'channel="{observer.topology.channel.name}"'
    return int(commands.metric(text, "gossip_membership_total_peers_known", channel) or 0)


def _missing(eyes: Eyes, seen: NetworkStatus) -> Iterator[Missing]:
    """Ask each peer for the private values of the newest tasks."""
    chaincode = eyes.topology.chaincode.name
    for one in seen.institutions:
        if not one.height or not one.sequence:
            continue
        try:
            with eyes.peer(one.name) as peer:
                yield from missing(one.name, functools.partial(peer.ask, chaincode))
        except BeflError:
            continue  # it has gone since we saw it; the other checks say so


def missing(institution: str, ask: Callable[..., bytes]) -> list[Missing]:
    """Return what a peer lacks of the private values that the newest tasks still need.

    Parameters
    ----------
    institution : str
        Whose peer it is.
    ask : callable
        Runs a query at that peer: transaction and arguments to result; raises ``AnsweredError`` for a refusal.
    """
    found = []

    def has(collection: str, what: str, *call: str) -> None:
        try:
            ask(*call)
        except AnsweredError as error:
            refusal = BeflError.parse(str(error))
            if refusal is not None and refusal.code == "BEFL-G-010":
                found.append(Missing(institution, collection, what))

    try:
        tasks = json.loads(ask("TaskContract:List", "50", ""))["records"]
        for task in sorted(tasks, key=lambda entry: int(entry["published_ms"]))[-_TASKS:]:
            name = task["id"]
            if task["state"] == "finished":
                number = str(json.loads(ask("ModelContract:Get", name))["round"])
                has("models", f"model of task {name} after round {number}", "ModelContract:Bytes", name, number)
            elif task["state"] == "running":
                view = json.loads(ask("TaskContract:View", name))
                for msp_id in view["updates"]:
                    number = str(view["round"]["round"])
                    what = f"update of {msp_id} in round {number} of task {name}"
                    has("updates", what, "RoundContract:Update", name, number, msp_id)
    except (AnsweredError, KeyError, ValueError, TypeError):
        return found  # another chaincode, or none that answers: the other checks say so
    return found


def _below(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _good(area: str, check: str, found: str) -> list[Finding]:
    return [Finding(area, check, "ok", found)]


def _bad(area: str, check: str, found: str, advice: str) -> list[Finding]:
    return [Finding(area, check, "problem", found, advice)]


def _disk(area: str, room: Disk, advice: str) -> list[Finding]:
    said = f"{room.free / 1e9:.1f} GB free at {room.folder}"
    if room.free < DISK_PROBLEM:
        return _bad(area, "disk", f"disk full or nearly: {said}", advice)
    if room.free < DISK_WARNING:
        return [Finding(area, "disk", "warning", f"disk is low: {said}", advice)]
    return _good(area, "disk", said)
