"""The messages of a transaction: proposal, signed request, result.

Follows ``protoutil`` of Fabric and ``ProposalBuilder`` of fabric-gateway.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2, proposal_response_pb2, transaction_pb2
from google.protobuf import timestamp_pb2

from befl.gateway.identity import Identity

_NONCE = 24


@dataclass(frozen=True, slots=True)
class SignedProposal:
    """A proposal, ready to be sent to the gateway.

    Parameters
    ----------
    txid : str
        ``hex(sha256(nonce + creator))``.
    message : SignedProposal
        Fabric's message.
    """

    txid: str
    message: Any


def propose(
    identity: Identity,
    channel: str,
    chaincode: str,
    arguments: Sequence[str | bytes],
    transient: Mapping[str, bytes] | None = None,
) -> SignedProposal:
    """Make and sign a proposal with a fresh nonce and the time of now."""
    txid, data = unsigned(identity, channel, chaincode, arguments, transient)
    return SignedProposal(txid, proposal_pb2.SignedProposal(proposal_bytes=data, signature=identity.sign(data)))


def unsigned(
    identity: Identity,
    channel: str,
    chaincode: str,
    arguments: Sequence[str | bytes],
    transient: Mapping[str, bytes] | None = None,
) -> tuple[str, bytes]:
    """Make a proposal with a fresh nonce and the time of now; return its transaction id and its bytes, to be signed."""
    nonce = os.urandom(_NONCE)
    creator = identity.creator
    txid = hashlib.sha256(nonce + creator).hexdigest()
    chaincode_id = chaincode_pb2.ChaincodeID(name=chaincode)
    now = timestamp_pb2.Timestamp()
    now.FromNanoseconds(time.time_ns())
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.HeaderType.ENDORSER_TRANSACTION,
        channel_id=channel,
        tx_id=txid,
        timestamp=now,
        extension=proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode_id).SerializeToString(),
    )
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=creator, nonce=nonce).SerializeToString(),
    )
    given = [argument.encode() if isinstance(argument, str) else argument for argument in arguments]
    spec = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            type=chaincode_pb2.ChaincodeSpec.NODE,  # peers do not look at it; fabric-gateway sends this one
            chaincode_id=chaincode_id,
            input=chaincode_pb2.ChaincodeInput(args=given),
        )
    )
    payload = proposal_pb2.ChaincodeProposalPayload(input=spec.SerializeToString(), TransientMap=dict(transient or {}))
    proposal = proposal_pb2.Proposal(header=header.SerializeToString(), payload=payload.SerializeToString())
    return txid, bytes(proposal.SerializeToString())


def seek_envelope(identity: Identity, channel: str, seek: Any, tls_certificate_hash: bytes) -> Any:
    """Make and sign the request of the Deliver service; with mutual TLS it is bound to the connection's certificate."""
    now = timestamp_pb2.Timestamp()
    now.FromNanoseconds(time.time_ns())
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.HeaderType.DELIVER_SEEK_INFO,
        channel_id=channel,
        timestamp=now,
        tls_cert_hash=tls_certificate_hash,
    )
    signature_header = common_pb2.SignatureHeader(creator=identity.creator, nonce=os.urandom(_NONCE))
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(), signature_header=signature_header.SerializeToString()
    )
    payload = common_pb2.Payload(header=header, data=seek.SerializeToString()).SerializeToString()
    return common_pb2.Envelope(payload=payload, signature=identity.sign(payload))


def channel_of(header: Any) -> str:
    """Return the channel that a header names."""
    return str(common_pb2.ChannelHeader.FromString(header.channel_header).channel_id)


def result_of(envelope: Any) -> bytes:
    """Take the chaincode's result out of an endorsed transaction."""
    payload = common_pb2.Payload.FromString(envelope.payload)
    transaction = transaction_pb2.Transaction.FromString(payload.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
    response = proposal_response_pb2.ProposalResponsePayload.FromString(action.action.proposal_response_payload)
    return bytes(proposal_pb2.ChaincodeAction.FromString(response.extension).response.payload)
