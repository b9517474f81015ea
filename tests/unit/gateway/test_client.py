"""A transaction step by step: what is sent, what is tried again, and which error says what."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.gateway import gateway_pb2

from befl.gateway import (
    CommitError,
    CommitStatusError,
    Deadlines,
    EndorseError,
    ErrorDetail,
    EvaluateError,
    Gateway,
    GatewayError,
    Identity,
    Profile,
    SubmitError,
    connect,
    open_channel,
)
from befl.gateway.client import _AGAIN
from befl.rules.errors import BeflError

from .conftest import Failure, Slow

REFUSAL = "chaincode response 500, BEFL-G-013: no such thing\nDo another thing."
LATER = "chaincode response 500, BEFL-G-010: not yet"
DIFFERENT = ("BetaMSP", "ProposalResponsePayloads do not match")


@pytest.fixture
def contract(gateway):
    return gateway.network("befl").contract("befl")


def quick(gateway, **seconds):
    """Set deadlines, in which the handshake has no part."""
    grpc.channel_ready_future(gateway._channel).result(10)
    gateway.deadlines = dataclasses.replace(gateway.deadlines, **seconds)


def test_evaluate(contract, fake):
    assert contract.evaluate("TaskContract:Get", "a", b"\xff", transient={"t": b"\x00"}) == b"TaskContract:Get|a|\xff"
    assert fake.transients == [{"t": b"\x00"}]
    header = fake.proposals[0]
    assert abs(header.timestamp.ToMilliseconds() / 1000 - time.time()) < 10


@pytest.mark.parametrize(("named", "asked"), [((), ["AlphaMSP"]), (("BetaMSP",), ["BetaMSP"])])
def test_only_the_own_institution_is_asked_unless_others_are_named(gateway, fake, named, asked):
    """Nobody endorses an answer; another institution's peer could say anything."""
    proposal = gateway.network("befl").contract("c").new_proposal("F", "a", endorsing_organizations=named)
    unsigned = gateway_pb2.ProposedTransaction.FromString(proposal.to_bytes()).proposal.proposal_bytes
    assert proposal.signed(gateway.identity.sign(unsigned)).evaluate() == b"F|a"
    assert fake.organizations == [asked]


def test_the_own_institution_is_asked(contract, fake):
    contract.evaluate("F")
    assert fake.organizations == [["AlphaMSP"]]


def test_submit(contract, fake):
    done = contract.submit("F", "x", transient={"t": b"1"}, endorsing_organizations=["AlphaMSP", "BetaMSP"])
    assert (done.result, done.block) == (b"F|x", 7)
    assert fake.calls == [("Endorse", done.txid), ("Submit", done.txid), ("CommitStatus", done.txid)]
    assert fake.organizations == [["AlphaMSP", "BetaMSP"]]


def test_submit_async_and_status_by_txid(gateway, contract, fake):
    commit = contract.submit_async("F")
    assert fake.steps() == ["Endorse", "Submit"]
    fake.statuses[commit.txid] = (11, 9)
    status = gateway.network("befl").commit(commit.txid).status()
    assert (status.valid, status.block, status.validation_code) == (False, 9, "MVCC_READ_CONFLICT")


def test_every_proposal_has_an_id_of_its_own(contract, fake):
    for _ in range(3):
        contract.evaluate("F")
    assert len({header.tx_id for header in fake.proposals}) == 3


INVALID = {
    "MVCC_READ_CONFLICT": (11, "BEFL-G-020", True),
    "PHANTOM_READ_CONFLICT": (12, "BEFL-G-020", True),
    "DUPLICATE_TXID": (9, "BEFL-G-021", False),
    "ENDORSEMENT_POLICY_FAILURE": (10, "BEFL-G-008", False),
}


@pytest.mark.parametrize("name", INVALID)
def test_committed_but_invalid(contract, fake, name):
    number, code, retryable = INVALID[name]
    fake.statuses[""] = (number, 4)
    with pytest.raises(CommitError) as caught:
        contract.submit("F")
    error = caught.value
    assert (error.validation_code, error.block, error.code, error.retryable) == (name, 4, code, retryable)
    assert fake.steps() == ["Endorse", "Submit", "CommitStatus"]  # never again by itself


