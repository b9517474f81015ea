"""Every transaction x every caller x every wrong moment, on real peers: the outcome is the table's, the state stays.

What the endorsers refuse never reaches the ordering service: there the matrix is large (`matrix.py` is the table), and
no peer may be a block higher afterwards. What can be ordered all the same, because it was endorsed in time or stands in
a block already, must come out invalid, and all records must be what they were.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import proposal_pb2

import befl.network
from befl.audit.block import Code
from befl.audit.source import from_peer
from befl.contracts.context import Transaction as Entry
from befl.gateway import EndorseError, Identity, SubmitError, Transaction, wait
from befl.network import consortium as running
from befl.network import identities
from befl.network.institution import Member
from befl.rules.errors import BeflError

from .attacker import ORGS, ROLES, TRANSACTIONS, Subject, World, outcome, patiently
from .matrix import (
    CALLERS,
    HELD,
    LATE,
    MALFORMED,
    OK,
    OTHERWISE,
    REFUSED_BY_PEER,
    SHAPES,
    STAGES,
    STRANGER,
    TABLE,
    TRANSIENT,
    UNKNOWN,
    Cell,
)

WRITES = [name for name, each in TRANSACTIONS.items() if each.role]
LONG = "f" * 1_000_001


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three institutions of which the third has not registered."""
    directory = tmp_path_factory.mktemp("attacked") / "network"
    register = Member.register
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Member, "register", lambda self: None if self.institution.name == "org3" else register(self))
        befl.network.up(directory, befl.network.make(ORGS), owner=os.getpid())
    try:
        made = World(directory)
        yield made
        for channel in made.channels.values():
            channel.close()
    finally:
        befl.network.down(directory)


# --- the cells --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One cell of the matrix: who asks for what in which shape, and the outcome that the table names."""

    name: str
    caller: str
    shape: str
    expected: str
    stage: str
    changes: Mapping[str, str]
    transient: Mapping[str, bytes] | None = None
    arguments: tuple[str, ...] | None = None
    seconds: int = 0

    def __str__(self) -> str:
        return f"{self.name}, {self.caller}, {self.shape}, {self.stage} {dict(self.changes)!r:.80}"


def by_contract(name: str, caller: str, cell: Cell) -> str:
    """Say what the chaincode answers, whose arguments are well formed."""
    role = TRANSACTIONS[name].role
    if caller in REFUSED_BY_PEER:
        return REFUSED_BY_PEER[caller]
    if role and caller in ("wrong role", "no attribute"):
        return "A-001"
    if caller == "not registered":
        if role in ("issuer", "trainer"):
            return "A-006"
        return STRANGER.get(name, cell.other)
    return cell.other if caller == "other institution" else cell.right


def looked_at_last(name: str, caller: str, code: str) -> str:
    """Say what comes of something wrong that is looked at only when the caller is found to be the right one."""
    [fresh, *_] = TABLE[name]["fresh"]
    return by_contract(name, caller, Cell("", code, code if fresh.other == OK else fresh.other, {}))


def malformed(name: str, caller: str, argument: str) -> str:
    """Say what comes of an argument that is none."""
    code = OTHERWISE.get((name, argument), MALFORMED[argument][1])
    if (name, argument) in LATE:
        return looked_at_last(name, caller, code)
    return by_contract(name, caller, Cell("", code, code, {}))


def cells() -> Iterator[Asked]:
    for name, transaction in TRANSACTIONS.items():
        [fresh, *_] = TABLE[name]["fresh"]
        for caller in CALLERS:
            for shape in SHAPES:
                row = TABLE[name][shape]
                for cell in row if not isinstance(row, str) else ():
                    yield Asked(name, caller, shape, by_contract(name, caller, cell), cell.stage, cell.changes)
            yield from _shapeless(name, transaction, caller, fresh)


def _shapeless(name: str, transaction: Entry, caller: str, fresh: Cell) -> Iterator[Asked]:
    """Yield the cells of what is no such transaction at all: wrong arguments, bytes beside them, clocks."""
    stage = fresh.stage
    first = REFUSED_BY_PEER.get(caller, "T-008")  # the dispatcher looks at number and length before anything else
    for argument in transaction.arguments:
        changes = {argument: MALFORMED[argument][0]}
        yield Asked(name, caller, "malformed", malformed(name, caller, argument), stage, changes)
    for number in {0, len(transaction.arguments) + 1} - {len(transaction.arguments)}:
        yield Asked(name, caller, "malformed", first, stage, {}, arguments=("x",) * number)
    for argument in transaction.arguments:
        yield Asked(name, caller, "oversized", first, stage, {argument: LONG})
    for key in transaction.transient:
        other = looked_at_last(name, caller, TRANSIENT[name])
        yield Asked(name, caller, "malformed", other, stage, {}, transient={key: b"\0" * 3})
        yield Asked(name, caller, "oversized", other, stage, {}, transient={key: bytes(3_000_000)})
        yield Asked(name, caller, "malformed", looked_at_last(name, caller, "T-008"), stage, {}, transient={})
    for seconds in (-3600, 3600):
        code = "G-025" if caller == "expired" else "G-011"
        yield Asked(name, caller, "wrong clock", code, stage, {}, seconds=seconds)


