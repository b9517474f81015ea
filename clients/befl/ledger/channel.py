"""The channel as a consortium has it: befl's own chaincode on the ledger in memory."""

from __future__ import annotations

from collections.abc import Callable

from befl.contracts.chaincode import BeflChaincode
from befl.ledger.memory import MemoryLedger


def befl_ledger(*, clock: Callable[[], int] | None = None) -> MemoryLedger:
    """Return an empty channel that runs befl's chaincode; ``clock`` as for :class:`MemoryLedger`."""
    return MemoryLedger(BeflChaincode(), clock=clock)
