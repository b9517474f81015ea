"""Who is down, what is asked, what is answered: the gateway client on a real network, as one table."""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from befl.rules.errors import BeflError
from befl.shim.server import ChaincodeServer

WRITE = json.dumps([["put", "scenario", "v"]])
PRIVATE = json.dumps([["put_private", "updates", "scenario", "v"]])
READ = json.dumps([["where"]])


class Row(NamedTuple):
    down: tuple[int, ...]  # whose chaincode servers; the institutions are 0, 1, 2 and the first one asks
    step: str
    script: str
    endorsers: tuple[int, ...]  # named ones; () lets the gateway choose
    answer: str  # "fine", or class and code of the error


TABLE = {
    "all are there": Row((), "submit", WRITE, (), "fine"),
    "all are there, all are named": Row((), "submit", WRITE, (0, 1, 2), "fine"),
    "two of the others are named": Row((), "submit", WRITE, (1, 2), "fine"),
    "only one is named": Row((), "submit", WRITE, (0,), "CommitError BEFL-G-008"),
    "only one is named, a private key": Row((), "submit", PRIVATE, (2,), "CommitError BEFL-G-008"),
    "one of the others is down": Row((1,), "submit", WRITE, (), "fine"),
    "one of the others is down, a private key": Row((2,), "submit", PRIVATE, (), "fine"),
    "one of the others is down and named": Row((1,), "submit", WRITE, (0, 1), "EndorseError BEFL-G-016"),
    "the own one is down, others are named": Row((0,), "submit", WRITE, (1, 2), "fine"),
    "both others are down": Row((1, 2), "submit", WRITE, (), "EndorseError BEFL-G-016"),
    "a question, both others are down": Row((1, 2), "evaluate", READ, (), "fine"),
    "a question, the own one is down": Row((0,), "evaluate", READ, (), "EvaluateError BEFL-G-016"),
    "a question, all are down": Row((0, 1, 2), "evaluate", READ, (), "EvaluateError BEFL-G-016"),
}


@contextmanager
def away(conformance, numbers):
    for number in numbers:
        conformance.servers[number].stop(0.5)
    try:
        yield
    finally:
        for number in numbers:
            conformance.servers[number] = ChaincodeServer(conformance.chaincode, conformance.configs[number])
            conformance.servers[number].start()
        for number in numbers:
            conformance.evaluate(["where"], by=number)


@pytest.mark.parametrize("name", TABLE)
def test_scenario(conformance, monkeypatch, name):
    row = TABLE[name]
    gateway = conformance.gateways[0]
    contract = conformance.contract()
    with away(conformance, row.down), monkeypatch.context() as patched:
        if row.answer != "fine":
            patched.setattr(gateway, "deadlines", dataclasses.replace(gateway.deadlines, repeat=0.5))
        try:
            if row.step == "evaluate":
                contract.evaluate("Run", row.script)
            else:
                names = [conformance.msp_ids[number] for number in row.endorsers]
                contract.submit("Run", row.script, transient={"v": b"v"}, endorsing_organizations=names)
            answer = "fine"
        except BeflError as error:
            answer = f"{type(error).__name__} {error.code}"
    assert answer == row.answer
