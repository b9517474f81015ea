"""Which model the reports agree on; what contracts make of it is in tests/contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from befl.rules.agreement import agree


def report(model: str, rows: int = 10, loss: int = 500) -> dict:
    counts = {"rows": rows, "correct": 0, "loss_micro": loss * rows, "negatives": [rows, *[0] * 63]}
    return {"model": model, "counts": {**counts, "positives": [0] * 64}}


@pytest.fixture
def view(make_view):
    made = make_view(current="closed", reports=("A", "B", "C"))
    return replace(made, record=made.record | {"rules": {"metrics": "binary/1"}})


@pytest.mark.parametrize(
    ("models", "agreed"),
    [("", None), ("a", None), ("aa", "a"), ("ab", None), ("aab", "a"), ("baa", "a"), ("abc", None), ("aabb", None)],
)
def test_a_quorum_of_two_and_more_than_any_other(view, models, agreed):
    reports = {f"Org{place}MSP": report(model) for place, model in enumerate(models)}
    found = agree(view, reports)
    assert (found and found[0]) == agreed
    if found:
        assert set(found[1]["institutions"]) == {name for name, item in reports.items() if item["model"] == agreed}


def test_the_loss_is_over_the_rows_of_those_that_agree(view):
    reports = {"A": report("a", 10, 400), "B": report("a", 30, 800), "C": report("b", 1_000, 9_999)}
    assert agree(view, reports)[1]["pooled"]["loss_micro"] == 700
