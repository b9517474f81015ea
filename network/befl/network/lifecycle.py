"""Fabric's chaincode verbs for one institution: package, install, approve, commit, upgrade.

The definition that is wanted follows from two things: the code that is installed here (its version carries the digest)
and the institutions that are in the channel now (the collections' members). Where it differs from the definition in
force, the next sequence is approved and committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from befl.gateway import wait
from befl.network import channel, commands, files
from befl.network.channel import Outcome
from befl.network.configuration import Present, majority
from befl.network.institution import Committed, Member
from befl.rules import version
from befl.rules.errors import BeflError

UPGRADE: Final = 600.0
"""Seconds that an upgrade waits for a majority."""
GRACE: Final = 30.0
"""Seconds that it then waits for the rest: until they have approved, their peers endorse nothing."""

_ANOTHER: Final = 10.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The definition that fits the code here and the channel now.

    Parameters
    ----------
    version : str
        Carries befl's version and the code digest.
    sequence : int
        That of the definition in force when it is this one, else the next.
    present : tuple of Present
        The institutions of the channel.
    before : Committed
        The definition in force.
    """

    version: str
    sequence: int
    present: tuple[Present, ...]
    before: Committed

    @property
    def members(self) -> tuple[str, ...]:
        """Return the MSP IDs of the collections' members."""
        return tuple(one.msp_id for one in self.present)

    @property
    def new(self) -> bool:
        """Whether it is not in force yet."""
        return self.sequence != self.before.sequence


def code() -> tuple[str, str]:
    """Return befl's version and the digest of the chaincode's code, as they are installed here."""
    from befl.shim.digest import code_digest  # noqa: PLC0415  # reads all chaincode source: only here

    return version.__version__, code_digest()


def wanted(member: Member) -> Wanted:
    """Compare what is in force with the code here and the institutions of the channel."""
    present, before = channel.present(member), member.committed()
    here = files.definition_version(*code())
    same = (before.version, before.members) == (here, frozenset(one.msp_id for one in present))
    return Wanted(here, before.sequence if same else before.sequence + 1, present, before)


def package(member: Member, output: Path) -> Outcome:
    """Write the chaincode package: every institution with the same code makes the same bytes."""
    package_id, content = member.package(*code())
    try:
        output.write_bytes(content)
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{output}: {error.strerror}") from None
    return Outcome(package_id, (f"SHA-256 {hashlib.sha256(content).hexdigest()}", f"written to {output}"))


def install(member: Member) -> Outcome:
    """Start the chaincode server and install its package on the own peer."""
    package_id, new = _installed(member)
    message = "is installed" if new else "is installed already: nothing to change"
    return Outcome(f"{package_id} {message}", changed=new)


def approve(member: Member, *, new_code: bool = False) -> Outcome:
    """Approve the definition that fits the channel as it is now; nothing when that is done.

    Installs the package when it is not. With ``new_code`` the definition may be of other code than the one in force.

    Raises
    ------
    BeflError
        ``BEFL-N-020`` when the code here is not the channel's and ``new_code`` is not given.
    """
    found = wanted(member)
    if found.before.sequence and found.before.version != found.version and not new_code:
        raise BeflError("BEFL-N-020", f"the channel runs {found.before.version[:22]}, here is {found.version[:22]}")
    package_id, _ = _installed(member)
    me = member.institution.msp_id
    approved = approve_definition(member, package_id, found)
    if not found.new:
        _settle(member)
    if not approved:
        return Outcome(f"nothing to change: {me} has approved sequence {found.sequence}", changed=False)
    return Outcome(f"{me} approves sequence {found.sequence}, collections of {', '.join(found.members)}")


def approve_definition(member: Member, package_id: str, found: Wanted) -> bool:
    """Approve a definition for the own institution; return False when that is done."""
    if found.new:
        approvals = member.readiness(found.version, found.sequence, found.members)
    else:
        approvals = dict(found.before.approvals)
    if approvals.get(member.institution.msp_id):
        return False
    member.approve(package_id, found.version, found.sequence, found.members)
    return True


def commit(member: Member) -> Outcome:
    """Commit the definition that a majority has approved; one institution does it for all.

    Raises
    ------
    BeflError
        ``BEFL-N-019`` when too few have approved or are there to endorse it.
    """
    found = wanted(member)
    if not found.new:
        return Outcome(f"nothing to change: sequence {found.sequence} is committed", changed=False)
    commit_definition(member, found)
    _settle(member)
    return Outcome(f"sequence {found.sequence} is committed, collections of {', '.join(found.members)}")


