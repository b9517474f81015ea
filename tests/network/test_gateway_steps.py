"""A transaction step by step on a real network, signed by a key that the gateway never sees; keys on P-384."""

from __future__ import annotations

import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from befl.gateway import EvaluateError, Gateway, Identity
from befl.gateway.proposal import unsigned
from befl.rules.errors import BeflError

from .conformance import NAME

P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def offline_signer(folder):
    """Signs digests only, as a hardware module does."""
    [path] = (folder / "msp" / "keystore").iterdir()
    key = serialization.load_pem_private_key(path.read_bytes(), None)

    def sign(digest: bytes) -> bytes:
        r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))
        return utils.encode_dss_signature(r, min(s, P256 - s))

    return sign


@pytest.fixture
def keyless(conformance):
    known = conformance.gateways[0]
    identity = Identity.without_key(known.identity.msp_id, known.identity.certificate)
    with Gateway(known._channel, identity) as gateway:
        yield gateway


def test_a_transaction_signed_elsewhere(conformance, consortium, keyless):
    sign = offline_signer(consortium.user("org1"))
    contract = keyless.network("befl").contract(NAME)
    proposal = contract.new_proposal(
        "Run", json.dumps([["put", "offline", "v"], ["who"]]), endorsing_organizations=conformance.msp_ids[:2]
    )
    with pytest.raises(BeflError, match="BEFL-G-033"):
        proposal.endorse()
    signed = keyless.proposal(proposal.to_bytes()).signed(sign(proposal.digest))
    # with its signature the bytes are enough for any gateway
    transaction = conformance.gateways[1].proposal(signed.to_bytes()).endorse(timeout=30)
    assert transaction.txid == proposal.txid
    assert json.loads(transaction.result)[1][0] == conformance.msp_ids[0]
    transaction = keyless.transaction(transaction.to_bytes())
    transaction = transaction.signed(sign(transaction.digest))
    commit = transaction.submit(timeout=30)
    commit = keyless.commit(commit.to_bytes())
    status = commit.signed(sign(commit.digest)).status(timeout=30)
    assert (status.txid, status.valid) == (proposal.txid, True)
    assert conformance.evaluate(["get", "offline"]) == ["v"]


def test_a_question_signed_elsewhere(consortium, keyless):
    sign = offline_signer(consortium.user("org1"))
    question = keyless.network("befl").contract(NAME).new_proposal("Run", '[["where"]]')
    assert json.loads(question.signed(sign(question.digest)).evaluate()) == [["befl", "Run"]]


def test_a_signature_of_another_key_is_refused(consortium, keyless):
    sign = offline_signer(consortium.user("org2"))
    question = keyless.network("befl").contract(NAME).new_proposal("Run", '[["where"]]')
    with pytest.raises(EvaluateError, match="BEFL-G-030"):
        question.signed(sign(question.digest)).evaluate(timeout=5)


def test_a_chaincode_that_nobody_defined_is_not_waited_for(conformance):
    contract = conformance.network().contract("nothing")
    start = time.monotonic()
    for act in (contract.evaluate, contract.submit):
        with pytest.raises(BeflError, match="BEFL-G-031"):
            act("F")
    assert time.monotonic() - start < 10


def test_the_steps_sign_for_themselves_where_the_key_is(conformance):
    proposal = conformance.contract().new_proposal("Run", json.dumps([["put", "steps", "v"]]))
    assert proposal.endorse().submit().status().valid


def test_proposals_never_share_a_nonce(conformance):
    identity = conformance.gateways[0].identity
    assert len({unsigned(identity, "befl", NAME, ["F"])[0] for _ in range(100)}) == 100
