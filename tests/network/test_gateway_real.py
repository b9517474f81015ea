"""The gateway client on a real network: the steps, committed but invalid, refusals, events through a restart."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from befl.gateway import (
    ChaincodeEvent,
    CommitError,
    EndorseError,
    EvaluateError,
    Gateway,
    Identity,
    Profile,
    connect,
    open_channel,
)
from befl.gateway.wait import until
from befl.rules.errors import BeflError

from .conformance import NAME, key


def script(*steps):
    return json.dumps(steps)


def test_a_refusal_names_the_endorser(conformance):
    with pytest.raises(EndorseError) as caught:
        conformance.submit(["refuse", "BEFL-G-013", "said so", "Do another thing."])
    error = caught.value
    assert (error.code, error.message, error.hint) == ("BEFL-G-013", "said so", "Do another thing.")
    assert error.from_chaincode
    assert [detail.msp_id for detail in error.details] == [conformance.msp_ids[0]]
    assert len(error.txid) == 64


def test_somebody_wrote_first(conformance):
    conformance.submit(["put", "race", "0"])
    first = conformance.contract(0).endorse("Run", script(["get", "race"], ["put", "race", "1"]))
    second = conformance.contract(1).endorse("Run", script(["get", "race"], ["put", "race", "2"]))
    assert first.submit().status().valid
    assert second.submit().status().validation_code == "MVCC_READ_CONFLICT"
    assert conformance.evaluate(["get", "race"]) == ["1"]


def test_a_key_that_appeared_in_a_range(conformance):
    conformance.submit(["put", key("phantom", "1"), "v"])
    reader = conformance.contract().endorse("Run", script(["range", "phantom", []], ["put", "seen", "1"]))
    conformance.submit(["put", key("phantom", "2"), "v"])
    assert reader.submit().status().validation_code == "PHANTOM_READ_CONFLICT"


def test_one_institutions_endorsement_is_not_enough(conformance):
    """For the public keys and for a private collection alike."""
    for steps in (["put", "alone", "v"], ["put_private", "updates", "alone", "v"]):
        with pytest.raises(CommitError, match="BEFL-G-008") as caught:
            conformance.contract().submit(
                "Run", script(steps), transient={"v": b"v"}, endorsing_organizations=[conformance.msp_ids[0]]
            )
        assert caught.value.validation_code == "ENDORSEMENT_POLICY_FAILURE"
    assert conformance.evaluate(["get", "alone"], ["hash_private", "updates", "alone"]) == ["", ""]


def test_the_same_envelope_twice_is_one_transaction(conformance):
    transaction = conformance.contract().endorse("Run", script(["put", "twice", "v"]))
    first, second = transaction.submit(), transaction.submit()
    assert first.status() == second.status()
    assert first.status().valid


def test_the_status_of_a_transaction_of_another_process(conformance):
    done = conformance.contract(0).submit("Run", script(["put", "status", "v"]))
    status = conformance.network(1).commit(done.txid).status()
    assert (status.valid, status.block) == (True, done.block)


def test_a_channel_and_a_chaincode_that_do_not_exist(conformance, monkeypatch):
    gateway = conformance.gateways[0]
    monkeypatch.setattr(gateway, "deadlines", dataclasses.replace(gateway.deadlines, repeat=0.5))
    with pytest.raises(EvaluateError, match="BEFL-G-030"):
        gateway.network("nowhere").contract("befl").evaluate("F")
    with pytest.raises(EvaluateError, match="BEFL-G-031"):
        gateway.network("befl").contract("nothing").evaluate("F")


def test_an_identity_of_another_institution_is_refused(conformance, consortium):
    """Org2's certificate under org1's name, over org1's TLS: the MSP knows its own."""
    stranger = Identity.load(consortium.user("org2") / "msp", conformance.msp_ids[0])
    profile = Profile.load(consortium.profile("org1"))
    with (
        open_channel(profile.peers[0], consortium.user("org1") / "tls") as channel,
        Gateway(channel, stranger) as gateway,
        pytest.raises(EvaluateError, match="BEFL-G-030"),
    ):
        gateway.network("befl").contract(NAME).evaluate("Run", script(["where"]))


