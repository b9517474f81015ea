"""``sums/1``: centre and spread of number columns from all institutions' rows, where a task asks for it.

A column with ``statistics = "pooled"`` takes its declared centre and spread as a first guess. Each institution sums
over its own training rows the values as that guess prepares them, (value - centre) / spread, rounded to millionths and
cut at a million: a sum in 1e-6, a sum of squares in 1e-12, both exact, and how many values they are of (missing ones
are left out). The sums travel with the application and stand on the ledger. When training starts the contract adds
those of the selected trainers; mean and standard deviation of the pooled values become the column's centre and spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from befl.rules.errors import BeflError
from befl.rules.reader import Integer, read, refuse, setting

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

VERSION: Final = "sums/1"
#: Largest value that is summed, in millionths of the guess' units.
MOST: Final = 10**12
_MOST_ROWS: Final = 2**40
_DECIMALS: Final = 18


@dataclass(frozen=True)
class Sums:
    """What one institution summed over a column of its training rows."""

    values: int = setting(Integer(0, _MOST_ROWS), "rows in which the value is known")
    total: int = setting(Integer(-_MOST_ROWS * MOST, _MOST_ROWS * MOST), "sum of the values, in 1e-6")
    squares: int = setting(Integer(0, _MOST_ROWS * MOST**2), "sum of their squares, in 1e-12")

    def check(self, where: str) -> None:
        """Refuse sums that no values have (Cauchy-Schwarz, and no value beyond the cut)."""
        if self.total**2 > self.values * self.squares:
            raise refuse(f"{where}.total", "at most the root of values x squares", self.total)
        if self.squares > self.values * MOST**2:
            raise refuse(f"{where}.squares", f"at most values x {MOST}^2", self.squares)


def read_sums(value: Any, data: DataSpec) -> dict[str, Sums]:
    """Read one institution's sums from their JSON form: exactly those of the columns that the task asks for.

    Raises
    ------
    BeflError
        ``BEFL-M-005``; the message names the column.
    """
    if not isinstance(value, Mapping) or sorted(value) != sorted(data.pooled):
        asked = ", ".join(data.pooled) or "no column"
        found = ", ".join(sorted(value)[:20]) if isinstance(value, Mapping) else type(value).__name__
        raise BeflError("BEFL-M-005", f"statistics: the task asks for sums of {asked}, not of {found or 'no column'}")
    try:
        return {name: read(Sums, value[name], f"statistics.{name}") for name in data.pooled}
    except BeflError as error:
        raise BeflError("BEFL-M-005", error.message, error.hint) from None


def preparation(data: DataSpec, found: Sequence[Mapping[str, Sums]]) -> dict[str, dict[str, str]]:
    """Pool the sums of the selected trainers.

    Returns
    -------
    dict of str to dict
        Column to ``centre`` and ``spread``, decimals. The centre is rounded half up at the 18th decimal, the standard
        deviation rounded down to a millionth of the guess' spread. A column without a known value keeps its guess, one
        whose values are all alike the guess' spread; neither leaves the bounds that a specification has.
    """
    made = {}
    for name in data.pooled:
        column = data.columns[name]
        centre, spread = Fraction(column.centre), Fraction(column.spread)
        values, total, squares = (
            sum(getattr(each[name], field) for each in found) for field in ("values", "total", "squares")
        )
        if values:
            deviation = math.isqrt((values * squares - total**2) // values**2) or 10**6
            centre += spread * Fraction(total, values * 10**6)
            spread *= Fraction(deviation, 10**6)
        made[name] = {
            "centre": _decimal(centre, -(10**15), 10**15),
            "spread": _decimal(spread, Fraction(1, 10**15), 10**15),
        }
    return made


def prepared(data: DataSpec, made: Mapping[str, Mapping[str, str]]) -> DataSpec:
    """Return the declaration with the columns as :func:`preparation` made them; nothing is asked for any more."""
    columns = {
        name: replace(data.columns[name], statistics="declared", centre=item["centre"], spread=item["spread"])
        for name, item in made.items()
    }
    return replace(data, columns={**data.columns, **columns})


def _decimal(value: Fraction, least: Fraction | int, most: Fraction | int) -> str:
    """Write a number within bounds as a decimal in its normal form."""
    cut = min(max(value, Fraction(least)), Fraction(most)) * 10**_DECIMALS
    whole = (2 * cut.numerator + cut.denominator) // (2 * cut.denominator)
    before, after = divmod(abs(whole), 10**_DECIMALS)
    text = f"{before}.{after:0{_DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{text}" if whole < 0 else text
