"""``regression/1``: what is made of sums over the rows, against the rows themselves."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS, summary
from befl.rules.metrics.regression import MOST, Counts
from befl.rules.reader import read, to_record
from befl.rules.spec import DataSpec

RULE = METRICS["regression/1"]
TABLE = {"alias": "a", "label": "y", "target": "number", "columns": {"x": "number"}, "label_spread": "2.5"}
DATA = read(DataSpec, TABLE, "data")
micro = st.integers(-MOST, MOST)
rows = st.lists(st.tuples(micro, micro), max_size=30)


def counts_of(pairs) -> Counts:
    """Sum (error, label) pairs, both in millionths of the prepared label."""
    counts = Counts(
        rows=len(pairs),
        squared=sum(error**2 for error, _ in pairs),
        absolute=sum(abs(error) for error, _ in pairs),
        label=sum(label for _, label in pairs),
        label_squared=sum(label**2 for _, label in pairs),
    )
    counts.check("counts")
    return counts


def nearest(value: Fraction) -> int:
    return int((value * 2 + 1) // 2)


@given(rows)
def test_against_the_rows(pairs):
    found = RULE.metrics(counts_of(pairs), DATA)
    if not pairs:
        assert found == {"rows": 0, "loss_micro": None, "rmse_micro": None, "mae_micro": None, "r2_ppm": None}
        return
    count, squared = len(pairs), sum(error**2 for error, _ in pairs)
    mean = Fraction(sum(label for _, label in pairs), count)
    spread = sum((label - mean) ** 2 for _, label in pairs)
    assert found["loss_micro"] == nearest(Fraction(squared, count * 10**6))
    assert found["rmse_micro"] == math.isqrt(int(Fraction(squared, count) * Fraction(25, 4)))
    assert found["mae_micro"] == nearest(Fraction(sum(abs(error) for error, _ in pairs), count) * Fraction(5, 2))
    assert found["r2_ppm"] == (nearest((1 - squared / spread) * 10**6) if spread else None)


@given(st.lists(rows, min_size=1, max_size=4))
def test_pooling_is_summing_together(several):
    reports = {f"Org{number}": counts_of(pairs) for number, pairs in enumerate(several)}
    together = counts_of([pair for pairs in several for pair in pairs])
    assert RULE.pool(reports.values()) == together
    found = summary(RULE, DATA, reports)
    assert found["pooled"] == RULE.metrics(together, DATA)
    assert RULE.note(found["pooled"]) == ""
    canonical.dumps(found)  # no floats


@given(rows)
def test_sums_survive_the_ledger(pairs):
    counts = counts_of(pairs)
    assert RULE.read_counts(canonical.loads(canonical.dumps(to_record(counts))), DATA) == counts


def test_the_largest_sums_are_read():
    most = 2**40
    counts = Counts(most, most * MOST**2, most * MOST, -most * MOST, most * MOST**2)
    assert RULE.read_counts(to_record(counts), DATA) == counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"absolute": 9}, "counts.absolute: must be at most the root of rows x squared, not 9"),
        ({"label": -9}, "counts.label: must be at most the root of rows x label_squared, not -9"),
        ({"rows": 0, "absolute": 0, "label": 0}, "counts.squared: must be 0 when there are no rows"),
        ({"squared": -1}, "counts.squared: must be a whole number"),
        ({"rmse": 1}, "counts.rmse: unknown key"),
    ],
)
def test_sums_that_no_rows_have_are_refused(change, message):
    record = {"rows": 2, "squared": 10, "absolute": 4, "label": 3, "label_squared": 9}
    assert RULE.read_counts(record, DATA).rows == 2
    with pytest.raises(BeflError) as caught:
        RULE.read_counts(record | change, DATA)
    assert caught.value.code == "BEFL-M-005"
    assert caught.value.message.startswith(message)