# step, what is answered at first, code when it stays so, whether it is tried again
SCENARIOS = {
    "evaluate: unavailable": ("Evaluate", Failure("UNAVAILABLE", "gone"), "BEFL-G-002", True),
    "evaluate: peer's deadline": ("Evaluate", Failure("DEADLINE_EXCEEDED", "timeout"), "BEFL-G-003", True),
    "evaluate: private data not here": ("Evaluate", Failure("UNKNOWN", "x", ("AlphaMSP", LATER)), "BEFL-G-010", True),
    "evaluate: no chaincode server": (
        "Evaluate",
        Failure("ABORTED", "x", ("AlphaMSP", "could not launch chaincode befl:1: connection refused")),
        "BEFL-G-016",
        True,
    ),
    "evaluate: refused": ("Evaluate", Failure("UNKNOWN", "x", ("AlphaMSP", REFUSAL)), "BEFL-G-013", False),
    "evaluate: other": ("Evaluate", Failure("UNKNOWN", "chaincode response 500, oh"), "BEFL-G-005", False),
    "endorse: unavailable": ("Endorse", Failure("UNAVAILABLE", "gone"), "BEFL-G-002", True),
    "endorse: peer's deadline": ("Endorse", Failure("DEADLINE_EXCEEDED", "timeout"), "BEFL-G-003", True),
    "endorse: private data not here": ("Endorse", Failure("ABORTED", "x", ("AlphaMSP", LATER)), "BEFL-G-010", True),
    "endorse: differs": ("Endorse", Failure("ABORTED", "failed to collect", DIFFERENT), "BEFL-G-004", True),
    "endorse: not approved": (
        "Endorse",
        Failure("ABORTED", "x", ("BetaMSP", "chaincode definition for 'befl' has not yet been approved by this org")),
        "BEFL-G-016",
        True,
    ),
    "endorse: endorser down": (
        "Endorse",
        Failure("ABORTED", "x", ("BetaMSP", "rpc error: code = Unavailable desc = connection refused")),
        "BEFL-G-016",
        True,
    ),
    "endorse: no peer to keep private data": (
        "Endorse",
        Failure("ABORTED", "x", ("BetaMSP", "error in simulation: failed to distribute private collection, txID f0")),
        "BEFL-G-016",
        True,
    ),
    "endorse: nobody there": (
        "Endorse",
        Failure("FAILED_PRECONDITION", "no combination of peers can be derived which satisfy the endorsement policy"),
        "BEFL-G-016",
        True,
    ),
    "endorse: refused": ("Endorse", Failure("ABORTED", "x", ("AlphaMSP", REFUSAL)), "BEFL-G-013", False),
    "endorse: access denied": (
        "Endorse",
        Failure("ABORTED", "x", ("AlphaMSP", "error validating proposal: access denied: channel [befl]")),
        "BEFL-G-030",
        False,
    ),
    "endorse: a proposal that was sent before": (
        "Endorse",
        Failure(
            "ABORTED", "x", ("AlphaMSP", "error validating proposal: duplicate transaction found [ab]. Creator: []")
        ),
        "BEFL-G-021",
        False,
    ),
    "endorse: wrong clock": (
        "Endorse",
        Failure("ABORTED", "x", ("AlphaMSP", "request unauthorized due to incorrect timestamp 1, peer time 2")),
        "BEFL-G-011",
        False,
    ),
    "endorse: expired": (
        "Endorse",
        Failure("ABORTED", "x", ("AlphaMSP", "proposal client identity expired")),
        "BEFL-G-025",
        False,
    ),
    "endorse: too large": (
        "Endorse",
        Failure("RESOURCE_EXHAUSTED", "grpc: received message larger than max (104857700 vs. 104857600)"),
        "BEFL-G-017",
        False,
    ),
    "endorse: no channel": (
        "Endorse",
        Failure("UNAVAILABLE", "failed to get config for channel"),
        "BEFL-G-030",
        False,
    ),
    "submit: no leader": (
        "Submit",
        Failure("ABORTED", "received unsuccessful response: status=SERVICE_UNAVAILABLE, info=no Raft leader"),
        "BEFL-G-006",
        True,
    ),
    "submit: orderers down": (
        "Submit",
        Failure(
            "UNAVAILABLE",
            "no orderers could successfully process transaction",
            ("AlphaMSP", "rpc error: code = Unavailable desc = connection error: connection refused"),
            ("BetaMSP", "rpc error: code = Unavailable desc = connection error: connection refused"),
        ),
        "BEFL-G-006",
        True,
    ),
    "submit: peer down": ("Submit", Failure("UNAVAILABLE", "failed to connect to all addresses"), "BEFL-G-002", True),
    "submit: peer's deadline": (
        "Submit",
        Failure("DEADLINE_EXCEEDED", "submit timeout expired while broadcasting to ordering service"),
        "BEFL-G-003",
        True,
    ),
    "submit: no orderer": ("Submit", Failure("UNAVAILABLE", "no orderers could successfully"), "BEFL-G-006", True),
    "submit: orderer refuses": (
        "Submit",
        Failure("ABORTED", "received unsuccessful response from orderer: status=FORBIDDEN, info=x"),
        "BEFL-G-030",
        False,
    ),
    "status: unavailable": ("CommitStatus", Failure("UNAVAILABLE", "gone"), "BEFL-G-002", True),
    "status: peer's deadline": ("CommitStatus", Failure("DEADLINE_EXCEEDED", "timeout"), "BEFL-G-003", True),
    "status: aborted": ("CommitStatus", Failure("ABORTED", "ledger closed"), "BEFL-G-007", True),
    "status: denied": ("CommitStatus", Failure("PERMISSION_DENIED", "no"), "BEFL-G-030", False),
}
CLASSES = {"Evaluate": EvaluateError, "Endorse": EndorseError, "Submit": SubmitError, "CommitStatus": CommitStatusError}


