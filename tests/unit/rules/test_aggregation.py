"""What holds for every aggregation rule, and what makes FedAvg FedAvg."""

from __future__ import annotations

import threading
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import Aggregation

EVERY = [RULES[RULES.newest(name)] for name in RULES.names()]
SETTINGS = [read(Aggregation, {"rule": name, "clip": "64"}) for name in RULES.names()]  # the widest all of them take
FEDAVG = RULES["fedavg/1"]
MOST = codec.bound(16, "64")


def step_of(rule, aggregate, weight, **keys):
    """Take a step from the rule's start, with every trainer of two."""
    name = next(name for name in RULES.names() if RULES[RULES.newest(name)] is rule)
    settings = read(Aggregation, {"rule": name, "clip": "64", **keys})
    return rule.step(aggregate, weight, rule.start(aggregate.size, settings), (2, 2), settings)


values = st.integers(-(2**30), 2**30) | st.sampled_from([-(2**30), 2**30, 0])
weights = st.integers(1, 2**24) | st.sampled_from([1, 2**24])


@st.composite
def rounds(draw, most=6):
    length = draw(st.integers(0, 5))
    vector = st.lists(values, min_size=length, max_size=length)
    pairs = draw(st.lists(st.tuples(vector, weights), min_size=1, max_size=most))
    return [(np.array(vector, dtype=np.int32), weight) for vector, weight in pairs], length


@pytest.mark.parametrize("rule", EVERY)
@given(rounds(), st.randoms())
def test_the_order_of_the_updates_does_not_show(rule, made, random):
    updates, length = made
    expected = rule.aggregate(updates, length).tobytes()
    shuffled = list(updates)
    random.shuffle(shuffled)
    assert rule.aggregate(iter(shuffled), length).tobytes() == expected


@pytest.mark.parametrize(("rule", "settings"), list(zip(EVERY, SETTINGS, strict=True)))
@given(rounds(), st.integers(1, 4))
def test_the_chunks_of_a_vector_do_not_show(rule, settings, made, size):
    updates, length = [(np.clip(update, -MOST, MOST), weight) for update, weight in made[0]], made[1]
    weight = sum(weight for _, weight in updates)
    whole = rule.aggregate(updates, length)
    pieces = [
        rule.aggregate(
            [(update[start : start + size], weight) for update, weight in updates], min(size, length - start)
        )
        for start in range(0, length, size)
    ]
    assert np.concatenate([*pieces, whole[:0]]).tobytes() == whole.tobytes()
    share = (len(updates), 6)
    moved, state = rule.step(whole, weight, rule.start(length, settings), share, settings)
    again = rule.step(whole, weight, state, share, settings)
    steps = [rule.step(piece, weight, rule.start(piece.size, settings), share, settings) for piece in pieces]
    after = [rule.step(piece, weight, each, share, settings) for piece, (_, each) in zip(pieces, steps, strict=True)]
    assert np.concatenate([*(each for each, _ in steps), moved[:0]]).tobytes() == moved.tobytes()
    assert np.concatenate([*(each for _, each in after), state[:, :0]], axis=1).tobytes() == again[1].tobytes()


@pytest.mark.parametrize("rule", EVERY)
@given(rounds())
def test_the_updates_stay_as_they_are(rule, made):
    updates, length = made
    before = [update.tobytes() for update, _ in updates]
    for update, _ in updates:
        update.flags.writeable = False
    rule.aggregate(updates, length)
    assert [update.tobytes() for update, _ in updates] == before


@pytest.mark.parametrize(("rule", "settings"), list(zip(EVERY, SETTINGS, strict=True)))
def test_what_a_step_starts_from_stays_as_it_is(rule, settings):
    aggregate, state, control = np.array([7, -9]), rule.start(2, settings), rule.control(2)
    update = np.array([3, -4], dtype=np.int32)
    before = [each.tobytes() for each in (aggregate, state, control, update)]
    for each in (aggregate, state, control, update):
        each.flags.writeable = False
    moved, following = rule.step(aggregate, 2, state, (2, 2), settings)
    assert (moved.dtype, following.dtype) == (np.int64, np.int64)
    assert (moved.shape, following.shape) == ((2,), state.shape)
    assert rule.included(control, state, update).shape == control.shape
    assert [each.tobytes() for each in (aggregate, state, control, update)] == before


@pytest.mark.parametrize("rule", EVERY)
def test_only_control_variates_begin_anew_when_a_trainer_leaves(rule):
    state, control = np.ones((2, 3), np.int64), np.ones((1, 3), np.int64)
    kept = 0 if rule is RULES["scaffold/1"] else 1
    assert [each.tolist() for each in rule.left(state, control)] == [[[kept] * 3] * 2, [[kept] * 3]]


