"""The same scripts on a real peer and on the in-memory ledger: the same results, the same errors in the same words."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from befl.gateway import Profile, connect, wait
from befl.ledger.identities import make_creator
from befl.ledger.memory import MemoryLedger
from befl.network import identities
from befl.network.consortium import acting
from befl.rules.errors import BeflError
from befl.shim.stream import PeerStream
from befl.shim.stub import Batching, Message

from .conformance import CALLED, NAME, Conformance, Deployment, key
from .down import described, kept_down, ready_again

VALUE = bytes(range(256))
NO_TEXT = "a lone \ud800"
"""A string that no encoding knows: a contract may make it, from JSON say, but protobuf does not carry it."""


def one_of(*msp_ids: str) -> str:
    """An endorsement policy of a key: a peer of any of these institutions is enough."""
    identities = []
    for msp_id in msp_ids:
        role = msp_principal_pb2.MSPRole(msp_identifier=msp_id, role=msp_principal_pb2.MSPRole.PEER)
        kind = msp_principal_pb2.MSPPrincipal.Classification.ROLE
        identities.append(
            msp_principal_pb2.MSPPrincipal(principal_classification=kind, principal=role.SerializeToString())
        )
    signers = [policies_pb2.SignaturePolicy(signed_by=number) for number in range(len(identities))]
    rule = policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=1, rules=signers))
    envelope = policies_pb2.SignaturePolicyEnvelope(version=0, rule=rule, identities=identities)
    return envelope.SerializeToString().decode("latin-1")


def call(*steps: list[Any]) -> list[Any]:
    """The step that has the other chaincode run a script."""
    return ["call", CALLED, "Run", json.dumps(steps)]


POLICY = one_of("Org1MSP", "Org2MSP")
RANGE = [[key("r", f"{number:05}"), str(number)] for number in range(250)]

# name: transactions that come before (submitted in order), then the one whose outcome counts
Steps = list[list[Any]]
SCRIPTS: dict[str, tuple[list[Steps], Steps]] = {
    "absent keys are empty": (
        [],
        [["get", "absent"], ["get_private", "updates", "absent"], ["hash_private", "updates", "absent"]],
    ),
    "what is put is there": ([[["put", "k1", "\x00\xffvalue"]]], [["get", "k1"]]),
    "a read does not see the transaction's own write": (
        [[["put", "k2", "old"]]],
        [["put", "k2", "new"], ["get", "k2"], ["delete", "k2"], ["get", "k2"]],
    ),
    "what is deleted is gone": ([[["put", "k3", "v"]], [["delete", "k3"]]], [["get", "k3"]]),
    "a key may be deleted that never was": ([[["delete", "never"]]], [["get", "never"]]),
    "the last write counts": ([[["put", "k4", "1"], ["put", "k4", "2"], ["put", "k4", "3"]]], [["get", "k4"]]),
    "a composite key": ([[["put", key("one", "ä", "b"), "v"]]], [["get", key("one", "ä", "b")]]),
    "a range of three batches": ([[["fill", "r", [], 250]]], [["range", "r", []]]),
    "a range left early, then another": (
        [],
        [["range", "r", [], 1], ["range", "r", [], 101], ["get", key("r", "00007")]],
    ),
    "a range sees neither longer names nor the transaction's own writes": (
        [[["put", key("s", "a", "1"), "1"], ["put", key("s", "a", "2"), "2"], ["put", key("sa", "1"), "x"]]],
        [["put", key("s", "a", "3"), "3"], ["range", "s", ["a"]], ["range", "s", []]],
    ),
    "an empty range": ([], [["range", "nothing", ["here"]]]),
    "a first page": ([], [["page", "r", [], 3, ""]]),
    "a page from a bookmark": ([], [["page", "r", [], 2, key("r", "00100")]]),
    "the last page": ([], [["page", "r", [], 5, key("r", "00248")]]),
    "a page that ends with the range": ([], [["page", "r", [], 2, key("r", "00248")]]),
    "a page of everything": ([], [["page", "r", [], 1000, ""]]),
    "an empty page": ([], [["page", "nothing", [], 10, ""]]),
    "private data": (
        [[["put_private", "updates", "p1", "bytes"]]],
        [["get_private", "updates", "p1"], ["hash_private", "updates", "p1"], ["get_private", "models", "p1"]],
    ),
    "a private read does not see the transaction's own write": (
        [],
        [["put_private", "updates", "p2", "bytes"], ["get_private", "updates", "p2"]],
    ),
    "many keys at once": (
        [[["put", "m1", "1"], ["put", "m3", "3"]]],
        [["get_many", ["m1", "m2", "m3", "m1"]], ["get_many", []], ["put", "m2", "x"], ["get_many", ["m2"]]],
    ),
    "many keys, more than a batch": (
        [[["batch"], ["fill", "b", [], 1500]]],
        [["get_many", [key("b", f"{number:05}") for number in range(1499, -1, -1)]], ["page", "b", [], 2, ""]],
    ),
    "many private keys at once": (
        [[["put_private", "updates", "mp1", "bytes"]]],
        [["get_many_private", "updates", ["mp0", "mp1"]]],
    ),
    "a range of simple keys": (
        [[["put", "plain1", "1"], ["put", "plain2", "2"], ["put", "plain3", "3"], ["put", key("plain", "1"), "x"]]],
        [["plain_range", "plain1", "plain3"], ["plain_range", "plain2", "plain~"], ["plain_range", "plain9", "plain1"]],
    ),
    "a range of simple keys begins after the composite ones": ([], [["plain_range", "", "\x02"]]),
    "a page of simple keys": (
        [],
        [["plain_page", "plain1", "plain~", 2, ""], ["plain_page", "plain1", "plain~", 2, "plain3"]],
    ),
    "history": (
        [[["put", "h", "1"]], [["put", "h", "2"]], [["delete", "h"]], [["put", "h", "3"], ["put", "h", "4"]]],
        [["history", "h"], ["history", "never written"], ["put", "h", "5"], ["history", "h"]],
    ),
    "a key's own policy": (
        [[["put", "v", "1"]], [["set_policy", "v", POLICY]]],
        [["policy", "v"], ["policy", "none"], ["get", "v"], ["set_policy", "v", POLICY], ["policy", "v"]],
    ),
    "a policy for a key that is not there": (
        [[["set_policy", "ghost", POLICY]]],
        [["policy", "ghost"], ["get", "ghost"]],
    ),
    "a private key's own policy": (
        [
            [["put_private", "updates", "pv", "bytes"], ["put_private", "models", "pv", "bytes"]],
            [["set_private_policy", "updates", "pv", POLICY]],
        ],
        [["private_policy", "updates", "pv"], ["private_policy", "models", "pv"], ["get_private", "updates", "pv"]],
    ),
    "a deleted private key": (
        [[["put_private", "updates", "d", "bytes"]], [["delete_private", "updates", "d"]]],
        [["get_private", "updates", "d"], ["hash_private", "updates", "d"]],
    ),
    "a purged private key": (
        [
            [["put_private", "updates", "pg", "bytes"]],
            [["put_private", "updates", "pg", "more"]],
            [["purge", "updates", "pg"]],
        ],
        [["get_private", "updates", "pg"], ["hash_private", "updates", "pg"], ["purge", "updates", "never"]],
    ),
    "a private key that is put again after a purge": (
        [[["purge", "updates", "pg2"], ["put_private", "updates", "pg2", "more"]]],
        [["get_private", "updates", "pg2"]],
    ),
    "a private range": (
        [[["put_private", "models", name, "more"] for name in ("q1", "q2", "q3")]],
        [["private_range", "models", "q1", "q3"], ["private_range", "models", "q2", "q~"]],
    ),
    "a private prefix": (
        [[["put_private", "models", key("pp", name), "more"] for name in ("1", "2")]],
        [["private_prefix", "models", "pp", []], ["private_prefix", "models", "pp", ["2"]]],
    ),
    "a batch of writes": (
        [
            [
                ["put", "w1", "old"],
                ["batch"],
                ["put", "w1", "1"],
                ["put", "w2", "2"],
                ["delete", "w2"],
                ["put_private", "updates", "w3", "bytes"],
                ["end_batch"],
                ["put", "w4", "4"],
            ]
        ],
        [["get_many", ["w1", "w2", "w4"]], ["get_private", "updates", "w3"], ["batch"], ["batch"], ["end_batch"]],
    ),
    "a batch that is left open": (
        [[["batch"], ["put", "w5", "5"], ["set_policy", "w1", POLICY]]],
        [["get", "w5"], ["policy", "w1"]],
    ),
    "refused: a range into the composite keys": ([], [["plain_range", "\x00", "a"]]),
    "refused: a page of simple keys of nothing": ([], [["plain_page", "a", "b", 0, ""]]),
    "refused: a page of simple keys after a write": ([], [["put", "k", "v"], ["plain_page", "a", "b", 1, ""]]),
    "refused: the history of an empty key": ([], [["history", ""]]),
    "refused: a policy for an empty key": ([], [["set_policy", "", "p"]]),
    "refused: a policy after a page": ([], [["page", "r", [], 1, ""], ["set_policy", "k", "p"]]),
    "refused: a policy in no collection": ([], [["set_private_policy", "nowhere", "k", "p"]]),
    "refused: asking for a policy in no collection": ([], [["private_policy", "nowhere", "k"]]),
    "refused: deleting in no collection": ([], [["delete_private", "nowhere", "k"]]),
    "refused: purging in no collection": ([], [["purge", "nowhere", "k"]]),
    "refused: purging an empty key": ([], [["purge", "updates", ""]]),
    "refused: a range in no collection": ([], [["private_range", "nowhere", "a", "b"]]),
    "refused: a private range after a write": ([], [["put", "k", "v"], ["private_range", "models", "a", "b"]]),
    "refused: a write after a private range": ([], [["private_range", "models", "a", "b"], ["put", "k", "v"]]),
    "refused: a private write after a private range": (
        [],
        [["private_range", "models", "a", "b"], ["purge", "models", "k"]],
    ),
    "refused: a batch, when it ends after a page": (
        [],
        [["batch"], ["put", "k", "v"], ["page", "r", [], 1, ""], ["end_batch"]],
    ),
    "refused: a batch, when the transaction ends": ([], [["batch"], ["put", "k", "v"], ["page", "r", [], 1, ""]]),
    "refused: a batch that names no collection": (
        [],
        [["batch"], ["put", "k", "v"], ["put_private", "nowhere", "k", "bytes"], ["end_batch"]],
    ),
    "refused: an empty value in a batch": ([], [["batch"], ["put", "k", ""]]),
    "another chaincode's state": (
        [[["put", "c1", "own"], call(["put", "c1", "of the other"])]],
        [call(["get", "c1"], ["get_many", ["c1", "c0"]]), ["get", "c1"]],
    ),
    "another chaincode's range, left early": (
        [[call(["fill", "cr", [], 130])]],
        [call(["range", "cr", [], 101]), call(["range", "cr", []]), ["range", "cr", []]],
    ),
    "another chaincode's private data": (
        [[call(["put_private", "updates", "cp", "bytes"])]],
        [call(["get_private", "updates", "cp"], ["hash_private", "updates", "cp"]), ["hash_private", "updates", "cp"]],
    ),
    "another chaincode's history": (
        [[call(["put", "ch", "1"])], [call(["delete", "ch"])]],
        [call(["history", "ch"]), ["history", "ch"]],
    ),
    "a called chaincode sees neither its own writes nor the caller's": (
        [],
        [["put", "c2", "x"], call(["put", "c2", "y"], ["get", "c2"]), call(["get", "c2"]), ["get", "c2"]],
    ),
    "a called chaincode has the proposal's transient data and a function of its own": (
        [],
        [call(["transient"], ["where"]), ["where"]],
    ),
    "a called chaincode called by its channel": ([], [["call_on", "befl", CALLED, "Run", "[]"]]),
    "a called chaincode's batch that is left open": ([[call(["batch"], ["put", "c3", "5"])]], [call(["get", "c3"])]),
    "a batch of the caller's around a call": (
        [[["batch"], ["put", "c4", "1"], call(["put", "c4", "2"]), ["put", "c4", "3"]]],
        [["get", "c4"], call(["get", "c4"])],
    ),
    "a called chaincode refuses, and the caller goes on": (
        [[["put", "c5", "before"], call(["refuse", "BEFL-G-013", "said so", "Do another."]), ["put", "c6", "after"]]],
        [["get_many", ["c5", "c6"]], call(["refuse", "BEFL-G-013", "said so", "Do another."])],
    ),
    "what a called chaincode wrote before it refused is written": (
        [[call(["put", "c7", "v"], ["refuse", "BEFL-G-013", "said so", ""])]],
        [call(["get", "c7"])],
    ),
    "a called chaincode's page": ([], [call(["page", "cr", [], 2, ""]), ["page", "r", [], 1, ""]]),
    "refused in the called chaincode: a page after the caller wrote": (
        [],
        [["put", "k", "v"], call(["page", "cr", [], 2, ""])],
    ),
    "refused: a page after the called chaincode wrote": ([], [call(["put", "k", "v"]), ["page", "r", [], 1, ""]]),
    "refused: a write after the called chaincode's page": ([], [call(["page", "cr", [], 2, ""]), ["put", "k", "v"]]),
    "refused: a private range after the called chaincode wrote": (
        [],
        [call(["put", "k", "v"]), ["private_range", "models", "a", "b"]],
    ),
    "refused: no such chaincode": ([], [["call", "nothing", "F"]]),
    "refused: no such channel": ([], [["call_on", "elsewhere", CALLED, "Run", "[]"]]),
    "refused: no such chaincode on no such channel": ([], [["call_on", "elsewhere", "nothing", "F"]]),
    "a called chaincode makes a mistake, and the caller goes on": (
        [
            [["put", "c8", "before"], call(["put", "c8", "v"], ["mistake"]), ["put", "c9", "after"]],
            [call(["batch"], ["put", "c9", "lost with its batch"], ["mistake"])],
        ],
        [["get_many", ["c8", "c9"]], call(["get_many", ["c8", "c9"]]), call(["mistake"]), ["where"]],
    ),
    "a call with an argument that is no text": ([], [["call_with_bytes", CALLED, "\xff"], ["where"]]),
    "an empty key is absent": (
        [],
        [
            *(["get", ""], ["get_many", ["k1", ""]], ["policy", ""]),
            *(["get_private", "updates", ""], ["get_many_private", "updates", [""]], ["hash_private", "updates", ""]),
            ["private_policy", "updates", ""],
        ],
    ),
    "all simple keys": (
        [[["put", "\uff5e last", "1"], ["put", "\uff5e last but one", "2"], ["put", key("\uff5e last"), "composite"]]],
        [["whole_range", "\uff5e last"], ["plain_range", "\uff5e last", ""]],
    ),
    "refused: no text: a key that is read": ([], [["get", NO_TEXT]]),
    "refused: no text: one of many keys": ([], [["get_many", ["k1", NO_TEXT]]]),
    "refused: no text: a key that is written": ([], [["put", NO_TEXT, "v"]]),
    "refused: no text: a key that is written, with an empty value": ([], [["put", NO_TEXT, ""]]),
    "refused: no text: a key that is deleted": ([], [["delete", NO_TEXT]]),
    "refused: no text: a key in a batch": ([], [["batch"], ["put", "k", "v"], ["put", NO_TEXT, "v"]]),
    "refused: no text: a key whose history is asked": ([], [["history", NO_TEXT]]),
    "refused: no text: a key whose policy is asked": ([], [["policy", NO_TEXT]]),
    "refused: no text: a key that is given a policy": ([], [["set_policy", NO_TEXT, "p"]]),
    "refused: no text: a range": ([], [["plain_range", "a", NO_TEXT]]),
    "refused: no text: a prefix": ([], [["range", "r", [NO_TEXT]]]),
    "refused: no text: a page's prefix": ([], [["page", NO_TEXT, [], 1, ""]]),
    "refused: no text: a bookmark": ([], [["page", "r", [], 1, NO_TEXT]]),
    "refused: no text: a bookmark, after a write": ([], [["put", "k", "v"], ["plain_page", "a", "b", 1, NO_TEXT]]),
    "refused: no text: an event": ([], [["event", NO_TEXT, "x"]]),
    "refused: no text: a chaincode": ([], [["call", NO_TEXT, "Run", "[]"]]),
    "refused: no text: a channel": ([], [["call_on", NO_TEXT, CALLED, "Run", "[]"]]),
    "refused: no text: an argument": ([], [["call", CALLED, "Run", NO_TEXT]]),
    "refused: no text: a private key that is read": ([], [["get_private", "updates", NO_TEXT]]),
    "refused: no text: a private key whose hash is read": ([], [["hash_private", "updates", NO_TEXT]]),
    "refused: no text: a private key that is written": ([], [["put_private", "updates", NO_TEXT, "bytes"]]),
    "refused: no text: a private key that is deleted": ([], [["delete_private", "updates", NO_TEXT]]),
    "refused: no text: a private key that is purged": ([], [["purge", "updates", NO_TEXT]]),
    "refused: no text: a private key whose policy is asked": ([], [["private_policy", "updates", NO_TEXT]]),
    "refused: no text: a private key that is given a policy": ([], [["set_private_policy", "updates", NO_TEXT, "p"]]),
    "refused: no text: a private range": ([], [["private_range", "models", NO_TEXT, "b"]]),
    "refused: no text: a private prefix": ([], [["private_prefix", "models", NO_TEXT, []]]),
    "refused: no text: a collection": ([], [["get_private", NO_TEXT, "k"]]),
    "refused: no text: a collection that is written": ([], [["batch"], ["put_private", NO_TEXT, "k", "bytes"]]),
    "refused: no collection and no key": ([], [["put_private", "", "", "empty"]]),
    "refused: no collection, in a batch": ([], [["batch"], ["put", "k", "v"], ["delete_private", "", "k"]]),
    "refused: no collection, its range": ([], [["private_range", "", "\x00", "b"]]),
    "refused: no collection, its hash": ([], [["hash_private", "", NO_TEXT]]),
    "transient data": ([], [["transient"]]),
    "where": ([], [["where"]]),
    "refused: empty key": ([], [["put", "", "v"]]),
    "refused: empty value": ([], [["put", "k", ""]]),
    "refused: deleting an empty key": ([], [["delete", ""]]),
    "refused: a page of nothing": ([], [["page", "r", [], 0, ""]]),
    "refused: an event without a name": ([], [["event", "", "x"]]),
    "refused: a page after a write": ([], [["put", "k", "v"], ["page", "r", [], 1, ""]]),
    "refused: a write after a page": ([], [["page", "r", [], 1, ""], ["put", "k", "v"]]),
    "refused: a delete after a page": ([], [["page", "r", [], 1, ""], ["delete", "k"]]),
    "refused: a private write after a page": ([], [["page", "r", [], 1, ""], ["put_private", "updates", "k", "bytes"]]),
    "refused: no such collection, read": ([], [["get_private", "nowhere", "k"]]),
    "refused: no such collection, hash": ([], [["hash_private", "nowhere", "k"]]),
    "refused: no such collection, write": ([], [["put_private", "nowhere", "k", "bytes"]]),
    "refused: by the contract": ([], [["refuse", "BEFL-G-013", "said so", "Do another thing."]]),
}
V = {"transient": {"v": b"v"}}
TRANSIENT = {"bytes": VALUE, "more": b"\x00", "empty": b"", "Größe/1": b"a name with more than letters"}

Outcome = Callable[[str], Any]


@dataclass(frozen=True)
class Side:
    """One of the two: how it runs a script, and the events that a script has when it is submitted."""

    evaluate: Callable[..., Any]
    submit: Callable[..., tuple[Any, str]]
    """Returns the result and the transaction's id."""
    events: Callable[[Steps], list[tuple[str, bytes]]]


