"""``/healthz``, ``/version`` and ``/metrics`` over HTTP, as Fabric's own processes have them.

As in Fabric's operations service, health and version are for everybody who reaches the address, metrics are not:
without TLS the server listens on this machine only, and with TLS ``/metrics`` asks for a certificate of ``client_ca``.
"""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PATIENCE_S: Final = 5.0
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Tls:
    """With which certificate the server answers, and whose clients may read metrics.

    Parameters
    ----------
    certificate, key : Path
        PEM files of the server.
    client_ca : Path
        PEM file of the CA whose certificates may read ``/metrics``. Take one that signs for operators only, never the
        TLS CA that agents' certificates come from.
    """

    certificate: Path
    key: Path
    client_ca: Path


class OperationsServer:
    """Answers in threads of its own, from the moment it is made until :meth:`stop`.

    Parameters
    ----------
    address : str
        ``host:port``; port 0 takes a free one.
    health : callable
        Returns what is wrong, by component; empty when all is well.
    version : mapping
        What ``/version`` says.
    registry : callable
        Returns the registry whose metrics ``/metrics`` shows; called at the first request.
    tls : Tls, optional
        Without it only an address of this machine is accepted.

    Attributes
    ----------
    address : str
        Where it listens, with the port that was taken.

    Raises
    ------
    BeflError
        ``BEFL-C-020`` when metrics would be open to other machines, ``BEFL-C-021`` when it cannot listen there or the
        TLS files cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        health: Callable[[], Mapping[str, str]],
        version: Mapping[str, str],
        registry: Callable[[], CollectorRegistry],
        tls: Tls | None = None,
    ) -> None:
        host, port = check_address(address, tls=tls is not None)
        handler = type("Handler", (_Handler,), {"answers": _Answers(health, dict(version), registry, tls is not None)})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise BeflError("BEFL-C-021", f"{address}: {error.strerror}") from None
        if tls is not None:
            try:
                self._server.socket = _context(tls).wrap_socket(
                    self._server.socket, server_side=True, do_handshake_on_connect=False
                )
            except OSError as error:  # SSLError too
                self._server.server_close()
                raise BeflError("BEFL-C-021", f"{address}: TLS files cannot be used: {error}") from None
        shown = f"[{host}]" if ":" in host else host
        self.address: Final = f"{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="operations", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; returns when nothing listens any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def check_address(address: str, *, tls: bool) -> tuple[str, int]:
    """Split ``host:port``; refuse what would show metrics to other machines without asking who they are.

    Raises
    ------
    BeflError
        ``BEFL-C-020``, ``BEFL-C-021``.
    """
    host, _, digits = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not digits.isdecimal() or int(digits) > _HIGHEST_PORT:
        raise BeflError("BEFL-C-021", f"{address!r} is not host:port")
    if not tls and not _loopback(host):
        raise BeflError("BEFL-C-020", f"{address} can be reached from other machines, and no TLS is configured")
    return host, int(digits)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL  # /healthz and /version are open; _Handler asks for one at /metrics
    return context


@dataclass(frozen=True, slots=True)
class _Answers:
    health: Callable[[], Mapping[str, str]]
    version: dict[str, str]
    registry: Callable[[], CollectorRegistry]
    certificates: bool


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who breaks off a request, or shows a wrong certificate, is no event of ours."""


class _Handler(http.server.BaseHTTPRequestHandler):
    answers: _Answers
    timeout = _PATIENCE_S
    server_version = "befl"
    sys_version = ""

    def do_GET(self) -> None:  # http.server's name
        match self.path.partition("?")[0]:
            case "/healthz":
                self._health()
            case "/version":
                self._json(200, self.answers.version)
            case "/metrics":
                self._metrics()
            case _:
                self._json(404, {"error": "there are /healthz, /version and /metrics"})

    def _health(self) -> None:
        wrong = self.answers.health()
        now = dt.datetime.now(dt.UTC).isoformat()
        if not wrong:
            self._json(200, {"status": "OK", "time": now})
            return
        failed = [{"component": component, "reason": reason} for component, reason in wrong.items()]
        self._json(503, {"status": "Service Unavailable", "time": now, "failed_checks": failed})

    def _metrics(self) -> None:
        if self.answers.certificates and not (
            isinstance(self.connection, ssl.SSLSocket) and self.connection.getpeercert()
        ):
            self._json(401, {"error": "a client certificate is needed"})
            return
        # imported when somebody asks: it costs a process that nobody asks nothing
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415  # see above

        self._answer(200, CONTENT_TYPE_LATEST, generate_latest(self.answers.registry()))

    def _json(self, status: int, content: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(content).encode() + b"\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Log nothing: a scrape a few seconds would fill the log."""
