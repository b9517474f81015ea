"""Keys with an endorsement policy of their own, and other chaincode called: what only a real peer can show."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from befl.gateway import CommitError, Gateway, Identity, Profile, connect, open_channel
from befl.network import commands, fabric, files
from befl.network.layout import Layout
from befl.network.topology import parse

from .conformance import CALLED, NAME
from .test_shim_conformance import one_of


def test_a_keys_own_policy_holds_from_the_next_transaction_on(conformance):
    first, second = conformance.msp_ids[:2]
    policy = one_of(first)
    conformance.submit(["put", "owned", "1"], ["set_policy", "owned", policy])
    contract = conformance.contract()
    write = json.dumps([["put", "owned", "2"]])
    with pytest.raises(CommitError, match="ENDORSEMENT_POLICY_FAILURE"):
        contract.submit("Run", write, endorsing_organizations=[second])
    assert contract.submit("Run", write, endorsing_organizations=[first]).result
    assert conformance.evaluate(["get", "owned"], ["policy", "owned"]) == ["2", policy]


def test_a_private_keys_own_policy_holds(conformance):
    first, second = conformance.msp_ids[:2]
    write = [["put_private", "models", "owned", "v"]]
    more = {"transient": {"v": b"v"}}
    conformance.submit(*write, ["set_private_policy", "models", "owned", one_of(first)], **more)
    contract = conformance.contract()
    with pytest.raises(CommitError, match="ENDORSEMENT_POLICY_FAILURE"):
        contract.submit("Run", json.dumps(write), endorsing_organizations=[second], **more)
    contract.submit("Run", json.dumps(write), endorsing_organizations=[first], **more)


def test_befls_own_chaincode_answers_another_one(consortium, conformance):
    """What befl's records say, read through the conformance chaincode, is what befl's chaincode answers itself."""
    with connect(Profile.load(consortium.profile("org1")), consortium.user("org1")) as gateway:
        befl = gateway.network("befl").contract("befl")
        for question in (
            ("MemberContract:Get", "Org2MSP"),
            ("MemberContract:List", "10", ""),
            ("ParameterContract:Get",),
        ):
            answer = befl.evaluate(*question).decode()
            assert conformance.evaluate(["call", "befl", *question]) == [[200, "", answer]]
    [[_, _, members]] = conformance.evaluate(["call", "befl", "MemberContract:List", "10", ""])
    assert {one["msp_id"] for one in json.loads(members)["records"]} == set(conformance.msp_ids)


def test_what_was_read_through_another_chaincode_is_checked_at_commit(conformance):
    """Its state is read as the caller's own is: somebody who writes it first makes the transaction invalid."""
    write = ["call", CALLED, "Run", json.dumps([["put", "first", "1"]])]
    read = ["call", CALLED, "Run", json.dumps([["get", "first"]])]
    late = conformance.contract().endorse("Run", json.dumps([read, ["put", "seen", "v"]]))
    conformance.submit(write)
    assert late.submit().status().validation_code == "MVCC_READ_CONFLICT"
    assert conformance.evaluate(["get", "seen"], read) == ["", [200, "", '["1"]']]


def test_another_chaincode_refuses(conformance):
    [[status, message, _]] = conformance.evaluate(["call", "befl", "TaskContract:Get", "no such task"])
    assert status == 500
    assert message.startswith("BEFL-T-")
    [[status, message, _]] = conformance.evaluate(["call", "befl", "Nothing:Here"])
    assert (status, message[:11]) == (500, "BEFL-T-008:")


def test_an_identity_on_p_384_from_the_ca_to_the_ledger(consortium, conformance, tmp_path):
    """The enrolment asks Fabric CA for a key of 384 bits; peers and orderers verify its signatures."""
    layout = Layout(consortium.directory)
    institution = parse(layout.topology.read_bytes(), "").institution("org1")
    home = layout.home("org1")
    secret = json.loads((home.ca / "secrets.json").read_text())["agent"]
    commands.run(
        [
            fabric.locate().command("fabric-ca-client"),
            "enroll",
            f"--caname={files.ca_name(institution, 'ca')}",
            f"--mspdir={tmp_path / 'msp'}",
            "--csr.keyrequest.algo=ecdsa",
            "--csr.keyrequest.size=384",
            "--loglevel=error",
        ],
        env={
            "FABRIC_CA_CLIENT_HOME": str(tmp_path),
            "FABRIC_CA_CLIENT_URL": f"https://agent:{secret}@{institution.address('ca')}",
            "FABRIC_CA_CLIENT_TLS_CERTFILES": str(home.ca_certificate),
        },
        what="enrolling on P-384",
    )
    identity = Identity.load(tmp_path / "msp", conformance.msp_ids[0])

    key = x509.load_pem_x509_certificate(identity.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"
    peer = Profile.load(consortium.profile("org1")).peers[0]
    with open_channel(peer, consortium.user("org1") / "tls") as channel, Gateway(channel, identity) as gateway:
        contract = gateway.network("befl").contract(NAME)
        for number in range(20):  # a signature with high S would be refused one time in two
            contract.evaluate("Run", json.dumps([["txid"], ["who"]]))
            if not number % 5:
                assert contract.submit("Run", json.dumps([["put", f"p384-{number}", "v"]])).block
