"""A gateway service that follows a script, over real gRPC and mutual TLS."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf import any_pb2

from befl.gateway import Deadlines, Gateway, Profile, connect
from befl.gateway.errors import _RpcStatus

Detail = tuple[str, str]
"""MSP id and words."""


class Failure:
    """One answer that is an error."""

    def __init__(self, status: str, text: str = "", *details: Detail) -> None:
        self.status, self.text, self.details = grpc.StatusCode[status], text, details


class Slow:
    """One answer that comes too late."""


def verified(creator: bytes, data: bytes, signature: bytes) -> str:
    """Check a signature as Fabric's MSP does, low S included; return the MSP id."""
    identity = identities_pb2.SerializedIdentity.FromString(creator)
    key = x509.load_pem_x509_certificate(identity.id_bytes).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    order = {
        "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    }[key.curve.name]
    assert decode_dss_signature(signature)[1] <= order // 2
    return str(identity.mspid)


class FakeGateway(gateway_pb2_grpc.GatewayServicer):
    """Answers well, unless the script says otherwise; checks every signature that it gets."""

    def __init__(self) -> None:
        self.script: dict[str, deque[Any]] = defaultdict(deque)
        self.calls: list[tuple[str, str]] = []
        self.proposals: list[Any] = []
        self.envelopes: list[bytes] = []
        self.organizations: list[list[str]] = []
        self.transients: list[dict[str, bytes]] = []
        self.statuses: dict[str, tuple[int, int]] = {}
        self.blocks: dict[int, list[tuple[str, str]]] = {}
        self.height = 5
        self.seeks: list[int] = []
        self.grown = threading.Condition()
        self.released = threading.Event()
        self.streams_end_after: deque[int] = deque()

    def _scripted(self, step: str, txid: str, context: Any) -> None:
        self.calls.append((step, txid))
        if not self.script[step]:
            return
        failure = self.script[step].popleft()
        if isinstance(failure, Slow):
            self.released.wait(5)
        elif isinstance(failure, Failure):
            self._fail(context, failure)

    def _fail(self, context: Any, failure: Failure) -> None:
        if failure.details:
            status = _RpcStatus(code=failure.status.value[0], message=failure.text)
            for msp_id, words in failure.details:
                packed = any_pb2.Any()
                packed.Pack(gateway_pb2.ErrorDetail(address="peer:7051", msp_id=msp_id, message=words))
                status.details.append(packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(failure.status, failure.text)

    def _open(self, request: Any) -> tuple[list[bytes], bytes]:
        signed = request.proposed_transaction
        proposal = proposal_pb2.Proposal.FromString(signed.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        channel_header = common_pb2.ChannelHeader.FromString(header.channel_header)
        signature_header = common_pb2.SignatureHeader.FromString(header.signature_header)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(signature_header.nonce + signature_header.creator)
        assert len(signature_header.nonce) == 24
        assert channel_header.tx_id == request.transaction_id == digest.finalize().hex()
        assert channel_header.channel_id == request.channel_id == "befl"
        assert channel_header.type == common_pb2.HeaderType.ENDORSER_TRANSACTION
        verified(signature_header.creator, signed.proposal_bytes, signed.signature)
        payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(payload.input).chaincode_spec
        extension = proposal_pb2.ChaincodeHeaderExtension.FromString(channel_header.extension)
        assert extension.chaincode_id == spec.chaincode_id
        self.proposals.append(channel_header)
        self.transients.append(dict(payload.TransientMap))
        return list(spec.input.args), spec.chaincode_id.name.encode()

    def Evaluate(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        arguments, chaincode = self._open(request)
        self.organizations.append(list(request.target_organizations))
        self._scripted("Evaluate", request.transaction_id, context)
        if chaincode == b"qscc":
            info = ledger_pb2.BlockchainInfo(height=self.height).SerializeToString()
            return gateway_pb2.EvaluateResponse(result=proposal_response_pb2.Response(status=200, payload=info))
        response = proposal_response_pb2.Response(status=200, payload=b"|".join(arguments))
        return gateway_pb2.EvaluateResponse(result=response)

    def Endorse(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        arguments, _ = self._open(request)
        self.organizations.append(list(request.endorsing_organizations))
        self._scripted("Endorse", request.transaction_id, context)
        action = proposal_pb2.ChaincodeAction(
            response=proposal_response_pb2.Response(status=200, payload=b"|".join(arguments))
        )
        endorsed = transaction_pb2.ChaincodeActionPayload(
            action=transaction_pb2.ChaincodeEndorsedAction(
                proposal_response_payload=proposal_response_pb2.ProposalResponsePayload(
                    extension=action.SerializeToString()
                ).SerializeToString()
            )
        )
        transaction = transaction_pb2.Transaction(
            actions=[transaction_pb2.TransactionAction(payload=endorsed.SerializeToString())]
        )
        proposal = proposal_pb2.Proposal.FromString(request.proposed_transaction.proposal_bytes)
        payload = common_pb2.Payload(
            header=common_pb2.Header.FromString(proposal.header), data=transaction.SerializeToString()
        )
        envelope = common_pb2.Envelope(payload=payload.SerializeToString())
        return gateway_pb2.EndorseResponse(prepared_transaction=envelope)

    def Submit(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        envelope = request.prepared_transaction
        payload = common_pb2.Payload.FromString(envelope.payload)
        creator = common_pb2.SignatureHeader.FromString(payload.header.signature_header).creator
        verified(creator, envelope.payload, envelope.signature)
        self.envelopes.append(envelope.SerializeToString())
        self._scripted("Submit", request.transaction_id, context)
        return gateway_pb2.SubmitResponse()

    def CommitStatus(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        inner = gateway_pb2.CommitStatusRequest.FromString(request.request)
        verified(inner.identity, request.request, request.signature)
        self._scripted("CommitStatus", inner.transaction_id, context)
        code, block = self.statuses.get(inner.transaction_id, self.statuses.get("", (0, 7)))
        return gateway_pb2.CommitStatusResponse(result=code, block_number=block)

    def ChaincodeEvents(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802  # gRPC's name
        inner = gateway_pb2.ChaincodeEventsRequest.FromString(request.request)
        verified(inner.identity, request.request, request.signature)
        number = inner.start_position.specified.number
        self.seeks.append(number)
        self._scripted("ChaincodeEvents", "", context)
        left = self.streams_end_after.popleft() if self.streams_end_after else 10**6
        context.add_callback(self._wake)
        while context.is_active():
            if left == 0:
                self._fail(context, Failure("UNAVAILABLE", "the peer goes away"))
            with self.grown:
                while number not in self.blocks and context.is_active():
                    self.grown.wait(5)
            events = [
                chaincode_event_pb2.ChaincodeEvent(chaincode_id="befl", tx_id=txid, event_name=name, payload=b"p")
                for txid, name in self.blocks.get(number, ())
            ]
            if events:
                yield gateway_pb2.ChaincodeEventsResponse(events=events, block_number=number)
                left -= 1
            number += 1

    def _wake(self) -> None:
        with self.grown:
            self.grown.notify_all()

    def append(self, number: int, *events: str) -> None:
        """Commit a block; an event is named after its transaction."""
        with self.grown:
            self.blocks[number] = [(name, name) for name in events]
            self.grown.notify_all()

    def steps(self) -> list[str]:
        return [step for step, _ in self.calls]


class Service:
    """The fake gateway behind a port that can be closed and opened again."""

    def __init__(self, authority: Any) -> None:
        self.gateway = FakeGateway()
        self._authority = authority
        self._pair = authority.issue("peer")
        self._server: Any = None
        self.port = 0
        self.start()

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(48)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        gateway_pb2_grpc.add_GatewayServicer_to_server(self.gateway, self._server)
        credentials = grpc.ssl_server_credentials(
            [(self._pair.key, self._pair.certificate)], self._authority.pem, require_client_auth=True
        )
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        self._server.start()

    def stop(self) -> None:
        self.gateway.released.set()
        self._server.stop(None).wait()
        self._pool.shutdown()


@pytest.fixture
def service(authority: Any) -> Iterator[Service]:
    service = Service(authority)
    yield service
    service.stop()


@pytest.fixture
def fake(service: Service) -> FakeGateway:
    return service.gateway


@pytest.fixture
def profile_path(service: Service, tmp_path: Path, authority: Any) -> Path:
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    profile = {
        "client": {"organization": "alpha"},
        "organizations": {"alpha": {"mspid": "AlphaMSP", "peers": ["peer0"]}, "beta": {"mspid": "BetaMSP"}},
        "peers": {
            "peer0": {
                "url": f"grpcs://127.0.0.1:{service.port}",
                "tlsCACerts": {"path": "ca.pem"},
                "grpcOptions": {"ssl-target-name-override": "localhost"},
            }
        },
    }
    path = tmp_path / "connection.json"
    path.write_text(json.dumps(profile))
    return path


@pytest.fixture
def gateway(profile_path: Path, write_user: Callable[..., Path]) -> Iterator[Gateway]:
    deadlines = Deadlines(evaluate=3, endorse=3, submit=3, commit_status=3)
    with connect(Profile.load(profile_path), write_user(), deadlines) as gateway:
        yield gateway