def ask(world: World, subject: Subject, asked: Asked, peer: str) -> str:
    identity = world.identity(asked.caller, TRANSACTIONS[asked.name].role)
    contract = world.contract(identity, peer)
    arguments = list((world.arguments(subject, asked.name) | asked.changes).values())
    if asked.arguments is not None:
        arguments = list(asked.arguments)
    transient = world.asked(subject, asked.name)[1] if asked.transient is None else asked.transient
    if not asked.seconds:
        return outcome(contract, asked.name, arguments, transient)
    proposal = contract.new_proposal(asked.name, *arguments, transient=transient)
    dated = contract.network.gateway.proposal(dated_bytes(proposal.to_bytes(), asked.seconds))
    try:
        dated.evaluate()
    except BeflError as error:
        return error.code.removeprefix("BEFL-")
    return OK


def dated_bytes(data: bytes, seconds: int) -> bytes:
    """Date a proposal, not yet signed, so many seconds later."""
    message = gateway_pb2.ProposedTransaction.FromString(data)
    proposal = proposal_pb2.Proposal.FromString(message.proposal.proposal_bytes)
    header = common_pb2.Header.FromString(proposal.header)
    channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
    channel_header.timestamp.seconds += seconds
    header.channel_header = channel_header.SerializeToString()
    proposal.header = header.SerializeToString()
    message.proposal.proposal_bytes = proposal.SerializeToString()
    return bytes(message.SerializeToString())


def test_the_table_is_complete():
    assert list(TABLE) == list(TRANSACTIONS)
    for rows in TABLE.values():
        assert list(rows) == list(SHAPES)
        assert not isinstance(rows["fresh"], str)
        assert all(len(row) >= 10 if isinstance(row, str) else row for row in rows.values())
    assert set(MALFORMED) == {argument for each in TRANSACTIONS.values() for argument in each.arguments}
    assert set(TRANSIENT) == {name for name, each in TRANSACTIONS.items() if each.transient}
    assert list(HELD) == WRITES


def leave_for_good(world: World) -> Transaction:
    """Enroll somebody with every role and revoke it again; return what it had endorsed before."""
    with running.acting(world.directory, "org1") as member:
        identities.enroll(member, "leaver", sorted(ROLES))
        world.revoked = Identity.load(member.home.user("leaver") / "msp", "Org1MSP")
        endorsed = world.contract(world.revoked, "org1").endorse("MemberContract:Announce", "", "")
        identities.revoke(member, "leaver")
    wait.until(lambda: befl.network.status(world.directory).ready, timeout=60, what="the network after the revocation")
    return endorsed


def summary(asked: list[Asked], found: list[str]) -> Iterator[str]:
    counted = Counter((each.shape, code) for each, code in zip(asked, found, strict=True))
    for shape in sorted({shape for shape, _ in counted}):
        outcomes = ", ".join(f"{code} {count}" for (each, code), count in sorted(counted.items()) if each == shape)
        yield f"  {shape:12} {outcomes}"


def test_what_endorsers_refuse(world, capsys):
    held = leave_for_good(world)
    with pytest.raises(SubmitError) as caught:  # endorsed in time, and revoked before it was ordered
        held.submit()
    assert caught.value.code == "BEFL-G-030"

    asked = list(cells())
    with ThreadPoolExecutor(6) as pool:
        subjects = dict(zip(STAGES, pool.map(world.walk, STAGES), strict=True))
        world.late(subjects["brief"])
        height, before = world.level(), world.everything()
        began = time.monotonic()
        found = list(
            pool.map(lambda number, each: ask(world, subjects[each.stage], each, ORGS[number % 3]), count(), asked)
        )
    took = f"{len(asked)} cells at three peers in {time.monotonic() - began:.0f} s"
    with capsys.disabled():
        print(f"\n{len(TRANSACTIONS)} transactions x {len(CALLERS)} callers: {took}", *summary(asked, found), sep="\n")
    pairs = zip(asked, found, strict=True)
    assert [f"{each}: {code}, not {each.expected}" for each, code in pairs if code != each.expected] == []
    assert world.heights() == [height] * 3
    assert world.everything() == before


