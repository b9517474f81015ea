from __future__ import annotations

import hashlib
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from befl.rules import codec
from befl.rules.errors import BeflError

scales = st.integers(4, 24)
finite = arrays.arrays(np.float64, st.integers(0, 20), elements=st.floats(allow_nan=False, allow_infinity=False))
small = arrays.arrays(np.float64, st.integers(1, 20), elements=st.floats(-60, 60))
int32 = arrays.arrays(np.int32, st.integers(0, 20), elements=st.integers(-(2**30), 2**30))
int64 = arrays.arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**63), 2**63 - 1))


@given(small, scales)
def test_a_value_moves_by_half_a_grid_unit_at_most(change, scale_bits):
    clip = "64"
    for value, fixed in zip(change, codec.encode(change, scale_bits, clip), strict=True):
        assert abs(Fraction(float(value)) - Fraction(int(fixed), 2**scale_bits)) <= Fraction(1, 2 ** (scale_bits + 1))


@given(finite, scales, st.sampled_from(["0.0625", "8", "63.9", "64"]))
def test_every_value_is_within_the_clip(change, scale_bits, clip):
    most = codec.bound(scale_bits, clip)
    encoded = codec.encode(change, scale_bits, clip)
    assert encoded.dtype == np.int32
    assert encoded.shape == change.shape
    assert all(-most <= value <= most for value in encoded.tolist())
    exact = [Fraction(float(value)) * 2**scale_bits for value in change]
    expected = [max(-most, min(most, round(value))) for value in exact]
    assert encoded.tolist() == expected
    assert codec.read_update(codec.update_bytes(encoded), len(change), most).tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_is_refused(bad, dtype):
    with pytest.raises(BeflError, match="2 of 3 values of the update are not finite") as caught:
        codec.encode(np.array([bad, 0, bad], dtype=dtype), 16, "8")
    assert caught.value.code == "BEFL-M-002"
    with pytest.raises(BeflError) as caught:
        codec.to_fixed(np.array([0, bad], dtype=dtype), 16)
    assert caught.value.code == "BEFL-M-002"


def test_halves_go_to_the_even_neighbour():
    unit = 2.0**-16
    change = np.array([0.5, 1.5, 2.5, -0.5, -1.5]) * unit
    assert codec.encode(change, 16, "8").tolist() == [0, 2, 2, 0, -2]
    assert codec.to_fixed(change, 16).tolist() == [0, 2, 2, 0, -2]


@given(arrays.arrays(np.float32, st.integers(0, 20), elements=st.floats(-64, 64, width=32)), scales)
def test_initial_parameters_round_trip(values, scale_bits):
    model = codec.to_fixed(values, scale_bits)
    codec.check_initial(model)
    assert codec.read_model(codec.model_bytes(model), len(values)).tolist() == model.tolist()
    back = codec.to_float(model, scale_bits)
    assert back.dtype == np.float32
    for value, fixed, seen in zip(values, model, back, strict=True):
        assert abs(Fraction(float(value)) - Fraction(int(fixed), 2**scale_bits)) <= Fraction(1, 2 ** (scale_bits + 1))
        assert seen == np.float32(int(fixed) / 2**scale_bits)


@pytest.mark.parametrize("value", [64.1, -64.1, 1e300, -1e300])
def test_initial_parameters_beyond_fixed_point_are_refused(value):
    assert codec.to_fixed(np.array([64.0, -64.0]), 24).tolist() == [2**30, -(2**30)]
    with pytest.raises(BeflError, match="do not fit fixed point with 24 bits") as caught:
        codec.to_fixed(np.array([0.0, value]), 24)
    assert caught.value.code == "BEFL-M-002"


@pytest.mark.parametrize("value", [2**30 + 1, -(2**30) - 1, 2**63 - 1, -(2**63)])
def test_an_initial_model_beyond_its_bound_is_refused(value):
    codec.check_initial(np.array([2**30, -(2**30)]))
    codec.check_initial(np.array([], dtype=np.int64))
    with pytest.raises(BeflError, match="beyond 2\\^30") as caught:
        codec.check_initial(np.array([0, value]))
    assert caught.value.code == "BEFL-M-002"


