"""Questions to one peer itself, past its gateway: the gateway may answer from another peer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
from fabric_protos.common import common_pb2, configtx_pb2, ledger_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.peer import configuration_pb2, peer_pb2_grpc
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.message import DecodeError

from befl.gateway.connection import open_channel
from befl.gateway.identity import Identity
from befl.gateway.profile import PeerAddress
from befl.gateway.proposal import propose
from befl.rules.errors import BeflError

_PATIENCE_S: Final = 5.0
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Definition:
    """The chaincode definition that a channel has committed.

    Parameters
    ----------
    sequence : int
        How many definitions there have been.
    version : str
        The version that the institutions agreed on; befl's carries a digest of the code.
    """

    sequence: int
    version: str


class AnsweredError(Exception):
    """The peer answered, and refused: the text is its own."""


class PeerQuestions:
    """Asks one peer, be it another institution's; a context manager.

    Parameters
    ----------
    peer : PeerAddress
        The peer.
    user_dir : Path
        The asking user's folder, with ``msp`` and ``tls``.
    msp_id : str
        The user's institution.
    channel : str
        The channel.

    Raises
    ------
    BeflError
        ``BEFL-G-023`` to ``BEFL-G-025`` when the user's files cannot be used.
    """

    def __init__(self, peer: PeerAddress, user_dir: Path, msp_id: str, channel: str) -> None:
        self._identity = Identity.load(user_dir / "msp", msp_id)
        self._channel = channel
        self._connection = open_channel(peer, user_dir / "tls")
        self._endorser = peer_pb2_grpc.EndorserStub(self._connection)

    def ask(self, chaincode: str, *arguments: str | bytes) -> bytes:
        """Have this very peer run a query.

        Raises
        ------
        AnsweredError
            When the peer, or the chaincode, refuses.
        BeflError
            ``BEFL-G-003`` when the peer does not answer.
        """
        proposal = propose(self._identity, self._channel, chaincode, arguments)
        try:
            answer: Any = self._endorser.ProcessProposal(proposal.message, timeout=_PATIENCE_S)
        except grpc.RpcError as error:
            status, text = error.code(), str(error.details())
            if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise BeflError("BEFL-G-003", f"the peer does not answer: {text}") from None
            raise AnsweredError(text) from None
        if answer.response.status != _OK:
            raise AnsweredError(answer.response.message)
        return bytes(answer.response.payload)

    def chain(self) -> tuple[int, bytes]:
        """Return the ledger's height and the hash of its newest block."""
        info = _read(ledger_pb2.BlockchainInfo, self.ask("qscc", "GetChainInfo", self._channel))
        if not info.height:
            raise AnsweredError("the peer says that it has no block")
        return int(info.height), bytes(info.currentBlockHash)

    def chain_at_most(self, most: int) -> tuple[int, bytes]:
        """Return what :meth:`chain` does, or did at height ``most``: to compare with a ledger that is that high.

        A block's hash covers all before it.
        """
        height, newest = self.chain()
        return (height, newest) if height <= most else (most, self.block_hash(most))

    def block_hash(self, height: int) -> bytes:
        """Return the hash of the newest block when the ledger had that height, as this peer's next block names it."""
        block = _read(common_pb2.Block, self.ask("qscc", "GetBlockByNumber", self._channel, str(height)))
        return bytes(block.header.previous_hash)

    def definition(self, chaincode: str) -> Definition | None:
        """Return the committed definition of a chaincode; None when there is none."""
        arguments = lifecycle_pb2.QueryChaincodeDefinitionArgs(name=chaincode).SerializeToString()
        try:
            answer = self.ask("_lifecycle", "QueryChaincodeDefinition", arguments)
        except AnsweredError:
            return None
        found = _read(lifecycle_pb2.QueryChaincodeDefinitionResult, answer)
        return Definition(int(found.sequence), str(found.version))

    def members(self) -> dict[str, PeerAddress | None]:
        """Return the channel's institutions by MSP ID, each with its anchor peer, as the configuration has it."""
        block = _read(common_pb2.Block, self.ask("cscc", "GetConfigBlock", self._channel))
        if len(block.data.data) != 1:
            raise AnsweredError("what the peer answers is no block with a configuration")
        payload = _read(common_pb2.Payload, _read(common_pb2.Envelope, block.data.data[0]).payload)
        group = _read(configtx_pb2.ConfigEnvelope, payload.data).config.channel_group
        return {msp_id: _anchor(msp_id, one) for msp_id, one in sorted(group.groups["Application"].groups.items())}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(kind: Any, data: bytes) -> Any:
    """Read what a peer, perhaps another institution's, answers."""
    try:
        return kind.FromString(data)
    except DecodeError:
        raise AnsweredError(f"what the peer answers is no {kind.DESCRIPTOR.name}") from None


def _anchor(msp_id: str, group: Any) -> PeerAddress | None:
    anchors = _read(configuration_pb2.AnchorPeers, group.values["AnchorPeers"].value).anchor_peers
    if not anchors:
        return None
    msp = _read(msp_config_pb2.MSPConfig, group.values["MSP"].value)
    tls_cas = _read(msp_config_pb2.FabricMSPConfig, msp.config).tls_root_certs
    return PeerAddress(msp_id, f"{anchors[0].host}:{anchors[0].port}", b"".join(tls_cas))
