"""Whose data is whose: folders of institutions, and one file that is split."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from befl.rules.errors import BeflError
from befl.simulate import institutions_of, split_file

HEADER = ["id", "town", "sick"]


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def read(path):
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == HEADER
    return [tuple(row) for row in rows]


def rows_of(count, towns=("Bern", "St. Gallen", "1st")):
    return [(str(number), towns[number % len(towns)], "yes" if number % 3 else "no") for number in range(count)]


@pytest.mark.parametrize("split", ["iid", "dirichlet:0.5", "dirichlet:100"])
def test_every_row_is_dealt_once(tmp_path, split):
    rows = rows_of(200)
    parts = split_file(write(tmp_path / "all.csv", rows), split, 4, "sick", tmp_path / "parts")
    assert list(parts) == ["part1", "part2", "part3", "part4"]
    assert sorted(row for path in parts.values() for row in read(path)) == sorted(rows)
    assert all({row[2] for row in read(path)} == {"yes", "no"} for path in parts.values())


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 12), rows=st.integers(1, 60), seed=st.integers(0, 2**40))
def test_iid_parts_are_of_one_size(tmp_path_factory, count, rows, seed):
    folder = tmp_path_factory.mktemp("split")
    path = write(folder / "all.csv", rows_of(rows))
    if count > rows:
        with pytest.raises(BeflError, match="cannot be split"):
            split_file(path, "iid", count, "sick", folder, seed=seed)
        return
    sizes = [len(read(part)) for part in split_file(path, "iid", count, "sick", folder / "parts", seed=seed).values()]
    assert sum(sizes) == rows
    assert max(sizes) - min(sizes) <= 1


def test_the_seed_decides(tmp_path):
    path = write(tmp_path / "all.csv", rows_of(100))
    made = [
        [read(part) for part in split_file(path, "iid", 3, "sick", tmp_path / str(number), seed=seed).values()]
        for number, seed in enumerate((5, 5, 6))
    ]
    assert made[0] == made[1] != made[2]


def test_a_small_concentration_makes_unlike_parts(tmp_path):
    path = write(tmp_path / "all.csv", rows_of(600))

    def spread(split):
        parts = split_file(path, split, 5, "sick", tmp_path / split.replace(":", ""))
        shares = [Counter(row[2] for row in read(part))["yes"] / len(read(part)) for part in parts.values()]
        return float(np.std(shares))

    assert spread("dirichlet:0.2") > 3 * spread("dirichlet:1000")


def test_an_institution_for_each_value(tmp_path):
    rows = rows_of(31)
    path = write(tmp_path / "all.csv", rows)
    parts = split_file(path, "column:town", 0, "sick", tmp_path / "parts")
    assert list(parts) == ["part-1st", "bern", "st-gallen"]
    assert {row[1] for row in read(parts["st-gallen"])} == {"St. Gallen"}
    assert list(split_file(path, "column:town", 1, "sick", tmp_path / "most")) == ["bern"], "the most frequent"


def test_arrays(tmp_path):
    path = tmp_path / "all.npz"
    x, y = np.arange(240, dtype=np.uint8).reshape(60, 2, 2), np.arange(60) % 3
    np.savez(path, x=x, y=y)
    parts = split_file(path, "dirichlet:1", 3, "digit", tmp_path / "parts")
    found = [np.load(part) for part in parts.values()]
    assert sorted(np.concatenate([each["x"][:, 0, 0] for each in found])) == sorted(x[:, 0, 0])
    for each in found:
        assert (y[each["x"][:, 0, 0] // 4] == each["y"]).all()
        assert each["x"].dtype == np.uint8


@pytest.mark.parametrize(
    ("split", "count", "code"),
    [
        ("thirds", 3, "BEFL-C-011"),
        ("iid", 1000, "BEFL-C-011"),
        ("iid", 0, "BEFL-C-011"),
        ("dirichlet:0", 3, "BEFL-C-011"),
        ("dirichlet:1", 59, "BEFL-C-011"),
        ("column:height", 0, "BEFL-C-105"),
    ],
)
def test_splits_that_cannot_be_made(tmp_path, split, count, code):
    path = write(tmp_path / "all.csv", rows_of(60))
    with pytest.raises(BeflError) as caught:
        split_file(path, split, count, "sick", tmp_path / "parts")
    assert caught.value.code == code
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("absent.csv", None, "BEFL-C-101"),
        ("empty.csv", b"", "BEFL-C-103"),
        ("latin.csv", b"a,b\n\xe9,1\n", "BEFL-C-103"),
        ("short.csv", b"id,town,sick\n1\n", "BEFL-C-106"),
        ("absent.npz", None, "BEFL-C-101"),
        ("text.npz", b"id,town\n", "BEFL-C-103"),
    ],
)
def test_files_that_cannot_be_split(tmp_path, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BeflError) as caught:
        split_file(path, "column:sick", 0, "sick", tmp_path / "parts")
    assert caught.value.code == code


@pytest.mark.parametrize(
    "arrays", [{"x": np.zeros(3), "y": np.zeros(4)}, {"x": np.float64(1)}, {"x": np.zeros((3, 2))}]
)
def test_arrays_that_cannot_be_split(tmp_path, arrays):
    np.savez(tmp_path / "all.npz", **arrays)
    with pytest.raises(BeflError) as caught:
        split_file(tmp_path / "all.npz", "dirichlet:1", 2, "y", tmp_path / "parts")
    assert caught.value.code in ("BEFL-C-105", "BEFL-C-106")


def test_two_values_of_one_name(tmp_path):
    path = write(tmp_path / "all.csv", [("1", "Bern", "no"), ("2", "bern!", "yes")])
    with pytest.raises(BeflError, match="make the name bern"):
        split_file(path, "column:town", 0, "sick", tmp_path / "parts")


def test_folders_of_institutions(tmp_path):
    (tmp_path / "north.csv").write_text("a\n")
    for name, files in {"south": ["hearts.csv", "lungs.csv"], "west": ["any.npz"], "east": ["notes.txt"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("a\n")
    (tmp_path / ".hidden.csv").write_text("a\n")
    found = institutions_of(tmp_path, "hearts")
    assert {name: str(path.relative_to(tmp_path)) for name, path in found.items()} == {
        "north": "north.csv",
        "south": "south/hearts.csv",
        "west": "west/any.npz",
    }
    with pytest.raises(BeflError, match="2 files, and none of them is called other"):
        institutions_of(tmp_path, "other")


def test_folders_that_hold_nobody(tmp_path):
    with pytest.raises(BeflError, match="no data of any institution") as caught:
        institutions_of(tmp_path, "hearts")
    assert caught.value.code == "BEFL-C-011"
    (tmp_path / "north.csv").write_text("a\n")
    (tmp_path / "north.npz").write_text("a\n")
    with pytest.raises(BeflError, match="two entries"):
        institutions_of(tmp_path, "hearts")
