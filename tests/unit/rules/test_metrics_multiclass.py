"""``multiclass/1``: what is made of counts by class, against the confusion matrix they come from."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS, summary
from befl.rules.metrics.multiclass import Counts
from befl.rules.reader import read, to_record
from befl.rules.spec import DataSpec

RULE = METRICS["multiclass/1"]
DATA = read(DataSpec, {"alias": "a", "label": "y", "classes": ["a", "b", "c"], "columns": {"x": "number"}}, "data")
matrices = st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=3, max_size=3).map(np.array)


def counts_of(matrix: np.ndarray, loss: int = 0) -> Counts:
    """Count a confusion matrix: row the true class, column the predicted one."""
    return Counts(
        rows=int(matrix.sum()),
        loss_micro=loss if matrix.sum() else 0,
        true=tuple(map(int, matrix.sum(axis=1))),
        predicted=tuple(map(int, matrix.sum(axis=0))),
        hit=tuple(map(int, matrix.diagonal())),
    )


def ppm(value: Fraction) -> int:
    return int((value * 2_000_000 + 1) // 2)


@given(matrices, st.integers(0, 10**9))
def test_against_the_confusion_matrix(matrix, loss):
    found = RULE.metrics(counts_of(matrix, loss), DATA)
    rows = int(matrix.sum())
    assert found["rows"] == rows
    if rows == 0:
        assert found == {"rows": 0, "accuracy_ppm": None, "loss_micro": None, "recall_ppm": None, "f1_ppm": None}
        return
    present = [each for each in range(3) if matrix[each].sum()]
    recalls = [Fraction(int(matrix[each, each]), int(matrix[each].sum())) for each in present]
    f1s = [Fraction(2 * int(matrix[each, each]), int(matrix[each].sum() + matrix[:, each].sum())) for each in present]
    assert found["accuracy_ppm"] == ppm(Fraction(int(matrix.trace()), rows))
    assert found["recall_ppm"] == ppm(sum(recalls, Fraction(0)) / len(present))
    assert found["f1_ppm"] == ppm(sum(f1s, Fraction(0)) / len(present))
    assert found["loss_micro"] == int(Fraction(2 * loss + rows, 2 * rows))


@given(st.lists(matrices, min_size=1, max_size=4))
def test_pooling_is_counting_together(several):
    reports = {f"Org{number}": counts_of(matrix) for number, matrix in enumerate(several)}
    together = counts_of(sum(several[1:], several[0]))
    assert RULE.pool(reports.values()) == together
    found = summary(RULE, DATA, reports)
    assert found["pooled"] == RULE.metrics(together, DATA)
    assert RULE.note(found["pooled"]) == ""
    canonical.dumps(found)  # no floats


@given(matrices)
def test_counts_survive_the_ledger(matrix):
    counts = counts_of(matrix, 7)
    assert RULE.read_counts(canonical.loads(canonical.dumps(to_record(counts))), DATA) == counts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 5}, "counts.rows: must be the sum of true, and that of predicted, not 5"),
        ({"predicted": [4, 0, 1]}, "counts.rows: must be the sum of true, and that of predicted, not 4"),
        ({"hit": [2, 1]}, "counts.hit: must be a list of 3 to 1000 values"),
        ({"hit": [2, 1, 0, 0]}, "counts.hit: must be as long as true and predicted"),
        ({"hit": [3, 1, 0]}, "counts.hit[0]: must be at most the true and the predicted rows of its class, not 3"),
        ({"true": [0, 0, 0], "predicted": [0, 0, 0], "hit": [0, 0, 0], "rows": 0}, "counts.loss_micro: must be 0"),
        ({"true": [2, 1, 1, 0], "predicted": [2, 1, 1, 0], "hit": [2, 1, 0, 0]}, "counts.true: must be of 3 classes"),
        ({"auc": 1}, "counts.auc: unknown key"),
    ],
)
def test_counts_that_contradict_each_other_are_refused(change, message):
    record = {"rows": 4, "loss_micro": 9, "true": [2, 1, 1], "predicted": [2, 1, 1], "hit": [2, 1, 0]}
    assert RULE.read_counts(record, DATA).rows == 4
    with pytest.raises(BeflError) as caught:
        RULE.read_counts(record | change, DATA)
    assert caught.value.code == "BEFL-M-005"
    assert caught.value.message.startswith(message)
