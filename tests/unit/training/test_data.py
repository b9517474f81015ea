from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import DataSpec
from befl.training import data
from befl.training.problem import Problem

SPEC = read(
    DataSpec,
    {
        "alias": "ward",
        "label": "ill",
        "columns": {
            "age": {"type": "number", "centre": "50", "spread": "10"},
            "chol": {"type": "number", "missing": ["", "0"]},
            "sex": {"type": "category", "values": ["f", "m"]},
        },
    },
)
HEADER = "age,chol,sex,ill\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "ward.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path, **options) -> BeflError:
    with pytest.raises(BeflError) as caught:
        data.load(path, SPEC, **options)
    assert path.name in caught.value.message
    return caught.value


def test_cells_become_features_as_declared(tmp_path):
    table = data.load(write(tmp_path, HEADER + "60,200,m,1\n,0.0,f,0\n45.5, 1e2 ,?,0\n"), SPEC)
    assert data.features(SPEC) == ["age", "age: missing", "chol", "chol: missing", "sex=f", "sex=m", "sex: missing"]
    assert table.x.dtype == np.float32
    assert table.x.tolist() == [
        [1, 0, 200, 0, 0, 1, 0],
        [0, 1, 0, 1, 1, 0, 0],
        pytest.approx([-0.45, 0, 100, 0, 0, 0, 1]),
    ]
    assert table.y.tolist() == [1, 0, 0]


def test_the_layout_does_not_depend_on_the_data(tmp_path):
    nothing_missing = data.load(write(tmp_path, HEADER + "60,200,m,1\n"), SPEC)
    assert nothing_missing.x.shape[1] == len(data.features(SPEC))


def test_order_of_columns_quotes_mark_and_other_columns_do_not_matter(tmp_path):
    plain = data.load(write(tmp_path, HEADER + "60,200,m,1\n"), SPEC)
    other = data.load(write(tmp_path, '\ufeffname, ill ,sex,"chol",age\r\n"Doe, J",1,m,"200",60\r\n\r\n'), SPEC)
    assert other.x.tolist() == plain.x.tolist()
    assert other.y.tolist() == plain.y.tolist()


def test_the_digest_is_that_of_the_files_bytes_and_the_table_is_read_only(tmp_path):
    path = write(tmp_path, HEADER + "60,200,m,1\n")
    table = data.load(path, SPEC)
    assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="read-only"):
        table.x[0, 0] = 1


def test_without_label(tmp_path):
    table = data.load(write(tmp_path, "age,chol,sex\n60,200,m\n"), SPEC, labelled=False)
    assert table.x.shape == (1, 7)
    assert table.y.shape == (0,)
    assert refusal(write(tmp_path, "age,chol,sex\n60,200,m\n")).code == "BEFL-C-105"


def test_the_file_is_missing(tmp_path):
    error = refusal(tmp_path / "absent.csv")
    assert error.code == "BEFL-C-101"
    assert "No such file" in error.message


def test_the_file_is_a_folder(tmp_path):
    error = refusal(tmp_path)
    assert error.code == "BEFL-C-101"
    assert "folder" in error.message


def test_the_file_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MOST_FILE_BYTES", 10)
    assert refusal(write(tmp_path, HEADER)).code == "BEFL-C-102"


def test_no_more_is_set_aside_than_the_file_has(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"age\n1\n")
    tracemalloc.start()
    try:
        assert data.read_file(tmp_path / "rows.csv") == b"age\n1\n"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_pipe_is_read_to_its_end():
    reading, writing = os.pipe()
    os.write(writing, b"age\n1\n")
    os.close(writing)
    try:
        assert data.read_file(Path(f"/dev/fd/{reading}")) == b"age\n1\n"
    finally:
        os.close(reading)


def test_the_table_has_too_many_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MOST_CELLS", 7)
    assert refusal(write(tmp_path, HEADER + "60,200,m,1\n" * 2)).code == "BEFL-C-102"


def test_declared_values_count_though_no_row_has_them(tmp_path, monkeypatch):
    """Two columns of a short file; a task declares a thousand values of one, and each row has that many features."""
    values = [f"v{number}" for number in range(1_000)]
    columns = {"ward": {"type": "category", "values": values}, "age": "number"}
    spec = read(DataSpec, {"alias": "ward", "label": "ill", "columns": columns})
    monkeypatch.setattr(data, "MOST_CELLS", 2_000)  # of rows with 1003 features: three
    assert data.load(write(tmp_path, "ward,age,ill\n" + "v1,50,1\n" * 3), spec).x.shape == (3, 1_003)
    monkeypatch.setattr(data, "_prepare", None)  # nothing is built
    with pytest.raises(BeflError, match="as the task declares them 4000 features") as caught:
        data.load(write(tmp_path, "ward,age,ill\n" + "v1,50,1\n" * 4), spec)
    assert caught.value.code == "BEFL-C-102"


