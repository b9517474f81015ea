"""The audit judges every transaction of a real network as its peers did: valid ones, and each kind of invalid one.

The gateway passes on whatever its client has signed, so transactions can be made here that no honest client sends; what
the peer says of them is the measure.
"""

from __future__ import annotations

import json

import pytest
from fabric_protos.common import common_pb2, policies_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, transaction_pb2

from befl.audit import source
from befl.audit.block import Code
from befl.audit.chain import verify
from befl.audit.report import Report
from befl.gateway import Profile, SubmitError, connect

from .conformance import NAME
from .hospitals import befl

MANY = 60  # more than the peer lists one by one: such a range stands in the block as a tree of hashes


def script(*steps) -> str:
    return json.dumps(steps)


def policy_of(*msp_ids: str) -> str:
    """``AND('A.peer', ...)`` as the chaincode of the test takes it."""
    policy = policies_pb2.SignaturePolicyEnvelope()
    policy.rule.n_out_of.n = len(msp_ids)
    for number, msp_id in enumerate(msp_ids):
        role = msp_principal_pb2.MSPRole(msp_identifier=msp_id, role=msp_principal_pb2.MSPRole.PEER)
        policy.identities.add(principal=role.SerializeToString())
        policy.rule.n_out_of.rules.add(signed_by=number)
    return policy.SerializeToString().decode("latin-1")


class Payload:
    """An endorsed transaction taken apart, to be put together otherwise."""

    def __init__(self, envelope) -> None:
        self.payload = common_pb2.Payload.FromString(envelope.payload)
        self.transaction = transaction_pb2.Transaction.FromString(self.payload.data)
        self.action = transaction_pb2.ChaincodeActionPayload.FromString(self.transaction.actions[0].payload)
        self.response = proposal_response_pb2.ProposalResponsePayload.FromString(
            self.action.action.proposal_response_payload
        )
        self.result = proposal_pb2.ChaincodeAction.FromString(self.response.extension)

    def put_together(self) -> bytes:
        self.payload.data = self.transaction.SerializeToString()
        return self.payload.SerializeToString()

    def answer(self) -> bytes:
        """With another answer than was endorsed."""
        self.response.extension = self.result.SerializeToString()
        self.action.action.proposal_response_payload = self.response.SerializeToString()
        self.transaction.actions[0].payload = self.action.SerializeToString()
        return self.put_together()


def other_nonce(payload: Payload) -> bytes:
    header = common_pb2.SignatureHeader.FromString(payload.payload.header.signature_header)
    header.nonce = bytes(24)
    payload.payload.header.signature_header = header.SerializeToString()
    return payload.put_together()


def other_result(payload: Payload) -> bytes:
    payload.result.response.payload = b"something else"
    return payload.answer()


def other_proposal(payload: Payload) -> bytes:
    payload.action.chaincode_proposal_payload += b"\x12\x00"
    payload.transaction.actions[0].payload = payload.action.SerializeToString()
    return payload.put_together()


def two_actions(payload: Payload) -> bytes:
    payload.transaction.actions.add().CopyFrom(payload.transaction.actions[0])
    return payload.put_together()


def unreadable(payload: Payload) -> bytes:
    payload.payload.data = b"\xff"
    return payload.payload.SerializeToString()


def no_chaincode(payload: Payload) -> bytes:
    payload.result.ClearField("chaincode_id")
    return payload.answer()


def other_chaincode(payload: Payload) -> bytes:
    payload.result.chaincode_id.name = "befl"
    return payload.answer()


def no_version(payload: Payload) -> bytes:
    payload.result.chaincode_id.version = ""
    return payload.answer()


def unreadable_writes(payload: Payload) -> bytes:
    payload.result.results = b"\xff"
    return payload.answer()


def unreadable_event(payload: Payload) -> bytes:
    payload.result.events = b"\xff"
    return payload.answer()


