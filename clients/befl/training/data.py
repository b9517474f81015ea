"""An institution's rows: from a file to numbers, as the task's ``[data]`` table says.

A table is text with a header, separated by commas, UTF-8, quoted as RFC 4180 says; arrays are read by ``arrays.py``.
Preparation is agreed in the task and depends on nothing but the declaration, so that every institution makes the same
features from the same cells:

- a number becomes ``(value - centre) / spread`` and, beside it, a feature that is 1 where the value is missing (the
  first is 0 there, so the centre stands in); the second exists even where nothing is missing;
- a category becomes one feature for each declared value and one for missing.

Columns that the task does not declare are not read. Whatever does not fit is refused by file, row and column; a
category that was not declared is refused in training and in prediction alike, for the model has never seen it.
Messages quote at most the one cell that is wrong, never a row.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.spec import Column, DataSpec
from befl.rules.statistics import MOST
from befl.training import arrays
from befl.training.problem import Problem

MOST_FILE_BYTES: Final = 512 * 2**20
MOST_CELLS: Final = 2 * 10**8
LEAST_ROWS: Final = 10
SEPARATED: Final = "The header looks separated by semicolons or tabs; commas are expected."

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LARGEST: Final = float(np.finfo(np.float32).max)
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True)
class Table:
    """Prepared rows.

    Parameters
    ----------
    x : ndarray of float32, shape (rows, features), or (rows, *shape) of an array
        Features in the order of :func:`features`; read-only.
    y : ndarray of int64 or float32, shape (rows,)
        Index of the class, or the prepared number; empty when the rows were read without their label. Read-only.
    digest : str
        SHA-256 of the file's bytes, hexadecimal.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]
    digest: str

    def __post_init__(self) -> None:
        self.x.setflags(write=False)
        self.y.setflags(write=False)

    def take(self, mask: NDArray[np.bool_]) -> Table:
        """Return the rows that the mask selects."""
        return Table(self.x[mask], self.y[mask] if len(self.y) else self.y.copy(), self.digest)


def problem(spec: DataSpec) -> Problem:
    """Say what an app learns from such data."""
    shape = (len(features(spec)),) if spec.form == "table" else spec.shape
    return Problem(shape, 1, "number") if spec.target == "number" else Problem(shape, len(spec.classes), "class")


def features(spec: DataSpec) -> list[str]:
    """Name the features that the declared columns become, in order."""
    return [name for column, item in spec.columns.items() for name in _feature_names(column, item)]


def held_back(rows: int, seed: bytes, per_cent: int) -> NDArray[np.bool_]:
    """Say which rows are kept for evaluation.

    Row ``i`` is held back when the first eight bytes of SHA-256(seed, i as eight bytes), big endian, leave a
    remainder below ``per_cent`` by 100: the same rows in every round and after every restart, and nobody's choice.

    Returns
    -------
    ndarray of bool, shape (rows,)
    """
    return np.fromiter(
        (
            int.from_bytes(hashlib.sha256(seed + row.to_bytes(8, "big")).digest()[:8], "big") % 100 < per_cent
            for row in range(rows)
        ),
        dtype=np.bool_,
        count=rows,
    )


def split(table: Table, spec: DataSpec, seed: bytes) -> tuple[Table, Table]:
    """Split a table into the rows to train on and the rows held back.

    Raises
    ------
    BeflError
        ``BEFL-C-110`` when all rows have the same number; ``BEFL-C-111`` when there are too few rows. One class alone
        is no error: the others may have the rest. ``BEFL-C-114`` when no value is known in any column.
    """
    rows = len(table.y)
    mask = held_back(rows, seed, spec.held_back)
    kept = int(mask.sum())
    if rows < LEAST_ROWS or kept == 0 or kept == rows:
        raise BeflError(
            "BEFL-C-111",
            f'data "{spec.alias}": {rows} rows, of which {kept} are held back; training needs {LEAST_ROWS} rows and '
            "some on each side",
            "Give the institution's agent a file with more rows.",
        )
    if spec.target == "number" and table.y.min() == table.y.max():
        raise BeflError(
            "BEFL-C-110",
            f'data "{spec.alias}": in every row {spec.label} is the same value',
            "A model cannot learn a difference that the rows do not show; check the label's column.",
        )
    if spec.form == "table" and len(unknown(table, spec)) == len(spec.columns):
        raise BeflError(
            "BEFL-C-114",
            f'data "{spec.alias}": no value is known in any of the {len(spec.columns)} columns',
            "Look whether this is the right file, and which texts the task takes for missing.",
        )
    return table.take(~mask), table.take(mask)


def unknown(table: Table, spec: DataSpec) -> list[str]:
    """Name the declared columns of which no row has a known value; in an array every value is known."""
    found, place = [], 0
    if spec.form == "table":
        for name, column in spec.columns.items():
            place += len(_feature_names(name, column))
            if table.x[:, place - 1].all():  # the last feature says: missing
                found.append(name)
    return found


