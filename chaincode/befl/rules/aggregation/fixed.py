"""Exact arithmetic of the rules on int64: products and quotients that cannot overflow on the way.

Factors are decimals of at most six places, held as whole numbers of millionths; so no factor is rounded. Every
rounding is to the nearest integer, halves up, ``floor(x + 1/2)``, and each result is rounded once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: What factors are counted in.
UNIT: Final = 10**6
#: Bits after the binary point that a rule's state has beyond those of the model, so that small updates do not vanish.
EXTRA_BITS: Final = 16


def millionths(factor: str) -> int:
    """Return a decimal of at most six places in millionths."""
    return int(Decimal(factor) * UNIT)


def quotient(values: NDArray[np.int64], numerator: int, denominator: int) -> NDArray[np.int64]:
    """Return ``floor(values * numerator / denominator)``.

    Nothing overflows when numerator * denominator and the largest result are both below 2^63.
    """
    whole, rest = np.divmod(values, denominator)
    result: NDArray[np.int64] = whole * numerator + rest * numerator // denominator
    return result


def nearest(values: NDArray[np.int64], numerator: int, denominator: int) -> NDArray[np.int64]:
    """Return ``floor(values * numerator / denominator + 1/2)``; half as large bounds as :func:`quotient`'s."""
    return (quotient(values, 2 * numerator, denominator) + 1) >> 1


def blend(old: NDArray[np.int64], new: NDArray[np.int64], share: int) -> NDArray[np.int64]:
    """Return ``share * old + (1 - share) * new`` to the nearest integer, ``share`` in millionths up to one.

    It lies between old and new, so whatever both fit the result fits.
    """
    old_whole, old_rest = np.divmod(old, UNIT)
    new_whole, new_rest = np.divmod(new, UNIT)
    rest = share * old_rest + (UNIT - share) * new_rest
    result: NDArray[np.int64] = share * old_whole + (UNIT - share) * new_whole + (rest + UNIT // 2) // UNIT
    return result


def square(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``values^2 / 2^16`` to the nearest integer, exact for values within 2^38 (results within 2^60)."""
    high, low = values >> 8, values & 0xFF
    result: NDArray[np.int64] = high * high + ((high * low * 512 + low * low + 2**15) >> 16)
    return result


def root(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the floor of the square root of values from 0 to 2^62, exactly.

    The processor's root of the nearest float64 is at most one off; comparing squares settles it everywhere alike.
    """
    found = np.sqrt(values.astype(np.float64)).astype(np.int64)
    found -= found * found > values
    found += (found + 1) * (found + 1) <= values
    return found
