"""FedYogi: Yogi at the server (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2).

FedAdam (:mod:`befl.rules.aggregation.fedadam`) but for the variance, which grows and shrinks by as much as d^2 weighs::

    v <- v - (1 - beta2) * d^2 * sign(v - d^2)

Each round adds ``2^-17 + (1 - beta2) * 2^-16 * (1 + |d|)`` to how far v may be off; where d^2 and v are nearer to one
another than that, the sign may be the other one, as with floating point. v never falls below 0, for it shrinks only
where d^2 is smaller, and never exceeds twice the largest d^2 or where it started: 2^61 with d^2 within 2^60.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from befl.rules.aggregation.fedadam import FedAdam
from befl.rules.aggregation.fixed import UNIT, nearest


class FedYogi(FedAdam):
    """Yogi on the weighted mean."""

    def _variance(self, v: NDArray[np.int64], squared: NDArray[np.int64], beta2: int) -> NDArray[np.int64]:
        moved: NDArray[np.int64] = v - np.sign(v - squared) * nearest(squared, UNIT - beta2, UNIT)
        return moved
