"""The in-memory ledger: contracts run on it as on a peer, in tests, in simulation and in audit."""

from __future__ import annotations

from befl.contracts.context import number_key
from befl.contracts.stub import Creator, create_composite_key, split_composite_key
from befl.ledger.channel import befl_ledger, transient_names
from befl.ledger.identities import make_creator
from befl.ledger.memory import (
    Block,
    Endorsed,
    Event,
    MemoryLedger,
    Submitted,
    Transaction,
    ValidationCode,
)
from befl.ledger.rwset import RangeRead, ReadSet, Version, WriteSet, digest

__all__ = [
    "Block",
    "Creator",
    "Endorsed",
    "Event",
    "MemoryLedger",
    "RangeRead",
    "ReadSet",
    "Submitted",
    "Transaction",
    "ValidationCode",
    "Version",
    "WriteSet",
    "befl_ledger",
    "create_composite_key",
    "digest",
    "make_creator",
    "number_key",
    "split_composite_key",
    "transient_names",
]
