"""Steps as bytes: taken up again unchanged, refused when they are something else; what is imported when."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import proposal_pb2

import befl.gateway
from befl.gateway import Gateway, Identity
from befl.rules.errors import BeflError


@pytest.fixture
def gateway():
    with grpc.insecure_channel("127.0.0.1:1") as channel, Gateway(channel, Identity.without_key("M", b"PEM")) as found:
        yield found


def test_a_proposal_survives_as_bytes_and_its_signature_does_not_change_the_digest(gateway):
    proposal = gateway.network("befl").contract("c").new_proposal("F", "a", endorsing_organizations=["A", "B"])
    again = gateway.proposal(proposal.to_bytes())
    assert (again.txid, again.channel, again.digest) == (proposal.txid, "befl", proposal.digest)
    signed = again.signed(b"signature")
    assert signed.digest == proposal.digest
    assert again.to_bytes() == proposal.to_bytes() != signed.to_bytes()


@pytest.mark.parametrize("take_up", ["proposal", "transaction", "commit"])
def test_other_bytes_are_refused(gateway, take_up):
    with pytest.raises(BeflError, match="BEFL-G-034"):
        getattr(gateway, take_up)(b"\xff\xff")


@pytest.mark.parametrize(
    ("take_up", "message"),
    [
        ("proposal", gateway_pb2.ProposedTransaction(proposal=proposal_pb2.SignedProposal(proposal_bytes=b"\xff"))),
        ("transaction", gateway_pb2.PreparedTransaction()),
        ("transaction", gateway_pb2.PreparedTransaction(envelope=common_pb2.Envelope(payload=b"\xff"))),
        ("commit", gateway_pb2.SignedCommitStatusRequest(request=b"\xff")),
    ],
)
def test_what_is_wrapped_in_it_is_read_at_once(gateway, take_up, message):
    with pytest.raises(BeflError, match="BEFL-G-034"):
        getattr(gateway, take_up)(message.SerializeToString())


def test_without_a_key_nothing_is_signed(gateway):
    with pytest.raises(BeflError, match="BEFL-G-033"):
        gateway.network("befl").contract("c").propose("F")


def test_who_only_waits_loads_no_grpc():
    program = "import sys, befl.gateway.wait; print({'grpc', 'cryptography', 'fabric_protos'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "set()"


def test_every_public_name_is_there():
    assert all(getattr(befl.gateway, name) is not None for name in befl.gateway.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = befl.gateway.Nothing