def test_numbers_count_as_cells_do(tmp_path, monkeypatch):
    """A number has two features, itself and whether it is missing: no less of a file is taken than its cells say."""
    columns = dict.fromkeys("abcde", "number")
    spec = read(DataSpec, {"alias": "ward", "label": "ill", "columns": columns})
    monkeypatch.setattr(data, "MOST_CELLS", 12)
    assert len(data.load(write(tmp_path, "a,b,c,d,e,ill\n" + "1,2,3,4,5,1\n" * 2), spec).x) == 2


@pytest.mark.parametrize("content", [b"PK\x03\x04 a spreadsheet", "age,größe\n".encode("latin-1")])
def test_the_file_is_not_utf8(tmp_path, content):
    assert refusal(write(tmp_path, content)).code == "BEFL-C-103"


@pytest.mark.parametrize("content", ["", "\n \n", HEADER])
def test_the_file_is_empty(tmp_path, content):
    assert refusal(write(tmp_path, content)).code == "BEFL-C-104"


def test_columns_are_missing_both_sides_are_named(tmp_path):
    error = refusal(write(tmp_path, "age,weight,ill\n60,80,1\n"))
    assert error.code == "BEFL-C-105"
    assert "missing: 'chol', 'sex'" in error.message
    assert "has: 'age', 'weight', 'ill'" in error.message


def test_semicolons_are_recognised(tmp_path):
    error = refusal(write(tmp_path, HEADER.replace(",", ";") + "60;200;m;1\n"))
    assert error.code == "BEFL-C-105"
    assert "semicolons" in error.hint


def test_a_column_stands_twice(tmp_path):
    error = refusal(write(tmp_path, "age,chol,sex,ill,age\n1,1,m,1,1\n"))
    assert error.code == "BEFL-C-105"
    assert "twice: 'age'" in error.message


@pytest.mark.parametrize("row", ["60,20.0719,m", "60,20.0719,m,1,9"])
def test_a_ragged_row_is_named_and_not_shown(tmp_path, row):
    error = refusal(write(tmp_path, HEADER + "61,201,f,0\n" + row + "\n"))
    assert error.code == "BEFL-C-106"
    assert "row 2" in error.message
    assert "20.0719" not in str(error)


def test_broken_quotes(tmp_path):
    assert refusal(write(tmp_path, HEADER + '"60"x,200,m,1\n')).code == "BEFL-C-106"


@pytest.mark.parametrize("cell", ["old", "inf", "-Infinity", "1_000", "1,5", "0x10", "1e999", "1e38", "٣", "12 34"])
def test_a_cell_is_not_a_number(tmp_path, cell):
    spec = read(DataSpec, {"alias": "a", "label": "ill", "columns": {"age": {"type": "number", "spread": "0.001"}}})
    path = write(tmp_path, f'secret,age,ill\n777,1,0\n88.0719,"{cell}",1\n')
    with pytest.raises(BeflError) as caught:
        data.load(path, spec)
    assert caught.value.code == "BEFL-C-107"
    assert "row 2, column age" in caught.value.message
    assert cell in caught.value.message
    assert "88.0719" not in str(caught.value)


@pytest.mark.parametrize("labelled", [True, False])
def test_an_unseen_category_is_refused_in_training_and_prediction(tmp_path, labelled):
    error = refusal(write(tmp_path, HEADER + "60,200,m,1\n60,200,x,1\n"), labelled=labelled)
    assert error.code == "BEFL-C-108"
    assert "row 2, column sex: 'x'" in error.message
    assert "'f', 'm'" in error.message


def test_a_long_cell_is_cut(tmp_path):
    error = refusal(write(tmp_path, HEADER + f"60,200,{'x' * 1000},1\n"))
    assert len(error.message) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(("cell", "shown"), [("", "nothing"), ("2", "'2'"), ("1.0", "'1.0'")])
def test_a_label_is_missing_or_unknown(tmp_path, cell, shown):
    error = refusal(write(tmp_path, HEADER + f"60,200,m,1\n60,200,m,{cell}\n"))
    assert error.code == "BEFL-C-109"
    assert f"row 2, label ill: {shown}" in error.message


def table_of(labels: list[int]) -> data.Table:
    return data.Table(np.zeros((len(labels), 7), np.float32), np.array(labels, np.int64), "")


