"""``binary/1``: what is made of the counts of two classes."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS, summary
from befl.rules.metrics.binary import BINS, Counts
from befl.rules.reader import to_record

MILLION = 1_000_000
RULE = METRICS["binary/1"]
pool = RULE.pool
scores = st.lists(st.integers(0, 10 * BINS - 1), max_size=25)  # in tenths of a bin


def metrics(counts: Counts) -> dict[str, int | None]:
    return RULE.metrics(counts, None)


def read_counts(value: object) -> Counts:
    return RULE.read_counts(value, None)


def count(negatives: list[int], positives: list[int], correct: int = 0, loss_micro: int = 0) -> Counts:
    """Put scores (tenths of a bin) into histograms."""

    def histogram(scores: list[int]) -> tuple[int, ...]:
        return tuple(sum(score // 10 == place for score in scores) for place in range(BINS))

    rows = len(negatives) + len(positives)
    counts = Counts(rows, correct, loss_micro, histogram(negatives), histogram(positives))
    counts.check("counts")
    return counts


def pairs(negatives: list[int], positives: list[int]) -> Fraction:
    """Count each pair: the definition of the area under the ROC curve."""
    won = sum(
        Fraction((positive > negative) * 2 + (positive == negative), 2)
        for negative in negatives
        for positive in positives
    )
    return won / (len(negatives) * len(positives))


def nearest(value: Fraction) -> int:
    return int((value * 2 + 1) // 2)


@given(scores, scores)
def test_the_area_is_the_share_of_pairs(negatives, positives):
    found = metrics(count(negatives, positives))
    if not negatives or not positives:
        assert found["auc_ppm"] is found["auc_bound_ppm"] is None
        return
    binned = pairs([score // 10 for score in negatives], [score // 10 for score in positives])
    assert found["auc_ppm"] == nearest(binned * MILLION)


@given(scores.filter(bool), scores.filter(bool))
def test_the_bound_bounds_what_the_bins_cannot_tell(negatives, positives):
    found = metrics(count(negatives, positives))
    exact = pairs(negatives, positives) * MILLION
    # each of the two was rounded to a whole millionth
    assert abs(found["auc_ppm"] - exact) <= found["auc_bound_ppm"] + 1


@given(scores, scores, st.data())
def test_accuracy_and_loss_are_rounded_once(negatives, positives, data):
    rows = len(negatives) + len(positives)
    correct = data.draw(st.integers(0, rows))
    loss = data.draw(st.integers(0, 10**9)) if rows else 0
    found = metrics(count(negatives, positives, correct, loss))
    assert found["rows"] == rows
    assert found["accuracy_ppm"] == (nearest(Fraction(correct * MILLION, rows)) if rows else None)
    assert found["loss_micro"] == (nearest(Fraction(loss, rows)) if rows else None)


institutions = st.dictionaries(
    st.sampled_from("ABCDE"), st.tuples(scores, scores, st.integers(0, 10**9)), min_size=1, max_size=5
)


@given(institutions)
def test_pooling_is_counting_together(reports):
    counted = {
        msp_id: count(negatives, positives, len(negatives), loss if negatives or positives else 0)
        for msp_id, (negatives, positives, loss) in reports.items()
    }
    together = count(
        [score for negatives, _, _ in reports.values() for score in negatives],
        [score for _, positives, _ in reports.values() for score in positives],
        sum(item.correct for item in counted.values()),
        sum(item.loss_micro for item in counted.values()),
    )
    assert pool(counted.values()) == pool(reversed(list(counted.values()))) == together
    found = summary(RULE, None, counted)
    assert found["pooled"] == metrics(together)
    assert found["institutions"] == {msp_id: metrics(item) for msp_id, item in counted.items()}
    assert list(found["institutions"]) == sorted(reports)
    canonical.dumps(found)  # no floats


@given(scores, scores)
def test_counts_survive_the_ledger(negatives, positives):
    counts = count(negatives, positives, len(positives))
    assert read_counts(canonical.loads(canonical.dumps(to_record(counts)))) == counts


def record(**changes):
    made = {"rows": 4, "correct": 3, "loss_micro": 9, "negatives": [2] + [0] * 63, "positives": [0] * 63 + [2]}
    return {key: value for key, value in (made | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 5}, "counts.rows: must be the sum of both histograms, not 5"),
        ({"rows": 3}, "counts.rows: must be the sum of both histograms, not 3"),
        ({"correct": 5}, "counts.correct: must be at most 4 (rows), not 5"),
        ({"correct": -1}, "counts.correct: must be a whole number"),
        ({"rows": True}, "counts.rows: must be a whole number"),
        ({"rows": 2**40 + 1}, "counts.rows: must be a whole number"),
        ({"loss_micro": 2**60 + 1}, "counts.loss_micro: must be a whole number"),
        ({"loss_micro": "9"}, "counts.loss_micro: must be a whole number"),
        ({"negatives": [2] * 63}, "counts.negatives: must be a list of 64 to 64 values"),
        ({"positives": [0] * 64 + [2]}, "counts.positives: must be a list of 64 to 64 values"),
        ({"negatives": [3, -1] + [0] * 62}, "counts.negatives[1]: must be a whole number"),
        ({"positives": None}, "counts.positives: missing"),
        ({"auc": 1}, "counts.auc: unknown key"),
        (
            {"rows": 0, "correct": 0, "negatives": [0] * 64, "positives": [0] * 64},
            "counts.loss_micro: must be 0 when there are no rows, not 9",
        ),
    ],
)
def test_counts_that_contradict_each_other_are_refused(change, message):
    assert read_counts(record()).rows == 4
    with pytest.raises(BeflError) as caught:
        read_counts(record(**change))
    assert caught.value.code == "BEFL-M-005"
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("value", [None, [], 1, "x"])
def test_counts_that_are_no_table(value):
    with pytest.raises(BeflError, match="counts: must be a table") as caught:
        read_counts(value)
    assert caught.value.code == "BEFL-M-005"


def test_no_rows_at_all():
    nothing = count([], [])
    assert read_counts(to_record(nothing)) == nothing
    assert metrics(nothing) == {
        "rows": 0,
        "accuracy_ppm": None,
        "loss_micro": None,
        "auc_ppm": None,
        "auc_bound_ppm": None,
    }


def test_by_hand():
    # negatives in bins 0, 0, 5; positives in bins 5, 9: of six pairs five are won and one is a tie
    found = metrics(count([0, 1, 55], [50, 99], 4, 10))
    assert found == {
        "rows": 5,
        "accuracy_ppm": 800_000,
        "loss_micro": 2,
        "auc_ppm": 916_667,
        "auc_bound_ppm": 83_333,
    }
