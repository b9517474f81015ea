"""FedAdam: Adam at the server (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2).

With d the weighted mean of the updates, each parameter by itself::

    m <- beta1 * m + (1 - beta1) * d
    v <- beta2 * v + (1 - beta2) * d^2          from v = tau^2; no bias correction
    the model moves by server_learning_rate * m / (sqrt(v) + tau)

in grid units of the model (2^-scale_bits): d and m with 16 more bits, v with 16 more bits than d^2 has, the root and
tau with 8, their quotient with 8. d, d^2, m, v, quotient and move are each rounded once, half up; the root is the exact
floor. So m is off by e = 2^-17 * (1 + 1 / (1 - beta1)) at most, v by w = 2^-16 * (1 + |d|) / (1 - beta2), the
denominator by r = 2^-8 + 2^-9 + min(sqrt(w), w / sqrt(v)), and a move by
``rate * (2^scale_bits * (e + |m| * r / D) / (D - r) + 2^-9) + 1/2`` units, D = sqrt(v) + tau.

The clip may be 2^22 grid units at most, and tau. Then m stays within 2^38 and d^2 within 2^60, v below 2^61, and the
quotient's numerator within 2^62; the quotient is cut at 2^30 units, so that int64 cannot overflow, nor the model in
10,000 rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules import codec
from befl.rules.aggregation.fedavg import FedAvg, fine_mean
from befl.rules.aggregation.fixed import EXTRA_BITS, UNIT, blend, millionths, nearest, root, square
from befl.rules.reader import refuse

if TYPE_CHECKING:
    from befl.rules.spec import Aggregation

_MOST_BITS: Final = 22
_ROOT_BITS: Final = EXTRA_BITS // 2
_MOST_QUOTIENT: Final = 2 ** (30 + _ROOT_BITS)


class FedAdam(FedAvg):
    """Adam on the weighted mean."""

    defaults: ClassVar[Mapping[str, str]] = {
        "server_learning_rate": "0.1",
        "beta1": "0.9",
        "beta2": "0.99",
        "tau": "0.001",
    }

    def check(self, settings: Aggregation, where: str) -> None:
        """Refuse a clip that squares could overflow with, and a tau that would be nothing."""
        if codec.bound(settings.scale_bits, settings.clip) > 2**_MOST_BITS:
            raise refuse(
                f"{where}.clip", f"at most 2^{_MOST_BITS} / 2^scale_bits with rule {settings.rule}", settings.clip
            )
        if not 1 <= _half_up(self._tau(settings)) <= 2 ** (_MOST_BITS + _ROOT_BITS):
            raise refuse(
                f"{where}.tau", f"from 2^-{_ROOT_BITS} / 2^scale_bits to 2^{_MOST_BITS} / 2^scale_bits", settings.tau
            )

    def start(self, length: int, settings: Aggregation) -> NDArray[np.int64]:
        """Return no momentum and a variance of tau^2, shape (2, length)."""
        tau = self._tau(settings)
        return np.stack([np.zeros(length, np.int64), np.full(length, _half_up(tau * tau), np.int64)])

    def step(
        self,
        aggregate: NDArray[np.int64],
        weight: int,
        state: NDArray[np.int64],
        share: tuple[int, int],
        settings: Aggregation,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the move and the next m and v; raises ``BEFL-M-003`` as FedAvg's does."""
        del share
        beta1, beta2, rate = (
            millionths(self.value(settings, key)) for key in ("beta1", "beta2", "server_learning_rate")
        )
        mean = fine_mean(aggregate, weight)
        m = blend(state[0], mean, beta1)
        v = self._variance(state[1], square(mean), beta2)
        # divided with half of the denominator added first: the nearest quotient, halves up
        denominator = root(v) + _half_up(self._tau(settings))
        moved = ((m << settings.scale_bits) + denominator // 2) // denominator
        moved = np.clip(moved, -_MOST_QUOTIENT, _MOST_QUOTIENT)
        return nearest(moved, rate, UNIT << _ROOT_BITS), np.stack([m, v])

    def _variance(self, v: NDArray[np.int64], squared: NDArray[np.int64], beta2: int) -> NDArray[np.int64]:
        return blend(v, squared, beta2)

    def _tau(self, settings: Aggregation) -> Fraction:
        """Return tau at the scale of the root; v has the scale of its square."""
        return Fraction(self.value(settings, "tau")) * (1 << (settings.scale_bits + _ROOT_BITS))


def _half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))
