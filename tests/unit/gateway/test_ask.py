"""Questions to one peer, over real gRPC and TLS: another institution's peer may answer whatever it likes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.peer import peer_pb2_grpc, proposal_response_pb2

from befl.audit.peers import compare
from befl.audit.report import Report
from befl.gateway import PeerAddress
from befl.gateway.ask import AnsweredError, PeerQuestions


class Endorser(peer_pb2_grpc.EndorserServicer):
    """A peer that answers every question with the same bytes."""

    payload = b""

    def ProcessProposal(self, request, context):  # noqa: N802  # gRPC's name
        response = proposal_response_pb2.Response(status=200, payload=self.payload)
        return proposal_response_pb2.ProposalResponse(response=response)


@pytest.fixture
def endorser():
    return Endorser()


@pytest.fixture
def open_questions(endorser, authority, write_user):
    pair = authority.issue("peer")
    server = grpc.server(ThreadPoolExecutor(2))
    peer_pb2_grpc.add_EndorserServicer_to_server(endorser, server)
    credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)], authority.pem, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    user = write_user()
    yield lambda: PeerQuestions(PeerAddress("EvilMSP", f"127.0.0.1:{port}", authority.pem), user, "Org1MSP", "befl")
    server.stop(None).wait()


QUESTIONS = {
    "chain": lambda peer: peer.chain(),
    "block_hash": lambda peer: peer.block_hash(3),
    "definition": lambda peer: peer.definition("befl"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_that_is_none_is_a_refusal(endorser, open_questions, question):
    """Whoever asks all peers takes a refusal as one peer's matter; anything else would end it without a verdict."""
    endorser.payload = b"\xff\xff\xff not protobuf"
    with open_questions() as peer, pytest.raises(AnsweredError, match="what the peer answers is no "):
        QUESTIONS[question](peer)


def test_a_peer_without_a_block_has_no_newest_one(endorser, open_questions):
    endorser.payload = ledger_pb2.BlockchainInfo(height=0, currentBlockHash=b"h").SerializeToString()
    with open_questions() as peer, pytest.raises(AnsweredError, match="it has no block"):
        peer.chain()


def test_what_a_peer_says_is_read(endorser, open_questions):
    endorser.payload = ledger_pb2.BlockchainInfo(height=7, currentBlockHash=b"h").SerializeToString()
    with open_questions() as peer:
        assert peer.chain() == (7, b"h")
        endorser.payload = common_pb2.Block(header=common_pb2.BlockHeader(previous_hash=b"p")).SerializeToString()
        assert peer.block_hash(3) == b"p"


@pytest.mark.parametrize("payload", [b"\xff", b""])
def test_an_audit_goes_on_to_its_verdict(endorser, open_questions, payload):
    """Junk, or a ledger without blocks, whose newest hash would be any."""
    endorser.payload = payload

    class Own:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def members(self):
            return {"EvilMSP": PeerAddress("EvilMSP", "", b"")}

    report = Report()
    compare([b"h"], lambda address: open_questions() if address else Own(), report)
    assert report.findings == []
    assert [what for what, _ in report.impossible] == ["the blocks at EvilMSP's peer"]
