"""The stub interface on a real peer: each method is one message on the stream and its answer.

Follows ``chaincode_shim.proto`` and the peer's ``core/chaincode/handler.go`` (Fabric 3.1); the method names are those
of Fabric's own shims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from fabric_protos.common import common_pb2
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2, chaincode_shim_pb2, proposal_pb2

from befl.contracts import refusals
from befl.contracts.stub import KV, Creator, composite_range
from befl.rules.errors import BeflError

Message = chaincode_shim_pb2.ChaincodeMessage
"""What travels on the stream, both ways."""

Ask = Callable[[int, bytes], bytes]
"""Sends a request (message type, payload) for this transaction; returns the payload of the answer."""


class PeerError(Exception):
    """The peer answered a request with ERROR; the text is the peer's."""


class StreamEndedError(Exception):
    """The peer is gone; the transaction's result interests nobody any more."""


class TransactionStub:
    """One transaction on a real peer; implements :class:`befl.contracts.stub.Stub`.

    A stub belongs to the thread that runs its transaction and is closed when the transaction ends.

    Parameters
    ----------
    message : ChaincodeMessage
        The peer's ``TRANSACTION`` message.
    ask : callable
        Sends a request and waits for its answer; raises :class:`PeerError`.

    Raises
    ------
    BeflError
        ``BEFL-G-018`` when an argument is not UTF-8.
    """

    def __init__(self, message: Any, ask: Ask) -> None:
        self._ask = ask
        self._closed = False
        self._tx_id: Final[str] = message.txid
        self._channel_id: Final[str] = message.channel_id
        proposal = proposal_pb2.Proposal.FromString(message.proposal.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        stamp = common_pb2.ChannelHeader.FromString(header.channel_header).timestamp
        self._timestamp: Final[int] = stamp.seconds * 1000 + stamp.nanos // 1_000_000
        creator = common_pb2.SignatureHeader.FromString(header.signature_header).creator
        identity = identities_pb2.SerializedIdentity.FromString(creator)
        self._creator: Final = Creator(identity.mspid, identity.id_bytes)
        payload = proposal_pb2.ChaincodeProposalPayload.FromString(proposal.payload)
        self._transient: Final[dict[str, bytes]] = dict(payload.TransientMap)
        arguments = chaincode_pb2.ChaincodeInput.FromString(message.payload).args
        try:
            self._arguments: Final[list[str]] = [argument.decode() for argument in arguments]
        except UnicodeDecodeError:
            raise BeflError("BEFL-G-018", "an argument is not UTF-8", "Binary data travels as transient.") from None
        self.event: Any = None

    # --- the transaction ------------------------------------------------------------------------------------------

    def get_function_and_parameters(self) -> tuple[str, list[str]]:
        """Return the function's name (empty when there is no argument at all) and its arguments."""
        return (self._arguments[0], self._arguments[1:]) if self._arguments else ("", [])

    def get_tx_id(self) -> str:
        """Return the transaction id, 64 lower-case hex digits."""
        return self._tx_id

    def get_channel_id(self) -> str:
        """Return the channel's name."""
        return self._channel_id

    def get_tx_timestamp(self) -> int:
        """Return the proposal's timestamp in milliseconds since 1970-01-01 UTC; the submitter sets it."""
        return self._timestamp

    def get_creator(self) -> Creator:
        """Return who submitted the transaction, as the peer authenticated it."""
        return self._creator

    def get_transient(self) -> Mapping[str, bytes]:
        """Return what travelled with the proposal and is in no block."""
        return dict(self._transient)

    def set_event(self, name: str, payload: bytes) -> None:
        """Set the transaction's one event; a second call replaces the first."""
        refusals.check_event_name(name)
        self.event = chaincode_event_pb2.ChaincodeEvent(event_name=_text(name), payload=payload)

    def close(self) -> None:
        """End the stub: an iterator that lives longer sends nothing any more."""
        self._closed = True

    # --- public state ---------------------------------------------------------------------------------------------

    def get_state(self, key: str) -> bytes:
        """Read a key of the public state; ``b""`` when it is absent."""
        return self._get("", key)

    def put_state(self, key: str, value: bytes) -> None:
        """Write a key of the public state."""
        self._put("", key, value)

    def del_state(self, key: str) -> None:
        """Delete a key of the public state."""
        refusals.check_key(key)
        request = chaincode_shim_pb2.DelState(key=_text(key))
        self._request(Message.DEL_STATE, request, "", key)

    def get_state_by_partial_composite_key(self, object_type: str, attributes: Sequence[str]) -> Iterator[KV]:
        """Iterate over all keys below a prefix, in key order; phantom-checked at commit.

        The peer ends a range silently after ``ledger.state.totalQueryLimit`` (100,000) entries.
        """
        start, end = _range(object_type, attributes)
        response = self._range_request(start, end, b"")
        return self._iterate(response)

    def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        """Return one page below a prefix and the bookmark of the next one (``""`` at the end); queries only."""
        refusals.check_page_size(page_size)
        start, end = _range(object_type, attributes)
        metadata = chaincode_shim_pb2.QueryMetadata(pageSize=page_size, bookmark=_text(bookmark))
        response = self._range_request(start, end, metadata.SerializeToString())
        following = chaincode_shim_pb2.QueryResponseMetadata.FromString(response.metadata).bookmark
        return list(self._iterate(response)), following

    # --- private data ---------------------------------------------------------------------------------------------

    def get_private_data(self, collection: str, key: str) -> bytes:
        """Read a key of a private collection; ``b""`` when it is absent.

        Raises
        ------
        BeflError
            ``BEFL-G-010`` when this peer holds only the hash so far.
        """
        return self._get(_collection(collection), key)

    def get_private_data_hash(self, collection: str, key: str) -> bytes:
        """Return the SHA-256 of a private value as the ledger holds it; ``b""`` when it is absent."""
        request = chaincode_shim_pb2.GetState(key=_text(key), collection=_text(_collection(collection)))
        return self._request(Message.GET_PRIVATE_DATA_HASH, request, collection, key)

    def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        """Write a key of a private collection."""
        self._put(_collection(collection), key, value)

    # --- messages -------------------------------------------------------------------------------------------------

    def _get(self, collection: str, key: str) -> bytes:
        request = chaincode_shim_pb2.GetState(key=_text(key), collection=_text(collection))
        return self._request(Message.GET_STATE, request, collection, key)

    def _put(self, collection: str, key: str, value: bytes) -> None:
        refusals.check_key(key)
        refusals.check_value(key, value)
        request = chaincode_shim_pb2.PutState(key=_text(key), value=value, collection=_text(collection))
        self._request(Message.PUT_STATE, request, collection, key)

    def _range_request(self, start: str, end: str, metadata: bytes) -> Any:
        request = chaincode_shim_pb2.GetStateByRange(startKey=start, endKey=end, metadata=metadata)
        return chaincode_shim_pb2.QueryResponse.FromString(
            self._request(Message.GET_STATE_BY_RANGE, request, "", start)
        )

    def _iterate(self, response: Any) -> Iterator[KV]:
        """Yield a range's entries, asking for more when a batch is used up, and tell the peer when it is left early."""
        open_id = response.id if response.has_more else ""
        try:
            while True:
                for result in response.results:
                    entry = kv_query_result_pb2.KV.FromString(result.resultBytes)
                    yield KV(entry.key, entry.value)
                if not response.has_more:
                    open_id = ""
                    return
                request = chaincode_shim_pb2.QueryStateNext(id=response.id)
                answer = self._request(Message.QUERY_STATE_NEXT, request, "", "")
                response = chaincode_shim_pb2.QueryResponse.FromString(answer)
        finally:
            if open_id and not self._closed:
                with suppress(StreamEndedError, BeflError):  # the peer closes by itself what is open at the end
                    self._request(Message.QUERY_STATE_CLOSE, chaincode_shim_pb2.QueryStateClose(id=open_id), "", "")

    def _request(self, kind: int, request: Any, collection: str, key: str) -> bytes:
        if self._closed:
            raise BeflError("BEFL-G-015", "the transaction has ended", "A stub serves one transaction.")
        try:
            return self._ask(kind, request.SerializeToString())
        except PeerError as error:
            raise refusal(str(error), collection, key) from None


def refusal(text: str, collection: str, key: str) -> BeflError:
    """Give a peer's ERROR answer its code.

    Parameters
    ----------
    text : str
        The peer's words (``tx_simulator.go``, ``query_executor.go``, ``handler.go`` of Fabric 3.1).
    collection, key : str
        What the request was about.

    Returns
    -------
    BeflError
        ``BEFL-G-010``, ``012``, ``014``, ``019``, and ``BEFL-G-015`` for everything else.
    """
    if "private data matching public hash version is not available" in text:
        return refusals.private_value_missing(collection, key)
    if "Paginated queries are supported only in a read-only transaction" in text:
        return refusals.page_after_write()
    if "already performed a paginated query" in text:
        return refusals.write_after_page()
    if collection and ("not defined" in text or "could not be found" in text):
        return refusals.unknown_collection(collection)
    if "access permission on privatedata" in text:
        return BeflError(
            "BEFL-G-019",
            f"the submitter's institution is not a member of collection {collection!r}",
            "A new chaincode definition makes it one.",
        )
    return BeflError("BEFL-G-015", text, "The peer's log says more.")


def _text(value: str) -> str:
    """Refuse what protobuf cannot carry."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BeflError("BEFL-G-018", "a name holds a lone surrogate", "Choose another name.") from None
    return value


def _range(object_type: str, attributes: Sequence[str]) -> tuple[str, str]:
    for part in (object_type, *attributes):
        _text(part)
    return composite_range(object_type, attributes)


def _collection(name: str) -> str:
    """Refuse an empty collection, which a peer would take for the public state."""
    if not name:
        raise refusals.unknown_collection(name)
    return name
