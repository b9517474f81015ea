"""FedAvg: the mean of the updates, weighted by sample counts (McMahan et al., AISTATS 2017, algorithm 1).

The aggregate is the exact weighted sum; the one division comes at the end, rounded half up. An update's values fit 31
bits, a weight 24 and the number of institutions 7, so that every sum stays below 2^62: int64 cannot overflow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from befl.rules.aggregation.rule import MOST_WEIGHT
from befl.rules.errors import BeflError

_MOST_UPDATES = 2**7
_MOST_VALUE = 2**30


class FedAvg:
    """The weighted mean."""

    def aggregate(self, updates: Iterable[tuple[NDArray[np.int32], int]], length: int) -> NDArray[np.int64]:
        """Return the sum of weight times update.

        Parameters
        ----------
        updates : iterable of (ndarray of int32, shape (length,), int)
            At most 128 pairs; values within 2^30, weights from 1 to 2^24.
        length : int
            Parameters of the model.

        Returns
        -------
        ndarray of int64, shape (length,)

        Raises
        ------
        BeflError
            ``BEFL-M-003`` when the bounds that keep the sum exact do not hold.
        """
        total = np.zeros(length, dtype=np.int64)
        for count, (update, weight) in enumerate(updates, start=1):
            if count > _MOST_UPDATES or not 1 <= weight <= MOST_WEIGHT:
                raise BeflError("BEFL-M-003", f"update {count} with weight {weight} could make the sum inexact")
            if update.shape != (length,) or update.dtype != np.int32:
                raise BeflError("BEFL-M-001", f"update {count} has {update.size} values, the model {length}")
            if length and max(int(update.max()), -int(update.min())) > _MOST_VALUE:
                raise BeflError("BEFL-M-003", f"update {count} holds a value beyond 2^30")
            total += update.astype(np.int64) * weight
        return total

    def step(self, aggregate: NDArray[np.int64], weight: int) -> NDArray[np.int64]:
        """Return ``floor(aggregate / weight + 1/2)``, the mean in fixed point.

        Raises
        ------
        BeflError
            ``BEFL-M-003`` when the weight is not the sum of 1 to 128 weights.
        """
        if not 1 <= weight <= _MOST_UPDATES * MOST_WEIGHT:
            raise BeflError("BEFL-M-003", f"a sum of weights of {weight} is none of 1 to 128 weights")
        mean: NDArray[np.int64] = (2 * aggregate + weight) // (2 * weight)
        return mean
