"""Who is down, what is asked, what is answered: the gateway client on a real network, as one table."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from befl.gateway import CommitError, GatewayError, SubmitError, wait
from befl.network import supervisor
from befl.network.layout import Layout
from befl.network.topology import parse
from befl.shim.server import ChaincodeServer

from .conformance import CALLED, Deployment
from .down import kept_down, ready_again, standing_still

WRITE = json.dumps([["put", "scenario", "v"]])
PRIVATE = json.dumps([["put_private", "updates", "scenario", "v"]])
READ = json.dumps([["where"]])
CALL = json.dumps([["call", CALLED, "Run", WRITE]])


class Row(NamedTuple):
    down: tuple[str, ...]  # kind of process and whose; the institutions are 0, 1, 2 and the first one asks
    step: str
    script: str
    endorsers: tuple[int, ...]  # named ones; () lets the gateway choose
    answer: str  # "fine", or class and code of the error
    named: tuple[int, ...] = ()  # of whom the error's details speak: who could not do its part


# rows with the same processes down stand together: these are stopped once for all of them
TABLE = {
    "all are there": Row((), "submit", WRITE, (), "fine"),
    "all are there, all are named": Row((), "submit", WRITE, (0, 1, 2), "fine"),
    "all are there, two chaincodes": Row((), "submit", CALL, (), "fine"),
    "two of the others are named": Row((), "submit", WRITE, (1, 2), "fine"),
    "all are there, the status later": Row((), "status", WRITE, (), "fine"),
    "only one is named, the status later": Row((), "status", WRITE, (0,), "CommitError BEFL-G-008"),
    "only one is named": Row((), "submit", WRITE, (0,), "CommitError BEFL-G-008"),
    "only one is named, a private key": Row((), "submit", PRIVATE, (2,), "CommitError BEFL-G-008"),
    "only one is named, two chaincodes": Row((), "submit", CALL, (1,), "CommitError BEFL-G-008"),
    # chaincode servers
    "one of the others is down": Row(("chaincode 1",), "submit", WRITE, (), "fine"),
    "one of the others is down and named": Row(
        ("chaincode 1",), "submit", WRITE, (0, 1), "EndorseError BEFL-G-016", (1,)
    ),
    "one of the others is down, a private key": Row(("chaincode 2",), "submit", PRIVATE, (), "fine"),
    "the own one is down, others are named": Row(("chaincode 0",), "submit", WRITE, (1, 2), "fine"),
    "a question, the own one is down": Row(("chaincode 0",), "evaluate", READ, (), "EvaluateError BEFL-G-016", (0,)),
    "both others are down": Row(("chaincode 1", "chaincode 2"), "submit", WRITE, (), "EndorseError BEFL-G-016", (1, 2)),
    "both others are down, one is named": Row(
        ("chaincode 1", "chaincode 2"), "submit", WRITE, (0, 2), "EndorseError BEFL-G-016", (2,)
    ),
    "a question, both others are down": Row(("chaincode 1", "chaincode 2"), "evaluate", READ, (), "fine"),
    "a question, all are down": Row(
        ("chaincode 0", "chaincode 1", "chaincode 2"), "evaluate", READ, (), "EvaluateError BEFL-G-016", (0,)
    ),
    # peers
    "the peer of another is down": Row(("peer 1",), "submit", WRITE, (), "fine"),
    "the peer of another is down, a private key": Row(("peer 1",), "submit", PRIVATE, (), "fine"),
    "the peer of another is down and named": Row(("peer 1",), "submit", WRITE, (0, 1), "EndorseError BEFL-G-016", (1,)),
    "the peer of another is down, and not named": Row(("peer 1",), "submit", WRITE, (0, 2), "fine"),
    "a question, the peer of another is down": Row(("peer 1",), "evaluate", READ, (), "fine"),
    "the peers of both others are down": Row(
        ("peer 1", "peer 2"), "submit", WRITE, (), "EndorseError BEFL-G-016", (1, 2)
    ),
    "a question, the peers of both others are down": Row(("peer 1", "peer 2"), "evaluate", READ, (), "fine"),
    "the own peer went down before the status": Row(("peer 0",), "status", WRITE, (), "CommitStatusError BEFL-G-002"),
    "the own peer is down": Row(("peer 0",), "submit", WRITE, (), "EndorseError BEFL-G-002"),
    "the own peer is down, others are named": Row(("peer 0",), "submit", WRITE, (1, 2), "EndorseError BEFL-G-002"),
    "a question, the own peer is down": Row(("peer 0",), "evaluate", READ, (), "EvaluateError BEFL-G-002"),
    "the own peer stands still before the status": Row(
        ("peer 0 stands still",), "status", WRITE, (), "CommitStatusError BEFL-G-003"
    ),
    "the own peer stands still": Row(("peer 0 stands still",), "submit", WRITE, (), "EndorseError BEFL-G-003"),
    "a question, the own peer stands still": Row(
        ("peer 0 stands still",), "evaluate", READ, (), "EvaluateError BEFL-G-003"
    ),
    # half a minute when it is asked first: then the proposal is too old for the next one, and the client makes another
    "the peer of another stands still": Row(("peer 1 stands still",), "submit", WRITE, (), "fine"),
    # orderers
    "the orderer that leads is down": Row(("orderer leading",), "submit", WRITE, (), "fine"),
    "a question, the orderer that leads is down": Row(("orderer leading",), "evaluate", READ, (), "fine"),
    "an orderer that follows is down": Row(("orderer following",), "submit", WRITE, (), "fine"),
    "the own orderer is down": Row(("orderer 0",), "submit", WRITE, (), "fine"),
    "the orderer of another stands still": Row(("orderer 1 stands still",), "submit", WRITE, (), "fine"),
    # the own peer hears of its block when it has given that orderer up, after a minute
    "the own orderer stands still": Row(("orderer 0 stands still",), "submit", WRITE, (), "fine"),
    "no majority of orderers": Row(("orderer 1", "orderer 2"), "submit", WRITE, (), "SubmitError BEFL-G-006", (1, 2)),
    "a question, no majority of orderers": Row(("orderer 1", "orderer 2"), "evaluate", READ, (), "fine"),
    "an endorsement, no majority of orderers": Row(("orderer 1", "orderer 2"), "endorse", WRITE, (), "fine"),
    "all orderers are down": Row(
        ("orderer 0", "orderer 1", "orderer 2"), "submit", WRITE, (), "SubmitError BEFL-G-006", (0, 1, 2)
    ),
}
SLOW = {"the peer of another stands still", "the own orderer stands still"}
ROWS = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TABLE]


class Away:
    """Keeps down what a row wants down, from row to row as long as it is the same."""

    def __init__(self, conformance, consortium) -> None:
        self._conformance = conformance
        self._consortium = consortium
        self._down: tuple[str, ...] = ()
        self._stack = ExitStack()

    def be(self, down: tuple[str, ...]) -> None:
        if down == self._down:
            return
        self._stack.close()  # returns when all is there again
        self._down = down
        if not down:
            return
        with ExitStack() as stack:
            self._answers()
            stack.callback(self._answers)
            kinds = {word.split()[0] for word in down}
            assert len(kinds) == 1
            if kinds == {"chaincode"}:
                stack.enter_context(self._servers([int(word.split()[1]) for word in down]))
            else:
                stack.enter_context(ready_again(self._consortium))
                still = down[0].endswith("stands still")
                stack.enter_context((standing_still if still else kept_down)(self._consortium, *self._names(down)))
            if len([word for word in down if word.startswith("orderer")]) > 1:
                wait.until(lambda: not self._consortium.status().led, timeout=60, what="no orderer that leads")
            self._stack = stack.pop_all()

    def end(self) -> None:
        self.be(())

    def _names(self, down: tuple[str, ...]) -> list[str]:
        institutions = self._consortium.institutions
        leader = wait.until(lambda: self._consortium.status().leader, timeout=60, what="an orderer that leads")
        follower = next(name for name in institutions if name != leader)
        by_word = {"leading": leader, "following": follower} | {str(n): name for n, name in enumerate(institutions)}
        return [f"{by_word[word.split()[1]]}/{word.split()[0]}" for word in down]

    @contextmanager
    def _servers(self, numbers: list[int]) -> Iterator[None]:
        servers = self._conformance.servers
        for number in numbers:
            servers[number].stop(0.5)
        try:
            yield
        finally:
            for number in numbers:
                servers[number] = ChaincodeServer(self._conformance.chaincode, self._conformance.configs[number])
                servers[number].start()

    def _answers(self) -> None:
        """Each peer answers, each can have a transaction endorsed and ordered, and everything runs."""
        for number in range(3):
            self._conformance.evaluate(["where"], by=number)
            self._conformance.submit(["put", "there", "again"], by=number)
        states = supervisor.states(self._consortium.directory)
        assert all(state.pid for state in states.values()), states


@pytest.fixture(scope="module")
def away(conformance, consortium) -> Iterator[Away]:
    kept = Away(conformance, consortium)
    yield kept
    kept.end()


@pytest.mark.parametrize("name", ROWS)
def test_scenario(conformance, away, monkeypatch, name):
    row = TABLE[name]
    gateway = conformance.gateways[0]
    contract = conformance.contract()
    named = {"endorsing_organizations": [conformance.msp_ids[number] for number in row.endorsers]}
    more = {"transient": {"v": b"v"}}
    if row.step == "status":  # what is down was there when the transaction was submitted
        away.be(())
        commit = contract.submit_async("Run", row.script, **more, **named)
    away.be(row.down)
    if row.answer != "fine":
        few = dataclasses.replace(gateway.deadlines, repeat=0.5)
        if row.answer.endswith("BEFL-G-003"):
            few = dataclasses.replace(few, evaluate=2, endorse=2, commit_status=2)
        monkeypatch.setattr(gateway, "deadlines", few)
    failed: GatewayError | None = None
    try:
        if row.step == "evaluate":
            contract.evaluate("Run", row.script)
        elif row.step == "endorse":
            contract.endorse("Run", row.script, **more, **named)
        elif row.step == "submit":
            contract.submit("Run", row.script, **more, **named)
        else:
            status = commit.status()
            assert (status.txid, status.valid) == (commit.txid, row.answer == "fine")
            if not status.valid:
                raise CommitError(status.txid, status.block, status.validation_code)
    except GatewayError as error:
        failed = error
    assert (f"{type(failed).__name__} {failed.code}" if failed else "fine") == row.answer
    if failed:
        assert re.fullmatch("[0-9a-f]{64}", failed.txid)
        assert row.step != "status" or failed.txid == commit.txid
        check_named(conformance, row, failed)


def check_named(conformance: Deployment, row: Row, error: GatewayError) -> None:
    """Hold the error's details against the row: one a node, each with its address, institution and words."""
    found = {conformance.msp_ids.index(detail.msp_id) for detail in error.details}
    if row.down[:1] and row.down[0].startswith("peer"):  # of a peer that the gateway has forgotten nobody speaks
        assert found <= set(row.named)
    else:
        assert found == set(row.named)
    kind = "orderer" if isinstance(error, SubmitError) else "peer"
    topology = parse(Layout(conformance.directory).topology.read_bytes(), "the network's")
    addresses = [topology.institutions[number].address(kind) for number in sorted(found)]
    assert sorted(detail.address for detail in error.details) == sorted(addresses)
    assert all(detail.message for detail in error.details)