def test_the_scenarios_have_all_that_is_tried_again():
    """Each step and code of the client's table, so that none can be taken from it or added to it in silence."""
    tried = {(CLASSES[step], code) for step, _, code, again in SCENARIOS.values() if again}
    assert tried == {(kind, code) for kind, codes in _AGAIN.items() for code in codes}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_tried_again(contract, fake, name):
    step, failure, code, again = SCENARIOS[name]
    fake.script[step].extend([failure, failure])
    call = contract.evaluate if step == "Evaluate" else contract.submit
    if again:
        call("F")
        assert fake.steps().count(step) == 3
        return
    with pytest.raises(CLASSES[step]) as caught:
        call("F")
    assert caught.value.code == code
    assert fake.steps().count(step) == 1


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario[3]])
def test_in_the_end_the_error_says_why(gateway, contract, fake, name):
    step, failure, code, _ = SCENARIOS[name]
    quick(gateway, evaluate=0.3, endorse=0.3, submit=0.3, commit_status=0.3)
    fake.script[step].extend([failure] * 50)
    start = time.monotonic()
    with pytest.raises(CLASSES[step]) as caught:
        (contract.evaluate if step == "Evaluate" else contract.submit)("F")
    assert time.monotonic() - start < 3
    assert caught.value.code == code
    assert fake.steps().count(step) > 1


def test_repeating_has_a_limit_of_its_own(gateway, contract, fake):
    quick(gateway, endorse=30, repeat=0.3)
    fake.script["Endorse"].extend([Failure("UNAVAILABLE", "gone")] * 50)
    start = time.monotonic()
    with pytest.raises(EndorseError, match="BEFL-G-002"):
        contract.submit("F")
    assert time.monotonic() - start < 3


def test_endorse_again_is_a_new_proposal_and_submit_again_the_same_envelope(contract, fake):
    fake.script["Endorse"].append(Failure("UNAVAILABLE", "gone"))
    fake.script["Submit"].extend([Failure("UNAVAILABLE", "no orderers could"), Failure("UNAVAILABLE", "gone")])
    contract.submit("F")
    first, second = [txid for step, txid in fake.calls if step == "Endorse"]
    assert first != second
    assert {txid for step, txid in fake.calls if step in ("Submit", "CommitStatus")} == {second}
    assert len(fake.envelopes) == 3
    assert len(set(fake.envelopes)) == 1


