"""Chaincode events and blocks: each once, in order, whatever happens to the connection."""

from __future__ import annotations

import abc
import threading
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.orderer import ab_pb2

from befl.gateway.errors import EventsError, from_rpc
from befl.gateway.proposal import seek_envelope
from befl.gateway.unbroken import unbroken

if TYPE_CHECKING:
    from befl.gateway.client import Gateway

BlockKind = Literal["full", "filtered", "private"]
"""What of each block: all of it, what every reader may know, or all with the private data the reader may see."""

_METHODS: Final = {"full": "Deliver", "filtered": "DeliverFiltered", "private": "DeliverWithPrivateData"}
# The peer shuts down, or its ledger is not ready: common.Status.
_PASSING: Final = frozenset({common_pb2.Status.SUCCESS, common_pb2.Status.SERVICE_UNAVAILABLE})
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
TOO_LARGE: Final = "BEFL-G-017"
"""A message with more than one can hold: it will not be smaller the next time."""
# Reconnecting helps against everything else, ABORTED (the peer shuts down) included.
_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


@dataclass(frozen=True, slots=True)
class ChaincodeEvent:
    """An event of a valid transaction; it is also the place to go on from (``after=event``).

    Parameters
    ----------
    block : int
        Number of the block.
    txid : str
        The transaction.
    name : str
        The event's name.
    payload : bytes
        What the contract gave.
    """

    block: int
    txid: str
    name: str
    payload: bytes


T = TypeVar("T")


class _Following(abc.ABC, Generic[T]):
    """An iterator over what a peer sends block by block, which connects again where it was.

    One thread iterates; any thread may close.
    """

    def __init__(self, gateway: Gateway, block: int) -> None:
        self._gateway = gateway
        self._block = block
        self._pending: deque[T] = deque()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._call: Any = None
        self._pause = _FIRST_PAUSE
        gateway.remember(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Wait for the next one.

        Raises
        ------
        StopIteration
            After :meth:`close`.
        EventsError
            When the peer ends the stream for a reason that reconnecting does not cure.
        """
        while not self._closed.is_set():
            if self._pending:
                return self._pending.popleft()
            try:
                call = self._connect()
                if call is not None:
                    self._take(next(call))
                    self._pause = _FIRST_PAUSE
            except StopIteration:
                self._lost()
            except grpc.RpcError as error:
                refusal = from_rpc(EventsError, error)
                if not self._closed.is_set() and (error.code() in _FINAL or refusal.code == TOO_LARGE):
                    self.close()
                    raise refusal from None
                self._lost()
        raise StopIteration

    def close(self) -> None:
        """End the stream; a thread that waits in it gets the end of the iteration. Twice does no harm."""
        with self._lock:
            self._closed.set()
            call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._gateway.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _open(self, start: Any) -> Any:
        """Call the peer, to hear from this position on."""

    @abc.abstractmethod
    def _take(self, response: Any) -> None:
        """Take what one message of the peer brings, and move the place behind it."""

    def _connect(self) -> Any:
        with self._lock:
            if self._closed.is_set() or self._call is not None:
                return self._call
            start = ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=self._block))

            def begin() -> None:
                self._call = self._open(start)

            try:
                unbroken(begin)  # gRPC waits for ever, at the channel's end, for a stream that is half opened
            except ValueError:  # the gateway or its channel is closed
                self._closed.set()
            return self._call

    def _lost(self) -> None:
        with self._lock:
            call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._closed.wait(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class ChaincodeEvents(_Following[ChaincodeEvent]):
    """Iterator over a chaincode's events; :meth:`befl.gateway.Network.chaincode_events` makes it.

    One thread iterates; any thread may close. The place is kept on this side (block, and the transaction within it),
    because the peer finds a transaction only by an event of it and would wait for ever for one that had none.

    Parameters
    ----------
    gateway : Gateway
        The connection.
    channel, chaincode : str
        What to follow.
    block : int
        First block.
    skip : str
        In that block, leave out everything up to this transaction.
    """

    def __init__(self, gateway: Gateway, channel: str, chaincode: str, block: int, skip: str = "") -> None:
        self._channel = channel
        self._chaincode = chaincode
        self._skip = skip
        super().__init__(gateway, block)

    def _open(self, start: Any) -> Any:
        identity = self._gateway.identity
        request = gateway_pb2.ChaincodeEventsRequest(
            channel_id=self._channel,
            chaincode_id=self._chaincode,
            identity=identity.creator,
            start_position=start,
        ).SerializeToString()
        signed = gateway_pb2.SignedChaincodeEventsRequest(request=request, signature=identity.sign(request))
        return self._gateway.follow(signed)

    def _take(self, response: Any) -> None:
        """Take one block's events: the peer sends a block in one message, so the next place is the block after it."""
        block = int(response.block_number)
        events = [ChaincodeEvent(block, each.tx_id, each.event_name, each.payload) for each in response.events]
        if block == self._block and self._skip:
            txids = [event.txid for event in events]
            # A transaction without an event has no place among them: then nothing is left out, and nothing is lost.
            events = events[txids.index(self._skip) + 1 :] if self._skip in txids else events
        if block < self._block:
            return
        self._pending.extend(events)
        self._block, self._skip = block + 1, ""


class BlockEvents(_Following[Any]):
    """Iterator over a channel's blocks; :meth:`befl.gateway.Network.block_events` makes it.

    It gives Fabric's messages, as ``kind`` is ``full``, ``filtered`` or ``private``: ``common.Block``,
    ``protos.FilteredBlock`` or ``protos.BlockAndPrivateData``. One thread iterates; any thread may close.

    Parameters
    ----------
    gateway : Gateway
        The connection.
    channel : str
        What to follow.
    block : int
        First block.
    kind : str
        What of each block.
    """

    def __init__(self, gateway: Gateway, channel: str, block: int, kind: BlockKind = "full") -> None:
        self._channel = channel
        self._kind = kind
        super().__init__(gateway, block)

    def _open(self, start: Any) -> Any:
        end = ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=2**64 - 1))
        seek = ab_pb2.SeekInfo(start=start, stop=end, behavior=ab_pb2.SeekInfo.BLOCK_UNTIL_READY)
        gateway = self._gateway
        envelope = seek_envelope(gateway.identity, self._channel, seek, gateway.tls_certificate_hash)
        return gateway.deliver(_METHODS[self._kind], envelope)

    def _take(self, response: Any) -> None:
        field = response.WhichOneof("Type")
        if field == "status":
            self._ended(response.status)
            return
        message = getattr(response, field)
        number = int(_number(message))
        if number >= self._block:
            self._pending.append(message)
            self._block = number + 1

    def _ended(self, status: int) -> None:
        if status in _PASSING:
            self._lost()
            return
        self.close()
        name = common_pb2.Status.Name(status) if status in common_pb2.Status.values() else str(status)
        raise EventsError("BEFL-G-030", f"the peer ended the stream of blocks: {name}", "Check the identity's role.")


def _number(message: Any) -> int:
    if message.DESCRIPTOR.name == "FilteredBlock":
        return int(message.number)
    block = message.block if message.DESCRIPTOR.name == "BlockAndPrivateData" else message
    return int(block.header.number)
