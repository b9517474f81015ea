"""Frames between an agent and its training process: a JSON header and raw arrays, never pickle.

A frame is four bytes of header length, eight bytes of body length (big endian), the header (JSON object, UTF-8) and the
body. The header's ``arrays`` lists name, type and shape of the little-endian C-order arrays of which the body is made.
This file is also run as a part of the child process, by path, under an interpreter without befl: it imports the
standard library and numpy only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIX = struct.Struct(">IQ")
MOST_HEADER = 4 * 2**20
MOST_BODY = 4 * 2**30

_TYPES = {"float32": "<f4", "int64": "<i8", "uint8": "|u1"}

Arrays = dict[str, NDArray[Any]]


def pack(header: dict[str, Any], arrays: Arrays) -> list[bytes | memoryview]:
    """Return the pieces of a frame, in order, without copying large arrays."""
    described = []
    body: list[bytes | memoryview] = []
    for name, array in arrays.items():
        plain = np.asarray(array, dtype=_TYPES[array.dtype.name], order="C")
        described.append({"name": name, "type": array.dtype.name, "shape": list(plain.shape)})
        if plain.size:  # a memoryview of nothing cannot be cast
            body.append(plain.reshape(-1).data.cast("B"))
    text = json.dumps({**header, "arrays": described}, separators=(",", ":")).encode()
    return [PREFIX.pack(len(text), sum(len(piece) for piece in body)), text, *body]


def receive(read: Callable[[int], bytes | bytearray], most: int = MOST_BODY) -> tuple[dict[str, Any], Arrays]:
    """Read a frame.

    Parameters
    ----------
    read : callable
        ``read(n)`` returns exactly n bytes or raises.
    most : int
        Bytes that its body may have.

    Raises
    ------
    ValueError
        When what comes is not a frame.
    """
    header_length, body_length = PREFIX.unpack(read(PREFIX.size))
    if header_length > MOST_HEADER or body_length > most:
        raise ValueError("a frame's length is out of bounds")
    head, body = bytes(read(header_length)), read(body_length)
    try:
        return _taken_apart(json.loads(head), body)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a frame's header is none ({type(error).__name__})") from None


def _taken_apart(header: dict[str, Any], body: bytes | bytearray) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {}
    offset = 0
    for item in header.pop("arrays"):
        kind = np.dtype(_TYPES[item["type"]])
        count = 1
        for size in item["shape"]:
            count *= size
        array = np.frombuffer(body, kind, count, offset)
        arrays[item["name"]] = array.reshape(item["shape"]).astype(kind.newbyteorder("="), copy=False)
        offset += count * kind.itemsize
    if offset != len(body):
        raise ValueError("a frame's body is longer than its arrays")
    return header, arrays