@pytest.mark.parametrize("rule", EVERY)
def test_only_who_keeps_a_control_variate_corrects(rule):
    control = rule.control(3)
    correction = rule.correction(control, np.ones((1, 3), np.int64))
    assert (correction is not None) == (len(control) == 1) == (rule is RULES["scaffold/1"])


@pytest.mark.parametrize("rule", EVERY)
def test_threads_do_not_show(rule):
    random = np.random.default_rng(1)
    updates = [(random.integers(-(2**30), 2**30, 10_000, dtype=np.int32), 100 + place) for place in range(8)]
    expected = rule.aggregate(updates, 10_000).tobytes()
    found: list[bytes] = []

    def work(turn: int) -> None:
        found.append(rule.aggregate(updates[turn:] + updates[:turn], 10_000).tobytes())

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


@given(rounds(most=20))
def test_fedavg_is_exact(made):
    updates, length = made
    aggregate = FEDAVG.aggregate(updates, length)
    exact = [sum(int(update[place]) * weight for update, weight in updates) for place in range(length)]
    assert aggregate.dtype == np.int64
    assert aggregate.tolist() == exact
    total = sum(weight for _, weight in updates)
    step, state = step_of(FEDAVG, aggregate, total)
    assert state.size == 0
    assert step.dtype == np.int64
    assert step.tolist() == [floor(Fraction(value, total) + Fraction(1, 2)) for value in exact]
    assert all(
        abs(value - Fraction(sum_, total)) <= Fraction(1, 2) for value, sum_ in zip(step.tolist(), exact, strict=True)
    )


@pytest.mark.parametrize("value", [2**30, -(2**30)])
def test_fedavg_at_its_limits_does_not_overflow(value):
    update = np.array([value, value], dtype=np.int32)
    aggregate = FEDAVG.aggregate(((update, 2**24) for _ in range(128)), 2)
    assert aggregate.tolist() == [value * 2**31] * 2
    assert step_of(FEDAVG, aggregate, 2**31)[0].tolist() == [value] * 2


def test_equal_weights_are_the_mean():
    updates = [(np.array([3, -3], dtype=np.int32), 7), (np.array([4, -4], dtype=np.int32), 7)]
    # 3.5 and -3.5, rounded half up
    assert step_of(FEDAVG, FEDAVG.aggregate(updates, 2), 14)[0].tolist() == [4, -3]


ONE = np.array([1], dtype=np.int32)


@pytest.mark.parametrize(
    ("updates", "code", "message"),
    [
        ([(ONE, 0)], "BEFL-M-003", "update 1 with weight 0"),
        ([(ONE, 1), (ONE, -1)], "BEFL-M-003", "update 2 with weight -1"),
        ([(ONE, 2**24 + 1)], "BEFL-M-003", "update 1 with weight 16777217"),
        ([(ONE, 1)] * 129, "BEFL-M-003", "update 129"),
        ([(np.array([2**30 + 1], dtype=np.int32), 1)], "BEFL-M-003", "update 1 holds a value beyond 2^30"),
        ([(np.array([-(2**30) - 1], dtype=np.int32), 1)], "BEFL-M-003", "update 1 holds a value beyond 2^30"),
        ([(np.array([-(2**31)], dtype=np.int32), 1)], "BEFL-M-003", "update 1 holds a value beyond 2^30"),
        ([(np.array([1, 2], dtype=np.int32), 1)], "BEFL-M-001", "update 1 has 2 values, the model 1"),
        ([(np.array([[1]], dtype=np.int32), 1)], "BEFL-M-001", "update 1"),
        ([(np.array([1], dtype=np.int64), 1)], "BEFL-M-001", "update 1"),
        ([(np.array([1.0]), 1)], "BEFL-M-001", "update 1"),
    ],
)
def test_what_could_be_inexact_is_refused(updates, code, message):
    with pytest.raises(BeflError) as caught:
        FEDAVG.aggregate(updates, 1)
    assert caught.value.code == code
    assert caught.value.message.startswith(message)


@given(rounds(), st.integers(1, 10**7))
def test_fedavgs_learning_rate_is_rounded_once(made, millionths):
    updates, length = made
    aggregate, weight = FEDAVG.aggregate(updates, length), sum(weight for _, weight in updates)
    rate = Fraction(millionths, 10**6)
    moved, _ = step_of(FEDAVG, aggregate, weight, server_learning_rate=f"{millionths / 10**6:.6f}")
    assert moved.tolist() == [floor(rate * value / weight + Fraction(1, 2)) for value in aggregate.tolist()]


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("weight", [0, -1, 2**31 + 1])
def test_a_weight_that_is_no_sum_of_weights(rule, weight):
    with pytest.raises(BeflError) as caught:
        step_of(rule, np.array([1], dtype=np.int64), weight)
    assert caught.value.code == "BEFL-M-003"
