"""Fabric's blocks, read: what stands in the bytes, without yet believing any of it.

A transaction's form is part of what Fabric judges, so a transaction that cannot be read is no error here: it is one
with a :class:`Fault`, the validation code that a peer gives it for its form alone (``core/common/validation`` and
``core/committer/txvalidator/v20`` of Fabric). Only bytes that are no block at all raise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    events_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from befl.rules.errors import BeflError

Stage = Literal["envelope", "transaction", "dispatch"]
Code: Final = transaction_pb2.TxValidationCode
"""Fabric's validation codes: ``Code.VALID``, ``Code.MVCC_READ_CONFLICT`` and the others."""

MOST_TRANSACTIONS: Final = 50_000
"""The most transactions of a block: as many with a signature and a certificate each are more than a block can have."""

_HINT: Final = "Take the blocks from a peer again, or the file from whoever recorded it."
_METADATA: Final = common_pb2.BlockMetadataIndex
_KINDS: Final = {
    common_pb2.HeaderType.ENDORSER_TRANSACTION: "endorser",
    common_pb2.HeaderType.CONFIG: "config",
    common_pb2.HeaderType.CONFIG_UPDATE: "config update",
}


@dataclass(frozen=True, slots=True)
class Endorsement:
    """One peer's signature under the result of a transaction.

    Parameters
    ----------
    endorser : bytes
        The peer's ``SerializedIdentity``.
    signature : bytes
        ECDSA, DER.
    signed : bytes
        What was signed: the proposal response payload and the endorser.
    """

    endorser: bytes
    signature: bytes
    signed: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a transaction is invalid by its form alone.

    Parameters
    ----------
    stage : str
        When Fabric sees it: ``envelope`` before the submitter's signature is looked at, ``transaction`` after it and
        the transaction id, ``dispatch`` after duplicates.
    code : int
        The validation code.
    why : str
        In words.
    """

    stage: Stage
    code: int
    why: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of a block; what could not be read is empty.

    Parameters
    ----------
    block, index : int
        Where it stands.
    txid : str
        As its header says.
    kind : str
        ``endorser``, ``config``, ``config update`` or ``unreadable``.
    channel : str
        As its header says.
    timestamp : int
        Of the proposal, milliseconds since 1970-01-01 UTC.
    creator : bytes
        The submitter's ``SerializedIdentity``.
    chaincode, function : str
        What was called.
    args : tuple of str
        Its arguments, without the function.
    read_write_set : TxReadWriteSet or None
        What the endorsers signed.
    response_status : int
        Of the chaincode; 200 is success.
    result : bytes
        What the chaincode returned.
    event : tuple of (str, bytes) or None
        Name and payload.
    endorsements : tuple of Endorsement
        In the transaction's order.
    flag : int
        The validation code that the block's metadata gives it; ``NOT_VALIDATED`` when it gives none.
    private : mapping of str to KVRWSet
        By collection, the private writes of ``chaincode`` that came with the block.
    payload, signature : bytes
        What the submitter signed, and the signature.
    nonce : bytes
        Of the submitter; with the creator it makes the transaction id.
    bound : bool
        Whether the proposal in the transaction is the one whose hash the endorsers signed.
    fault : Fault or None
        What is wrong with its form.
    private_set : TxPvtReadWriteSet or None
        All private writes that came with the block.
    """

    block: int
    index: int
    txid: str = ""
    kind: str = "unreadable"
    channel: str = ""
    timestamp: int = 0
    creator: bytes = b""
    chaincode: str = ""
    function: str = ""
    args: tuple[str, ...] = ()
    read_write_set: Any = None
    response_status: int = 0
    result: bytes = b""
    event: tuple[str, bytes] | None = None
    endorsements: tuple[Endorsement, ...] = ()
    flag: int = Code.NOT_VALIDATED
    private: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    payload: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)
    nonce: bytes = field(default=b"", repr=False)
    bound: bool = True
    fault: Fault | None = None
    private_set: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Parameters
    ----------
    number : int
        Its place in the chain.
    previous_hash, data_hash : bytes
        As its header says.
    hash : bytes
        Of its header: SHA-256 over its ASN.1 form, which the next block names.
    raw : common.Block
        Fabric's message.
    transactions : tuple of Transaction
        In order.
    flags : bytes
        The validation codes of the block's metadata, one a transaction.
    """

    number: int
    previous_hash: bytes
    data_hash: bytes
    hash: bytes
    raw: Any = field(repr=False)
    transactions: tuple[Transaction, ...] = field(repr=False)
    flags: bytes


def code_name(code: int) -> str:
    """Return a validation code as Fabric calls it, or its number where it has no name."""
    return str(Code.Name(code)) if code in Code.values() else str(code)


def read(data: bytes) -> Block:
    """Read a block with its private data (``protos.BlockAndPrivateData``).

    Raises
    ------
    BeflError
        ``BEFL-G-035`` when the bytes are none.
    """
    try:
        return parse(events_pb2.BlockAndPrivateData.FromString(data))
    except DecodeError:
        raise BeflError("BEFL-G-035", f"{len(data)} bytes are no block with private data", _HINT) from None


def parse(message: Any) -> Block:
    """Take a ``protos.BlockAndPrivateData`` apart; its private data may be empty.

    Raises
    ------
    BeflError
        ``BEFL-G-035`` when there is no block in it, or one of more than :data:`MOST_TRANSACTIONS`.
    """
    raw = message.block
    if not raw.HasField("header"):
        raise BeflError("BEFL-G-035", "the block has no header", _HINT)
    if len(raw.data.data) > MOST_TRANSACTIONS:
        raise BeflError("BEFL-G-035", f"the block has {len(raw.data.data)} transactions, more than any can have", _HINT)
    number, metadata = int(raw.header.number), raw.metadata.metadata
    flags = bytes(metadata[_METADATA.TRANSACTIONS_FILTER]) if len(metadata) > _METADATA.TRANSACTIONS_FILTER else b""
    transactions = []
    for index, data in enumerate(raw.data.data):
        private = message.private_data_map.get(index)
        flag = flags[index] if index < len(flags) else Code.NOT_VALIDATED
        transactions.append(_transaction(number, index, data, int(flag), private))
    return Block(
        number,
        bytes(raw.header.previous_hash),
        bytes(raw.header.data_hash),
        hashlib.sha256(header_bytes(raw.header)).digest(),
        raw,
        tuple(transactions),
        flags,
    )


def header_bytes(header: Any) -> bytes:
    """Return a block header in ASN.1 (DER), as Fabric hashes and signs it (``protoutil.BlockHeaderBytes``)."""
    number = int(header.number)
    content = b"".join(
        (
            _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big")),
            _der(0x04, header.previous_hash),
            _der(0x04, header.data_hash),
        )
    )
    return _der(0x30, content)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:  # X.690, 8.1.3.4: the short form of a length
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


class _Unreadable(Exception):  # noqa: N818  # it ends the reading of one transaction, and is no error to anybody
    """A transaction's form ends here."""

    def __init__(self, stage: Stage, code: int, why: str) -> None:
        super().__init__(why)
        self.fault = Fault(stage, code, why)


