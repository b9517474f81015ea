"""The chaincode server: Fabric's ``ccaas``, where the peer dials in."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import grpc
from fabric_protos.peer import chaincode_shim_pb2_grpc

from befl.contracts.stub import Chaincode
from befl.rules.errors import BeflError
from befl.shim.config import ServerConfig, read_pem
from befl.shim.stream import PeerStream

_log: Final = logging.getLogger("befl.shim")
_STREAMS: Final = 16
_TRANSACTIONS: Final = 32
_MESSAGE_LIMIT: Final = 100 * 1024 * 1024
_OPTIONS: Final = (
    # The peer pings every 10 s, also while no message is under way. Without these gRPC answers GOAWAY "too many pings".
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    # Two servers on one port would share the peer's calls without a word.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
)


def schedule_as_batch() -> None:
    """Let threads that start from now on run until they wait: a thread that wakes does not push another off its core.

    Only one thread at a time runs Python, so one that wakes and takes the core finds the interpreter taken, and sleeps
    again. A message passes four threads; without this a third of the processor goes into such switches (ADR 10).
    """
    with suppress(OSError):  # a sandbox may forbid it, and all works without
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class ChaincodeServer(chaincode_shim_pb2_grpc.ChaincodeServicer):  # type: ignore[misc]  # generated code has no types
    """Serves one chaincode to the peers that dial in, with mutual TLS.

    Parameters
    ----------
    chaincode : Chaincode
        What runs the transactions; called from many threads at once.
    config : ServerConfig
        Where, as whom, to whom.

    Raises
    ------
    BeflError
        ``BEFL-G-026`` for key files that cannot be used, ``BEFL-G-028`` when the address is taken.
    """

    def __init__(self, chaincode: Chaincode, config: ServerConfig) -> None:
        self._chaincode = chaincode
        self._config = config
        self._lock = threading.Lock()
        self._streams: set[PeerStream] = set()
        self._stopping = False
        credentials = grpc.ssl_server_credentials(
            [(read_pem(config.key, "key"), read_pem(config.certificate, "certificate"))],
            root_certificates=read_pem(config.client_ca, "client_ca"),
            require_client_auth=True,
        )
        self._pool = ThreadPoolExecutor(_TRANSACTIONS, "transaction")
        self._server = grpc.server(ThreadPoolExecutor(_STREAMS, "stream"), options=_OPTIONS)
        chaincode_shim_pb2_grpc.add_ChaincodeServicer_to_server(self, self._server)
        try:
            self.port: Final[int] = self._server.add_secure_port(config.address, credentials)
        except RuntimeError:
            self._pool.shutdown()
            raise BeflError(
                "BEFL-G-028",
                f"cannot listen on {config.address}",
                "Another process holds the port, or the certificate and key do not fit; see `befl explain BEFL-G-028`.",
            ) from None

    def start(self) -> None:
        """Begin to serve; returns at once."""
        self._server.start()
        _log.info("listening on %s as %s", self._config.address, self._config.chaincode_id)

    def stop(self, grace: float = 5.0) -> None:
        """End in order: no new stream, no new transaction, those under way get ``grace`` seconds."""
        with self._lock:
            self._stopping = True
            streams = list(self._streams)
        stopped = self._server.stop(grace + 1)
        for stream in streams:
            stream.drain(grace)
            stream.end()
        stopped.wait()
        self._pool.shutdown()
        _log.info("stopped")

    def Connect(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802  # gRPC's name
        """Serve one peer's stream (``protos.Chaincode/Connect``)."""
        stream = PeerStream(
            self._chaincode, self._config.chaincode_id, self._pool, self._config.time_tolerance_s * 1000
        )
        with self._lock:
            if self._stopping:
                return
            self._streams.add(stream)
        _log.info("peer %s connected", context.peer())
        context.add_callback(stream.end)
        reader = threading.Thread(target=stream.receive, args=(request_iterator,), name="reader", daemon=True)
        reader.start()
        try:
            yield from stream.messages()
        finally:
            stream.end()
            with self._lock:
                self._streams.discard(stream)
            _log.info("peer %s disconnected", context.peer())
