"""SCAFFOLD (Karimireddy et al., ICML 2020, option II), with control variates that nobody has to send.

Trainer i takes K local steps of rate eta, each corrected by the server's control variate c and its own c_i::

    y <- y - eta * (gradient(y) - c_i + c)      from the model x, K times; its update is Delta_i = y - x
    c_i <- c_i - c + (x - y) / (K * eta)
    c <- c + (1/N) * sum of the changes of c_i over the updates included
    x <- x + server_learning_rate * mean of the updates included

With K and eta the same at every trainer, let C = K * eta * c and C_i = K * eta * c_i. Multiplied by K * eta the lines
read ``C_i <- C_i - C - Delta_i`` and, with S the sum of the k updates included of N trainers,
``C <- C - (k * C + S) / N``. Neither K nor eta is left, and S is the aggregate that everybody has: so C is state of
this rule and C_i what a trainer keeps for itself, both in the model's fixed point, and nothing but the update travels.
(The paper's option II sends the change of c_i beside the update and c beside the model: twice as much.) A local step
is corrected by (C - C_i) / K in terms of the model; a trainer's app divides.

The mean counts every trainer once, as in the paper: with weights, c would no longer be the mean of all c_i. K has to be
fixed in the app's settings as steps, for passes over the data differ from trainer to trainer.

Rounding C each round would let it walk away from the mean of the C_i. So the state also has Z, the exact sum of all
C_i: ``Z <- Z - k * C - S``, and C is ``floor(Z / N + 1/2)``. C is within the clip and N / k + 1 units; C_i and Z are
exact and grow by a few clips for each update: below 2^46 and 2^53 in 10,000 rounds.

When a trainer leaves the task its c_i would stay in c for ever and pull the model aside. So all control variates start
anew from nothing before the next round; with all trainers included one round makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from befl.rules.aggregation.fedavg import FedAvg, check_weight, scaled_mean
from befl.rules.aggregation.fixed import nearest
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.rules.spec import Aggregation


class Scaffold(FedAvg):
    """The mean that counts each trainer once, and control variates."""

    def aggregate(self, updates: Iterable[tuple[NDArray[np.int32], int]], length: int) -> NDArray[np.int64]:
        """Return the sum of the updates, whatever their weights; raises as FedAvg's does."""
        return super().aggregate(((update, 1) for update, _ in updates), length)

    def start(self, length: int, settings: Aggregation) -> NDArray[np.int64]:
        """Return C and Z of nothing, shape (2, length)."""
        del settings
        return np.zeros((2, length), dtype=np.int64)

    def step(
        self,
        aggregate: NDArray[np.int64],
        weight: int,
        state: NDArray[np.int64],
        share: tuple[int, int],
        settings: Aggregation,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the move and the next C and Z.

        Raises
        ------
        BeflError
            ``BEFL-M-003`` when the share or the weight cannot be.
        """
        check_weight(weight)
        included, trainers = share
        if not 1 <= included <= trainers:
            raise BeflError("BEFL-M-003", f"{included} updates of {trainers} trainers cannot be")
        z = state[1] - included * state[0] - aggregate
        moved = scaled_mean(aggregate, included, self.value(settings, "server_learning_rate"))
        return moved, np.stack([nearest(z, 1, trainers), z])

    def control(self, length: int) -> NDArray[np.int64]:
        """Return a control variate of nothing, shape (1, length)."""
        return np.zeros((1, length), dtype=np.int64)

    def left(self, state: NDArray[np.int64], control: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return nothing of either."""
        return np.zeros_like(state), np.zeros_like(control)

    def included(
        self, control: NDArray[np.int64], state: NDArray[np.int64], update: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Return ``C_i - C - Delta_i``."""
        following: NDArray[np.int64] = control - state[0] - update
        return following

    def correction(self, control: NDArray[np.int64], state: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``C - C_i``, shape (length,)."""
        difference: NDArray[np.int64] = state[0] - control[0]
        return difference