def _transaction(block: int, index: int, data: bytes, flag: int, private: Any) -> Transaction:
    found: dict[str, Any] = {"flag": flag, "private_set": private}
    try:
        _envelope(found, data)
        if found["kind"] == "endorser":
            action = _endorsed(found)
            _result(found, action)
            if private is not None:
                found["private"] = _private(private, found["chaincode"])
    except _Unreadable as end:
        found["fault"] = end.fault
    return Transaction(block, index, **found)


def _envelope(found: dict[str, Any], data: bytes) -> None:
    """Read envelope and headers."""
    envelope = _decode(common_pb2.Envelope, data, "envelope", Code.INVALID_OTHER_REASON)
    found["payload"], found["signature"] = bytes(envelope.payload), bytes(envelope.signature)
    payload = _decode(common_pb2.Payload, envelope.payload, "envelope", Code.BAD_PAYLOAD)
    if not payload.HasField("header"):
        raise _Unreadable("envelope", Code.BAD_COMMON_HEADER, "there is no header")
    header = _decode(common_pb2.ChannelHeader, payload.header.channel_header, "envelope", Code.BAD_COMMON_HEADER)
    found["txid"], found["channel"] = header.tx_id, header.channel_id
    found["timestamp"] = header.timestamp.seconds * 1000 + header.timestamp.nanos // 1_000_000
    signature = _decode(common_pb2.SignatureHeader, payload.header.signature_header, "envelope", Code.BAD_COMMON_HEADER)
    found["creator"], found["nonce"] = bytes(signature.creator), bytes(signature.nonce)
    found["kind"] = _KINDS.get(header.type, "unreadable")
    for wrong, why in (
        (header.type not in _KINDS, f"the header's type is {header.type}"),
        (header.epoch != 0, "the header's epoch is not 0"),
        (not signature.nonce, "there is no nonce"),
        (not signature.creator, "there is no creator"),
    ):
        if wrong:
            raise _Unreadable("envelope", Code.BAD_COMMON_HEADER, why)


