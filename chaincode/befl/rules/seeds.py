"""Seeds that follow from public names, so that the same task, round and institution always give the same bytes."""

from __future__ import annotations

import hashlib

from befl.rules import spec as specs


def rows_seed(task: str) -> bytes:
    """Return the seed, 32 bytes, by which rows are held back."""
    return hashlib.sha256(f"befl/rows/1\0{task}".encode()).digest()


def training_seed(task: str, number: int, msp_id: str) -> int:
    """Return the seed of one institution's training in one round, below 2^63."""
    data = hashlib.sha256("\0".join(("befl/train/1", task, str(number), msp_id)).encode()).digest()
    return int.from_bytes(data[:8], "big") >> 1


def rounding_seed(task: str, number: int, msp_id: str) -> bytes:
    """Return the seed, 32 bytes, by which one institution's update of one round is rounded to fewer bits."""
    return hashlib.sha256("\0".join(("befl/rounding/1", task, str(number), msp_id)).encode()).digest()


def initial_seed(spec: specs.TaskSpec) -> int:
    """Return the seed of the initial model, below 2^63: it follows from the specification."""
    data = hashlib.sha256(b"befl/init/1\0" + specs.to_json(spec).encode()).digest()
    return int.from_bytes(data[:8], "big") >> 1
