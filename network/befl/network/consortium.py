"""A whole consortium on one machine: a loop over what each institution does for itself.

The processes belong to one supervisor (:mod:`befl.network.supervisor`), which outlives ``up``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import os
import random
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from befl.gateway import wait
from befl.gateway.unbroken import unbroken
from befl.network import fabric, lifecycle, supervisor
from befl.network.definition import Definition
from befl.network.institution import Member
from befl.network.layout import PUBLIC, Layout
from befl.network.observe import NetworkStatus, must_be_network, status
from befl.network.ports import bindable, must_be_here
from befl.network.topology import PORTS, Institution, Topology, dump, from_table, make, parse, with_ports
from befl.rules.errors import BeflError

Progress = Callable[[str], None]

DEFAULT_NAMES: Final = ("org1", "org2", "org3", "org4")
_PORTS_FROM: Final = 20_000
_PORTS_TO: Final = 32_000
"""Below the range (ip_local_port_range) from which the kernel takes ports of outgoing connections."""


def up(
    directory: Path | str,
    topology: Topology | None = None,
    progress: Progress = lambda _: None,
    *,
    owner: int | None = None,
) -> NetworkStatus:
    """Make the network of a folder ready: found it, or resume it. What is done already is asked for and left alone.

    Parameters
    ----------
    directory : Path
        Absent, empty, or a network folder.
    topology : Topology, optional
        Who takes part; four institutions when absent. After the first time it must agree with the folder.
    progress : callable
        Gets a line a step.
    owner : int, optional
        The id of a process with which the network ends, however that process ends (tests, demonstrations); without one
        it runs until :func:`down`. Only for a network that does not run yet.

    Returns
    -------
    NetworkStatus
        Of the network, ready.

    Raises
    ------
    BeflError
        C-004 a host that is none of this machine, N-001 to N-003 no Fabric, N-005 another command runs, N-006 a port is
        taken, N-007 a Fabric command failed, N-008 a process does not stay up, N-010 the folder holds something else,
        N-011 it is another network, G-001 not in time.
        Whatever this call started is stopped again when it fails or is interrupted, and the next call resumes.
    """
    layout = Layout(Path(directory).absolute())
    for host in {one.host for one in topology.institutions} if topology is not None else ():
        must_be_here(host)  # before anything is made
    programs = fabric.locate(progress)
    _claim(layout.directory)
    with _locked(layout):
        complete = _topology(layout, topology)
        layout.fabric.write_text(f"{programs.version} ({programs.origin})\n")
        started = not supervisor.running(layout.directory)
        if started:
            _check_ports(complete.institutions)
        pids: list[int] = []
        try:
            if started:
                unbroken(lambda: pids.append(supervisor.start(layout.directory, owner)))
                wait.until(
                    lambda: supervisor.running(layout.directory) == pids[0], timeout=20, what="the supervisor running"
                )
            _bring_up(complete, layout, programs, progress)
        except BaseException:
            if started:
                try:
                    progress("stopping what was started")
                finally:  # whoever reads what is printed may have gone
                    _stop(layout.directory, *pids)
            raise
    return status(layout.directory)


def down(directory: Path | str, *, purge: bool = False) -> bool:
    """Stop every process of a network; return whether any ran.

    Parameters
    ----------
    directory : Path
        A network folder.
    purge : bool
        Whether to remove the folder too, with all keys and the ledger.

    Raises
    ------
    BeflError
        N-005 another command runs, N-009 there is no network.
    """
    layout = Layout(Path(directory).absolute())
    must_be_network(layout)
    with _locked(layout):
        stopped = _stop(layout.directory)
        if purge:
            shutil.rmtree(layout.directory)
    return stopped


def init(
    directory: Path | str,
    name: str,
    host: str = "127.0.0.1",
    progress: Progress = lambda _: None,
    *,
    channel: str = "befl",
    owner: int | None = None,
) -> Definition:
    """Found one institution's own folder, for a channel that others run: identities, nodes, chaincode server.

    Parameters
    ----------
    directory : Path
        Absent, empty, or a folder that was made so.
    name, host : str
        The institution's short name, and where its processes listen.
    progress : callable
        Gets a line a step.
    channel : str
        The channel that it will join.
    owner : int, optional
        As for :func:`up`.

    Returns
    -------
    Definition
        What it hands to the others.

    Raises
    ------
    BeflError
        What :func:`up` raises.
    """
    table = {"befl": 1, "joins": True, "institutions": {name: {"host": host}}, "channel": {"name": channel}}
    up(directory, from_table(table), progress, owner=owner)
    return export(directory, name)


def export(directory: Path | str, name: str = "") -> Definition:
    """Return the public definition of an institution of a folder; ``name`` may be absent when there is one only.

    Raises
    ------
    BeflError
        C-009 no such institution, N-009 there is no network.
    """
    with acting(directory, name) as member:
        return member.definition()


@contextlib.contextmanager
def acting(directory: Path | str, name: str = "", progress: Progress = lambda _: None) -> Iterator[Member]:
    """Act for one institution of a folder: several may at once, each with one command at a time.

    Parameters
    ----------
    directory : Path
        A network folder.
    name : str
        The institution; may be absent when there is one only.
    progress : callable
        Gets a line when Fabric's programs have to be built.

    Raises
    ------
    BeflError
        C-009 no such institution, N-005 another command runs, N-009 there is no network.
    """
    layout = Layout(Path(directory).absolute())
    must_be_network(layout)
    programs = fabric.locate(progress)
    with _locked(layout, fcntl.LOCK_SH):
        topology = parse(layout.topology.read_bytes(), str(layout.topology))
        names = [institution.name for institution in topology.institutions]
        if not name and len(names) > 1:
            raise BeflError("BEFL-C-009", "it is not said for which institution", f"--as one of {', '.join(names)}.")
        institution = topology.institution(name or names[0])
        with _locked(layout, fcntl.LOCK_EX, layout.home(institution.name).lock):
            yield Member(topology, institution, layout, programs, threading.Event())


def _bring_up(topology: Topology, layout: Layout, programs: fabric.Fabric, progress: Progress) -> None:
    """Loop over the institutions, step by step; each step of each institution asks before it acts."""
    began = time.monotonic()
    code = lifecycle.code()
    given_up = threading.Event()
    members = [Member(topology, institution, layout, programs, given_up) for institution in topology.institutions]

    def report(line: str) -> None:
        progress(f"[{time.monotonic() - began:5.1f} s] {line}")

    workers = max(2, 2 * (os.cpu_count() or 1))
    with (
        concurrent.futures.ThreadPoolExecutor(max_workers=len(members)) as everybody,
        concurrent.futures.ThreadPoolExecutor(max_workers=workers) as enrolling,
    ):

        def each(step: Callable[[Member], Any]) -> list[Any]:
            """Let all institutions do a step at once; when one fails, its error ends the waiting of the others."""
            try:
                steps = [everybody.submit(step, member) for member in members]
                for done in concurrent.futures.as_completed(steps):
                    done.result()
            except BaseException:
                given_up.set()
                enrolling.shutdown(wait=False, cancel_futures=True)
                raise
            return [done.result() for done in steps]

        def identities(member: Member) -> None:
            member.prepare()
            member.look_again()
            member.await_ca()
            member.enrol(enrolling)
            member.publish()
            member.run_nodes()
            member.serve(*code)
            member.look_again()

        report(f"certificate authorities and identities of {len(members)} institutions")
        each(identities)
        if topology.joins:
            report("orderers and peers")
            each(Member.await_nodes)
        else:
            _found_channel(members, code, each, report)
        report("ready")


def _found_channel(
    members: Sequence[Member],
    code: tuple[str, str],
    each: Callable[[Callable[[Member], Any]], list[Any]],
    report: Progress,
) -> None:
    """Let the institutions make their channel, join it, and agree on the chaincode."""
    founder = members[0]
    genesis = founder.layout.genesis
    report("channel: genesis block, orderers and peers join")
    founder.make_genesis()

    def join(member: Member) -> str:
        member.join_orderer(genesis)
        member.join_peer(genesis)
        package_id, _ = member.install(*code)
        return package_id

    packages = dict(zip([member.institution.name for member in members], each(join), strict=True))
    each(Member.await_leader)
    report("chaincode: approved by each institution, committed by one")
    wanted = lifecycle.wanted(founder)
    if wanted.new:
        each(lambda member: lifecycle.approve_definition(member, packages[member.institution.name], wanted))
        lifecycle.commit_definition(founder, wanted)
    each(lambda member: member.await_members(len(members) - 1))
    each(Member.await_chaincode)
    if any(each(lambda member: member.retire(*code))):
        founder.look_again()
    each(Member.register)


def _topology(layout: Layout, wanted: Topology | None) -> Topology:
    """Return the folder's topology; write it at the first time, with free ports."""
    if layout.topology.exists():
        kept = parse(layout.topology.read_bytes(), str(layout.topology))
        if wanted is not None:
            _must_agree(kept, wanted)
        return kept
    chosen = wanted if wanted is not None else make(DEFAULT_NAMES)
    lacking = [institution for institution in chosen.institutions if institution.ports is None]
    used = {institution.port(name) for institution in chosen.institutions if institution.ports for name in PORTS}
    complete = with_ports(chosen, _free_ports([one.host for one in lacking for _ in PORTS], used))
    (layout.directory / "public").mkdir(mode=0o755, exist_ok=True)
    fresh = layout.topology.with_suffix(".tmp")
    fresh.write_text(dump(complete))
    fresh.rename(layout.topology)
    return complete


