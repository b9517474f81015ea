"""FedAvgM, FedAdam and FedYogi: fixed vectors, Python's integers at the extremes, and the floating-point originals."""

from __future__ import annotations

from fractions import Fraction
from math import floor, isqrt, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import Aggregation

NAMES = ("fedavgm", "fedadam", "fedyogi")


def settings_of(name: str, **keys) -> Aggregation:
    return read(Aggregation, {"rule": name, **keys}, "aggregation")


def run(name: str, updates, settings: Aggregation, weights=(1,)):
    """Let a rule take steps; ``updates`` is a list of rounds, each a list of vectors."""
    rule = RULES[f"{name}/1"]
    state, moves = rule.start(len(updates[0][0]), settings), []
    for vectors in updates:
        pairs = [(np.array(each, np.int32), weights[place % len(weights)]) for place, each in enumerate(vectors)]
        aggregate = rule.aggregate(pairs, len(vectors[0]))
        moved, state = rule.step(aggregate, sum(weight for _, weight in pairs), state, (len(pairs), 8), settings)
        moves.append(moved.tolist())
    return moves, state


# --- fixed vectors: a change here needs a new version of the rule ----------------------------------------------------

ROUNDS = [[[1000, -3, 0], [3000, 4, 0]], [[-500, 1, 0], [700, 0, 524_288]], [[0, 0, 0], [1, -1, -524_288]]]
VECTORS = {
    "fedavgm": (
        [[2250, 1, 0], [2275, 2, 327_680], [2048, 1, -32_768]],
        [[134_225_920, 54_149, -2_147_483_648]],
    ),
    "fedadam": (
        [[4919, 7, 0], [4971, 8, 6541], [4493, 4, -464]],
        [[13_422_592, 5_415, -214_748_365], [3_565_402_121, 273_116_451, 140_034_074_028_440]],
    ),
    "fedyogi": (
        [[4917, 7, 0], [4950, 8, 6541], [4456, 4, -463]],
        [[13_422_592, 5_415, -214_748_365], [3_640_194_721, 281_473_390, 140_737_769_830_305]],
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_fixed_vectors(name):
    moves, state = run(name, ROUNDS, settings_of(name), weights=(3, 5))
    assert (moves, state.tolist()) == VECTORS[name]


# --- the same with Python's integers, at the extremes too ------------------------------------------------------------


def half_up(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def exactly(name: str, means: list[Fraction], settings: Aggregation) -> list[int]:
    """Take the steps of one parameter as the rules' pages say, in fractions and Python's integers."""
    given = {key: Fraction(getattr(settings, key) or default) for key, default in RULES[f"{name}/1"].defaults.items()}
    rate, bits, moves = given["server_learning_rate"], settings.scale_bits, []
    if name == "fedavgm":
        velocity = 0
        for mean in means:
            velocity = half_up(given["momentum"] * velocity) + half_up(mean * 2**16)
            moves.append(half_up(rate * velocity / 2**16))
        return moves
    beta1, beta2 = given["beta1"], given["beta2"]
    tau = half_up(given["tau"] * 2 ** (bits + 8))
    m, v = 0, half_up((given["tau"] * 2 ** (bits + 8)) ** 2)
    for mean in means:
        d = half_up(mean * 2**16)
        squared = half_up(Fraction(d * d, 2**16))
        m = half_up(beta1 * m + (1 - beta1) * d)
        if name == "fedadam":
            v = half_up(beta2 * v + (1 - beta2) * squared)
        else:
            v -= half_up((1 - beta2) * squared) * ((v > squared) - (v < squared))
        denominator = isqrt(v) + tau
        found = (m * 2**bits + denominator // 2) // denominator
        moves.append(half_up(rate * max(-(2**38), min(2**38, found)) / 2**8))
        assert 0 <= v < 2**62
        assert max(abs(m) << bits, v) < 2**63
    return moves


coefficients = st.sampled_from(["0", "0.5", "0.9", "0.99", "0.999"])
KEYS = {
    "fedavgm": {"momentum": coefficients},
    "fedadam": {"beta1": coefficients | st.just("0.999999"), "beta2": coefficients | st.just("0.999999")},
}
KEYS["fedyogi"] = KEYS["fedadam"]


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_exact_up_to_the_bounds(name, data):
    bits = data.draw(st.sampled_from([4, 16, 24]), "scale_bits")
    most = 2**30 if name == "fedavgm" else 2**22
    keys = {key: data.draw(values, key) for key, values in KEYS[name].items()}
    if name != "fedavgm":
        tau = data.draw(st.sampled_from([max(2.0 ** -(bits + 8), 1e-9), 0.001, 2.0 ** (22 - bits)]), "tau")
        keys["tau"] = f"{tau:.18f}"
    keys["server_learning_rate"] = data.draw(st.sampled_from(["0.000001", "0.1", "1", "10"]), "rate")
    most = min(most, 10**6 << bits)  # the largest clip of all
    settings = settings_of(name, scale_bits=bits, clip=f"{most / 2**bits:.9f}", **keys)
    assert codec.bound(settings.scale_bits, settings.clip) == most
    value = st.integers(-most, most) | st.sampled_from([most, -most, 0, 1, -1])
    weight = st.integers(1, 2**24) | st.just(2**24)
    pairs = data.draw(st.lists(st.lists(st.tuples(value, weight), min_size=1, max_size=3), min_size=1, max_size=12))
    rule = RULES[f"{name}/1"]
    state, moves = rule.start(1, settings), []
    for each in pairs:
        aggregate = rule.aggregate([(np.array([value], np.int32), weight) for value, weight in each], 1)
        moved, state = rule.step(aggregate, sum(weight for _, weight in each), state, (1, 1), settings)
        moves += moved.tolist()
    means = [Fraction(sum(v * w for v, w in each), sum(w for _, w in each)) for each in pairs]
    assert moves == exactly(name, means, settings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_thousand_rounds_at_the_clip(name, sign):
    """The same largest update for ever is where every sum is largest."""
    most = 2**30 if name == "fedavgm" else 2**22
    keys = {"momentum": "0.999"} if name == "fedavgm" else {"beta1": "0", "beta2": "0.999999", "tau": "0.000064"}
    settings = settings_of(name, scale_bits=16, clip=str(most >> 16), server_learning_rate="10", **keys)
    moves, state = run(name, [[[sign * most]]] * 1_000, settings)
    assert [move for (move,) in moves] == exactly(name, [Fraction(sign * most)] * 1_000, settings)
    assert max(abs(move) for (move,) in moves) * 10_000 < 2**62  # the model's room in the longest task
    assert np.abs(state).max() < 2**62


# --- the originals ---------------------------------------------------------------------------------------------------


def original(name: str, means: np.ndarray, settings: Aggregation) -> tuple[np.ndarray, np.ndarray]:
    """Take the steps of the papers in float64, in grid units; return moves, and how far befl's may be from them."""
    given = {key: float(getattr(settings, key) or default) for key, default in RULES[f"{name}/1"].defaults.items()}
    rate, scale = given["server_learning_rate"], 2.0**settings.scale_bits
    moves, bounds = [], []
    if name == "fedavgm":
        velocity = np.zeros(means.shape[1])
        for d in means:
            velocity = given["momentum"] * velocity + d
            moves.append(rate * velocity)
            bounds.append(np.full(d.shape, rate * 2**-16 / (1 - given["momentum"]) + 0.5))
        return np.array(moves), np.array(bounds)
    beta1, beta2, tau = given["beta1"], given["beta2"], given["tau"] * scale
    m, v, largest, drift = np.zeros(means.shape[1]), np.full(means.shape[1], tau**2), 0.0, 0.0
    for d in means:
        m = beta1 * m + (1 - beta1) * d
        largest = np.maximum(largest, np.abs(d))
        if name == "fedadam":
            v = beta2 * v + (1 - beta2) * d**2
            w = 2**-16 * (1 + largest) / (1 - beta2)
        else:
            drift = drift + 2**-17 + (1 - beta2) * 2**-16 * (1 + np.abs(d))
            assert np.all(np.abs(v - d**2) > drift), "the sign is not in doubt"
            v = v - (1 - beta2) * d**2 * np.sign(v - d**2)
            w = 2**-17 + drift
        e = 2**-17 * (1 + 1 / (1 - beta1))
        root = np.sqrt(v)
        r = 2**-8 + 2**-9 + np.minimum(np.sqrt(w), w / root)
        whole = root + tau
        moves.append(rate * scale * m / whole)
        bounds.append(rate * (scale * (e + np.abs(m) * r / whole) / (whole - r) + 2**-9) + 0.5)
    return np.array(moves), np.array(bounds)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [3, 300, 30_000])
def test_fifty_steps_beside_the_original(name, size):
    """Means from three grid units to half of the clip; what is stated holds for each step of each parameter."""
    chance = np.random.default_rng(size)
    settings = settings_of(name)
    updates = np.clip(chance.normal(size / 3, size, (50, 3, 40)), -(2**19), 2**19).round().astype(int)
    moves, _ = run(name, updates.tolist(), settings)
    expected, bound = original(name, updates.mean(axis=1), settings)
    off = np.abs(np.array(moves) - expected)
    assert (off <= bound).all()
    assert off.max() > 0  # something was rounded
    assert np.abs(expected).max() > 20 * 0.5  # and far less than what is meant


def test_small_updates_do_not_vanish():
    """A mean of a fifth of a grid unit, which FedAvg's step rounds away, adds up."""
    updates = [[[1], [0], [0], [0], [0]]] * 40
    velocity = run("fedavgm", updates, settings_of("fedavgm"))[0]
    assert velocity[-1] == [2]  # 0.2 / (1 - 0.9)
    adam = run("fedadam", updates, settings_of("fedadam", tau="0.0001"))[0]
    d, v = 0.2, (0.0001 * 2**16) ** 2 * 0.99**40 + 0.2**2 * (1 - 0.99**40)
    assert adam[-1][0] == pytest.approx(0.1 * 2**16 * d * (1 - 0.9**40) / (sqrt(v) + 0.0001 * 2**16), abs=1)


# --- what is refused when a task is published ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fedadam", "fedyogi"])
def test_a_clip_whose_squares_could_overflow_is_refused(name):
    settings_of(name, clip="64")
    settings_of("fedavgm", clip="16384")
    with pytest.raises(BeflError) as caught:
        settings_of(name, clip="64.0001")
    assert caught.value.code == "BEFL-C-004"
    assert caught.value.message == (
        f"aggregation.clip: must be at most 2^22 / 2^scale_bits with rule {name}, not '64.0001'"
    )


@pytest.mark.parametrize(("scale_bits", "tau"), [(16, "0.000000029"), (4, "0.0001"), (24, "0.26"), (16, "64.1")])
def test_a_tau_that_is_nothing_or_too_large_is_refused(scale_bits, tau):
    with pytest.raises(BeflError, match=r"BEFL-C-004: .*aggregation\.tau: must be from") as caught:
        settings_of("fedadam", scale_bits=scale_bits, clip="0.1", tau=tau)
    assert "2^-8 / 2^scale_bits to 2^22 / 2^scale_bits" in caught.value.message


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fedavg", "momentum"),
        ("fedavg", "beta1"),
        ("fedavg", "tau"),
        ("fedavgm", "beta2"),
        ("fedadam", "momentum"),
        ("fedyogi", "momentum"),
        ("scaffold", "momentum"),
    ],
)
def test_a_key_of_another_rule_is_refused_whatever_its_value(name, key):
    every = (RULES[RULES.newest(each)].defaults for each in RULES.names())
    default = next(defaults[key] for defaults in every if key in defaults)
    with pytest.raises(BeflError) as caught:
        settings_of(name, **{key: default})
    assert caught.value.code == "BEFL-C-002"
    assert caught.value.message == f"aggregation.{key}: unknown key for rule {name}"
    assert "server_learning_rate" in caught.value.hint


@pytest.mark.parametrize("key", ["server_learning_rate", "beta1", "beta2"])
def test_a_factor_of_seven_places_is_refused(key):
    settings_of("fedadam", **{key: "0.123456"})
    with pytest.raises(
        BeflError, match=f"BEFL-C-004: .*aggregation.{key}: must be a decimal number of at most 6 places"
    ):
        settings_of("fedadam", **{key: "0.1234567"})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("fedavg", "server_learning_rate", "0"),
        ("fedavg", "server_learning_rate", "10.1"),
        ("fedavgm", "momentum", "1"),
        ("fedavgm", "momentum", "-0.1"),
        ("fedadam", "beta1", "1"),
        ("fedadam", "beta2", "1"),
        ("fedadam", "tau", "0"),
        ("fedadam", "tau", "much"),
    ],
)
def test_a_factor_out_of_range_is_refused(name, key, value):
    with pytest.raises(BeflError, match=f"BEFL-C-004: .*aggregation.{key}: must be a decimal number from"):
        settings_of(name, **{key: value})