@given(int32)
def test_an_update_is_little_endian_int32(update):
    data = codec.update_bytes(update)
    assert data == struct.pack(f"<{len(update)}i", *update.tolist())
    assert codec.update_bytes(update.astype(">i4")) == data
    assert codec.read_update(data, len(update), 2**30).tolist() == update.tolist()
    assert codec.digest(data) == hashlib.sha256(data).hexdigest()


@given(int64)
def test_a_model_is_little_endian_int64(model):
    data = codec.model_bytes(model)
    assert data == struct.pack(f"<{len(model)}q", *model.tolist())
    assert codec.model_bytes(model.astype(">i8")) == data
    read = codec.read_model(data, len(model))
    assert read.tolist() == model.tolist()
    read += 0  # writable: the next model is made in place


@pytest.mark.parametrize("size", [0, 1, 7, 9, 12, 16])
def test_a_wrong_length_is_refused(size):
    for read, expected in (
        (lambda: codec.read_update(b"\0" * size, 2, 5), f"the update has {size} bytes, the model wants 8"),
        (lambda: codec.read_model(b"\0" * size, 1), f"the model has {size} bytes, its layout wants 8"),
    ):
        with pytest.raises(BeflError) as caught:
            read()
        assert (caught.value.code, caught.value.message) == ("BEFL-M-001", expected)


@pytest.mark.parametrize("value", [6, -6, 2**31 - 1, -(2**31)])
def test_a_value_beyond_the_clip_is_refused(value):
    assert codec.read_update(struct.pack("<2i", 5, -5), 2, 5).tolist() == [5, -5]
    with pytest.raises(BeflError, match="beyond the task's clip") as caught:
        codec.read_update(struct.pack("<2i", 0, value), 2, 5)
    assert caught.value.code == "BEFL-M-004"


# --- fewer bits a value ----------------------------------------------------------------------------------------------

widths = st.integers(8, 32)


