"""Fixed point: between the floats of training and the integers of the ledger.

An update is a vector of integers ``round(change * 2^scale_bits)``; the model is a vector of int64 at the same scale,
and float32 is only a view of it at an institution. Bytes are little-endian without a header: the record beside them
says task, round, length and SHA-256.

An update may travel with fewer bits a value than the clip needs: then its values are multiples of 2^shift, and
what is packed are the multiples. Which of its two neighbours a value becomes is drawn, so that the mean over many
draws is the value (stochastic rounding; Gupta et al., ICML 2015). The draw is SHAKE-128 of a seed.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError

_MODEL = np.dtype("<i8")
_DRAW = np.dtype("<u4")
_MOST_INITIAL = 2**30


def bound(scale_bits: int, clip: str) -> int:
    """Return the largest absolute integer of an update, ``floor(clip * 2^scale_bits)``."""
    return int(Decimal(clip) * 2**scale_bits)


def shift(most: int, bits: int) -> int:
    """Return how many low bits values within ``most`` do without, so that the rest fits ``bits`` bits with its sign."""
    return max(0, most.bit_length() + 1 - bits)


def encode(
    change: NDArray[np.floating], scale_bits: int, clip: str, bits: int = 32, seed: bytes = b""
) -> NDArray[np.int32]:
    """Round a change to fixed point and cut it at the clip.

    With bits enough for every value it is rounded half to even, else to one of the neighbouring multiples of 2^shift,
    the nearer the likelier.

    Parameters
    ----------
    change : ndarray of float, shape (n,)
        New parameters minus old ones.
    scale_bits : int
        Bits after the binary point.
    clip : str
        Largest absolute change, a decimal.
    bits : int
        Bits a value, 8 to 32.
    seed : bytes
        What the draw follows from; used only where bits are too few.

    Returns
    -------
    ndarray of int32, shape (n,)
        At ``scale_bits``, whatever the bits.

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
    low = shift(most, bits)
    limit = (most + 1) / 2.0**scale_bits  # cut before scaling too: the largest floats would overflow
    fine = np.clip(wide, -limit, limit) * 2.0 ** (scale_bits - low)
    if low:
        drawn = np.frombuffer(hashlib.shake_128(seed).digest(4 * fine.size), dtype=_DRAW)
        below = np.floor(fine)
        whole = below + (drawn < (fine - below) * 2.0**32)
    else:
        whole = np.rint(fine)
    cut: NDArray[np.int32] = np.clip(whole, -(most >> low), most >> low).astype(np.int32)
    return cut << low


def to_fixed(values: NDArray[np.floating], scale_bits: int) -> NDArray[np.int64]:
    """Round initial parameters to the integer model; raises ``BEFL-M-002`` beyond 2^30 or when not finite."""
    wide = np.asarray(values, dtype=np.float64)
    if not np.isfinite(wide).all() or (wide.size and float(np.abs(wide).max()) * 2.0**scale_bits > _MOST_INITIAL):
        raise BeflError("BEFL-M-002", f"the initial parameters do not fit fixed point with {scale_bits} bits")
    return np.rint(wide * 2.0**scale_bits).astype(np.int64)


def to_float(model: NDArray[np.int64], scale_bits: int) -> NDArray[np.float32]:
    """Return the float32 view of an integer model: one correctly rounded value each."""
    return (model.astype(np.float64) / 2.0**scale_bits).astype(np.float32)


def update_bytes(update: NDArray[np.int32], most: int = 2**30, bits: int = 32) -> bytes:
    """Return the bytes of an update that :func:`encode` made: its values' ``bits`` bits without gaps.

    Value i is bits ``i * bits`` and following of the stream, in two's complement and little-endian; the last byte is
    filled up with zeros.
    """
    return _pack(update >> shift(most, bits), bits)


def read_update(data: bytes, length: int, most: int, bits: int = 32) -> NDArray[np.int32]:
    """Read the bytes of an update and hold them against the task.

    Parameters
    ----------
    data : bytes
        What :func:`update_bytes` made.
    length : int
        Parameters of the model.
    most : int
        The task's :func:`bound`.
    bits : int
        Bits a value.

    Returns
    -------
    ndarray of int32, shape (length,)
        At the task's scale.

    Raises
    ------
    BeflError
        ``BEFL-M-001`` wrong length, or bits behind the last value that are not zero; ``BEFL-M-004`` a value beyond
        ``most``.
    """
    size = -(-length * bits // 8)
    if len(data) != size:
        raise BeflError("BEFL-M-001", f"the update has {len(data)} bytes, the model wants {size}")
    if data and data[-1] >> (8 - (8 * size - length * bits)):
        raise BeflError("BEFL-M-001", "the update has bits behind its last value")
    low = shift(most, bits)
    packed = _unpack(data, length, bits)
    if length and max(int(packed.max()), -int(packed.min())) > most >> low:
        raise BeflError("BEFL-M-004", f"the update holds a value beyond the task's clip ({most} in fixed point)")
    return packed << low


def _pack(values: NDArray[np.int32], bits: int) -> bytes:
    """Put values of ``bits`` bits one behind the other; eight of them fill ``bits`` bytes."""
    if bits % 8 == 0 and bits != 24:
        return values.astype(f"<i{bits // 8}").tobytes()
    groups = -(-values.size // 8)
    eights = np.zeros((groups, 8), np.uint64)
    eights.reshape(-1)[: values.size] = values.view(np.uint32) & np.uint32(2**bits - 1)
    packed = np.zeros((groups, bits), np.uint8)
    for place in range(8):
        first, offset = divmod(place * bits, 8)
        for byte in range(-(-(offset + bits) // 8)):
            moved = eights[:, place] << np.uint64(offset) >> np.uint64(8 * byte)
            packed[:, first + byte] |= moved.astype(np.uint8)
    return packed.tobytes()[: -(-values.size * bits // 8)]


def _unpack(data: bytes, length: int, bits: int) -> NDArray[np.int32]:
    """Undo :func:`_pack`."""
    if bits % 8 == 0 and bits != 24:
        return np.frombuffer(data, dtype=f"<i{bits // 8}").astype(np.int32)
    groups = -(-length // 8)
    packed = np.zeros((groups, bits), np.uint8)
    packed.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
    eights = np.zeros((groups, 8), np.uint64)
    for place in range(8):
        first, offset = divmod(place * bits, 8)
        for byte in range(-(-(offset + bits) // 8)):
            eights[:, place] |= packed[:, first + byte].astype(np.uint64) << np.uint64(8 * byte)
        eights[:, place] >>= np.uint64(offset)
    values = (eights.reshape(-1)[:length] & np.uint64(2**bits - 1)).astype(np.int64)
    return (values - (values >> (bits - 1) << bits)).astype(np.int32)


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