def same_endorser_twice(payload: Payload) -> bytes:
    del payload.action.action.endorsements[1:]
    payload.action.action.endorsements.add().CopyFrom(payload.action.action.endorsements[0])
    payload.transaction.actions[0].payload = payload.action.SerializeToString()
    return payload.put_together()


def an_endorser_less(payload: Payload) -> bytes:
    del payload.action.action.endorsements[1:]
    payload.transaction.actions[0].payload = payload.action.SerializeToString()
    return payload.put_together()


FORGED = {
    other_nonce: Code.BAD_PROPOSAL_TXID,
    other_result: Code.ENDORSEMENT_POLICY_FAILURE,
    other_proposal: Code.INVALID_ENDORSER_TRANSACTION,
    two_actions: Code.INVALID_ENDORSER_TRANSACTION,
    unreadable: Code.INVALID_ENDORSER_TRANSACTION,
    no_chaincode: Code.INVALID_OTHER_REASON,
    other_chaincode: Code.INVALID_CHAINCODE,
    no_version: Code.INVALID_CHAINCODE,
    unreadable_writes: Code.BAD_RWSET,
    unreadable_event: Code.INVALID_OTHER_REASON,
    same_endorser_twice: Code.ENDORSEMENT_POLICY_FAILURE,
    an_endorser_less: Code.ENDORSEMENT_POLICY_FAILURE,
}


def order(transaction, payload: bytes) -> None:
    """Sign and submit bytes as they are."""
    gateway = transaction._network.gateway
    envelope = common_pb2.Envelope(payload=payload, signature=gateway.identity.sign(payload))
    request = gateway_pb2.SubmitRequest(
        transaction_id=transaction.txid, channel_id="befl", prepared_transaction=envelope
    )
    gateway.call(SubmitError, "Submit", request, transaction.txid, 30)


