"""``regression/1``: metrics of a model that predicts a number, made from sums.

The institution sums in the prepared label, (value - label_centre) / label_spread, with errors and values rounded to
millionths and cut at a million: sums of them in 1e-6, sums of squares in 1e-12, all exact. ``loss_micro`` is the mean
squared error of the prepared label; ``rmse_micro`` and ``mae_micro`` are in the label's own units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from befl.rules.metrics.metric import PPM, Shown, ratio, read_as
from befl.rules.reader import Integer, refuse, setting

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

_MOST_ROWS: Final = 2**40
#: Largest error or value that is counted, in millionths of the prepared label.
MOST: Final = 10**12
_SUM: Final = _MOST_ROWS * MOST
_SQUARES: Final = _MOST_ROWS * MOST**2


@dataclass(frozen=True)
class Counts:
    """What one institution summed over its held-back rows."""

    rows: int = setting(Integer(0, _MOST_ROWS), "rows evaluated")
    squared: int = setting(Integer(0, _SQUARES), "sum of squared errors, in 1e-12")
    absolute: int = setting(Integer(0, _SUM), "sum of absolute errors, in 1e-6")
    label: int = setting(Integer(-_SUM, _SUM), "sum of the prepared label, in 1e-6")
    label_squared: int = setting(Integer(0, _SQUARES), "sum of its squares, in 1e-12")

    def check(self, where: str) -> None:
        """Refuse sums that no rows have (Cauchy-Schwarz)."""
        if self.absolute**2 > self.rows * self.squared:
            raise refuse(f"{where}.absolute", "at most the root of rows x squared", self.absolute)
        if self.label**2 > self.rows * self.label_squared:
            raise refuse(f"{where}.label", "at most the root of rows x label_squared", self.label)
        if self.rows == 0 and (self.squared or self.label_squared):
            raise refuse(f"{where}.squared", "0 when there are no rows", self.squared)


class Regression:
    """Metrics of a number."""

    shown = (
        Shown("rmse_micro", "RMSE"),
        Shown("mae_micro", "MAE"),
        Shown("r2_ppm", "R2"),
    )

    def read_counts(self, value: Any, data: DataSpec) -> Counts:
        """Read sums from their JSON form; raises ``BEFL-M-005``, the message names the field."""
        del data
        return read_as(Counts, value)

    def pool(self, counts: Iterable[Counts]) -> Counts:
        """Add the sums of several institutions."""
        listed = list(counts)
        return Counts(
            rows=sum(item.rows for item in listed),
            squared=sum(item.squared for item in listed),
            absolute=sum(item.absolute for item in listed),
            label=sum(item.label for item in listed),
            label_squared=sum(item.label_squared for item in listed),
        )

    def metrics(self, counts: Counts, data: DataSpec) -> dict[str, int | None]:
        """Make the metrics of sums; a ratio without a denominator is None.

        Returns
        -------
        dict
            ``rows``, ``loss_micro`` (mean squared error of the prepared label), ``rmse_micro`` (rounded down) and
            ``mae_micro`` in the label's units, ``r2_ppm`` (one minus the share of the label's variance that is left).
        """
        rows, spread = counts.rows, Fraction(data.label_spread)
        if rows == 0:
            return dict.fromkeys(("loss_micro", "rmse_micro", "mae_micro", "r2_ppm")) | {"rows": 0}
        square = Fraction(counts.squared, rows) * spread**2  # 1e-12 of the label's units, squared
        mean = Fraction(counts.absolute, rows) * spread
        variance = rows * counts.label_squared - counts.label**2
        return {
            "rows": rows,
            "loss_micro": ratio(counts.squared, rows * PPM),
            "rmse_micro": math.isqrt(square.numerator // square.denominator),
            "mae_micro": ratio(mean.numerator, mean.denominator),
            "r2_ppm": ratio((variance - rows * counts.squared) * PPM, variance),
        }

    def note(self, metrics: dict[str, int | None]) -> str:
        """Return nothing: the sums are exact."""
        del metrics
        return ""
