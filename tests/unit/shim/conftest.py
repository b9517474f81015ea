"""A peer that follows a script: the other side of the stream, over real gRPC and mutual TLS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import grpc
import pytest
from fabric_protos.common import common_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, chaincode_shim_pb2_grpc, proposal_pb2
from fabric_protos.peer.proposal_response_pb2 import Response

from befl.contracts.stub import Stub
from befl.shim.config import ServerConfig
from befl.shim.server import ChaincodeServer

Message = chaincode_shim_pb2.ChaincodeMessage
WAIT = 10.0


class Functions:
    """A chaincode whose functions are the test's."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[Stub], bytes]] = {}

    def invoke(self, stub: Stub) -> bytes:
        return self.functions[stub.get_function_and_parameters()[0]](stub)


class ScriptedPeer:
    def __init__(self, port: int, authority: Any, pair: Any) -> None:
        credentials = grpc.ssl_channel_credentials(authority.pem, pair.key, pair.certificate)
        options = [("grpc.max_receive_message_length", 100 << 20), ("grpc.max_send_message_length", 100 << 20)]
        self.channel = grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._received: SimpleQueue[Any] = SimpleQueue()
        self.stream = chaincode_shim_pb2_grpc.ChaincodeStub(self.channel).Connect(iter(self._requests.get, None))
        self._reader = ThreadPoolExecutor(1)
        self.ended = self._reader.submit(self._read)

    def _read(self) -> str:
        try:
            for message in self.stream:
                self._received.put(message)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def send(self, kind: int, payload: bytes = b"", txid: str = "", channel: str = "befl", **more: Any) -> None:
        self._requests.put(Message(type=kind, payload=payload, txid=txid, channel_id=channel, **more))

    def expect(self, kind: int) -> Any:
        message = self._received.get(timeout=WAIT)
        assert Message.Type.Name(message.type) == Message.Type.Name(kind), message
        return message

    def quiet(self, seconds: float = 0.2) -> bool:
        try:
            self._received.get(timeout=seconds)
        except Empty:
            return True
        return False

    def register(self) -> str:
        name = chaincode_pb2.ChaincodeID.FromString(self.expect(Message.REGISTER).payload).name
        self.send(Message.REGISTERED, channel="")
        self.send(Message.READY, channel="")
        return name

    def transaction(
        self,
        *arguments: str | bytes,
        txid: str = "t1",
        channel: str = "befl",
        transient: dict[str, bytes] | None = None,
        at: float | None = None,
        kind: int = Message.TRANSACTION,
    ) -> None:
        header = common_pb2.ChannelHeader(channel_id=channel, tx_id=txid)
        header.timestamp.FromMilliseconds(int((time.time() if at is None else at) * 1000))
        creator = identities_pb2.SerializedIdentity(mspid="AlphaMSP", id_bytes=b"PEM")
        signature = common_pb2.SignatureHeader(creator=creator.SerializeToString(), nonce=b"n")
        proposal = proposal_pb2.Proposal(
            header=common_pb2.Header(
                channel_header=header.SerializeToString(), signature_header=signature.SerializeToString()
            ).SerializeToString(),
            payload=proposal_pb2.ChaincodeProposalPayload(TransientMap=transient or {}).SerializeToString(),
        )
        given = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
        payload = chaincode_pb2.ChaincodeInput(args=given).SerializeToString()
        signed = proposal_pb2.SignedProposal(proposal_bytes=proposal.SerializeToString())
        self.send(kind, payload, txid, channel, proposal=signed)

    def answer(self, payload: bytes = b"", txid: str = "t1", channel: str = "befl") -> None:
        self.send(Message.RESPONSE, payload, txid, channel)

    def error(self, text: str, txid: str = "t1") -> None:
        self.send(Message.ERROR, text.encode(), txid)

    def completed(self) -> tuple[Any, Any]:
        message = self.expect(Message.COMPLETED)
        return message, Response.FromString(message.payload)

    def close(self) -> None:
        self._requests.put(None)
        self.stream.cancel()
        self.channel.close()
        self._reader.shutdown()


@pytest.fixture
def chaincode() -> Functions:
    return Functions()


@pytest.fixture
def config(tmp_path: Path, authority: Any) -> ServerConfig:
    pair = authority.issue("chaincode")
    for name, data in {"cert.pem": pair.certificate, "key.pem": pair.key, "ca.pem": authority.pem}.items():
        (tmp_path / name).write_bytes(data)
    return ServerConfig(
        chaincode_id="befl_1:abc",
        address="127.0.0.1:0",
        certificate=str(tmp_path / "cert.pem"),
        key=str(tmp_path / "key.pem"),
        client_ca=str(tmp_path / "ca.pem"),
        time_tolerance_s=60,
    )


@pytest.fixture
def server(chaincode: Functions, config: ServerConfig) -> Iterator[ChaincodeServer]:
    server = ChaincodeServer(chaincode, config)
    server.start()
    yield server
    server.stop(grace=1)


@pytest.fixture
def connect(server: ChaincodeServer, authority: Any) -> Iterator[Callable[[], ScriptedPeer]]:
    peers: list[ScriptedPeer] = []

    def make() -> ScriptedPeer:
        peers.append(ScriptedPeer(server.port, authority, authority.issue("peer")))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(connect: Callable[[], ScriptedPeer]) -> ScriptedPeer:
    peer = connect()
    peer.register()
    return peer