def test_rows_are_held_back_by_hash_of_row_and_seed():
    seed = b"s" * 32
    mask = data.held_back(1000, seed, 20)
    expected = [
        int.from_bytes(hashlib.sha256(seed + row.to_bytes(8, "big")).digest()[:8], "big") % 100 < 20
        for row in range(1000)
    ]
    assert mask.tolist() == expected
    assert 150 < mask.sum() < 250
    assert data.held_back(10, seed, 20).tolist() == expected[:10]
    assert data.held_back(1000, b"t" * 32, 20).tolist() != expected


def test_split_gives_every_row_to_one_side():
    x = np.zeros((100, 7), np.float32)
    x[:, 0] = np.arange(100)
    train, kept = data.split(data.Table(x, np.arange(100, dtype=np.int64) % 2, "d"), SPEC, b"seed")
    assert sorted([*train.x[:, 0], *kept.x[:, 0]]) == list(range(100))
    assert train.digest == "d"
    assert 0 < len(kept.y) < 50


@pytest.mark.parametrize("rows", [1, 9])
def test_too_few_rows(rows):
    with pytest.raises(BeflError, match=f"{rows} rows") as caught:
        data.split(table_of([row % 2 for row in range(rows)]), SPEC, b"seed")
    assert caught.value.code == "BEFL-C-111"


def test_nothing_held_back_is_too_few():
    seed = next(bytes([byte]) for byte in range(256) if not data.held_back(10, bytes([byte]), SPEC.held_back).any())
    with pytest.raises(BeflError, match="0 are held back") as caught:
        data.split(table_of([0, 1] * 5), SPEC, seed)
    assert caught.value.code == "BEFL-C-111"


NUMBER = read(
    DataSpec,
    {
        "alias": "ward",
        "label": "days",
        "target": "number",
        "label_centre": "10",
        "label_spread": "4",
        "columns": {"age": "number"},
    },
)


def test_a_number_is_prepared_like_a_column(tmp_path):
    table = data.load(write(tmp_path, "age,days\n1,10\n2,14\n3,4.5\n"), NUMBER)
    assert table.y.tolist() == [0, 1, -1.375]
    assert table.y.dtype == np.float32
    assert data.problem(NUMBER) == Problem((2,), 1, "number")
    assert data.problem(SPEC) == Problem((7,), 2, "class")
    assert len(data.load(write(tmp_path, "age\n1\n"), NUMBER, labelled=False).y) == 0


@pytest.mark.parametrize(("cell", "code"), [("", "BEFL-C-109"), ("?", "BEFL-C-107"), ("1e99", "BEFL-C-107")])
def test_a_number_that_is_not_known(tmp_path, cell, code):
    with pytest.raises(BeflError, match="row 2") as caught:
        data.load(write(tmp_path, f"age,days\n1,10\n2,{cell}\n"), NUMBER)
    assert caught.value.code == code


def test_numbers_that_are_all_the_same(tmp_path):
    rows = "".join(f"{row},3\n" for row in range(60))
    table = data.load(write(tmp_path, "age,days\n" + rows), NUMBER)
    with pytest.raises(BeflError, match="in every row days is the same value") as caught:
        data.split(table, NUMBER, b"seed")
    assert caught.value.code == "BEFL-C-110"


def test_rows_in_which_nothing_is_known(tmp_path):
    """A column may be empty, not all of them."""
    for rows, names in (("NA,,m,1\n", ["age", "chol"]), ("60,,,1\n", ["chol", "sex"])):
        table = data.load(write(tmp_path, HEADER + rows * 30), SPEC)
        assert data.unknown(table, SPEC) == names
        assert all(np.isfinite(part.x).all() for part in data.split(table, SPEC, b"seed"))
    with pytest.raises(BeflError, match='data "ward": no value is known in any of the 3 columns') as caught:
        data.split(data.load(write(tmp_path, HEADER + "NA,,,1\n" * 30), SPEC), SPEC, b"seed")
    assert caught.value.code == "BEFL-C-114"


@pytest.mark.parametrize("classes", [["0", "1"], ["0", "1", "2"]])
def test_rows_of_one_class_are_no_mistake(tmp_path, classes):
    """A hospital that sees the ill only learns with those that see the others."""
    spec = read(DataSpec, {"alias": "a", "label": "y", "classes": classes, "columns": {"age": "number"}})
    table = data.load(write(tmp_path, "age,y\n" + "".join(f"{row},1\n" for row in range(60))), spec)
    train, kept = data.split(table, spec, b"seed")
    assert len(train.y) + len(kept.y) == 60
    assert {*train.y, *kept.y} == {1}
