"""Canonical JSON: one value, one sequence of bytes.

What stands on the ledger is integers, strings, booleans, null, lists and objects with string keys: sorted keys, no
spaces, UTF-8, no floats (decimals are strings). It is the subset of RFC 8785 (JSON Canonicalization Scheme) without
floating-point numbers; keys are sorted by code point, which is the same order for the ASCII keys that records use.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from befl.rules.errors import BeflError

# Limits of befl, well below Python's own: those depend on the caller's stack and environment, and endorsers must agree.
_MOST_DEPTH: Final = 100
_MOST_BITS: Final = 2_048
_LEAVES: Final = frozenset({str, bool})


def dumps(value: Any) -> bytes:
    """Encode a value canonically.

    Parameters
    ----------
    value : None, bool, int, str, list, tuple or dict with str keys
        Nested at will.

    Returns
    -------
    bytes
        UTF-8 without a trailing newline.

    Raises
    ------
    BeflError
        ``BEFL-C-001`` when a float, a non-string key, a lone surrogate, a number of more than 2048 bits or another type
        stands anywhere in it, or when it is nested deeper than 100 levels.
    """
    _check(value, (), _MOST_DEPTH)
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise BeflError("BEFL-C-001", "text holds a lone surrogate and cannot be encoded as UTF-8") from None


def loads(data: bytes | str) -> Any:
    """Decode canonical JSON and refuse anything that :func:`dumps` would not have written.

    Raises
    ------
    BeflError
        ``BEFL-C-001`` for text that is not JSON, or is JSON in another form than the canonical one.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        value = json.loads(raw.decode(), parse_float=_refuse_number, parse_constant=_refuse_number)
    except (ValueError, RecursionError):
        raise BeflError("BEFL-C-001", "not canonical JSON: the text cannot be read") from None
    if dumps(value) != raw:
        raise BeflError("BEFL-C-001", "not canonical JSON: keys must be sorted, unique and without spaces")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(text)


def _check(value: Any, where: tuple[Any, ...], depth: int) -> None:
    """Refuse what cannot stand on the ledger; ``where`` is the keys that led to it, joined only for a message."""
    if value is None or type(value) in _LEAVES:
        return
    if depth < 0:
        raise BeflError("BEFL-C-001", f"nested deeper than {_MOST_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BeflError("BEFL-C-001", f"{_place(where)}: a key is {type(key).__name__}, not text")
            _check(item, (*where, key), depth - 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, (*where, index), depth - 1)
    elif not isinstance(value, str | int):  # their subclasses are written as they are
        raise BeflError("BEFL-C-001", f"{_place(where)}: {type(value).__name__} cannot stand on the ledger")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise BeflError("BEFL-C-001", f"{_place(where)}: a number of more than {_MOST_BITS} bits")


def _place(where: tuple[Any, ...]) -> str:
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where)