def upgrade(
    member: Member, timeout: float = UPGRADE, grace: float = GRACE, progress: Progress = lambda _: None
) -> Outcome:
    """Bring the code that is installed here onto the channel, together with the others.

    The new chaincode server starts beside the old one; the definition is approved, committed once a majority has
    approved it and the rest had its time, and once the own peer serves it the old server ends. Who comes later only
    approves what is committed. Repeat it after a time-out: what is done is done.

    Parameters
    ----------
    member : Member
        Who upgrades.
    timeout : float
        Seconds to wait for a majority.
    grace : float
        Seconds to wait for the rest, once a majority has approved.
    progress : callable
        Gets a line when something is done or waited for.

    Raises
    ------
    BeflError
        ``BEFL-N-019`` when no majority has approved in time.
    """
    package_id, _ = _installed(member)
    progress(f"{package_id} is installed, its server runs")
    approved = approve(member, new_code=True)
    progress(approved.message)
    found = wanted(member)
    if found.new:
        _agree(member, found, timeout, grace, progress)
    member.await_chaincode()
    ended = member.retire(*code())
    member.look_again()
    return Outcome(f"the own peer serves sequence {found.sequence}", changed=approved.changed or ended or found.new)


def commit_definition(member: Member, found: Wanted) -> None:
    """Commit a definition that a majority of the institutions has approved, and wait until the own peer has it.

    Raises
    ------
    BeflError
        ``BEFL-N-019`` when too few have approved or are there to endorse it.
    """
    lacking = _lacking(member, found)
    needed = majority(len(found.members))
    if len(found.members) - len(lacking) < needed:
        raise BeflError(
            "BEFL-N-019",
            f"sequence {found.sequence} needs the approval of {needed} of {len(found.members)} institutions; "
            f"{', '.join(lacking)} did not approve it",
        )
    peers: dict[str, str] = {}
    for one in found.present:  # a peer endorses only what its own institution has approved
        reachable = [address for address in one.peers if _listens(address)] if one.msp_id not in lacking else []
        if reachable:
            peers[reachable[0]] = "".join(one.tls_cas)
    if len(peers) < needed:
        raise BeflError(
            "BEFL-N-019", f"{needed} peers must endorse sequence {found.sequence}; {len(peers)} can be reached"
        )
    member.commit(found.version, found.sequence, found.members, peers)
    wait.until(
        lambda: member.committed().sequence >= found.sequence,
        timeout=60,
        interval=0.2,
        what="the own peer having the definition",
    )


def _agree(member: Member, found: Wanted, timeout: float, grace: float, progress: Progress) -> None:
    """Wait until a majority has approved, and a little for the rest; commit, unless another one has."""

    def in_force() -> bool:
        return member.committed().sequence >= found.sequence

    def majority_approves() -> bool:
        return in_force() or len(found.members) - len(_lacking(member, found)) >= majority(len(found.members))

    def rest_approves() -> bool:
        return in_force() or not _lacking(member, found)

    progress(f"waiting until a majority approves sequence {found.sequence}")
    try:
        wait.until(majority_approves, timeout=timeout, interval=0.5, what="the others' approval")
    except BeflError as error:
        if error.code != "BEFL-G-001":
            raise
        raise BeflError(
            "BEFL-N-019",
            f"sequence {found.sequence} is not committed; {', '.join(_lacking(member, found))} did not approve it",
            "Repeat the command when the others are there.",
        ) from None
    if not rest_approves():
        progress(f"a majority approves it; waiting {grace:g} s for {', '.join(_lacking(member, found))}")
        _in_time(rest_approves, grace)
    try:
        if not in_force():
            commit_definition(member, found)
    except BeflError:
        if not _in_time(in_force, _ANOTHER):  # another one was faster, and the own peer hears of it
            raise


def _in_time(check: Callable[[], bool], timeout: float) -> bool:
    """Wait for something that need not happen; return whether it did."""
    try:
        return wait.until(check, timeout=timeout, interval=0.5, what="it")
    except BeflError as error:
        if error.code != "BEFL-G-001":
            raise
        return False


def _lacking(member: Member, found: Wanted) -> list[str]:
    """Return the institutions that have not approved."""
    approvals = member.readiness(found.version, found.sequence, found.members)
    return [name for name in found.members if not approvals.get(name)]


def _settle(member: Member) -> bool:
    """Wait until the own peer serves the definition in force; end the server of an earlier one, if any."""
    member.await_chaincode()
    ended = member.retire(*code())
    member.look_again()
    return ended


def _installed(member: Member) -> tuple[str, bool]:
    """Have the server and the package here; return the package id, and whether it is new."""
    member.serve(*code())
    member.look_again()
    return member.install(*code())


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return commands.listens(host, int(port))
