"""The in-memory ledger: contracts run on it as on a peer, in tests, in simulation and in audit."""

from __future__ import annotations

from befl.contracts.stub import Creator
from befl.ledger.channel import befl_ledger
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
from befl.ledger.rwset import RangeRead, ReadSet, Version, WriteSet

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
    "make_creator",
]