@pytest.fixture(scope="module")
def judged(conformance, consortium):
    """Make transactions of every kind, then judge the whole ledger."""

    def endorse(*steps, by=0, organisations=(), **transient):
        return conformance.contract(by).endorse(
            "Run", script(*steps), transient=transient or None, endorsing_organizations=organisations
        )

    def submit(*steps, **more):
        return endorse(*steps, **more).submit().status().validation_code

    expected: dict[str, int] = {}
    first, second, third = conformance.msp_ids
    assert submit(["put", "audit", "1"], ["put", "audit-gone", "1"], ["fill", "audit", ["row"], MANY]) == "VALID"

    # who is revoked now was not when it wrote
    acting = ("--network", consortium.directory, "--as", "org1")
    befl("identity", "enroll", "audited", "--role", "trainer", *acting)
    with connect(Profile.load(consortium.profile("org1")), consortium.user("org1", "audited")) as gateway:
        gateway.network("befl").contract(NAME).submit("Run", script(["put", "audit-revoked", "v"]))
    befl("identity", "revoke", "audited", *acting)

    # what was read is written in between: in another block, and (all at once) mostly in the same
    both = [endorse(["get", "audit"], ["put", "audit", str(number)]) for number in range(2)]
    both += [endorse(["get", "audit"], ["put", f"audit{number}", "v"]) for number in range(3)]
    commits = [each.submit() for each in both]
    found = [each.status().validation_code for each in commits]  # a transaction may overtake another on its way
    assert sorted(found[:2]) == ["MVCC_READ_CONFLICT", "VALID"]
    assert set(found) == {"MVCC_READ_CONFLICT", "VALID"}

    # ranges, short and long, unchanged and changed: another key, another version, one key less
    ranged = [["range", "audit", ["row"]], ["put", "audit-range", "v"]]
    short = [["plain_range", "audit-", "audit-z"], ["put", "audits", "v"]]
    assert submit(*ranged) == submit(*short) == "VALID"
    for change in (["put", "audit-new", "1"], ["put", "audit-gone", "2"], ["delete", "audit-gone"]):
        held = endorse(*short)
        assert submit(change) == "VALID"
        assert held.submit().status().validation_code == "PHANTOM_READ_CONFLICT"
    held = endorse(*ranged)
    assert submit(["fill", "audit", ["row"], 1]) == "VALID"
    assert held.submit().status().validation_code == "PHANTOM_READ_CONFLICT"

    # private data, by hash; purged at last
    assert submit(["put_private", "updates", "audit", "v"], ["put_private", "updates", "kept", "v"], v=b"1") == "VALID"
    held = endorse(["get_private", "updates", "audit"], ["put", "audit-private", "v"])
    assert submit(["put_private", "updates", "audit", "v"], v=b"2") == "VALID"
    assert held.submit().status().validation_code == "MVCC_READ_CONFLICT"
    assert submit(["purge", "updates", "audit"]) == "VALID"

    # keys with a policy of their own, in public and private
    own, everybody = policy_of(first), policy_of(first, second, third)
    assert submit(["set_policy", "audit", own], ["set_policy", "absent", own]) == "VALID"
    assert submit(["put", "audit", "own"], organisations=[first]) == "VALID"
    assert submit(["put", "audit", "own"], organisations=[second, third]) == "ENDORSEMENT_POLICY_FAILURE"
    assert submit(["put", "audit", "own"], ["put", "audit-other", "v"], organisations=[first]) != "VALID"
    assert submit(["delete", "audit"], organisations=[first]) == "VALID"
    assert submit(["put", "audit", "own"], organisations=[first]) == "ENDORSEMENT_POLICY_FAILURE"
    assert submit(["set_private_policy", "updates", "kept", everybody]) == "VALID"
    held = endorse(["put_private", "updates", "kept", "v"], organisations=[first, second, third], v=b"3")
    assert submit(["put_private", "updates", "kept", "v"], organisations=[first, second], v=b"3") != "VALID"
    assert held.submit().status().validation_code == "VALID"

    # twice the same, and what no client sends
    twice = endorse(["put", "audit-twice", "v"])
    assert twice.submit().status().validation_code == "VALID"
    order(twice, twice._envelope.payload)
    for forge, code in FORGED.items():
        transaction = endorse(["put", forge.__name__, "v"], ["event", "forged", "v"])
        order(transaction, forge(Payload(transaction._envelope)))
        expected[transaction.txid] = code
    assert submit(["put", "audit-end", "v"]) == "VALID"

    report = Report()
    verified = list(verify(source.from_peer(conformance.network()), report))
    return report, verified, expected


def test_the_untouched_ledger_passes(judged):
    report, verified, _ = judged
    assert report.findings == []
    assert report.verdict == "PASS"
    assert report.impossible == []
    assert report.genesis == verified[0].block.hash


def test_every_check_has_looked_at_something(judged):
    report, _, _ = judged
    chain = ("sequence", "configuration", "orderer", "endorsements", "reads", "ranges", "private_data", "commit_hash")
    assert [check for check in chain if not report.looked[check]] == []


def test_each_forged_transaction_is_what_the_peer_said(judged):
    _, verified, expected = judged
    found = {
        transaction.txid: (transaction.flag, code)
        for each in verified
        for transaction, code in zip(each.block.transactions, each.flags, strict=True)
    }
    assert {txid: found[txid] for txid in expected} == {txid: (code, code) for txid, code in expected.items()}


def test_the_peers_marked_every_kind(judged):
    _, verified, _ = judged
    kinds = {Code.Name(code) for each in verified for code in each.flags}
    assert kinds >= {
        "VALID",
        "MVCC_READ_CONFLICT",
        "PHANTOM_READ_CONFLICT",
        "DUPLICATE_TXID",
        "ENDORSEMENT_POLICY_FAILURE",
        "BAD_PROPOSAL_TXID",
        "INVALID_ENDORSER_TRANSACTION",
        "INVALID_CHAINCODE",
        "BAD_RWSET",
        "INVALID_OTHER_REASON",
    }