def _must_agree(kept: Topology, wanted: Topology) -> None:
    """Refuse a topology that is not the folder's; ports that are not asked for may be any."""
    before = {one.name: one for one in kept.institutions}
    after = {one.name: one for one in wanted.institutions}
    if set(before) != set(after):
        raise BeflError("BEFL-N-011", f"the network has the institutions {', '.join(before)}, not {', '.join(after)}")
    for name, one in after.items():
        old = before[name]
        if (one.msp_id, one.host) != (old.msp_id, old.host) or one.ports not in (None, old.ports):
            raise BeflError("BEFL-N-011", f"institutions.{name} differs from the network's")
    if kept.joins != wanted.joins:
        raise BeflError("BEFL-N-011", "founding a channel is one thing, joining one is another; this folder is made")
    if (kept.channel, kept.chaincode) != (wanted.channel, wanted.chaincode):
        raise BeflError("BEFL-N-011", "[channel] or [chaincode] differs from the network's")


def _free_ports(hosts: Sequence[str], used: set[int]) -> list[int]:
    """Choose a free port on each host; the search begins anywhere, so that two networks do not choose alike."""
    chosen: list[int] = []
    candidate = random.randrange(_PORTS_FROM, _PORTS_TO)  # noqa: S311  # no secret, only spread
    for host in hosts:
        for _ in range(_PORTS_TO - _PORTS_FROM):
            candidate = candidate + 1 if candidate + 1 < _PORTS_TO else _PORTS_FROM
            if candidate not in used and bindable(host, candidate):
                break
        else:
            raise BeflError("BEFL-N-006", f"no free port between {_PORTS_FROM} and {_PORTS_TO} on {host}")
        chosen.append(candidate)
        used.add(candidate)
    return chosen


