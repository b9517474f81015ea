"""What every aggregation rule offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from befl.rules.spec import Aggregation

#: Largest weight of one update; with 31 bits a value and 128 updates every sum stays exact.
MOST_WEIGHT: Final = 2**24


class Rule(Protocol):
    """An aggregation rule on fixed-point integers, exact and independent of order.

    A rule may carry state from round to round. It follows from the updates, so it is never on the ledger: each agent
    derives it along the chain of models. State is int64 of shape (k, length), one row a quantity, k of the rule.
    """

    @property
    def defaults(self) -> Mapping[str, str]:
        """The optional keys of ``[aggregation]`` that the rule knows, each with what holds when it is not written."""

    def check(self, settings: Aggregation, where: str) -> None:
        """Refuse settings (``BEFL-C-004``) with which int64 could overflow."""

    def aggregate(self, updates: Iterable[tuple[NDArray[np.int32], int]], length: int) -> NDArray[np.int64]:
        """Combine (update, weight) pairs, each update of shape (length,), into the aggregate, shape (length,)."""

    def start(self, length: int, settings: Aggregation) -> NDArray[np.int64]:
        """Return the state before the first round, shape (k, length)."""

    def step(
        self,
        aggregate: NDArray[np.int64],
        weight: int,
        state: NDArray[np.int64],
        share: tuple[int, int],
        settings: Aggregation,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what is added to the model, and the next state.

        Parameters
        ----------
        aggregate : ndarray of int64, shape (length,)
            What :meth:`aggregate` returned.
        weight : int
            The sum of the weights.
        state : ndarray of int64, shape (k, length)
            The state before the round.
        share : tuple of int
            Updates included, and trainers of the task in this round.
        settings : Aggregation
            The task's ``[aggregation]``.
        """

    def control(self, length: int) -> NDArray[np.int64]:
        """Return a trainer's control variate before the first round, shape (1, length), or (0, length) without."""

    def left(self, state: NDArray[np.int64], control: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return state and control variate for a round before which trainers have left the task."""

    def included(
        self, control: NDArray[np.int64], state: NDArray[np.int64], update: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Return a trainer's control variate after a round that included its update; ``state`` is that before it."""

    def correction(self, control: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return by how much a trainer corrects all its local steps of a round together, shape (length,), or None."""
