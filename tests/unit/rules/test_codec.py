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


def test_fixed_vectors():
    assert codec.bound(16, "8") == 524_288
    assert codec.bound(4, "0.999") == 15
    assert codec.encode(np.array([1.0, -0.25, 100.0]), 16, "8").tolist() == [65_536, -16_384, 524_288]
    assert codec.update_bytes(np.array([1, -2], dtype=np.int32)).hex() == "01000000feffffff"
    assert codec.model_bytes(np.array([1, -2], dtype=np.int64)).hex() == "0100000000000000feffffffffffffff"
