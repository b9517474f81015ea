"""From files to a gateway: connection profile, user's folder, mutual TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc

from befl.gateway.client import Deadlines, Gateway
from befl.gateway.identity import Identity, check_pair, read
from befl.gateway.profile import PeerAddress, Profile

_MESSAGE_LIMIT: Final = 100 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    # The peer allows a ping a minute (peer.keepalive.minInterval) and answers more with GOAWAY.
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A peer that is back is found within two seconds; gRPC's own limit is two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Two gateways of one process never share a connection: each has its own certificate, and closes its own.
    ("grpc.use_local_subchannel_pool", 1),
)


def connect(profile: Profile, user_dir: Path, deadlines: Deadlines = Deadlines()) -> Gateway:  # noqa: B008  # immutable
    """Connect a user of an institution to its own peer.

    Parameters
    ----------
    profile : Profile
        The institution's connection profile.
    user_dir : Path
        The user's folder, with ``msp/`` and ``tls/{ca.crt,client.crt,client.key}``, as Fabric lays it out.
    deadlines : Deadlines
        For every step.

    Returns
    -------
    Gateway
        A context manager; closing it closes the connection.

    Raises
    ------
    BeflError
        ``BEFL-G-023``, ``BEFL-G-024``, ``BEFL-G-025`` for files that cannot be used. Whether the peer answers is known
        only with the first call.
    """
    identity = Identity.load(user_dir / "msp", profile.msp_id)
    channel = open_channel(profile.peers[0], user_dir / "tls")
    certificate = read(user_dir / "tls" / "client.crt")
    return Gateway(channel, identity, deadlines, owns_channel=True, tls_certificate=certificate)


def open_channel(peer: PeerAddress, tls_dir: Path) -> grpc.Channel:
    """Open a gRPC channel to a peer with mutual TLS; the caller closes it.

    Parameters
    ----------
    peer : PeerAddress
        Where it is and by which CA it is known.
    tls_dir : Path
        Holds ``client.crt`` and ``client.key``.

    Raises
    ------
    BeflError
        ``BEFL-G-023``, ``BEFL-G-024``, ``BEFL-G-025`` for files that cannot be used.
    """
    certificate, key = read(tls_dir / "client.crt"), read(tls_dir / "client.key")
    check_pair(certificate, key, str(tls_dir))
    credentials = grpc.ssl_channel_credentials(peer.tls_ca, key, certificate)
    options: list[tuple[str, str | int]] = list(_OPTIONS)
    if peer.server_name:
        options.append(("grpc.ssl_target_name_override", peer.server_name))
    return grpc.secure_channel(peer.address, credentials, options)
