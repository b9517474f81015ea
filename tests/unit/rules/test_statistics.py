"""Centre and spread from the sums of all institutions' rows."""

from __future__ import annotations

import statistics as exact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.reader import read, to_record
from befl.rules.spec import DataSpec
from befl.rules.statistics import MOST, Sums, preparation, prepared, read_sums

ASKING = {"age": {"type": "number", "statistics": "pooled"}, "sex": {"type": "category", "values": ["0", "1"]}}
ROWS = 2**40

micros = st.integers(-MOST, MOST)


def data_of(**column: object) -> DataSpec:
    columns = {**ASKING, "age": {**ASKING["age"], **column}}
    return read(DataSpec, {"alias": "heart", "label": "disease", "columns": columns})


def sums_of(values: list[int]) -> Sums:
    return Sums(len(values), sum(values), sum(value * value for value in values))


def refusal(value: object, data: DataSpec | None = None) -> BeflError:
    with pytest.raises(BeflError) as caught:
        read_sums(value, data or data_of())
    assert caught.value.code == "BEFL-M-005"
    return caught.value


@given(st.lists(micros, max_size=30))
def test_what_rows_have_is_read_back(values):
    record = to_record(sums_of(values))
    text = canonical.dumps({"age": record}).decode()
    assert read_sums(canonical.loads(text), data_of()) == {"age": sums_of(values)}


@given(st.lists(st.lists(micros, max_size=8), min_size=1, max_size=5), st.integers(-100, 100), st.integers(1, 100))
def test_mean_and_deviation_of_all_values(parts, centre, spread):
    data = data_of(centre=centre, spread=spread)
    made = preparation(data, [{"age": sums_of(part)} for part in parts])["age"]
    values = [centre + spread * Fraction(value, 10**6) for part in parts for value in part]
    if not values:
        assert made == {"centre": str(centre), "spread": str(spread)}
        return
    assert abs(Fraction(made["centre"]) - exact.mean(values)) <= Fraction(1, 2 * 10**18)
    deviation = Fraction(made["spread"])
    variance = exact.pvariance(values)
    if variance < Fraction(spread, 10**6) ** 2:
        assert deviation == spread  # all alike, to what is counted
    else:
        assert deviation**2 <= variance < (deviation + Fraction(spread, 10**6)) ** 2


@given(st.permutations([[1, 2, 3], [], [10**6, -5], [7]]))
def test_the_order_of_the_institutions_does_not_show(parts):
    made = preparation(data_of(), [{"age": sums_of(part)} for part in parts])
    assert made == preparation(data_of(), [{"age": sums_of([1, 2, 3, 10**6, -5, 7])}])


@given(
    st.lists(st.lists(micros, max_size=4), min_size=1, max_size=3),
    st.decimals(-(10**15), 10**15, places=18).map(lambda value: format(value, "f")),
    st.one_of(st.just("0.000000000000001"), st.just(str(10**15)), st.integers(1, 10**9).map(str)),
)
def test_what_comes_out_is_what_a_specification_may_say(parts, centre, spread):
    data = data_of(centre=centre, spread=spread)
    made = preparation(data, [{"age": sums_of(part)} for part in parts])
    column = prepared(data, made).columns["age"]
    assert (column.centre, column.spread, column.statistics) == (
        made["age"]["centre"],
        made["age"]["spread"],
        "declared",
    )
    assert read(DataSpec, to_record(prepared(data, made))) == prepared(data, made)
    assert prepared(data, made).pooled == ()
    assert prepared(data, made).columns["sex"] == data.columns["sex"]


def test_the_largest_sums_of_128_institutions():
    most = Sums(ROWS, ROWS * MOST, ROWS * MOST**2)
    assert read_sums({"age": to_record(most)}, data_of()) == {"age": most}
    made = preparation(data_of(), [{"age": most}] * 128)
    assert made == {"age": {"centre": str(10**6), "spread": "1"}}
    high = {"centre": str(10**15), "spread": str(10**15)}
    assert preparation(data_of(**high), [{"age": most}] * 128)["age"] == high


def test_by_hand():
    # 1, 2, 3 and 4: mean 2.5, variance 1.25
    parts = [sums_of([1_000_000, 2_000_000]), sums_of([3_000_000, 4_000_000])]
    assert preparation(data_of(), [{"age": each} for each in parts]) == {"age": {"centre": "2.5", "spread": "1.118033"}}
    scaled = data_of(centre="-0.5", spread="0.001")
    made = {"age": {"centre": "-0.4975", "spread": "0.001118033"}}
    assert preparation(scaled, [{"age": each} for each in parts]) == made


def test_nothing_is_asked_for():
    plain = read(DataSpec, {"alias": "heart", "label": "disease", "columns": {"age": "number"}})
    assert (plain.pooled, read_sums({}, plain), preparation(plain, [])) == ((), {}, {})
    assert "asks for sums of no column, not of age" in refusal({"age": {}}, plain).message


@pytest.mark.parametrize("value", [{}, {"sex": {}}, {"age": {}, "sex": {}}, [], None, "age", 3])
def test_sums_of_other_columns(value):
    assert "asks for sums of age" in refusal(value).message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": -1}, "statistics.age.values"),
        ({"values": ROWS + 1}, "statistics.age.values"),
        ({"values": True}, "statistics.age.values"),
        ({"values": 0}, "statistics.age.total"),
        ({"total": 10**7}, "statistics.age.total: must be at most the root"),
        ({"total": "5"}, "statistics.age.total"),
        ({"squares": -1}, "statistics.age.squares"),
        ({"squares": 3 * MOST**2 + 1}, "statistics.age.squares: must be at most values x"),
        ({"squares": ROWS * MOST**2 + 1}, "statistics.age.squares"),
        ({"median": 3}, "statistics.age.median: unknown key"),
    ],
)
def test_sums_that_no_rows_have(change, words):
    record = {**to_record(sums_of([1_000_000, 2_000_000, 3_000_000])), **change}
    assert words in refusal({"age": record}).message


def test_a_sum_that_is_missing():
    assert "statistics.age.total: missing" in refusal({"age": {"values": 1, "squares": 1}}).message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["age", "values", "total", "squares"]), inner, max_size=3)
    ),
)


@given(json_values)
def test_whatever_else_is_refused(attempt, value):
    found, error = attempt(read_sums, value, data_of())
    assert error is None or error.code == "BEFL-M-005"
    if error is None:
        assert value == {"age": to_record(found["age"])}


def test_a_task_that_asks_fixes_the_rule(specification):
    asking = specs.from_record(specification(data__columns__age={"type": "number", "statistics": "pooled"}))
    assert asking.rules()["statistics"] == "sums/1"
    assert asking.data.pooled == ("age",)
    assert "statistics" not in specs.from_record(specification()).rules()
