"""Where processes of this machine can listen."""

from __future__ import annotations

import socket

from befl.rules.errors import BeflError


def must_be_here(host: str) -> None:
    """Refuse a host at which no process of this machine can listen; raises ``BEFL-C-004``."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError) as error:
        raise BeflError(
            "BEFL-C-004",
            f"host: {host} is no address of this machine ({getattr(error, 'strerror', None) or error})",
            "Processes listen where the others reach them: name an address of this machine (`ip addr` lists them), or "
            "a name that stands for one.",
        ) from None


def bindable(host: str, port: int) -> bool:
    """Say whether a server could listen there now."""
    with socket.socket() as probe:
        # as servers do: connections that linger do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
