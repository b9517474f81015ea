"""Seeds that follow from public names, so that the same task, round and institution always give the same bytes."""

from __future__ import annotations

import hashlib


def rows_seed(task: str) -> bytes:
    """Return the seed, 32 bytes, by which rows are held back."""
    return hashlib.sha256(f"befl/rows/1\0{task}".encode()).digest()


def training_seed(task: str, number: int, msp_id: str) -> int:
    """Return the seed of one institution's training in one round, below 2^63."""
    data = hashlib.sha256("\0".join(("befl/train/1", task, str(number), msp_id)).encode()).digest()
    return int.from_bytes(data[:8], "big") >> 1
