"""The shim on a real peer: identity, time, size, concurrency, servers and peers that come and go, mistakes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import befl.gateway.proposal
from befl.gateway import EndorseError, EvaluateError
from befl.gateway.wait import until
from befl.shim.server import ChaincodeServer

from .conformance import key


def test_the_caller_is_who_the_certificate_says(conformance):
    for number, msp_id in enumerate(conformance.msp_ids):
        assert conformance.evaluate(["who"], by=number) == [[msp_id, "-----BEGIN CERTIFICATE-----"]]


def test_time_and_txid_are_the_proposals(conformance):
    before = time.time() * 1000
    done = conformance.contract().submit("Run", '[["time"], ["txid"]]')
    stamp, txid = json.loads(done.result)
    assert before - 1 <= stamp <= time.time() * 1000
    assert txid == done.txid


@pytest.mark.parametrize(("away", "by_chaincode"), [(-40, True), (40, True), (-3600, False), (3600, False)])
def test_a_time_that_was_made_up_is_refused(conformance, monkeypatch, away, by_chaincode):
    def moved() -> int:
        return time.time_ns() + away * 10**9

    monkeypatch.setattr(befl.gateway.proposal, "time", SimpleNamespace(time_ns=moved))
    with pytest.raises(EndorseError, match="BEFL-G-011") as caught:
        conformance.submit(["put", "k", "v"])
    assert caught.value.from_chaincode is by_chaincode


def test_a_mistake_in_a_contract_is_an_internal_error_without_details(conformance):
    with pytest.raises(EvaluateError, match="BEFL-G-009") as caught:
        conformance.evaluate(["mistake"])
    assert "stays here" not in str(caught.value)
    assert conformance.evaluate(["where"]) == [["befl", "Run"]]


def test_endorsers_that_differ(conformance, monkeypatch):
    gateway = conformance.gateways[0]
    monkeypatch.setattr(gateway, "deadlines", dataclasses.replace(gateway.deadlines, repeat=0.5))
    with pytest.raises(EndorseError, match="BEFL-G-004"):
        conformance.submit(["differ"])


def test_many_at_once(conformance):
    conformance.submit(["fill", "many", [], 250])

    def one(number: int) -> int:
        return len(conformance.evaluate(["range", "many", []], by=number % 3)[0])

    # the other peers may hear of the block later
    until(lambda: [one(number) for number in range(3)] == [250] * 3, timeout=30, what="all of it everywhere")

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(one, range(96))) == [250] * 96


def test_a_large_private_value(conformance):
    big = bytes(range(256)) * (8 * 4096)
    conformance.submit(["put_private", "models", "big", "v"], transient={"v": big})
    assert conformance.evaluate(["private_size", "models", "big"]) == [len(big)]


def test_a_server_that_goes_and_comes_back(conformance):
    conformance.submit(["put", key("away", "1"), "v"])
    conformance.servers[0].stop(1)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(conformance.evaluate, ["get", key("away", "1")])
        conformance.servers[0] = ChaincodeServer(conformance.chaincode, conformance.configs[0])
        conformance.servers[0].start()
        assert answer.result(60) == ["v"]


def test_a_peer_that_is_killed_and_comes_back(conformance, consortium):
    """The server does not notice; the peer dials in again and the same transaction goes through."""
    conformance.submit(["put", key("killed", "1"), "v"])

    def peer():
        [found] = [process for process in consortium.status().institutions[2].processes if process.name == "peer"]
        return found

    before = peer()
    os.kill(before.pid, signal.SIGKILL)
    # as soon as it is back, and it may have died before it had the block
    until(lambda: conformance.evaluate(["get", key("killed", "1")], by=2) == ["v"], timeout=30, what="the value there")
    until(lambda: (now := peer()).healthy and now.pid != before.pid, timeout=30, what="the peer to be back")
    conformance.submit(["put", key("killed", "2"), "w"], by=2)