def test_a_proposal_that_grew_old_on_the_way_is_made_anew(contract, fake, monkeypatch):
    """The gateway waited for a peer that stood still; what it then brought to the next one was too old for that."""
    old = Failure("ABORTED", "x", ("BetaMSP", "chaincode response 500, BEFL-G-011: the proposal's timestamp is 30 s"))
    fake.script["Endorse"].append(old)
    with pytest.raises(EndorseError, match="BEFL-G-011"):
        contract.submit("F")  # at once: a clock is wrong
    monkeypatch.setattr("befl.gateway.client._AGED", 0.0)
    fake.script["Endorse"].append(old)
    contract.submit("F")
    _, first, second = [txid for step, txid in fake.calls if step == "Endorse"]
    assert first != second


def test_no_new_proposal_after_submit(gateway, contract, fake):
    quick(gateway, submit=0.2)
    fake.script["Submit"].extend([Failure("UNAVAILABLE", "no orderers could")] * 50)
    with pytest.raises(SubmitError) as caught:
        contract.submit("F")
    assert fake.steps().count("Endorse") == 1
    assert caught.value.txid == fake.calls[0][1]


def test_what_an_orderer_took_and_lost_is_submitted_again(gateway, contract, fake):
    """The same envelope, less and less often; and the time is over when it is over."""
    quick(gateway, resubmit=0.2)
    fake.script["CommitStatus"].extend([Slow(), Slow()])
    fake.script["Submit"].extend([None, Failure("ABORTED", "the orderer does not take it"), None])
    done = contract.submit("F")
    assert done.block == 7
    assert fake.steps() == ["Endorse", *["Submit", "CommitStatus"] * 3]
    assert len(set(fake.envelopes)) == 1
    quick(gateway, resubmit=0.2, commit_status=0.5)
    fake.script["CommitStatus"].extend([Slow()] * 3)
    start = time.monotonic()
    with pytest.raises(CommitStatusError, match="BEFL-G-003"):
        contract.submit("F")
    fake.released.set()
    assert 0.5 <= time.monotonic() - start < 2


def test_a_refusal_of_the_chaincode_keeps_code_message_and_hint(contract, fake):
    fake.script["Endorse"].append(Failure("ABORTED", "see details", ("AlphaMSP", REFUSAL)))
    with pytest.raises(BeflError) as caught:
        contract.submit("F")
    error = caught.value
    assert isinstance(error, EndorseError)
    assert (error.code, error.message, error.hint) == ("BEFL-G-013", "no such thing", "Do another thing.")
    assert error.from_chaincode
    assert error.grpc_status == "ABORTED"
    assert error.details == (ErrorDetail("peer:7051", "AlphaMSP", REFUSAL),)
    assert len(error.txid) == 64


def test_a_refusal_that_lasts_outweighs_one_that_passes(contract, fake):
    fake.script["Endorse"].append(Failure("ABORTED", "x", ("AlphaMSP", LATER), ("BetaMSP", REFUSAL)))
    with pytest.raises(EndorseError, match="BEFL-G-013"):
        contract.submit("F")


def test_without_details_the_status_text_is_read(contract, fake):
    fake.script["Evaluate"].append(Failure("UNKNOWN", f"evaluate call to endorser returned error: {REFUSAL}"))
    with pytest.raises(EvaluateError) as caught:
        contract.evaluate("F")
    assert (caught.value.code, caught.value.hint) == ("BEFL-G-013", "Do another thing.")


def test_other_details_do_no_harm(contract, fake):
    fake.script["Endorse"].append(Failure("ABORTED", "x", ("AlphaMSP", "something else"), ("BetaMSP", "and more")))
    with pytest.raises(EndorseError) as caught:
        contract.submit("F")
    assert not caught.value.from_chaincode
    assert caught.value.message == "AlphaMSP peer:7051: something else; BetaMSP peer:7051: and more"


@pytest.mark.parametrize("step", CLASSES)
def test_each_step_has_a_deadline(gateway, contract, fake, step):
    quick(gateway, evaluate=0.3, endorse=0.3, submit=0.3, commit_status=0.3)
    fake.script[step].append(Slow())
    start = time.monotonic()
    with pytest.raises(CLASSES[step], match="BEFL-G-003") as caught:
        (contract.evaluate if step == "Evaluate" else contract.submit)("F")
    fake.released.set()
    assert time.monotonic() - start < 2
    assert caught.value.grpc_status == "DEADLINE_EXCEEDED"


