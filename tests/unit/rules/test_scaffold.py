"""SCAFFOLD by integers that follow from the models, beside the paper's algorithm with every control variate sent."""

from __future__ import annotations

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

RULE = RULES["scaffold/1"]
TRAINERS, SIZE, STEPS, RATE, BITS, CLIP = 5, 6, 20, 0.05, 16, "8"


def settings_of(**keys) -> Aggregation:
    return read(Aggregation, {"rule": "scaffold", "scale_bits": BITS, "clip": CLIP, **keys})


class Quadratic:
    """Trainer i wants to be at its own place, and some directions matter more to it than others."""

    def __init__(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self.places = chance.normal(0, 1, (TRAINERS, SIZE))
        roots = chance.normal(0, 1, (TRAINERS, SIZE, SIZE))
        self.curves = roots @ roots.transpose(0, 2, 1) / SIZE + 0.2 * np.eye(SIZE)
        pulled = (self.curves @ self.places[:, :, None]).sum(axis=0)
        self.best = np.linalg.solve(self.curves.sum(axis=0), pulled)[:, 0]

    def local(self, trainer: int, start: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Take the local steps, each corrected by ``shift``."""
        y = start.astype(np.float64)
        for _ in range(STEPS):
            y = y - RATE * (self.curves[trainer] @ (y - self.places[trainer]) + shift)
        return y


def original(problem: Quadratic, rounds: list[list[int]], rate: float) -> list[np.ndarray]:
    """Run the paper's algorithm 1, option II, in float64; a round is the trainers whose updates arrive."""
    x, c = np.zeros(SIZE), np.zeros(SIZE)
    own = np.zeros((TRAINERS, SIZE))
    models = []
    for included in rounds:
        if included:
            y = {i: problem.local(i, x, c - own[i]) for i in included}
            new = {i: own[i] - c + (x - y[i]) / (STEPS * RATE) for i in included}
            moved = sum(y[i] - x for i in included) / len(included)
            c = c + sum(new[i] - own[i] for i in included) / TRAINERS
            for i in included:
                own[i] = new[i]
            x = x + rate * moved
        models.append(x)
    return models


def by_integers(problem: Quadratic, rounds: list[list[int]], settings: Aggregation) -> list[np.ndarray]:
    """Run the rule: nothing but updates is sent; all train in each round, those not included for nothing."""
    model, state = np.zeros(SIZE, np.int64), RULE.start(SIZE, settings)
    own = [RULE.control(SIZE) for _ in range(TRAINERS)]
    models = []
    for included in rounds:
        start = codec.to_float(model, BITS).astype(np.float64)
        updates = []
        for control, trainer in zip(own, range(TRAINERS), strict=True):
            shift = codec.to_float(RULE.correction(control, state), BITS) / (STEPS * RATE)
            updates.append(codec.encode(problem.local(trainer, start, shift) - start, BITS, CLIP))
        if included:
            aggregate = RULE.aggregate(((updates[i], 1 + i) for i in included), SIZE)
            weight = sum(1 + i for i in included)
            for i in included:
                own[i] = RULE.included(own[i], state, updates[i])
            moved, state = RULE.step(aggregate, weight, state, (len(included), TRAINERS), settings)
            model = model + moved
        models.append(model)
    return models


def schedule(seed: int, size: int, lost: float = 0.0) -> list[list[int]]:
    """Draw who is included in each of 80 rounds; some updates are lost, and a round without any is void."""
    chance = np.random.default_rng(seed)
    drawn = (chance.permutation(TRAINERS)[:size] for _ in range(80))
    return [sorted(int(i) for i in trainers if chance.random() >= lost) for trainers in drawn]


SCHEDULES = {
    "all": schedule(1, TRAINERS),
    "two of five": schedule(2, 2),
    "one of five": schedule(3, 1),
    "updates are lost and rounds are void": schedule(4, 2, lost=0.4),
}


@pytest.mark.parametrize("rate", ["1", "0.5"])
@pytest.mark.parametrize("what", SCHEDULES)
def test_it_follows_the_original(what, rate):
    rounds, problem = SCHEDULES[what], Quadratic(7)
    assert ([] in rounds) == (what == "updates are lost and rounds are void")
    expected = original(problem, rounds, float(rate))
    found = by_integers(problem, rounds, settings_of(server_learning_rate=rate))
    # an update, a move and C are off by half a grid unit a round each; the local steps shrink what is there already, so
    # that in a model there stand the errors of some rounds, not those of all 80
    assert np.abs(np.array(found) - np.array(expected) * 2**BITS).max() <= 10


def test_it_ends_where_fedavg_does_not():
    """Each trainer's steps drift to its own place; the mean of the drifts is not the best place of all together."""
    problem = Quadratic(7)
    corrected = by_integers(problem, SCHEDULES["all"] * 3, settings_of())[-1] * 2.0**-BITS
    assert np.abs(corrected - problem.best).max() < 2e-4
    x = np.zeros(SIZE)
    for _ in range(240):
        x = np.mean([problem.local(i, x, np.zeros(SIZE)) for i in range(TRAINERS)], axis=0)
    assert np.abs(x - problem.best).max() > 0.02


values = st.lists(st.integers(-(2**30), 2**30), min_size=3, max_size=3)


@given(st.lists(st.tuples(st.lists(values, min_size=5, max_size=5), st.sets(st.integers(0, 4))), max_size=8))
def test_c_is_the_mean_of_all_trainers_control_variates(rounds):
    """What nobody sends: the sum of the C_i is exact, and C is its mean to the nearest unit."""
    settings = settings_of(scale_bits=4, clip="1000")
    state, own = RULE.start(3, settings), [RULE.control(3) for _ in range(5)]
    for updates, included in rounds:
        if not included:
            continue
        taken = [np.array(updates[i], np.int32) for i in sorted(included)]
        for i, update in zip(sorted(included), taken, strict=True):
            own[i] = RULE.included(own[i], state, update)
        aggregate = RULE.aggregate([(update, 1) for update in taken], 3)
        _, state = RULE.step(aggregate, len(taken), state, (len(taken), 5), settings)
        assert state[1].tolist() == sum(own)[0].tolist()
        assert state[0].tolist() == [floor(Fraction(each, 5) + Fraction(1, 2)) for each in state[1].tolist()]
        assert np.abs(state[0]).max() <= 2**30 + 5 + 1


def test_every_trainer_counts_once():
    settings = settings_of()
    aggregate = RULE.aggregate([(np.array([3], np.int32), 1), (np.array([6], np.int32), 2**24)], 1)
    moved, state = RULE.step(aggregate, 2**24 + 1, RULE.start(1, settings), (2, 3), settings)
    assert (aggregate.tolist(), moved.tolist(), state.tolist()) == ([9], [5], [[-3], [-9]])  # 4.5 half up


def test_fixed_vectors():
    settings = settings_of(server_learning_rate="0.5")
    moved, state = RULE.step(np.array([7, -7, 9]), 4, np.array([[100, -100, 1], [501, -498, 3]]), (2, 5), settings)
    assert moved.tolist() == [2, -2, 2]  # 1.75, -1.75, 2.25
    assert state.tolist() == [[59, -58, -2], [294, -291, -8]]  # 58.8, -58.2, -1.6
    control = RULE.included(np.array([[5, 6, 7]]), np.array([[1, 2, 3], [9, 9, 9]]), np.array([10, -10, 0], np.int32))
    assert control.tolist() == [[-6, 14, 4]]
    assert RULE.correction(control, state).tolist() == [65, -72, -6]


@pytest.mark.parametrize("share", [(0, 3), (4, 3), (-1, 3)])
def test_a_share_that_cannot_be(share):
    settings = settings_of()
    with pytest.raises(BeflError, match=r"BEFL-M-003: .* cannot be"):
        RULE.step(np.array([1]), 1, RULE.start(1, settings), share, settings)
