"""One stream between a peer and this chaincode: the handshake, and transactions multiplexed on it.

The peer opens the stream (chaincode as a service); this side registers under its package ID, then each message
belongs to the transaction that its channel and txid name. A transaction runs in a thread of the pool and has at most
one request under way, as the peer demands (``handler.go``, ``registerTxid``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import Any, Final

from fabric_protos.peer import chaincode_pb2, proposal_response_pb2

from befl.contracts import refusals
from befl.contracts.stub import Chaincode
from befl.rules.errors import BeflError
from befl.shim.stub import Batching, Message, PeerError, StreamEndedError, TransactionStub

_log: Final = logging.getLogger("befl.shim")
_OK: Final = 200
_REFUSED: Final = 500
_AHEAD_MS: Final = 5_000
"""How far a timestamp may be ahead: a proposal was made before it came here, so this is clocks alone."""

Key = tuple[str, str]
"""Channel and transaction id."""


class PeerStream:
    """The chaincode's side of one stream.

    Parameters
    ----------
    chaincode : Chaincode
        What runs the transactions.
    chaincode_id : str
        The package ID.
    pool : Executor
        Where transactions run; shared by all streams.
    tolerance_ms : int
        How far a proposal's timestamp may be from ``now()``.
    now : callable
        The clock, milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        chaincode: Chaincode,
        chaincode_id: str,
        pool: Executor,
        tolerance_ms: int,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._chaincode = chaincode
        self._chaincode_id = chaincode_id
        self._pool = pool
        self._tolerance_ms = tolerance_ms
        self._now = now
        self._out: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.Condition()
        self._waiting: dict[Key, SimpleQueue[Any]] = {}
        self._running: set[Key] = set()
        self._batching = Batching()
        self._ended = False
        self._draining = False

    def messages(self) -> Iterator[Any]:
        """Yield what this side sends, beginning with its registration, until the stream ends."""
        name = chaincode_pb2.ChaincodeID(name=self._chaincode_id)
        yield Message(type=Message.REGISTER, payload=name.SerializeToString())
        while (message := self._out.get()) is not None:
            yield message

    def receive(self, messages: Iterator[Any]) -> None:
        """Read what the peer sends until the stream ends; runs in a thread of its own."""
        try:
            for message in messages:
                self._dispatch(message)
        except Exception as error:  # noqa: BLE001  # gRPC raises a bare Exception when the peer is gone
            _log.debug("stream ended: %s", error)
        finally:
            self.end()

    def end(self) -> None:
        """End the stream: what waits for the peer is released."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            for answers in self._waiting.values():
                answers.put(None)
            self._lock.notify_all()
        self._out.put(None)

    def drain(self, timeout: float) -> bool:
        """Take no new transaction and wait until those under way have ended.

        Returns
        -------
        bool
            False when ``timeout`` seconds were too few.
        """
        with self._lock:
            self._draining = True
            return self._lock.wait_for(lambda: self._ended or not self._running, timeout)

    def _dispatch(self, message: Any) -> None:
        kind = message.type
        key = (message.channel_id, message.txid)
        if kind in (Message.RESPONSE, Message.ERROR):
            with self._lock:
                answers = self._waiting.get(key)
            if answers is None:
                _log.warning("answer for a transaction that is not waiting: %s", message.txid[:8])
            else:
                answers.put(message)
        elif kind == Message.TRANSACTION:
            self._start(key, message)
        elif kind == Message.KEEPALIVE:
            self._out.put(message)
        elif kind == Message.READY:
            self._batching = Batching.of(message.payload)
            _log.info("ready: registered with the peer as %s; %s", self._chaincode_id, self._batching)
        elif kind == Message.INIT:
            self._answer(key, Message.ERROR, b"befl has no Init function")
        elif kind != Message.REGISTERED:
            _log.warning("message of type %s is not understood", kind)

    def _start(self, key: Key, message: Any) -> None:
        with self._lock:
            draining = self._draining
            if not draining:
                self._running.add(key)
        if draining:
            self._complete(key, _REFUSED, BeflError("BEFL-G-016", "this chaincode server is shutting down"))
        else:
            self._pool.submit(self._run, key, message)

    def _run(self, key: Key, message: Any) -> None:
        try:
            stub = TransactionStub(message, lambda kind, payload: self._ask(key, kind, payload), self._batching)
            self._check_time(stub.get_tx_timestamp())
            try:
                result = self._chaincode.invoke(stub)
                stub.finish_write_batch()
            finally:
                stub.close()
            self._complete(key, _OK, result, stub.event)
        except StreamEndedError:
            _log.debug("the peer is gone", extra={"txid": key[1]})
        except BeflError as error:
            _log.info("refused: %s: %s", error.code, error.message, extra={"txid": key[1]})
            self._complete(key, _REFUSED, error)
        except Exception:  # noqa: BLE001  # a mistake in a contract must not end the stream; it is logged and answered
            _log.exception("internal error", extra={"txid": key[1]})
            self._complete(key, _REFUSED, refusals.mistake(key[1]))
        finally:
            with self._lock:
                self._running.discard(key)
                if self._draining:
                    self._lock.notify_all()

    def _check_time(self, timestamp: int) -> None:
        """Refuse a time that the submitter made up: the one thing a contract cannot check for itself."""
        away = timestamp - self._now()
        tolerated = min(self._tolerance_ms, _AHEAD_MS) if away > 0 else self._tolerance_ms
        if abs(away) > tolerated:
            raise BeflError(
                "BEFL-G-011",
                f"the proposal's timestamp is {abs(away) / 1000:.1f} s {'ahead of' if away > 0 else 'behind'} "
                f"the endorser's clock, {tolerated / 1000:g} s are tolerated",
                "Check the clocks of both machines.",
            )

    def _ask(self, key: Key, kind: int, payload: bytes) -> bytes:
        answers: SimpleQueue[Any] = SimpleQueue()
        with self._lock:
            if self._ended:
                raise StreamEndedError
            self._waiting[key] = answers
        try:
            self._answer(key, kind, payload)
            answer = answers.get()
        finally:
            with self._lock:
                del self._waiting[key]
        if answer is None:
            raise StreamEndedError
        if answer.type == Message.ERROR:
            raise PeerError(answer.payload.decode("utf-8", "replace"))
        return bytes(answer.payload)

    def _complete(self, key: Key, status: int, result: bytes | BeflError, event: Any = None) -> None:
        if isinstance(result, BeflError):
            response = proposal_response_pb2.Response(status=status, message=str(result))
        else:
            response = proposal_response_pb2.Response(status=status, payload=result)
        self._answer(key, Message.COMPLETED, response.SerializeToString(), event)

    def _answer(self, key: Key, kind: int, payload: bytes, event: Any = None) -> None:
        self._out.put(Message(type=kind, payload=payload, channel_id=key[0], txid=key[1], chaincode_event=event))