def _check_ports(institutions: Sequence[Institution]) -> None:
    for institution in institutions:
        must_be_here(institution.host)  # it may have moved
        for name in PORTS:
            port = institution.port(name)
            if not bindable(institution.host, port):
                raise BeflError(
                    "BEFL-N-006",
                    f"institutions.{institution.name}.ports.{name}: port {port} on {institution.host} is taken",
                    f"`ss -ltnp 'sport = :{port}'` names the process that listens; end it and try again.",
                )


def _claim(directory: Path) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    layout = Layout(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = {layout.lock.name, PUBLIC}  # all that an `up` leaves that was stopped before the topology was written
        foreign = not layout.topology.exists() and any(path.name not in ours for path in directory.iterdir())
    except OSError as error:
        raise BeflError("BEFL-N-010", f"{directory} cannot be used: {error.strerror}") from None
    if foreign:
        raise BeflError("BEFL-N-010", f"{directory} is not empty and no network", "Name a new or an empty folder.")


@contextlib.contextmanager
def _locked(layout: Layout, how: int = fcntl.LOCK_EX, path: Path | None = None) -> Iterator[None]:
    try:
        file = (path or layout.lock).open("w")
    except OSError as error:
        raise BeflError("BEFL-N-010", f"{layout.directory} cannot be used: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BeflError("BEFL-N-005", f"another befl command works on {layout.directory}") from None
        yield


def _stop(directory: Path, started: int = 0) -> bool:
    """End the supervisor, and with it every process; return whether one ran.

    ``started`` is one that this process has started: it may not have its lock yet.
    """
    pid = supervisor.running(directory) or started
    if not pid:
        return False
    process = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(process, select.POLLIN)
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not ended.poll(1000 * (supervisor.GRACE + 12)):
            signal.pidfd_send_signal(process, signal.SIGKILL)  # the kernel then kills its children
            ended.poll(10_000)
    finally:
        os.close(process)
    with contextlib.suppress(ChildProcessError):  # when this process started it, it is its child
        os.waitpid(pid, 0)
    return True
