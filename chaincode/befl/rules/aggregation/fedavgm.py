"""FedAvgM: FedAvg with momentum at the server (Hsu, Qi, Brown, arXiv:1909.06335, section 3.2).

``v <- momentum * v + mean``, and the model moves by ``server_learning_rate * v``. The state is v with 16 bits more
after the binary point than the model; each of the mean, v and the move is rounded once, half up. Within 2^-17 of a grid
unit a round for the mean and again for v, v is off by less than 2^-16 / (1 - momentum), the move by the learning rate
times that and half a unit.

With momentum at most 0.999 and updates within 2^30, v stays below 1000 * (2^46 + 1) < 2^57 and int64 cannot overflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from befl.rules.aggregation.fedavg import FedAvg, fine_mean
from befl.rules.aggregation.fixed import EXTRA_BITS, UNIT, millionths, nearest

if TYPE_CHECKING:
    from befl.rules.spec import Aggregation


class FedAvgM(FedAvg):
    """The weighted mean, with momentum."""

    defaults: ClassVar[Mapping[str, str]] = {"server_learning_rate": "1", "momentum": "0.9"}

    def start(self, length: int, settings: Aggregation) -> NDArray[np.int64]:
        """Return a velocity of nothing, shape (1, length)."""
        del settings
        return np.zeros((1, length), dtype=np.int64)

    def step(
        self,
        aggregate: NDArray[np.int64],
        weight: int,
        state: NDArray[np.int64],
        share: tuple[int, int],
        settings: Aggregation,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the move and the next velocity; raises ``BEFL-M-003`` as FedAvg's does."""
        del share
        momentum, rate = (millionths(self.value(settings, key)) for key in ("momentum", "server_learning_rate"))
        velocity = nearest(state, momentum, UNIT) + fine_mean(aggregate, weight)
        return nearest(velocity[0], rate, UNIT << EXTRA_BITS), velocity