def sums(rows: Table, spec: DataSpec) -> dict[str, dict[str, int]]:
    """Sum over prepared rows what ``sums/1`` pools: the columns that the task asks for.

    Parameters
    ----------
    rows : Table
        The rows to train on, prepared with the centres and spreads that the task declares.
    spec : DataSpec
        The task's declaration.

    Returns
    -------
    dict
        Column to the JSON form of :class:`befl.rules.statistics.Sums`.
    """
    made = {}
    names = features(spec)
    for name in spec.pooled:
        place = names.index(name)
        known = rows.x[rows.x[:, place + 1] == 0, place].astype(np.float64)
        values = [int(value) for value in np.rint(np.clip(known * 1e6, -float(MOST), float(MOST)))]
        made[name] = {"values": len(values), "total": sum(values), "squares": sum(value * value for value in values)}
    return made


def load(path: Path, spec: DataSpec, *, labelled: bool = True) -> Table:
    """Read a file and prepare it.

    Parameters
    ----------
    path : Path
        The file that the task's alias stands for.
    spec : DataSpec
        What it must look like.
    labelled : bool
        Whether the label's column is wanted; without it ``y`` is empty and the column need not be there.

    Raises
    ------
    BeflError
        ``BEFL-C-101`` to ``BEFL-C-109``: the file cannot be read, is too large, is not UTF-8 text, is empty, lacks
        columns, or holds a row or a cell that does not fit. The message names file, row (1 is the first after the
        header) and column.
    """
    content = read_file(path)
    if spec.form == "array":
        x, y = arrays.read(content, path, spec, labelled=labelled)
        return Table(x, y, hashlib.sha256(content).hexdigest())
    rows = csv_rows(content, path)
    header = _header(rows, path)
    wanted = [*spec.columns, *([spec.label] if labelled else [])]
    _check_columns(header, wanted, path)
    places = [header.index(name) for name in wanted]
    cells: list[list[str]] = [[] for _ in wanted]
    width = len(features(spec))
    count = 0
    for count, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise BeflError(
                "BEFL-C-106", f"{path}: row {count}: {len(row)} cells, but the header has {len(header)} columns"
            )
        for column, place in zip(cells, places, strict=True):
            column.append(row[place].strip())
        if count * max(len(wanted), width // 2) > MOST_CELLS:  # a number has two features
            raise BeflError(
                "BEFL-C-102",
                f"{path}: more than {MOST_CELLS} cells, or as the task declares them {2 * MOST_CELLS} features",
            )
    if count == 0:
        raise BeflError("BEFL-C-104", f"{path}: a header and no rows")
    made = [_prepare(texts, name, spec.columns[name], path) for name, texts in zip(spec.columns, cells, strict=False)]
    read_labels = _labels if spec.target == "class" else _numbers
    y = read_labels(cells[-1], spec, path) if labelled else np.zeros(0, np.int64)
    return Table(np.concatenate(made, axis=1), y, hashlib.sha256(content).hexdigest())


def read_file(path: Path) -> bytes:
    """Read a data file as a whole; raises ``BEFL-C-101``, ``BEFL-C-102`` too large, ``BEFL-C-104`` empty."""
    try:
        if path.is_dir():
            raise BeflError("BEFL-C-101", f"{path}: is a folder, not a file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # reading sets aside as much as it is asked for; the size of a pipe is not known
            most = min(status.st_size, MOST_FILE_BYTES) if stat.S_ISREG(status.st_mode) else MOST_FILE_BYTES
            content = file.read(most + 1)
    except OSError as error:
        raise BeflError(
            "BEFL-C-101",
            f"{path}: {error.strerror or type(error).__name__}",
            "Name a file that this user can read (in AGENT.toml: [data.ALIAS] path).",
        ) from None
    if len(content) > MOST_FILE_BYTES:
        raise BeflError("BEFL-C-102", f"{path}: larger than {MOST_FILE_BYTES} bytes")
    if not content.strip():
        raise BeflError("BEFL-C-104", f"{path}: the file is empty")
    return content


def csv_rows(content: bytes, path: Path) -> Iterator[list[str]]:
    """Yield header and rows of a CSV file; blank lines are passed over; raises ``BEFL-C-103``, ``BEFL-C-106``."""
    if content.startswith(_ZIP):
        raise BeflError("BEFL-C-103", f"{path}: a spreadsheet or an archive, not text", "Save the table as CSV, UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BeflError(
            "BEFL-C-103", f"{path}: not UTF-8 text at byte {error.start}", "Save the table as CSV, UTF-8."
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield row
    except csv.Error as error:
        raise BeflError("BEFL-C-106", f"{path}: line {reader.line_num}: not CSV: {error}") from None


def _header(rows: Iterator[list[str]], path: Path) -> list[str]:
    header = [name.strip() for name in next(rows, [])]
    if not header:
        raise BeflError("BEFL-C-104", f"{path}: the file is empty")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BeflError("BEFL-C-105", f"{path}: the header names a column twice: {listed(twice)}")
    return header


def otherwise_separated(header: list[str]) -> bool:
    """Say whether a header looks as if something else than commas stood between its columns."""
    return len(header) == 1 and (";" in header[0] or "\t" in header[0])


def _check_columns(header: list[str], wanted: list[str], path: Path) -> None:
    missing = [name for name in wanted if name not in header]
    if not missing:
        return
    hint = "Name the columns in the first line as the task's [data] table does."
    if otherwise_separated(header):
        hint = SEPARATED
    raise BeflError("BEFL-C-105", f"{path}: columns missing: {listed(missing)}; the file has: {listed(header)}", hint)


def _feature_names(name: str, column: Column) -> list[str]:
    if column.type == "number":
        return [name, f"{name}: missing"]
    return [*(f"{name}={value}" for value in column.values), f"{name}: missing"]


def _prepare(texts: list[str], name: str, column: Column, path: Path) -> NDArray[np.float32]:
    prepare = _prepare_number if column.type == "number" else _prepare_category
    return prepare(texts, name, column, path)


def _prepare_number(texts: list[str], name: str, column: Column, path: Path) -> NDArray[np.float32]:
    """Two features; a text for missing that is itself a number (0) stands for every way to write it (0.0)."""
    is_missing = missing_number(column)
    centre, spread = float(column.centre), float(column.spread)
    made = np.zeros((len(texts), 2), np.float32)
    for row, text in enumerate(texts):
        if is_missing(text):
            made[row, 1] = 1
            continue
        value = (number(text) - centre) / spread
        if not usable(value):
            raise BeflError(
                "BEFL-C-107",
                f"{path}: row {row + 1}, column {name}: {cell(text)} is not a number that can be used",
                "Numbers are written with a point (12.5). If the text means that the value is not known, list it in "
                f"the task under [data.columns] {name}, missing.",
            )
        made[row, 0] = value
    return made


def number(text: str) -> float:
    """Read a cell; not a number (nan) when it is none, as ``nan`` and ``inf`` are none."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def usable(value: float) -> bool:
    """Say whether a prepared value fits single precision."""
    return abs(value) <= _LARGEST


def missing_number(column: Column) -> Callable[[str], bool]:
    """Return what says of a cell that its value is not known."""
    texts = {"", *column.missing}
    numbers = {float(text) for text in column.missing if _NUMBER.fullmatch(text)}
    return lambda text: text in texts or bool(numbers and _NUMBER.fullmatch(text) and float(text) in numbers)


def _prepare_category(texts: list[str], name: str, column: Column, path: Path) -> NDArray[np.float32]:
    """One feature for each value, one for missing."""
    place = {value: index for index, value in enumerate(column.values)}
    place |= dict.fromkeys(("", *column.missing), len(column.values))
    made = np.zeros((len(texts), len(column.values) + 1), np.float32)
    for row, text in enumerate(texts):
        index = place.get(text)
        if index is None:
            raise BeflError(
                "BEFL-C-108",
                f"{path}: row {row + 1}, column {name}: {cell(text)} is not a declared value; declared: "
                f"{listed(column.values)}",
                f"Write the cell as the task does, or have the task list it under [data.columns] {name}, values or "
                "missing.",
            )
        made[row, index] = 1
    return made


def _labels(texts: list[str], spec: DataSpec, path: Path) -> NDArray[np.int64]:
    place = {value: index for index, value in enumerate(spec.classes)}
    y = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        index = place.get(text)
        if index is None:
            found = cell(text) if text else "nothing"
            raise BeflError(
                "BEFL-C-109",
                f"{path}: row {row + 1}, label {spec.label}: {found}; must be one of {listed(spec.classes)}",
                "Rows whose label is not known cannot be trained on: leave them out of the file.",
            )
        y[row] = index
    return y


def _numbers(texts: list[str], spec: DataSpec, path: Path) -> NDArray[np.float32]:
    """Return the prepared label; a label that is not known is refused, as a class would be."""
    column = Column("number", centre=spec.label_centre, spread=spec.label_spread, missing=())
    made = _prepare_number(texts, spec.label, column, path)
    absent = np.flatnonzero(made[:, 1])
    if len(absent):
        raise BeflError(
            "BEFL-C-109",
            f"{path}: row {int(absent[0]) + 1}, label {spec.label}: nothing",
            "Rows whose label is not known cannot be trained on: leave them out of the file.",
        )
    return made[:, 0].copy()


def cell(text: str) -> str:
    """Show one cell, never more of it than 40 characters."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Show names, at most 20."""
    shown = [repr(name[:40]) for name in names[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
