"""What every aggregation rule offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

#: Largest weight of one update; with 31 bits a value and 128 updates every sum stays exact.
MOST_WEIGHT: Final = 2**24


class Rule(Protocol):
    """An aggregation rule on fixed-point integers, exact and independent of order."""

    def aggregate(self, updates: Iterable[tuple[NDArray[np.int32], int]], length: int) -> NDArray[np.int64]:
        """Combine (update, weight) pairs, each update of shape (length,), into the aggregate, shape (length,)."""

    def step(self, aggregate: NDArray[np.int64], weight: int) -> NDArray[np.int64]:
        """Return what is added to the model, from the aggregate and the sum of the weights."""