def outcome(side: Side, name: str) -> Any:
    before, steps = SCRIPTS[name]
    for each in before:
        side.submit(each, transient=TRANSIENT)
    return asked(lambda: side.evaluate(steps, transient=TRANSIENT))


def asked(evaluate: Callable[[], Any]) -> Any:
    """The results or the refusal; a mistake's transaction, of which its words speak, has another id on either side."""
    try:
        return [named(result) for result in evaluate()]
    except BeflError as error:
        return (error.code, error.message, error.hint)


def named(result: Any) -> Any:
    if isinstance(result, list):
        return [named(each) for each in result]
    return (
        re.sub("failed in transaction [0-9a-f]{64}", "failed in transaction ID", result)
        if isinstance(result, str)
        else result
    )


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    return MemoryLedger(Conformance(), others={CALLED: Conformance()})


@pytest.fixture(scope="module")
def memory_side(ledger) -> Side:
    caller = make_creator("Org1MSP", "trainer")

    def evaluate(steps: Steps, **more: Any) -> Any:
        return json.loads(ledger.evaluate(caller, "Run", json.dumps(steps), **more))

    def submit(steps: Steps, **more: Any) -> tuple[Any, str]:
        done = ledger.submit(caller, "Run", json.dumps(steps), **more)
        return json.loads(done.result), done.txid

    def events(steps: Steps) -> list[tuple[str, bytes]]:
        _, txid = submit(steps)
        return [(event.name, event.payload) for event in ledger.events() if event.txid == txid]

    return Side(evaluate, submit, events)


