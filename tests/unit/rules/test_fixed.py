"""The rules' arithmetic against Python's own integers and fractions, up to the bounds that each function states."""

from __future__ import annotations

from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.aggregation import fixed


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


wide = st.integers(-(2**62), 2**62) | st.sampled_from([-(2**62), 2**62, 0, -1, 1])


@given(wide, st.integers(1, 2**30), st.integers(1, 2**31))
def test_quotients_are_exact(value, numerator, denominator):
    value = value * denominator // max(numerator, denominator)  # the result has to fit too
    assert fixed.quotient(array(value), numerator, denominator).tolist() == [value * numerator // denominator]


@given(st.integers(-(2**61), 2**61), st.integers(0, 2**25), st.integers(1, 2**36))
def test_the_nearest_quotient_halves_up(value, numerator, denominator):
    value = value * denominator // max(numerator, denominator)
    expected = half_up(Fraction(value * numerator, denominator))
    assert fixed.nearest(array(value), numerator, denominator).tolist() == [expected]


@given(wide, wide, st.integers(0, fixed.UNIT))
def test_a_blend_is_rounded_once_and_lies_between(old, new, share):
    exact = Fraction(share * old + (fixed.UNIT - share) * new, fixed.UNIT)
    (found,) = fixed.blend(array(old), array(new), share).tolist()
    assert found == half_up(exact)
    assert min(old, new) <= found <= max(old, new)


@given(st.integers(-(2**38), 2**38) | st.sampled_from([2**38, -(2**38), 255, 256, -1]))
def test_a_square_has_16_bits_less(value):
    assert fixed.square(array(value)).tolist() == [half_up(Fraction(value * value, 2**16))]


@given(st.integers(0, 2**62) | st.integers(0, 2**31).map(lambda root: root * root), st.sampled_from([-1, 0, 1]))
def test_the_root_is_the_exact_floor(value, near):
    value = min(max(value + near, 0), 2**62)
    assert fixed.root(array(value)).tolist() == [isqrt(value)]


@pytest.mark.parametrize(("text", "expected"), [("1", 10**6), ("0.000001", 1), ("0.999999", 999_999), ("10", 10**7)])
def test_factors_are_exact_in_millionths(text, expected):
    assert fixed.millionths(text) == expected