def test_whoever_submits_what_is_refused_adds_no_block(world):
    """The matrix asks peers one by one and orders nothing: each caller once as a client does it, to the commit.

    Before org3 registers, further below.
    """
    if world.revoked is None:
        leave_for_good(world)
    name = "TaskContract:Cancel"  # for everybody but the institution that published
    subject = world.walk("open")
    height, before = world.level(), world.everything(subject.task)
    codes = {}
    for caller, org in CALLERS.items():
        arguments = world.arguments(subject, name)
        if caller == "right role":
            arguments["task"] = UNKNOWN
        contract = world.contract(world.identity(caller, TRANSACTIONS[name].role), org)
        with pytest.raises(BeflError) as caught:
            contract.submit(name, *arguments.values())
        codes[caller] = caught.value.code.removeprefix("BEFL-")
    [fresh] = TABLE[name]["fresh"]
    expected = {caller: by_contract(name, caller, fresh) for caller in CALLERS}
    assert codes == expected | {"right role": "T-007"}
    assert world.heights() == [height] * 3
    assert world.everything(subject.task) == before


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_back_and_ordered_after_its_phase(world, name):
    """Whoever is slow, or whose orderer wants to choose the moment: a phase that has ended takes nothing more."""
    org = "org3" if name == "MemberContract:Register" else "org1"
    for stage, steps in HELD[name]:
        subject = world.walk(stage)
        arguments, transient = world.asked(subject, name)
        world.level()  # two endorsers a block behind would refuse
        contract = world.acting(name, org)
        held = patiently(partial(contract.endorse, name, *arguments, transient=transient))
        if stage == "brief":
            world.late(subject)
        for step in steps:
            world.do(subject, step)
        world.level()  # what another institution has done is to be in it
        before = world.everything(subject.task)
        status = held.submit().status()
        assert status.validation_code == "MVCC_READ_CONFLICT", (stage, steps)
        assert world.everything(subject.task) == before


def test_a_certificate_that_expires_on_the_way(world):
    ends = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=5)
    identity = world.authorities["org1"].issue("Org1MSP", {"trainer"}, ends)
    held = world.contract(identity, "org1").endorse("MemberContract:Announce", "", "")
    wait.until(lambda: dt.datetime.now(dt.UTC) > ends, timeout=10, what="the end of the certificate")
    height = world.level()
    with pytest.raises(SubmitError) as caught:
        held.submit()
    assert caught.value.code == "BEFL-G-030"
    assert world.level() == height


def test_a_proposal_that_somebody_sends_again(world):
    contract = world.acting("MemberContract:Announce")
    proposal = contract.propose("MemberContract:Announce", "", "")
    request = gateway_pb2.EndorseRequest(
        transaction_id=proposal.txid, channel_id="befl", proposed_transaction=proposal.message
    )

    def endorse(org: str) -> Any:
        gateway = world.acting("MemberContract:Announce", org).network.gateway
        return gateway.call(EndorseError, "Endorse", request, proposal.txid, 30).prepared_transaction

    sent = endorse("org1")
    sent.signature = contract.network.gateway.identity.sign(sent.payload)
    replay(world, proposal.txid, sent)
    assert contract.network.commit(proposal.txid).status().valid
    world.level()
    for org in ORGS:
        with pytest.raises(EndorseError) as caught:
            endorse(org)
        assert caught.value.code == "BEFL-G-021"


def replay(world: World, txid: str, envelope: Any) -> None:
    """Hand an envelope to the ordering service, as anybody can who has it."""
    gateway = world.acting("MemberContract:Announce", "org2").network.gateway
    request = gateway_pb2.SubmitRequest(transaction_id=txid, channel_id="befl", prepared_transaction=envelope)
    gateway.call(SubmitError, "Submit", request, txid, 30)


def test_everything_that_stands_in_a_block_once_more(world):
    """Another institution hands all envelopes of the ledger to its orderer again: each is a duplicate, and invalid.

    Nor does it hold the peers up: those with private data that is in no transient store any more would, for a minute a
    block, if peers went to look for the private data of what is invalid.
    """
    for stage in ("declined", "left", "finished", "cancelled", "withdrawn", "decided"):
        subject = world.walk(stage)
    for name in ("MemberContract:Assign", "ParameterContract:Assign", "MemberContract:Announce"):
        world.do(subject, name)
    world.do(subject, "org2 MemberContract:Leave")
    height = world.level()
    network = world.acting("TaskContract:List").network
    known = [
        each for block in from_peer(network, private=False) for each in block.transactions if each.function in WRITES
    ]
    before = world.everything()
    for each in known:
        replay(world, each.txid, common_pb2.Envelope(payload=each.payload, signature=each.signature))
    wanted = sorted((each.txid, Code.DUPLICATE_TXID) for each in known)
    ordered: list[tuple[str, int]] = []

    def arrived() -> bool:
        ordered[:] = [
            (each.txid, each.flag) for block in from_peer(network, height, private=False) for each in block.transactions
        ]
        return len(ordered) >= len(wanted)

    wait.until(arrived, timeout=30, interval=0.5, what="all of it in blocks")
    assert sorted(ordered) == wanted
    assert {each.function for each in known} == set(WRITES)
    assert world.everything() == before