def test_32_in_flight(conformance):
    contract = conformance.contract()
    with ThreadPoolExecutor(32) as pool:
        done = list(pool.map(lambda n: contract.submit("Run", script(["put", f"flight{n}", "v"])), range(64)))
    assert len({each.txid for each in done}) == 64


def test_a_transaction_per_event_in_order(conformance):
    with conformance.network().chaincode_events(NAME) as events:
        sent = [conformance.contract(n % 3).submit("Run", script(["event", f"e{n}", "payload"])) for n in range(6)]
        got = list(itertools.islice(events, 6))
    assert got == [ChaincodeEvent(each.block, each.txid, f"e{n}", b"payload") for n, each in enumerate(sent)]
    with conformance.network(1).chaincode_events(NAME, after=got[1]) as events:
        assert list(itertools.islice(events, 4)) == got[2:]
    with conformance.network(1).chaincode_events(NAME, after=got[1].txid) as events:
        assert list(itertools.islice(events, 4)) == got[2:]
    with conformance.network(2).chaincode_events(NAME, start_block=got[3].block) as events:
        assert next(events) == got[3]


def test_an_invalid_transaction_has_no_event(conformance):
    conformance.submit(["put", "quiet", "0"])
    late = conformance.contract().endorse("Run", script(["get", "quiet"], ["put", "quiet", "1"], ["event", "bad", ""]))
    conformance.submit(["put", "quiet", "2"])
    with conformance.network().chaincode_events(NAME) as events:
        assert not late.submit().status().valid
        conformance.submit(["event", "good", ""])
        assert next(events).name == "good"


def test_no_event_is_lost_or_doubled_when_the_peer_is_killed(conformance, consortium):
    """The follower reads from the third institution's peer, which dies in the middle; the first two go on."""
    got = []
    count = 30
    begin = conformance.network(0).height()  # the third peer may lack a block of the test before: its events are others
    with conformance.network(2).chaincode_events(NAME, start_block=begin) as events:
        follower = threading.Thread(target=lambda: got.extend(itertools.islice(events, count)))
        follower.start()
        for n in range(count):
            if n == 10:
                [peer] = [each for each in consortium.status().institutions[2].processes if each.name == "peer"]
                os.kill(peer.pid, signal.SIGKILL)
            conformance.submit(["event", f"x{n}", ""], by=n % 2)
        follower.join(60)
        assert not follower.is_alive()
    assert [event.name for event in got] == [f"x{n}" for n in range(count)]
    until(lambda: consortium.status().ready, timeout=30, what="the network whole again")


def test_a_gateway_whose_peer_does_not_answer(conformance, consortium, tmp_path):
    raw = json.loads(consortium.profile("org1").read_text())
    raw["peers"] = {name: peer | {"url": "grpcs://127.0.0.1:1"} for name, peer in raw["peers"].items()}
    for peer in raw["peers"].values():
        if "path" in peer["tlsCACerts"]:
            peer["tlsCACerts"] = {"path": str(consortium.profile("org1").parent / peer["tlsCACerts"]["path"])}
    (tmp_path / "c.json").write_text(json.dumps(raw))
    start = time.monotonic()
    with (
        connect(Profile.load(tmp_path / "c.json"), consortium.user("org1")) as gateway,
        pytest.raises(BeflError, match="BEFL-G-002"),
    ):
        gateway.network("befl").contract(NAME).evaluate("Run", script(["where"]), timeout=0.5)
    assert time.monotonic() - start < 5


def test_a_transaction_waits_for_the_ordering_service(conformance, consortium):
    """All orderers die; the same envelope is sent until there is a leader again, and takes effect once."""
    conformance.submit(["put", "ordering", "0"])
    transaction = conformance.contract().endorse("Run", script(["get", "ordering"], ["put", "ordering", "1"]))
    orderers = [each for one in consortium.status().institutions for each in one.processes if each.name == "orderer"]
    for orderer in orderers:
        os.kill(orderer.pid, signal.SIGKILL)
    assert transaction.submit().status().valid
    # another institution's peer may hear of the block later
    until(lambda: conformance.evaluate(["get", "ordering"], by=1) == ["1"], timeout=30, what="the value everywhere")
    until(lambda: consortium.status().ready, timeout=30, what="the network whole again")
