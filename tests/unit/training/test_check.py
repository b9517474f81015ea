"""A file held against a task: everything that does not fit is said, and nothing that does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from befl.cli.common import plain
from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import DataSpec
from befl.training import data
from befl.training.check import check

SPEC = read(
    DataSpec,
    {
        "alias": "heart",
        "label": "disease",
        "classes": ["no", "yes"],
        "columns": {
            "age": {"type": "number", "centre": 50, "spread": 10},
            "sex": {"type": "category", "values": ["f", "m"]},
        },
    },
)
NUMBER = read(DataSpec, {"alias": "heart", "label": "days", "target": "number", "columns": {"age": "number"}})
ARRAY = read(DataSpec, {"alias": "digits", "label": "digit", "form": "array", "shape": [2, 2], "spread": 255})
GOOD = [f"{40 + number},{'fm'[number % 2]},{('no', 'yes')[number % 3 == 0]}" for number in range(30)]


def report(folder: Path, rows: list[str], header: str = "age,sex,disease", spec: DataSpec = SPEC):
    path = folder / "heart.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return check(path, spec)


def everything(found) -> list[str]:
    return [*found.problems, *(f"{each.name}: {text}" for each in found.columns for text in each.problems)]


def test_what_fits(tmp_path):
    found = report(tmp_path, ["?,,yes", *GOOD])
    assert (found.fits, found.rows, found.held_back, everything(found), found.warnings) == (True, 31, 6, [], [])
    age, sex, label = found.columns
    assert (age.rows, age.missing, age.range["least"], age.range["most"], age.range["mean"]) == (31, 1, 40, 69, 54.5)
    assert age.range["prepared_mean"] == pytest.approx(0.45)
    assert age.range["prepared_deviation"] == pytest.approx(age.range["deviation"] / 10)
    assert (sex.missing, sex.values) == (1, {"f": 15, "m": 15})
    assert (label.type, label.values) == ("class", {"no": 20, "yes": 11})
    assert found.digest == data.load(tmp_path / "heart.csv", SPEC).digest
    assert json.loads(json.dumps(plain(found)))["columns"][0]["name"] == "age"


def test_all_problems_and_not_only_the_first(tmp_path):
    bad = ["old,f,no", "41,x,no", "42,y,maybe", "1e99,f,", "43,f,no,1", "44", *GOOD]
    found = report(tmp_path, bad, header="age,sex,disease")
    assert not found.fits
    assert everything(found) == [
        "BEFL-C-106: 2 rows have another number of cells than the header's 3: row 5, 6",
        "age: BEFL-C-107: 2 cells are not a number that can be used: row 1: 'old', row 4: '1e99'",
        "sex: BEFL-C-108: 2 cells are not a declared value: row 2: 'x', row 3: 'y'",
        "disease: BEFL-C-109: 2 cells are not one of the classes: row 3: 'maybe', row 4: ''",
    ]


def test_at_most_three_examples_of_at_most_forty_characters(tmp_path):
    found = report(tmp_path, [f"{'x' * 99}{row},f,no" for row in range(9)] + GOOD)
    [problem] = found.columns[0].problems
    assert problem.count("xxx...'") == 3
    assert problem.endswith(" and 6 more")
    assert len(problem) < 250


def test_columns_that_are_not_there(tmp_path):
    found = report(tmp_path, GOOD, header="Age,gender,diseases")
    assert everything(found) == [
        "age: BEFL-C-105: the file has no such column; is it 'Age'?",
        "sex: BEFL-C-105: the file has no such column",
        "disease: BEFL-C-105: the file has no such column; is it 'diseases'?",
    ]
    assert found.unread == ["Age", "gender", "diseases"]
    twice = report(tmp_path, GOOD, header="age,sex,disease,sex")
    assert "BEFL-C-105: the header names a column twice: 'sex'" in twice.problems


def test_labels_that_teach_nothing(tmp_path):
    alike = report(tmp_path, [f"{40 + row},f,no" for row in range(20)])
    words = "every row has 'no': is it the right column, or do others have the rest?"
    assert (alike.fits, alike.columns[2].warnings) == (True, [words])
    rare = report(tmp_path, [*(f"{40 + row},f,no" for row in range(20)), "41,m,yes"])
    assert rare.fits
    assert rare.columns[2].warnings == ["classes of fewer than 10 rows: 'yes' (1)"]
    many = report(tmp_path, [f"{40 + row},f,no" for row in range(20)], spec=replace(SPEC, classes=("no", "yes", "?")))
    assert (many.fits, many.columns[2].warnings) == (True, [words])
    same = report(tmp_path, ["1,3"] * 20, "age,days", NUMBER)
    assert "days: BEFL-C-110: every row has 3" in everything(same)


def test_a_number_to_predict(tmp_path):
    found = report(tmp_path, [*(f"{row},{row % 7}" for row in range(20)), "3,", "4,soon"], "age,days", NUMBER)
    assert everything(found) == [
        "days: BEFL-C-107: 1 cell is not a number that can be used: row 22: 'soon'",
        "days: BEFL-C-109: 1 cell is empty: row 21: ''",
    ]
    assert found.columns[1].range["most"] == 6


def test_too_few_rows_or_none(tmp_path):
    assert "BEFL-C-111: 9 rows; training needs 10" in report(tmp_path, GOOD[:9]).problems
    assert report(tmp_path, []).problems == ["BEFL-C-104: there are no rows"]
    few = read(
        DataSpec,
        {"alias": "heart", "label": "days", "target": "number", "columns": {}, "held_back": 1}
        | {"columns": {"age": "number"}},
    )
    found = report(tmp_path, [f"{row},{row}" for row in range(20)], "age,days", few)
    assert (found.fits, found.warnings) == (True, ["of 20 rows 1 per cent are held back: that may be none, or all"])


def test_what_fits_and_looks_wrong(tmp_path):
    far = report(tmp_path, [f"{1_000 + row},f,{('no', 'yes')[row % 2]}" for row in range(30)])
    assert far.fits
    [warning] = far.columns[0].warnings
    assert warning.startswith("prepared mean 96.5, deviation 0.866; training wants about 0 and 1")
    assert warning.endswith("of this file alone centre = 1014, spread = 8.655")
    assert report(tmp_path, [f"7,f,{('no', 'yes')[row % 2]}" for row in range(30)]).columns[0].warnings == [
        "every known value is 7"
    ]
    empty = report(tmp_path, [f"?,{'fm'[row % 2]},{('no', 'yes')[row % 2]}" for row in range(30)])
    assert (empty.fits, [each.warnings for each in empty.columns[:2]]) == (
        True,
        [["no value is known in this file"], []],
    )
    label = report(tmp_path, [f"{row % 3},{1_000 * row}" for row in range(30)], "age,days", NUMBER)
    assert "label_centre = 1.45e+04" in label.columns[1].warnings[0]


def test_a_table_in_which_nothing_is_known(tmp_path):
    found = report(tmp_path, [f"?,,{('no', 'yes')[row % 2]}" for row in range(30)])
    assert (found.fits, everything(found)) == (False, ["BEFL-C-114: no value is known in any column"])
    assert [each.warnings for each in found.columns[:2]] == [["no value is known in this file"]] * 2
    assert report(tmp_path, ["?,,no"] * 29 + ["?,f,yes"]).fits


def test_a_pooled_column_has_no_guess_to_be_wrong(tmp_path):
    pooled = read(
        DataSpec,
        {"alias": "heart", "label": "days", "target": "number"}
        | {"columns": {"age": {"type": "number", "statistics": "pooled"}}},
    )
    found = report(tmp_path, [f"{9_000 + row},{row % 3}" for row in range(30)], "age,days", pooled)
    assert found.columns[0].warnings == []


def test_what_follows_a_broken_quote_is_not_read(tmp_path):
    found = report(tmp_path, [*GOOD, '50,"f,no', *GOOD])
    assert [problem[:10] for problem in found.problems] == ["BEFL-C-106"]
    assert found.rows == 30


def test_more_cells_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MOST_CELLS", 30)
    found = report(tmp_path, GOOD)
    assert found.problems == ["BEFL-C-102: more than 30 cells; what follows was not read"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "BEFL-C-104"), (b"PK\x03\x04abc", "BEFL-C-103"), (b"age,\xff\n", "BEFL-C-103"), (None, "BEFL-C-101")],
)
def test_nothing_to_look_at(tmp_path, content, code):
    path = tmp_path / "heart.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BeflError) as caught:
        check(path, SPEC)
    assert caught.value.code == code


cells = st.sampled_from(
    ["", "1", "2.5", "-3e2", "1e99", "nan", "NA", "x", "f", "m", "yes", "no", " f ", "+7.", '"', "é"]
)


HEADER = ["age", "sex", "disease"]
OF_SPLIT = ("BEFL-C-110", "BEFL-C-111", "BEFL-C-114")


@example([["", "", "no"]] * 14, HEADER)
@example([["NA", "", "no"]] * 13 + [["NA", "f", "no"]], HEADER)
@example([["", "", "no"]] * 13 + [["1", "", "no"]], HEADER)
@example([["", "", "no"]] * 3, HEADER)
@given(st.lists(st.lists(cells, min_size=2, max_size=4), max_size=14), st.permutations(HEADER))
def test_the_check_and_the_reader_agree(tmp_path_factory, rows, header):
    path = tmp_path_factory.mktemp("rows") / "heart.csv"
    path.write_text("\n".join([",".join(header), *map(",".join, rows)]) + "\n")
    found = check(path, SPEC)
    reading = [text for text in everything(found) if not any(code in text for code in OF_SPLIT)]
    if not reading:
        table = data.load(path, SPEC)
        assert len(table.y) == found.rows
        try:
            data.split(table, SPEC, b"seed")
        except BeflError as error:
            by_chance = error.code == "BEFL-C-111" and found.rows >= data.LEAST_ROWS  # none or all rows held back
            assert by_chance or any(error.code in text for text in everything(found))  # noqa: PT017  # refused or not
        else:
            assert found.fits
        return
    with pytest.raises(BeflError) as caught:
        data.load(path, SPEC)
    assert any(caught.value.code in text for text in reading)


def test_a_byte_order_mark_alone_is_an_empty_file(tmp_path):
    path = tmp_path / "heart.csv"
    path.write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(BeflError, match="BEFL-C-104"):
        data.load(path, SPEC)
    assert not check(path, SPEC).fits


def arrays(folder: Path, spec: DataSpec = ARRAY, **named: object):
    np.savez(folder / "digits.npz", **named)
    return check(folder / "digits.npz", spec)


X = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
Y = np.arange(20) % 2


def test_arrays_that_fit(tmp_path):
    found = arrays(tmp_path, x=X, y=Y)
    assert (found.fits, found.rows, found.held_back) == (True, 20, 4)
    x, y = found.columns
    assert (x.range["least"], x.range["most"]) == (0, 79)
    assert x.range["prepared_mean"] == pytest.approx(39.5 / 255)
    assert (y.rows, y.values) == (20, {"0": 10, "1": 10})


def test_all_that_is_wrong_with_arrays(tmp_path):
    broken = X.astype(np.float32)
    broken[3:5, 0, 0] = np.nan, np.inf
    found = arrays(tmp_path, x=broken, y=np.where(Y == 1, 7, Y))
    assert everything(found) == [
        "x: BEFL-C-107: 2 values are not finite numbers that can be used",
        "y: BEFL-C-109: 10 labels are not one of the classes: '7' (10)",
    ]
    assert everything(arrays(tmp_path, x=X.reshape(20, 4), y=Y[:7])) == [
        "x: BEFL-C-106: of shape [20, 4] and type uint8; the task wants numbers, rows of shape [2, 2]",
        "y: BEFL-C-106: of shape [7] and type int64; x has 20 rows, and the label is whole numbers or text",
    ]
    assert everything(arrays(tmp_path, z=X)) == [
        "BEFL-C-104: there are no rows",
        "x: BEFL-C-105: the file has no such array",
        "y: BEFL-C-105: the file has no such array",
    ]
    assert "BEFL-C-104: there are no rows" in everything(arrays(tmp_path, x=np.float64(3), y=np.float64(3)))


def test_arrays_with_a_number_to_predict(tmp_path):
    spec = read(
        DataSpec, {"alias": "d", "label": "dose", "form": "array", "shape": [2, 2], "spread": 99, "target": "number"}
    )
    fits = arrays(tmp_path, spec, x=X, y=np.linspace(-1, 1, 20))
    assert (fits.fits, fits.columns[1].warnings) == (True, [])
    far = arrays(tmp_path, spec, x=X, y=np.linspace(1_000, 2_000, 20))
    assert far.columns[1].warnings[0].startswith("prepared mean 1.5e+03")
    assert "y: BEFL-C-110: every row has 3" in everything(arrays(tmp_path, spec, x=X, y=np.full(20, 3.0)))
    text = everything(arrays(tmp_path, spec, x=X, y=Y.astype(str)))
    assert text == ["y: BEFL-C-106: of shape [20] and type <U21; x has 20 rows, and the label is numbers"]


@pytest.mark.parametrize(
    "named",
    [
        {"x": X, "y": Y},
        {"x": X, "y": Y.astype(str)},
        {"x": X.astype(np.float64) * 1e300, "y": Y},
        {"x": X, "y": Y * 3},
        {"x": X[:, 0], "y": Y},
        {"x": X.astype(str), "y": Y},
        {"x": X, "y": Y[:, None]},
        {"x": X, "y": Y.astype(np.float32)},
        {"x": X},
        {"x": X[:0], "y": Y[:0]},
    ],
)
def test_the_check_and_the_reader_agree_on_arrays(tmp_path, named):
    found = arrays(tmp_path, **named)
    if found.fits:
        assert len(data.load(tmp_path / "digits.npz", ARRAY).x) == found.rows
        return
    with pytest.raises(BeflError) as caught:
        data.load(tmp_path / "digits.npz", ARRAY)
    assert any(caught.value.code in text for text in everything(found))


def test_objects_are_not_looked_at(tmp_path):
    with pytest.raises(BeflError, match="BEFL-C-103"):
        arrays(tmp_path, x=np.array([{"a": 1}], dtype=object), y=Y)