def test_a_timeout_of_one_call(gateway, contract, fake):
    fake.script["Evaluate"].append(Slow())
    with pytest.raises(EvaluateError, match="BEFL-G-003"):
        contract.evaluate("F", timeout=0.2)
    fake.script["CommitStatus"].append(Slow())
    with pytest.raises(CommitStatusError, match="BEFL-G-003"):
        gateway.network("befl").commit("t").status(timeout=0.2)
    fake.released.set()


def test_the_reason_outlives_the_deadline(gateway, contract, fake):
    quick(gateway, evaluate=0.6)
    fake.script["Evaluate"].extend([SCENARIOS["evaluate: no chaincode server"][1], Slow()])
    with pytest.raises(EvaluateError, match="BEFL-G-016"):
        contract.evaluate("F")
    fake.released.set()


def test_32_in_flight(contract, fake):
    with ThreadPoolExecutor(32) as pool:
        done = list(pool.map(lambda number: contract.submit("F", str(number)), range(96)))
    assert [each.result for each in done] == [f"F|{number}".encode() for number in range(96)]
    assert len({each.txid for each in done}) == 96


def test_a_peer_that_comes_back_is_found(contract, service):
    assert contract.evaluate("F") == b"F"
    service.stop()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(contract.evaluate, "F")
        service.start()
        assert answer.result(10) == b"F"


def test_no_peer(gateway, contract, service):
    quick(gateway, evaluate=0.5)
    service.stop()
    with pytest.raises(EvaluateError, match="BEFL-G-002"):
        contract.evaluate("F")
    service.start()


def test_closing_in_any_order(profile_path, write_user):
    profile, user = Profile.load(profile_path), write_user()
    identity = Identity.load(user / "msp", "AlphaMSP")
    channel = open_channel(profile.peers[0], user / "tls")
    gateway = Gateway(channel, identity)
    contract = gateway.network("befl").contract("befl")
    assert contract.evaluate("F") == b"F"
    channel.close()
    with pytest.raises(EvaluateError, match="BEFL-G-002"):
        contract.evaluate("F", timeout=0.2)
    gateway.close()
    gateway.close()
    with pytest.raises(EndorseError, match="the gateway is closed"):
        contract.submit("F")


def test_a_gateway_leaves_the_callers_channel_open(profile_path, write_user):
    profile, user = Profile.load(profile_path), write_user()
    identity = Identity.load(user / "msp", "AlphaMSP")
    with open_channel(profile.peers[0], user / "tls") as channel:
        with Gateway(channel, identity) as first:
            first.network("befl").contract("befl").evaluate("F")
        with Gateway(channel, identity) as second:
            assert second.network("befl").contract("befl").evaluate("F") == b"F"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
def test_signatures_on_both_curves(profile_path, write_user, authority, curve):
    user = write_user("other", identity=authority.issue("other", curve=curve))
    with connect(Profile.load(profile_path), user) as gateway:
        contract = gateway.network("befl").contract("befl")
        for _ in range(8):  # half of all raw signatures have a high S
            contract.submit("F")


def test_a_client_of_another_ca_is_told_at_once(profile_path, write_user, another_authority):
    user = write_user("stranger", tls=another_authority.issue("stranger"))
    with (
        connect(Profile.load(profile_path), user, Deadlines(evaluate=1)) as gateway,
        pytest.raises(EvaluateError, match="BEFL-G-002"),
    ):
        gateway.network("befl").contract("befl").evaluate("F")


def test_a_server_of_another_ca_is_not_trusted(profile_path, write_user, another_authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(another_authority.pem)
    start = time.monotonic()
    with (
        connect(Profile.load(profile_path), write_user(), Deadlines(evaluate=30)) as gateway,
        pytest.raises(EvaluateError, match="BEFL-G-002"),
    ):
        gateway.network("befl").contract("befl").evaluate("F")
    assert time.monotonic() - start < 10  # waiting does not mend it


def test_the_error_tree():
    for kind in (EvaluateError, EndorseError, SubmitError, CommitStatusError, CommitError):
        assert issubclass(kind, GatewayError)
    assert issubclass(GatewayError, BeflError)
