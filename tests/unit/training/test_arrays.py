"""Rows that are arrays: files of numpy and of safetensors, and what is refused of them."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import DataSpec
from befl.training import arrays, data
from befl.training.problem import Problem

TABLE = {
    "alias": "digits",
    "label": "digit",
    "form": "array",
    "shape": [1, 2, 2],
    "centre": "100",
    "spread": "50",
    "classes": ["0", "1", "7"],
}
SPEC = read(DataSpec, TABLE)
NUMBER = read(
    DataSpec,
    {**{key: value for key, value in TABLE.items() if key != "classes"}, "target": "number", "label_spread": 2},
)
X = np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2) * 10
Y = np.array([0, 7, 1, 7, 0, 1])


def npz(folder: Path, **named: object) -> Path:
    np.savez(folder / "digits.npz", **named)
    return folder / "digits.npz"


def refusal(path: Path, spec: DataSpec = SPEC, **options) -> BeflError:
    with pytest.raises(BeflError) as caught:
        data.load(path, spec, **options)
    assert path.name in caught.value.message
    return caught.value


@pytest.mark.parametrize("y", [Y, Y.astype(np.uint8), Y.astype(str)])
def test_values_and_labels_become_what_the_task_says(tmp_path, y):
    table = data.load(npz(tmp_path, x=X, y=y), SPEC)
    assert (table.x.shape, table.x.dtype) == ((6, 1, 2, 2), np.float32)
    assert table.x[0].reshape(-1).tolist() == pytest.approx([-2, -1.8, -1.6, -1.4])
    assert table.y.tolist() == [0, 2, 1, 2, 0, 1]
    assert data.problem(SPEC) == Problem((1, 2, 2), 3, "class")
    assert not table.x.flags.writeable


def test_safetensors(tmp_path):
    path = tmp_path / "digits.safetensors"
    path.write_bytes(safetensors.numpy.save({"x": X, "y": Y}))
    assert np.array_equal(data.load(path, SPEC).x, data.load(npz(tmp_path, x=X, y=Y), SPEC).x)


def test_numbers_and_rows_without_labels(tmp_path):
    assert data.load(npz(tmp_path, x=X, y=Y / 2), NUMBER).y.tolist() == (Y / 4).tolist()
    assert len(data.load(npz(tmp_path, x=X), SPEC, labelled=False).y) == 0


@pytest.mark.parametrize(
    ("named", "code", "text"),
    [
        ({"x": X}, "BEFL-C-105", "no array y"),
        ({"y": Y}, "BEFL-C-105", "no array x"),
        ({"z": Y}, "BEFL-C-105", "neither x nor y"),
        ({"x": X[:, 0], "y": Y}, "BEFL-C-106", "x is of shape"),
        ({"x": np.float64(1), "y": Y}, "BEFL-C-106", "x is of shape"),
        ({"x": X.astype(str), "y": Y}, "BEFL-C-106", "type <U3"),
        ({"x": X.astype(complex), "y": Y}, "BEFL-C-106", "complex128"),
        ({"x": X[:0], "y": Y[:0]}, "BEFL-C-104", "no rows"),
        ({"x": np.where(X > 200, np.nan, X), "y": Y}, "BEFL-C-107", "not finite"),
        ({"x": X, "y": Y[:5]}, "BEFL-C-106", "x has 6 rows"),
        ({"x": X, "y": Y + 0.5}, "BEFL-C-106", "whole numbers or text"),
        ({"x": X, "y": Y + 1}, "BEFL-C-109", "must be one of 0, 1, 7"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, named, code, text):
    error = refusal(npz(tmp_path, **named))
    assert error.code == code
    assert text in error.message


def test_numbers_that_are_none(tmp_path):
    assert refusal(npz(tmp_path, x=X, y=Y.astype(str)), NUMBER).code == "BEFL-C-106"
    assert refusal(npz(tmp_path, x=X, y=np.where(Y > 1, np.inf, 0.0)), NUMBER).code == "BEFL-C-107"


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "digits.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), y=Y)
    error = refusal(path)
    assert error.code == "BEFL-C-103"
    assert "arrays of Python objects are not taken" in error.hint


def test_a_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "digits.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
        archive.writestr("y.npy", b"nor this")
    assert refusal(tmp_path / "digits.npz").code == "BEFL-C-103"


def test_an_archive_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_BYTES", 10_000)
    assert refusal(npz(tmp_path, x=np.zeros((9_000, 1, 2, 2)), y=Y)).code == "BEFL-C-102"


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes_are_refused(content, zipped, tensors):
    if zipped:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("x.npy", content)
        content = made.getvalue()
    path = Path("digits.safetensors" if tensors else "digits.npz")
    with pytest.raises(BeflError) as caught:
        arrays.read(content, path, SPEC, labelled=True)
    assert caught.value.code in {"BEFL-C-103", "BEFL-C-105"}


def test_splits_hold_rows_back(tmp_path):
    x, y = np.repeat(X, 20, axis=0), np.repeat(Y, 20)
    train, kept = data.split(data.load(npz(tmp_path, x=x, y=y), SPEC), SPEC, b"seed")
    assert len(train.y) + len(kept.y) == 120
    assert train.x.shape[1:] == kept.x.shape[1:] == (1, 2, 2)
    assert dataclasses.astuple(train)[2] == dataclasses.astuple(kept)[2]