def _endorsed(found: dict[str, Any]) -> Any:
    """Read proposal and endorsements; return the endorsers' answer."""
    stage: Final = "transaction"
    code = Code.INVALID_ENDORSER_TRANSACTION
    payload = common_pb2.Payload.FromString(found["payload"])
    transaction = _decode(transaction_pb2.Transaction, payload.data, stage, code)
    if len(transaction.actions) != 1:
        raise _Unreadable(stage, code, f"it has {len(transaction.actions)} actions")
    [action] = transaction.actions
    signature = _decode(common_pb2.SignatureHeader, action.header, stage, code)
    if not signature.nonce or not signature.creator:
        raise _Unreadable(stage, code, "the action names no nonce or no creator")
    content = _decode(transaction_pb2.ChaincodeActionPayload, action.payload, stage, code)
    response = content.action.proposal_response_payload
    answer = _decode(proposal_response_pb2.ProposalResponsePayload, response, stage, code)
    proposed = payload.header.channel_header + action.header + content.chaincode_proposal_payload
    found["bound"] = hashlib.sha256(proposed).digest() == answer.proposal_hash
    found["endorsements"] = tuple(
        Endorsement(bytes(each.endorser), bytes(each.signature), bytes(response + each.endorser))
        for each in content.action.endorsements
    )
    _call(found, content.chaincode_proposal_payload)
    header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    extension = _decode(proposal_pb2.ChaincodeHeaderExtension, header.extension, "dispatch", Code.BAD_HEADER_EXTENSION)
    found["chaincode"] = extension.chaincode_id.name
    return answer


def _call(found: dict[str, Any], data: bytes) -> None:
    """Read what was called. Peers do not look at it once it is endorsed, so nothing that is odd in it is a fault."""
    try:
        proposal = proposal_pb2.ChaincodeProposalPayload.FromString(data)
        spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(proposal.input).chaincode_spec
    except DecodeError:
        return
    words = [bytes(word).decode("utf-8", "replace") for word in spec.input.args]
    found["function"], found["args"] = (words[0] if words else ""), tuple(words[1:])


def _result(found: dict[str, Any], answer: Any) -> None:
    """Read what the endorsers say came out, as the peers' dispatcher does (``plugindispatcher``)."""
    stage: Final = "dispatch"
    if not answer.extension:
        raise _Unreadable(stage, Code.BAD_RESPONSE_PAYLOAD, "the response has no extension")
    action = _decode(proposal_pb2.ChaincodeAction, answer.extension, stage, Code.BAD_RESPONSE_PAYLOAD)
    found["response_status"], found["result"] = action.response.status, bytes(action.response.payload)
    written = _decode(rwset_pb2.TxReadWriteSet, action.results, stage, Code.BAD_RWSET)
    for space in written.ns_rwset:
        _decode(kv_rwset_pb2.KVRWSet, space.rwset, stage, Code.BAD_RWSET)
        for collection in space.collection_hashed_rwset:
            _decode(kv_rwset_pb2.HashedRWSet, collection.hashed_rwset, stage, Code.BAD_RWSET)
    found["read_write_set"] = written
    chaincode = found["chaincode"]
    if not action.HasField("chaincode_id"):
        raise _Unreadable(stage, Code.INVALID_OTHER_REASON, "the result names no chaincode")
    if not chaincode or chaincode != action.chaincode_id.name:
        why = f"the header names chaincode {chaincode!r}, the result {action.chaincode_id.name!r}"
        raise _Unreadable(stage, Code.INVALID_CHAINCODE, why)
    if not action.chaincode_id.version:
        raise _Unreadable(stage, Code.INVALID_CHAINCODE, "the result names no version of the chaincode")
    if action.events:
        event = _decode(chaincode_event_pb2.ChaincodeEvent, action.events, stage, Code.INVALID_OTHER_REASON)
        if event.chaincode_id != chaincode:
            raise _Unreadable(stage, Code.INVALID_OTHER_REASON, "the event is another chaincode's")
        found["event"] = (event.event_name, bytes(event.payload))
    names = [space.namespace for space in written.ns_rwset]
    if len(set(names)) != len(names):
        raise _Unreadable(stage, Code.ILLEGAL_WRITESET, "a namespace stands twice in the write set")


def _private(private: Any, chaincode: str) -> Mapping[str, Any]:
    """Return the chaincode's private writes by collection; what cannot be read is left to the check of their hashes."""
    found = {}
    for space in private.ns_pvt_rwset:
        if space.namespace == chaincode:
            for collection in space.collection_pvt_rwset:
                try:
                    found[collection.collection_name] = kv_rwset_pb2.KVRWSet.FromString(collection.rwset)
                except DecodeError:
                    continue
    return MappingProxyType(found)


def _decode(message: Any, data: bytes, stage: Stage, code: int) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise _Unreadable(stage, code, f"{message.DESCRIPTOR.name} cannot be read") from None
