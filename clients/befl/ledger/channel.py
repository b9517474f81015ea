"""The channel as a consortium has it: befl's own chaincode on the ledger in memory."""

from __future__ import annotations

from collections.abc import Callable

from befl.contracts.chaincode import CONTRACTS, BeflChaincode
from befl.ledger.memory import MemoryLedger


def befl_ledger(*, clock: Callable[[], int] | None = None) -> MemoryLedger:
    """Return an empty channel that runs befl's chaincode; ``clock`` as for :class:`MemoryLedger`."""
    return MemoryLedger(BeflChaincode(), clock=clock)


def transient_names(function: str) -> tuple[str, ...]:
    """Name what travels transiently with a transaction; nothing for a function that there is not."""
    contract, _, name = function.partition(":")
    transaction = CONTRACTS.get(contract, {}).get(name)
    return transaction.transient if transaction else ()