@pytest.fixture(scope="module")
def real_side(conformance) -> Side:
    def evaluate(steps: Steps, **more: Any) -> Any:
        return conformance.evaluate(*steps, **more)

    def submit(steps: Steps, **more: Any) -> tuple[Any, str]:
        done = conformance.contract().submit("Run", json.dumps(steps), **more)
        return json.loads(done.result), done.txid

    def events(steps: Steps) -> list[tuple[str, bytes]]:
        """Up to a transaction that comes after, so that no event is waited for which there is not."""
        with conformance.network().chaincode_events(NAME) as stream:
            _, txid = submit(steps)
            _, after = submit([["event", "after", ""]])
            found = list(itertools.takewhile(lambda event: event.txid != after, stream))
        assert all(event.txid == txid for event in found)
        return [(event.name, event.payload) for event in found]

    return Side(evaluate, submit, events)


@pytest.fixture(scope="module")
def memory(memory_side) -> Outcome:
    return lambda name: outcome(memory_side, name)


@pytest.fixture(scope="module")
def real(real_side) -> Outcome:
    return lambda name: outcome(real_side, name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_peer_and_the_ledger_in_memory_agree(real, memory, name):
    assert real(name) == memory(name)


def test_results_are_what_they_should_be(real):
    """The comparison alone could be of two equal mistakes."""
    assert real("what is put is there") == ["\x00\xffvalue"]
    assert real("a range of three batches") == [RANGE]
    assert real("a page from a bookmark") == [[RANGE[100:102], RANGE[102][0]]]
    assert real("the last page") == [[RANGE[248:], ""]]
    newest_first = [["4", False, 64, True], ["", True, 64, True], ["2", False, 64, True], ["1", False, 64, True]]
    assert real("history")[0][:4] == newest_first
    assert real("many keys at once")[0] == ["1", "", "3", "1"]
    assert real("many keys, more than a batch")[0] == [str(number) for number in range(1499, -1, -1)]
    assert real("a key's own policy")[:3] == [POLICY, "", "1"]
    assert real("a batch of writes")[0] == ["1", "", "4"]
    assert real("refused: no such chaincode")[0] == "BEFL-G-031"
    assert real("private data") == [VALUE.decode("latin-1"), hashlib.sha256(VALUE).hexdigest(), ""]
    assert real("a private read does not see the transaction's own write") == [None, ""]
    assert real("refused: by the contract") == ("BEFL-G-013", "said so", "Do another thing.")
    assert real("transient data") == [{name: value.decode("latin-1") for name, value in TRANSIENT.items()}]
    other, own = real("another chaincode's state")
    assert (other[:2], json.loads(other[2]), own) == ([200, ""], ["of the other", ["of the other", ""]], "own")
    assert real("a called chaincode refuses, and the caller goes on") == [
        ["before", "after"],
        [500, "BEFL-G-013: said so\nDo another.", ""],
    ]
    assert real("refused: a page after the called chaincode wrote")[0] == "BEFL-G-012"
    own, other, mistake, where = real("a called chaincode makes a mistake, and the caller goes on")
    assert own == ["before", "after"]
    assert json.loads(other[2]) == [["v", ""]]
    assert (mistake[0], mistake[1].partition("\n")[0], mistake[2]) == (
        500,
        "BEFL-G-009: the chaincode failed in transaction ID",
        "",
    )
    assert where == ["befl", "Run"]
    everything = [["\uff5e last", "1"], ["\uff5e last but one", "2"]]
    assert real("all simple keys") == [everything, everything]
    assert real("refused: no such channel")[:2] == (
        "BEFL-G-031",
        f"there is no chaincode '{CALLED}' on channel 'elsewhere': the peer is not in that channel",
    )
    assert {real(name)[0] for name in SCRIPTS if name.startswith("refused: no text")} == {"BEFL-G-018"}


def test_a_mistake_is_hidden_from_a_peers_client_and_shown_to_the_developer(real_side, memory_side):
    """The one difference between the two; what a caller's chaincode is told is among the scripts."""
    with pytest.raises(BeflError, match=r"BEFL-G-009: the chaincode failed in transaction [0-9a-f]{64}") as caught:
        real_side.evaluate([["mistake"]])
    assert "stays here" not in str(caught.value)
    with pytest.raises(ZeroDivisionError, match="a detail that stays here"):
        memory_side.evaluate([["mistake"]])


LATE: list[Steps] = [
    [["get_private", "updates", "late"]],
    [["get_many_private", "updates", ["p1", "late"]]],
    [["hash_private", "updates", "late"], ["get_private", "models", "late"]],
    [["private_range", "updates", "late", "later"]],
    [["private_policy", "updates", "late"], ["put_private", "updates", "late", "more"]],
]


def test_a_private_value_that_has_not_reached_the_peer(conformance, consortium, ledger, memory_side, monkeypatch):
    """A peer that was down when it was written, and fetches nothing when it is back; later it does."""

    def pulls(**settings: str) -> Callable[[dict[str, Any]], None]:
        env = {f"CORE_PEER_GOSSIP_PVTDATA_{name}": value for name, value in settings.items()}
        return lambda service: service["env"].update(env)

    gateway = conformance.gateways[2]
    monkeypatch.setattr(gateway, "deadlines", dataclasses.replace(gateway.deadlines, repeat=0.5))
    steps = [["put_private", "updates", "late", "bytes"]]
    peer = f"{consortium.institutions[2]}/peer"
    with ready_again(consortium):
        with described(consortium, pulls(PULLRETRYTHRESHOLD="0s", RECONCILESLEEPINTERVAL="10m"), peer):
            with kept_down(consortium, peer):
                conformance.submit(*steps, transient=TRANSIENT)
            consortium.level()
            wait.until(lambda: answers(conformance), timeout=60, what="the peer answering")
            real = [asked(lambda each=each: conformance.evaluate(*each, by=2, transient=TRANSIENT)) for each in LATE]
        memory_side.submit(steps, transient=TRANSIENT)
        with ledger.private_data_missing("updates", "late"):
            memory = [asked(lambda each=each: memory_side.evaluate(each, transient=TRANSIENT)) for each in LATE]
        assert real == memory
        assert [each[0] for each in real[:2]] == ["BEFL-G-010"] * 2
        assert real[3] == [[]]
        with described(consortium, pulls(RECONCILESLEEPINTERVAL="1s"), peer):
            wait.until(lambda: answers(conformance), timeout=60, what="the peer answering")
            here = [["private_range", "updates", "late", "later"]]
            wait.until(lambda: conformance.evaluate(*here, by=2) != [[]], timeout=60, what="the value fetched")
            assert conformance.evaluate(*LATE[0], by=2) == memory_side.evaluate(LATE[0]) == [VALUE.decode("latin-1")]


def answers(conformance: Deployment) -> bool:
    """Whether the third institution's peer answers and has its chaincode."""
    try:
        return conformance.evaluate(["where"], by=2) == [["befl", "Run"]]
    except BeflError:
        return False


def test_what_a_peer_takes_at_once_travels_at_once(conformance, monkeypatch):
    """Fabric 3.1 offers it in READY; without this nothing else would notice that each key goes by itself."""
    sent: list[int] = []
    offered: set[Batching] = set()
    answer = PeerStream._answer

    def watched(self: PeerStream, key: Any, kind: int, payload: bytes, event: Any = None) -> None:
        sent.append(kind)
        offered.add(self._batching)
        answer(self, key, kind, payload, event)

    monkeypatch.setattr(PeerStream, "_answer", watched)
    keys = [key("at once", f"{number:02}") for number in range(10)]
    conformance.evaluate(["get_many", keys])
    assert sent == [Message.GET_STATE_MULTIPLE, Message.COMPLETED]
    sent.clear()
    conformance.evaluate(["batch"], ["fill", "at once", [], 10], ["put_private", "updates", "at once", "v"], **V)
    assert sent == [Message.WRITE_BATCH_STATE, Message.COMPLETED]
    [batching] = offered
    assert batching.reads >= len(keys)
    assert batching.writes > len(keys)


# --- the transaction: its event, its transient data, who made it, its id and time ----------------------------------

EVENTS: dict[str, tuple[Steps, list[tuple[str, bytes]]]] = {
    "no event": ([["put", "e", "1"]], []),
    "an event": ([["event", "it happened", "\x00\xffpayload"]], [("it happened", b"\x00\xffpayload")]),
    "an event without a payload": ([["event", "e", ""]], [("e", b"")]),
    "the last event counts": ([["event", "first", "1"], ["put", "e", "2"], ["event", "last", "2"]], [("last", b"2")]),
    "a called chaincode's event is not the transaction's": ([call(["event", "inner", "1"])], []),
    "a called chaincode's event does not take the place of the caller's": (
        [["event", "outer", "1"], call(["event", "inner", "2"])],
        [("outer", b"1")],
    ),
}


@pytest.fixture(params=["real", "memory"])
def side(request) -> Side:
    found: Side = request.getfixturevalue(f"{request.param}_side")
    return found


@pytest.mark.parametrize("name", EVENTS)
def test_the_event_of_a_transaction(side, name):
    steps, expected = EVENTS[name]
    assert side.events(steps) == expected


def test_without_transient_data_there_is_none(side):
    steps = [["transient"], call(["transient"])]
    assert side.evaluate(steps) == [{}, [200, "", "[{}]"]]
    assert side.evaluate([["transient"]], transient={}) == [{}]


def test_id_and_time_are_one_for_the_whole_transaction_and_the_ones_that_were_submitted(side):
    before = int(time.time() * 1000)
    steps = [["txid"], ["time"], call(["txid"], ["time"]), ["txid"], ["time"]]
    first, first_id = side.submit(steps)
    second, second_id = side.submit(steps)
    for [txid, stamp, [status, _, inner], *again], submitted in ((first, first_id), (second, second_id)):
        assert re.fullmatch("[0-9a-f]{64}", txid)
        assert txid == submitted
        assert isinstance(stamp, int)
        assert before <= stamp <= int(time.time() * 1000)
        assert status == 200
        assert json.loads(inner) == again == [txid, stamp]
    assert first_id != second_id
    assert first[1] <= second[1]


def test_a_chaincode_that_waits_for_an_answer_cannot_be_called(side):
    steps, txid = side.submit([["txid"], call(["call", CALLED, "Run", "[]"]), ["put", "went", "on"]])
    said = f"INVOKE_CHAINCODE failed: transaction ID: {txid}: execute failed: error sending: txid: {txid}(befl) exists"
    assert steps == [txid, [500, f"BEFL-G-015: {said}\nThe peer's log says more.", ""], None]


def test_the_time_of_a_key_in_its_history_is_that_of_its_transaction(side):
    [stamp, _], txid = side.submit([["time"], ["put", "timed", "v"]])
    assert side.evaluate([["changes", "timed"]])[0][0] == [txid, stamp]


@pytest.mark.parametrize(
    ("institution", "user", "unit", "role"),
    [
        ("org1", "agent", "client", "trainer"),
        ("org2", "agent", "client", "trainer"),
        ("org3", "issuer", "client", "issuer"),
        ("org2", "admin", "admin", "operator"),
        ("org1", "enrolled-later", "client", "trainer|auditor"),
    ],
)
def test_creator_and_certificate_attributes(consortium, conformance, institution, user, unit, role):
    """A contract reads the same from a certificate of Fabric CA as from one of the ledger in memory."""
    if user == "enrolled-later":
        with acting(consortium.directory, institution) as member:
            identities.enroll(member, user, role.split("|"))
    msp_id = conformance.msp_ids[consortium.institutions.index(institution)]
    steps = json.dumps([["certificate"], ["who"], call(["certificate"])])
    with connect(Profile.load(consortium.profile(institution)), consortium.user(institution, user)) as gateway:
        real, who, [status, _, called] = json.loads(gateway.network("befl").contract(NAME).evaluate("Run", steps))
    ledger = MemoryLedger(Conformance())
    memory = json.loads(ledger.evaluate(make_creator(msp_id, role, ou=unit, name=user), "Run", '[["certificate"]]'))
    if user != "enrolled-later":  # Fabric CA adds its own attributes when one registers, not to those in its settings
        assert real["attributes"] == {"befl.role": role}
        real["attributes"] |= {"hf.Affiliation": "", "hf.EnrollmentID": user, "hf.Type": unit}
    assert [real] == memory
    assert who == [msp_id, "-----BEGIN CERTIFICATE-----"]
    # the caller of the called chaincode is who submitted, not the chaincode
    assert (status, json.loads(called)[0]["names"], json.loads(called)[0]["msp_id"]) == (200, [user], msp_id)
