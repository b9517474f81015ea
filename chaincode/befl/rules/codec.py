"""Fixed point: between the floats of training and the integers of the ledger.

An update is a vector of integers ``round(change * 2^scale_bits)``; the model is a vector of int64 at the same scale,
and float32 is only a view of it at an institution. Bytes are little-endian without a header: the record beside them
says task, round, length and SHA-256.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError

_UPDATE = np.dtype("<i4")
_MODEL = np.dtype("<i8")
_MOST_INITIAL = 2**30


def bound(scale_bits: int, clip: str) -> int:
    """Return the largest absolute integer of an update, ``floor(clip * 2^scale_bits)``."""
    return int(Decimal(clip) * 2**scale_bits)


def encode(change: NDArray[np.floating], scale_bits: int, clip: str) -> NDArray[np.int32]:
    """Round a change to fixed point (half to even) and cut it at the clip.

    Parameters
    ----------
    change : ndarray of float, shape (n,)
        New parameters minus old ones.
    scale_bits : int
        Bits after the binary point.
    clip : str
        Largest absolute change, a decimal.

    Returns
    -------
    ndarray of int32, shape (n,)

    Raises
    ------
    BeflError
        ``BEFL-M-002`` when a value is not finite.
    """
    wide = np.asarray(change, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise BeflError(
            "BEFL-M-002",
            f"{int((~np.isfinite(wide)).sum())} of {wide.size} values of the update are not finite",
            "Training has diverged: lower the learning rate, or look for wrong values in the data.",
        )
    most = bound(scale_bits, clip)
    limit = (most + 1) / 2.0**scale_bits  # cut before scaling too: the largest floats would overflow
    return np.clip(np.rint(np.clip(wide, -limit, limit) * 2.0**scale_bits), -most, most).astype(np.int32)


def to_fixed(values: NDArray[np.floating], scale_bits: int) -> NDArray[np.int64]:
    """Round initial parameters to the integer model; raises ``BEFL-M-002`` beyond 2^30 or when not finite."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all() or (wide.size and float(np.abs(wide).max()) * 2.0**scale_bits > _MOST_INITIAL):
        raise BeflError("BEFL-M-002", f"the initial parameters do not fit fixed point with {scale_bits} bits")
    return np.rint(wide * 2.0**scale_bits).astype(np.int64)


def to_float(model: NDArray[np.int64], scale_bits: int) -> NDArray[np.float32]:
    """Return the float32 view of an integer model: one correctly rounded value each."""
    return (model.astype(np.float64) / 2.0**scale_bits).astype(np.float32)


def update_bytes(update: NDArray[np.int32]) -> bytes:
    """Return the bytes of an update: little-endian int32."""
    return update.astype(_UPDATE).tobytes()


def read_update(data: bytes, length: int, most: int) -> NDArray[np.int32]:
    """Read the bytes of an update and hold them against the task.

    Raises
    ------
    BeflError
        ``BEFL-M-001`` wrong length, ``BEFL-M-004`` a value beyond ``most``.
    """
    if len(data) != 4 * length:
        raise BeflError("BEFL-M-001", f"the update has {len(data)} bytes, the model wants {4 * length}")
    update = np.frombuffer(data, dtype=_UPDATE)
    if length and max(int(update.max()), -int(update.min())) > most:
        raise BeflError("BEFL-M-004", f"the update holds a value beyond the task's clip ({most} in fixed point)")
    return update.astype(np.int32, copy=False)


def model_bytes(model: NDArray[np.int64]) -> bytes:
    """Return the bytes of an integer model: little-endian int64."""
    return model.astype(_MODEL).tobytes()


def read_model(data: bytes, length: int) -> NDArray[np.int64]:
    """Read the bytes of an integer model; raises ``BEFL-M-001`` when the length is wrong."""
    if len(data) != 8 * length:
        raise BeflError("BEFL-M-001", f"the model has {len(data)} bytes, its layout wants {8 * length}")
    return np.frombuffer(data, dtype=_MODEL).astype(np.int64)


def check_initial(model: NDArray[np.int64]) -> None:
    """Refuse an initial model with a value beyond 2^30 (``BEFL-M-002``): so no number of rounds overflows int64."""
    if model.size and max(int(model.max()), -int(model.min())) > _MOST_INITIAL:
        raise BeflError("BEFL-M-002", "the initial model holds a value beyond 2^30 in fixed point")


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hex digits: what the ledger holds for updates, aggregates and models."""
    return hashlib.sha256(data).hexdigest()