def as_python(values: list[int], bits: int) -> bytes:
    """Pack with Python's long integers."""
    stream = sum((value % 2**bits) << place * bits for place, value in enumerate(values))
    return stream.to_bytes(-(-len(values) * bits // 8), "little")


@st.composite
def packed(draw):
    bits, most = draw(widths), draw(st.integers(1, 2**30))
    largest = most >> codec.shift(most, bits)
    value = st.integers(-largest, largest) | st.sampled_from([largest, -largest, 0, -1])
    return draw(st.lists(value, max_size=40)), most, bits


@given(packed())
def test_bits_are_packed_without_gaps_and_come_back(made):
    values, most, bits = made
    update = np.array(values, np.int32) << codec.shift(most, bits)
    data = codec.update_bytes(update, most, bits)
    assert data == as_python(values, bits)
    read = codec.read_update(data, len(values), most, bits)
    assert (read.dtype, read.tolist()) == (np.int32, update.tolist())


@given(st.integers(1, 2**30), widths)
def test_the_shift_is_the_least_that_fits(most, bits):
    low = codec.shift(most, bits)
    assert most >> low < 2 ** (bits - 1)
    assert low == 0 or most.bit_length() - (low - 1) > bits - 1
    assert codec.shift(2**30, 32) == 0


@given(small, scales, widths, st.binary(max_size=4))
def test_a_drawn_value_is_a_neighbour_on_the_grid(change, scale_bits, bits, seed):
    most = codec.bound(scale_bits, "60")
    low = codec.shift(most, bits)
    found = codec.encode(change, scale_bits, "60", bits, seed)
    assert found.tolist() == codec.encode(change, scale_bits, "60", bits, seed).tolist()
    for value, fixed in zip(change, found.tolist(), strict=True):
        exact = Fraction(float(value)) * 2**scale_bits
        assert fixed % 2**low == 0
        assert abs(fixed) <= most
        if low == 0:
            assert abs(exact - fixed) <= Fraction(1, 2)
        elif abs(exact) <= most >> low << low:
            assert abs(exact - fixed) < 2**low  # one of the two multiples around it, itself when it is one
    data = codec.update_bytes(found, most, bits)
    assert len(data) == -(-len(change) * bits // 8)
    assert codec.read_update(data, len(change), most, bits).tolist() == found.tolist()


@pytest.mark.parametrize("bits", [8, 11, 16])
def test_the_mean_of_many_draws_is_the_value(bits):
    """Stochastic rounding is unbiased: 4000 seeds, five standard errors."""
    low = codec.shift(codec.bound(16, "8"), bits)
    change = np.linspace(-7, 7, 41) * 1.0001
    drawn = np.array([codec.encode(change, 16, "8", bits, b"%d" % seed) for seed in range(4_000)])
    units = change * 2.0 ** (16 - low)
    rest = units - np.floor(units)
    error = drawn.mean(axis=0) / 2**low - units
    assert (np.abs(error) <= 5 * np.sqrt(rest * (1 - rest) / 4_000) + 1e-9).all()
    assert np.unique(drawn[:, 1]).size == 2  # both neighbours occur


def test_with_bits_enough_nothing_is_drawn():
    change = np.random.default_rng(1).normal(0, 1, 1_000)
    plain = codec.encode(change, 16, "8")
    for bits in (21, 24, 32):  # 2^19 needs 20 bits and a sign
        assert codec.encode(change, 16, "8", bits, b"any").tolist() == plain.tolist()
    assert codec.encode(change, 16, "8", 20, b"any").tolist() != plain.tolist()
    assert codec.encode(np.zeros(0), 16, "8", 8).tolist() == []


@given(st.integers(1, 30), st.sampled_from([9, 11, 13, 20, 31]), st.data())
def test_bits_behind_the_last_value_are_refused(length, bits, data):
    spare = -length * bits % 8
    whole = bytearray(codec.update_bytes(np.zeros(length, np.int32), 255, bits))
    if spare:
        whole[-1] |= 1 << data.draw(st.integers(8 - spare, 7))
        with pytest.raises(BeflError, match="bits behind its last value") as caught:
            codec.read_update(bytes(whole), length, 255, bits)
        assert caught.value.code == "BEFL-M-001"
    for wrong in (bytes(whole[:-1]), bytes(whole) + b"\0"):
        with pytest.raises(BeflError, match="the model wants") as caught:
            codec.read_update(wrong, length, 255, bits)
        assert caught.value.code == "BEFL-M-001"


@pytest.mark.parametrize("bits", [8, 9, 16, 20, 24])
def test_packed_values_beyond_the_clip_are_refused(bits):
    """A bound of 200 at 8 bits has a shift of 1, so that 100 is the most that may be packed."""
    low = codec.shift(200, bits)
    largest = 200 >> low
    for value in (largest, -largest):
        assert codec.read_update(as_python([0, value], bits), 2, 200, bits).tolist() == [0, value << low]
    for value in (largest + 1, -largest - 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1):
        with pytest.raises(BeflError, match="beyond the task's clip") as caught:
            codec.read_update(as_python([0, value], bits), 2, 200, bits)
        assert caught.value.code == "BEFL-M-004"


def test_fixed_vectors_of_few_bits():
    change = np.array([1.0, -0.25, 100.0, 0.001, -0.3])
    found = codec.encode(change, 16, "8", 11, b"seed")
    assert found.tolist() == [65_536, -16_384, 524_288, 0, -19_456]
    assert codec.update_bytes(found, codec.bound(16, "8"), 11).hex() == "40803f8000d07e"


def test_fixed_vectors():
    assert codec.bound(16, "8") == 524_288
    assert codec.bound(4, "0.999") == 15
    assert codec.encode(np.array([1.0, -0.25, 100.0]), 16, "8").tolist() == [65_536, -16_384, 524_288]
    assert codec.update_bytes(np.array([1, -2], dtype=np.int32)).hex() == "01000000feffffff"
    assert codec.model_bytes(np.array([1, -2], dtype=np.int64)).hex() == "0100000000000000feffffffffffffff"
