"""The stub interface on a real peer: each method is one message on the stream and its answer.

Follows ``chaincode_shim.proto`` and the peer's ``core/chaincode/handler.go`` (Fabric 3.1); the method names are those
of Fabric's own shims.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fabric_protos.common import common_pb2
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    chaincode_shim_pb2,
    proposal_pb2,
    proposal_response_pb2,
)

from befl.contracts import refusals
from befl.contracts.stub import KV, Creator, KeyModification, Response
from befl.rules.errors import BeflError

_log: Final = logging.getLogger("befl.shim")

Message = chaincode_shim_pb2.ChaincodeMessage
"""What travels on the stream, both ways."""

_Record = chaincode_shim_pb2.WriteRecord
_POLICY: Final = "VALIDATION_PARAMETER"
_BATCH_BYTES: Final = 32 * 1024 * 1024
"""A batch is cut here: a peer takes messages of 100 MB at most."""
_FIRST_READS: Final = 16

Ask = Callable[[int, bytes], bytes]
"""Sends a request (message type, payload) for this transaction; returns the payload of the answer."""


@dataclass(frozen=True, slots=True)
class Batching:
    """What the peer can take at once, as its ``READY`` message says; peers before Fabric 3.1 say nothing.

    Parameters
    ----------
    reads, writes : int
        Most keys of a batched read, most records of a batched write; 0 when the peer does not know such requests.
    """

    reads: int = 0
    writes: int = 0

    @classmethod
    def of(cls, payload: bytes) -> Batching:
        """Read the payload of ``READY``."""
        given = chaincode_pb2.ChaincodeAdditionalParams.FromString(payload)
        return cls(
            given.max_size_get_multiple_keys if given.use_get_multiple_keys else 0,
            given.max_size_write_batch if given.use_write_batch else 0,
        )


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

    def __init__(self, message: Any, ask: Ask, batching: Batching = Batching()) -> None:  # immutable
        self._ask = ask
        self._batching = batching
        self._closed = False
        self._tx_id: Final[str] = message.txid
        self._channel_id: Final[str] = message.channel_id
        proposal = proposal_pb2.Proposal.FromString(message.proposal.proposal_bytes)
        header = common_pb2.Header.FromString(proposal.header)
        stamp = common_pb2.ChannelHeader.FromString(header.channel_header).timestamp
        self._timestamp: Final[int] = stamp.seconds * 1000 + stamp.nanos // 1_000_000
        # taken apart when a contract asks
        self._signature_header: Final[bytes] = header.signature_header
        self._payload: Final[bytes] = proposal.payload
        arguments = chaincode_pb2.ChaincodeInput.FromString(message.payload).args
        self._arguments: Final[list[str]] = [refusals.argument(argument) for argument in arguments]
        self.event: Any = None
        self._batch: list[Any] | None = None
        self._batch_bytes = 0

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
        creator = common_pb2.SignatureHeader.FromString(self._signature_header).creator
        identity = identities_pb2.SerializedIdentity.FromString(creator)
        return Creator(identity.mspid, identity.id_bytes)

    def get_transient(self) -> Mapping[str, bytes]:
        """Return what travelled with the proposal and is in no block."""
        return dict(proposal_pb2.ChaincodeProposalPayload.FromString(self._payload).TransientMap)

    def set_event(self, name: str, payload: bytes) -> None:
        """Set the transaction's one event; a second call replaces the first."""
        refusals.check_event_name(name)
        self.event = chaincode_event_pb2.ChaincodeEvent(event_name=name, payload=payload)

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
        self._delete("", key, _Record.DEL_STATE)

    def get_multiple_states(self, keys: Sequence[str]) -> list[bytes]:
        """Read several keys of the public state, in as few requests as the peer's limits and a message's size allow."""
        if not self._batching.reads:
            return [self.get_state(key) for key in keys]
        found: list[bytes] = []
        count = _FIRST_READS
        while len(found) < len(keys):
            asked = keys[len(found) : len(found) + min(count, self._batching.reads)]
            refusals.check_text(*asked)
            request = chaincode_shim_pb2.GetStateMultiple(keys=asked)
            answer = self._request(Message.GET_STATE_MULTIPLE, request, "", asked[0])
            values = chaincode_shim_pb2.GetStateMultipleResult.FromString(answer).values
            if len(values) != len(asked):  # the peer hides an error of its database behind an empty answer
                raise BeflError("BEFL-G-015", "the peer did not answer for every key", "The peer's log says more.")
            found.extend(values)
            # sizes are known only afterwards: as many next time as would have filled a batch, not too many more
            count = max(1, min(4 * len(asked), len(asked) * _BATCH_BYTES // max(1, len(answer))))
        return found

    def get_state_by_range(self, start_key: str, end_key: str) -> Iterator[KV]:
        """Iterate over the simple keys from ``start_key`` to before ``end_key`` (empty: to the last), phantom-checked.

        Raises
        ------
        BeflError
            ``BEFL-G-018`` when an end begins with U+0000.
        """
        return self._iterate(self._range_request("", *refusals.simple_range(start_key, end_key), b""))

    def get_state_by_range_with_pagination(
        self, start_key: str, end_key: str, page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        """Return one page of a range and the bookmark of the next one (``""`` at the end); queries only."""
        refusals.check_page_size(page_size)
        return self._page(*refusals.simple_range(start_key, end_key), page_size, bookmark)

    def get_history_for_key(self, key: str) -> Iterator[KeyModification]:
        """Iterate over all committed changes of a public key, the newest first; not part of the read set."""
        refusals.check_key(key)
        request = chaincode_shim_pb2.GetHistoryForKey(key=key)
        response = chaincode_shim_pb2.QueryResponse.FromString(
            self._request(Message.GET_HISTORY_FOR_KEY, request, "", key)
        )
        return (_modification(result) for result in self._results(response))

    def get_state_validation_parameter(self, key: str) -> bytes:
        """Return a key's own endorsement policy (``SignaturePolicyEnvelope``); ``b""`` when it has none."""
        return self._get_policy("", key)

    def set_state_validation_parameter(self, key: str, policy: bytes) -> None:
        """Give a key its own endorsement policy from the next transaction on; a key that is absent keeps none."""
        self._set_policy("", key, policy)

    def start_write_batch(self) -> None:
        """Keep what is written from here on, to send it at once; a peer before 3.1 gets each write as it is made."""
        if self._batch is None and self._batching.writes:
            self._batch = []

    def finish_write_batch(self) -> None:
        """Send what was written since :meth:`start_write_batch`; also done at the transaction's end.

        Raises
        ------
        BeflError
            What the peer refuses of it.
        """
        if self._batch is not None:
            self._flush()
            self._batch = None

    def get_state_by_partial_composite_key(self, object_type: str, attributes: Sequence[str]) -> Iterator[KV]:
        """Iterate over all keys below a prefix, in key order; phantom-checked at commit.

        The peer ends a range silently after ``ledger.state.totalQueryLimit`` (100,000) entries.
        """
        return self._iterate(self._range_request("", *refusals.composite_range(object_type, attributes), b""))

    def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        """Return one page below a prefix and the bookmark of the next one (``""`` at the end); queries only."""
        refusals.check_page_size(page_size)
        return self._page(*refusals.composite_range(object_type, attributes), page_size, bookmark)

    # --- private data ---------------------------------------------------------------------------------------------

    def get_private_data(self, collection: str, key: str) -> bytes:
        """Read a key of a private collection; ``b""`` when it is absent.

        Raises
        ------
        BeflError
            ``BEFL-G-010`` when this peer holds only the hash so far.
        """
        refusals.check_collection(collection)
        return self._get(collection, key)

    def get_private_data_hash(self, collection: str, key: str) -> bytes:
        """Return the SHA-256 of a private value as the ledger holds it; ``b""`` when it is absent."""
        refusals.check_collection(collection)
        refusals.check_text(key)
        request = chaincode_shim_pb2.GetState(key=key, collection=collection)
        return self._request(Message.GET_PRIVATE_DATA_HASH, request, collection, key)

    def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        """Write a key of a private collection."""
        refusals.check_collection(collection)
        self._put(collection, key, value)

    def get_multiple_private_data(self, collection: str, keys: Sequence[str]) -> list[bytes]:
        """Read several keys of a private collection, one after another.

        The peer's batched read of private data (Fabric 3.1) leaves out the comparison with the hash: a value that is
        missing reads as empty, one that is out of date as it was. So it is not used.
        """
        return [self.get_private_data(collection, key) for key in keys]

    def del_private_data(self, collection: str, key: str) -> None:
        """Delete a key of a private collection; earlier values stay in the peers' private stores."""
        refusals.check_collection(collection)
        self._delete(collection, key, _Record.DEL_STATE)

    def purge_private_data(self, collection: str, key: str) -> None:
        """Delete a key of a private collection and its earlier values at every peer; their hashes stay."""
        refusals.check_collection(collection)
        self._delete(collection, key, _Record.PURGE_PRIVATE_DATA)

    def get_private_data_by_range(self, collection: str, start_key: str, end_key: str) -> Iterator[KV]:
        """Iterate over a private range; queries only, and what has not reached this peer is left out in silence."""
        refusals.check_collection(collection)
        return self._iterate(self._range_request(collection, *refusals.simple_range(start_key, end_key), b""))

    def get_private_data_by_partial_composite_key(
        self, collection: str, object_type: str, attributes: Sequence[str]
    ) -> Iterator[KV]:
        """Iterate over a private prefix; as :meth:`get_private_data_by_range`."""
        refusals.check_collection(collection)
        bounds = refusals.composite_range(object_type, attributes)
        return self._iterate(self._range_request(collection, *bounds, b""))

    def get_private_data_validation_parameter(self, collection: str, key: str) -> bytes:
        """Return a private key's own endorsement policy; ``b""`` when it has none."""
        refusals.check_collection(collection)
        return self._get_policy(collection, key)

    def set_private_data_validation_parameter(self, collection: str, key: str, policy: bytes) -> None:
        """Give a private key its own endorsement policy; as :meth:`set_state_validation_parameter`."""
        refusals.check_collection(collection)
        self._set_policy(collection, key, policy)

    # --- other chaincode ------------------------------------------------------------------------------------------

    def invoke_chaincode(self, chaincode_name: str, args: Sequence[str | bytes], channel: str = "") -> Response:
        """Call another chaincode within this transaction; on another channel it can only read.

        Returns
        -------
        Response
            Its answer; a refusal of it is a status of 400 and above, and raises nothing.

        Raises
        ------
        BeflError
            ``BEFL-G-031`` when there is no such chaincode, or no such channel at the peer.
        """
        refusals.check_text(chaincode_name, channel, *(argument for argument in args if isinstance(argument, str)))
        name = f"{chaincode_name}/{channel}" if channel else chaincode_name
        given = [argument.encode() if isinstance(argument, str) else argument for argument in args]
        request = chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode_pb2.ChaincodeID(name=name), input=chaincode_pb2.ChaincodeInput(args=given)
        )
        self._flush()  # what it reads and checks comes after what was written
        try:
            message = Message.FromString(self._ask_peer(Message.INVOKE_CHAINCODE, request))
        except PeerError as error:
            if channel and f"Failed to get policy manager for channel [{channel}]" in str(error):
                raise refusals.unknown_channel(chaincode_name, channel) from None
            raise refusal(str(error), "", chaincode_name) from None
        if message.type != Message.COMPLETED:
            return Response(500, message.payload.decode("utf-8", "replace"), b"")
        answer = proposal_response_pb2.Response.FromString(message.payload)
        return Response(answer.status, answer.message, answer.payload)

    # --- messages -------------------------------------------------------------------------------------------------

    def _get(self, collection: str, key: str) -> bytes:
        refusals.check_text(key)
        request = chaincode_shim_pb2.GetState(key=key, collection=collection)
        return self._request(Message.GET_STATE, request, collection, key)

    def _put(self, collection: str, key: str, value: bytes) -> None:
        refusals.check_key(key)
        refusals.check_value(key, value)
        if self._keep(_Record.PUT_STATE, collection, key, value=value):
            return
        request = chaincode_shim_pb2.PutState(key=key, value=value, collection=collection)
        self._request(Message.PUT_STATE, request, collection, key)

    def _delete(self, collection: str, key: str, kind: int) -> None:
        refusals.check_key(key)
        if self._keep(kind, collection, key):
            return
        request = chaincode_shim_pb2.DelState(key=key, collection=collection)
        purge = kind == _Record.PURGE_PRIVATE_DATA
        self._request(Message.PURGE_PRIVATE_DATA if purge else Message.DEL_STATE, request, collection, key)

    def _get_policy(self, collection: str, key: str) -> bytes:
        refusals.check_text(key)
        request = chaincode_shim_pb2.GetStateMetadata(key=key, collection=collection)
        answer = self._request(Message.GET_STATE_METADATA, request, collection, key)
        entries = chaincode_shim_pb2.StateMetadataResult.FromString(answer).entries
        return next((bytes(entry.value) for entry in entries if entry.metakey == _POLICY), b"")

    def _set_policy(self, collection: str, key: str, policy: bytes) -> None:
        refusals.check_key(key)
        metadata = chaincode_shim_pb2.StateMetadata(metakey=_POLICY, value=policy)
        if self._keep(_Record.PUT_STATE_METADATA, collection, key, metadata=metadata):
            return
        request = chaincode_shim_pb2.PutStateMetadata(key=key, collection=collection, metadata=metadata)
        self._request(Message.PUT_STATE_METADATA, request, collection, key)

    def _keep(self, kind: int, collection: str, key: str, **more: Any) -> bool:
        """Put a write into the open batch, if there is one, and send the batch when it is full."""
        if self._batch is None:
            return False
        record = _Record(type=kind, key=key, collection=collection, **more)
        size = record.ByteSize()
        if self._batch and self._batch_bytes + size > _BATCH_BYTES:
            self._flush()
        self._batch.append(record)
        self._batch_bytes += size
        if len(self._batch) >= self._batching.writes:
            self._flush()
        return True

    def _flush(self) -> None:
        records, size = self._batch, self._batch_bytes
        if not records:
            return
        self._batch, self._batch_bytes = [], 0
        try:
            self._ask_peer(Message.WRITE_BATCH_STATE, chaincode_shim_pb2.WriteBatchState(rec=records))
        except PeerError as error:
            text = str(error)
            # the peer stops at one record and does not say which; a collection it names itself
            named = next((each for each in records if each.collection and each.collection in text), records[0])
            _log.debug("a batch of %d bytes was refused: %s", size, text)
            raise refusal(text, named.collection, named.key) from None

    def _range_request(self, collection: str, start: str, end: str, metadata: bytes) -> Any:
        request = chaincode_shim_pb2.GetStateByRange(
            startKey=start, endKey=end, collection=collection, metadata=metadata
        )
        return chaincode_shim_pb2.QueryResponse.FromString(
            self._request(Message.GET_STATE_BY_RANGE, request, collection, start)
        )

    def _page(self, start: str, end: str, page_size: int, bookmark: str) -> tuple[list[KV], str]:
        refusals.check_text(bookmark)
        metadata = chaincode_shim_pb2.QueryMetadata(pageSize=page_size, bookmark=bookmark)
        response = self._range_request("", start, end, metadata.SerializeToString())
        following = chaincode_shim_pb2.QueryResponseMetadata.FromString(response.metadata).bookmark
        return list(self._iterate(response)), following

    def _iterate(self, response: Any) -> Iterator[KV]:
        for result in self._results(response):
            entry = kv_query_result_pb2.KV.FromString(result)
            yield KV(entry.key, entry.value)

    def _results(self, response: Any) -> Iterator[bytes]:
        """Yield a query's results, asking for more when a batch is used up, and tell the peer when it is left early."""
        open_id = response.id if response.has_more else ""
        try:
            while True:
                for result in response.results:
                    yield result.resultBytes
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

    def _ask_peer(self, kind: int, request: Any) -> bytes:
        if self._closed:
            raise BeflError("BEFL-G-015", "the transaction has ended", "A stub serves one transaction.")
        return self._ask(kind, request.SerializeToString())

    def _request(self, kind: int, request: Any, collection: str, key: str) -> bytes:
        try:
            return self._ask_peer(kind, request)
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
        ``BEFL-G-010``, ``012``, ``014``, ``019``, ``031``, and ``BEFL-G-015`` for everything else.
    """
    if "private data matching public hash version is not available" in text:
        return refusals.private_value_missing(collection, key)
    if "Paginated queries are supported only in a read-only transaction" in text:
        return refusals.page_after_write()
    if "already performed a paginated query" in text:
        return refusals.write_after_page()
    if "Queries on pvt data is supported only in a read-only transaction" in text:
        return refusals.private_range_after_write()
    if "already performed queries on pvt data" in text:
        return refusals.write_after_private_range()
    if text.startswith("INVOKE_CHAINCODE failed") and f"chaincode {key} not found" in text:
        return refusals.unknown_chaincode(key)
    if collection and ("not defined" in text or "could not be found" in text):
        return refusals.unknown_collection(collection)
    if "access permission on privatedata" in text:
        return BeflError(
            "BEFL-G-019",
            f"the submitter's institution is not a member of collection {collection!r}",
            "A new chaincode definition makes it one.",
        )
    return BeflError("BEFL-G-015", text, "The peer's log says more.")


def _modification(data: bytes) -> KeyModification:
    entry = kv_query_result_pb2.KeyModification.FromString(data)
    stamp = entry.timestamp
    return KeyModification(entry.tx_id, entry.value, stamp.seconds * 1000 + stamp.nanos // 1_000_000, entry.is_delete)
