"""The chaincode server's configuration file."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from befl.rules.errors import BeflError

_HINT: Final = "`befl network up` writes this file; `befl explain BEFL-G-026` lists its fields."
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_FORMATS: Final = ("text", "json")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a chaincode server is told.

    Parameters
    ----------
    chaincode_id : str
        The package ID, ``label:hash``: under this name it registers with the peer.
    address : str
        ``host:port`` to listen on.
    certificate, key : str
        PEM files of the server; a relative path is relative to the configuration file.
    client_ca : str
        PEM file of the CA whose certificates the peer's connection must show.
    code_digest : str or None
        What the chaincode definition says; None leaves the comparison out.
    time_tolerance_s : int
        How far a proposal's timestamp may be behind this machine's clock, in seconds; ahead of it at most five.
    log_level : str
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    log_format : str
        ``text`` or ``json`` (one object a line).
    operations_address : str
        ``host:port`` of ``/healthz``, ``/version`` and ``/metrics``; empty for none.
    operations_client_ca : str
        PEM file of the CA whose certificates may read metrics; with it these are served over TLS, with the server's
        certificate. Empty: no TLS, and only an address of this machine is accepted.
    """

    chaincode_id: str
    address: str
    certificate: str
    key: str
    client_ca: str
    code_digest: str | None = None
    time_tolerance_s: int = 300
    log_level: str = "INFO"
    log_format: str = "text"
    operations_address: str = ""
    operations_client_ca: str = ""


def load(path: Path) -> ServerConfig:
    """Read and check a configuration file.

    Raises
    ------
    BeflError
        ``BEFL-G-026`` naming the field.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _bad(path, "is no JSON") from None
    if not isinstance(raw, dict):
        raise _bad(path, "is no JSON object")
    config = _typed(path, raw)
    host, _, port = config.address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise _bad(path, f"address {config.address!r} is not host:port")
    if config.time_tolerance_s < 1:
        raise _bad(path, "time_tolerance_s must be at least 1")
    if config.log_level not in _LEVELS:
        raise _bad(path, f"log_level is none of {', '.join(_LEVELS)}")
    if config.log_format not in _FORMATS:
        raise _bad(path, f"log_format is none of {', '.join(_FORMATS)}")
    if config.code_digest is not None and len(config.code_digest) != 64:  # SHA-256
        raise _bad(path, "code_digest is not 64 hex digits")
    return config


def read_pem(path: str, field: str) -> bytes:
    """Read one of the files that the configuration names.

    Raises
    ------
    BeflError
        ``BEFL-G-026`` when it is missing or no PEM.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BeflError("BEFL-G-026", f"{field}: {path} cannot be read ({error.strerror})", _HINT) from None
    if b"-----BEGIN " not in data:
        raise BeflError("BEFL-G-026", f"{field}: {path} is no PEM file", _HINT)
    return data


def _typed(path: Path, raw: dict[str, Any]) -> ServerConfig:
    names = {field.name for field in fields(ServerConfig)}
    if unknown := sorted(raw.keys() - names):
        raise _bad(path, f"unknown field {unknown[0]}")
    for name in ("chaincode_id", "address", "certificate", "key", "client_ca"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            raise _bad(path, f"{name} is missing or no text")
    if not isinstance(raw.get("code_digest"), str | None):
        raise _bad(path, "code_digest is neither text nor null")
    if type(raw.get("time_tolerance_s", 1)) is not int:
        raise _bad(path, "time_tolerance_s is no whole number")
    for name in ("log_level", "log_format", "operations_address", "operations_client_ca"):
        if not isinstance(raw.get(name, ""), str):
            raise _bad(path, f"{name} is no text")
    for name in ("certificate", "key", "client_ca", "operations_client_ca"):
        if raw.get(name):
            raw[name] = str(path.parent / raw[name])
    return ServerConfig(**raw)


def _bad(path: Path, what: str) -> BeflError:
    return BeflError("BEFL-G-026", f"{path}: {what}", _HINT)
