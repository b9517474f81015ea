"""The same scripts on a real peer and on the in-memory ledger: the same results, the same errors in the same words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from befl.ledger.identities import make_creator
from befl.ledger.memory import MemoryLedger
from befl.rules.errors import BeflError

from .conformance import Conformance, key

VALUE = bytes(range(256))
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
TRANSIENT = {"bytes": VALUE, "more": b"\x00"}

Outcome = Callable[[str], Any]


def outcome(evaluate: Callable[[Steps], Any], submit: Callable[[Steps], Any], name: str) -> Any:
    before, steps = SCRIPTS[name]
    for each in before:
        submit(each)
    try:
        return evaluate(steps)
    except BeflError as error:
        return (error.code, error.message, error.hint)


@pytest.fixture(scope="module")
def memory() -> Outcome:
    ledger = MemoryLedger(Conformance())
    caller = make_creator("Org1MSP", "trainer")

    def evaluate(steps: Steps) -> Any:
        return json.loads(ledger.evaluate(caller, "Run", json.dumps(steps), transient=TRANSIENT))

    def submit(steps: Steps) -> Any:
        return ledger.submit(caller, "Run", json.dumps(steps), transient=TRANSIENT)

    return lambda name: outcome(evaluate, submit, name)


@pytest.fixture(scope="module")
def real(conformance) -> Outcome:
    return lambda name: outcome(
        lambda steps: conformance.evaluate(*steps, transient=TRANSIENT),
        lambda steps: conformance.submit(*steps, transient=TRANSIENT),
        name,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_peer_and_the_ledger_in_memory_agree(real, memory, name):
    assert real(name) == memory(name)


def test_results_are_what_they_should_be(real):
    """The comparison alone could be of two equal mistakes."""
    assert real("what is put is there") == ["\x00\xffvalue"]
    assert real("a range of three batches") == [RANGE]
    assert real("a page from a bookmark") == [[RANGE[100:102], RANGE[102][0]]]
    assert real("the last page") == [[RANGE[248:], ""]]
    assert real("private data") == [VALUE.decode("latin-1"), hashlib.sha256(VALUE).hexdigest(), ""]
    assert real("a private read does not see the transaction's own write") == [None, ""]
    assert real("refused: by the contract") == ("BEFL-G-013", "said so", "Do another thing.")
