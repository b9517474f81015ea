"""Frames between an agent and its training process: what is none is a ValueError, whatever an app may write."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from befl.training import wire


def received(data: bytes):
    return wire.receive(io.BytesIO(data).read)


def frame(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return wire.PREFIX.pack(len(text), len(body)) + text + body


def test_what_is_packed_is_received():
    sent = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([], dtype=np.int64)}
    header, arrays = received(b"".join(bytes(piece) for piece in wire.pack({"ok": True}, sent)))
    assert header == {"ok": True}
    assert {name: array.tolist() for name, array in arrays.items()} == {"w": [[0, 1, 2], [3, 4, 5]], "n": []}


def described(**changes: object) -> dict:
    return {"arrays": [{"name": "w", "type": "float32", "shape": [2]} | changes]}


@pytest.mark.parametrize(
    "data",
    [
        wire.PREFIX.pack(wire.MOST_HEADER + 1, 0),
        wire.PREFIX.pack(2, wire.MOST_BODY + 1) + b"{}",
        frame(b"{"),
        frame(b"[" * 5_000),
        frame(b"\xff"),
        frame([]),
        frame({}),
        frame({"arrays": 1}),
        frame({"arrays": [1]}),
        frame({"arrays": [{}]}),
        frame(described(type="object"), bytes(8)),
        frame(described(shape="2"), bytes(8)),
        frame(described(shape=[2.0]), bytes(8)),
        frame(described(shape=[-1]), bytes(8)),
        frame(described(shape=[2**62, 4]), bytes(8)),
        frame(described(shape=[2**400]), bytes(8)),
        frame(described(shape=[0, 2**400])),
        frame(described(name=[]), bytes(8)),
        frame(described(), bytes(4)),
        frame(described(), bytes(12)),
    ],
)
def test_what_is_no_frame(data):
    with pytest.raises(ValueError, match=r"."):
        received(data)


def test_a_body_has_as_many_bytes_as_were_allowed():
    data = frame(described(), bytes(8))
    assert wire.receive(io.BytesIO(data).read, 8)[1]["w"].tolist() == [0, 0]
    stream = io.BytesIO(data)
    with pytest.raises(ValueError, match="out of bounds"):
        wire.receive(stream.read, 7)
    assert stream.tell() == wire.PREFIX.size  # nothing was read ahead
