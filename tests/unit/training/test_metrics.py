from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS
from befl.training import metrics


def two(positive: list[float]) -> np.ndarray:
    p = np.array(positive, np.float32)
    return np.stack([1 - p, p], axis=1)


def test_counts_by_hand():
    made = metrics.binary(two([0.0, 0.25, 0.5, 1.0]), np.array([0, 1, 1, 1]))
    assert made["rows"] == 4
    assert made["correct"] == 2  # at 0.5 the first class is the answer
    assert made["loss_micro"] == round(1e6 * math.log(4)) + round(1e6 * math.log(2))
    assert [place for place, count in enumerate(made["negatives"]) if count] == [0]
    assert [place for place, count in enumerate(made["positives"]) if count] == [16, 32, 63]


def test_certainty_that_is_wrong_costs_a_bounded_loss():
    made = metrics.binary(two([0.0]), np.array([1]))
    assert made["loss_micro"] == round(-1e6 * math.log(1e-6))


def test_no_rows():
    made = metrics.binary(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    assert (made["rows"], made["correct"], made["loss_micro"]) == (0, 0, 0)


def test_shapes_that_do_not_belong_together():
    with pytest.raises(BeflError) as caught:
        metrics.binary(two([0.1, 0.2, 0.3]), np.array([0, 1]))
    assert caught.value.code == "BEFL-M-005"


@pytest.mark.parametrize(
    ("y", "scores", "expected"),
    [([0, 1], [0.1, 0.9], 1.0), ([0, 1], [0.9, 0.1], 0.0), ([0, 1], [0.5, 0.5], 0.5), ([1, 1], [0.1, 0.2], None)],
)
def test_auc_by_hand(y, scores, expected):
    assert metrics.auc(np.array(y), np.array(scores)) == expected


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(rows):
    y, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[y == 1] for b in scores[y == 0]]
    found = metrics.auc(y, scores)
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=1, max_size=200))
def test_the_ledgers_auc_is_within_its_bound_of_the_exact_one(rows):
    y, p = np.array([row[0] for row in rows]), two([row[1] for row in rows])
    rule = METRICS["binary/1"]
    made = rule.metrics(rule.read_counts(metrics.binary(p, y), None), None)
    exact = metrics.auc(y, p[:, 1])
    if exact is None:
        assert made["auc_ppm"] is None
    else:
        assert abs(made["auc_ppm"] - 1e6 * exact) <= made["auc_bound_ppm"] + 2
