"""FedAvg: the mean of the updates, weighted by sample counts (McMahan et al., AISTATS 2017, algorithm 1).

The aggregate is the exact weighted sum. What is added to the model is the server's learning rate times the mean, one
division at the end, rounded half up. An update's values fit 31 bits, a weight 24 and the number of institutions 7, so
that every sum stays below 2^62: int64 cannot overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from befl.rules.aggregation.fixed import EXTRA_BITS, UNIT, millionths, nearest, quotient
from befl.rules.aggregation.rule import MOST_WEIGHT
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.rules.spec import Aggregation

_MOST_UPDATES = 2**7
_MOST_VALUE = 2**30


class FedAvg:
    """The weighted mean; other linear rules are this one with another step."""

    defaults: ClassVar[Mapping[str, str]] = {"server_learning_rate": "1"}

    def check(self, settings: Aggregation, where: str) -> None:
        """Refuse nothing: every update that a task can allow has room."""

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

    def start(self, length: int, settings: Aggregation) -> NDArray[np.int64]:
        """Return no state."""
        del settings
        return np.zeros((0, length), dtype=np.int64)

    def step(
        self,
        aggregate: NDArray[np.int64],
        weight: int,
        state: NDArray[np.int64],
        share: tuple[int, int],
        settings: Aggregation,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return ``floor(rate * aggregate / weight + 1/2)``, the mean in fixed point at a rate of one.

        Raises
        ------
        BeflError
            ``BEFL-M-003`` when the weight is not the sum of 1 to 128 weights.
        """
        del share
        check_weight(weight)
        return scaled_mean(aggregate, weight, self.value(settings, "server_learning_rate")), state

    def control(self, length: int) -> NDArray[np.int64]:
        """Return no control variate."""
        return np.zeros((0, length), dtype=np.int64)

    def left(self, state: NDArray[np.int64], control: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return both as they are."""
        return state, control

    def included(
        self, control: NDArray[np.int64], state: NDArray[np.int64], update: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Return no control variate."""
        del state, update
        return control

    def correction(self, control: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return None: local steps are taken as they come."""
        del control, state
        return None

    def value(self, settings: Aggregation, key: str) -> str:
        """Return what the task says, else the rule's default."""
        return str(getattr(settings, key) or self.defaults[key])


def check_weight(weight: int) -> None:
    """Refuse what is not the sum of 1 to 128 weights (``BEFL-M-003``)."""
    if not 1 <= weight <= _MOST_UPDATES * MOST_WEIGHT:
        raise BeflError("BEFL-M-003", f"a sum of weights of {weight} is none of 1 to 128 weights")


def scaled_mean(aggregate: NDArray[np.int64], weight: int, rate: str) -> NDArray[np.int64]:
    """Return rate times mean at the model's scale, rounded once: floors of floors are the floor of the whole."""
    return (quotient(aggregate, 2 * millionths(rate), weight) // UNIT + 1) >> 1


def fine_mean(aggregate: NDArray[np.int64], weight: int) -> NDArray[np.int64]:
    """Return the mean with :data:`EXTRA_BITS` more bits after the binary point than the model has."""
    check_weight(weight)
    return nearest(aggregate, 2**EXTRA_BITS, weight)
