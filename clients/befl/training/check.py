"""Does a file fit a task? Column by column, with every problem and not only the first.

What is refused here is what :func:`befl.training.data.load` and :func:`befl.training.data.split` refuse, and in the
same cases.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.spec import Column, DataSpec
from befl.training import arrays, data

_EXAMPLES: Final = 3
_FAR_MEAN: Final = 3.0
_FAR_DEVIATION: Final = 10.0
_FEW_ROWS: Final = 10

#: Row and text.
_Cell = tuple[int, str]


@dataclass(frozen=True)
class ColumnReport:
    """What one column holds.

    Parameters
    ----------
    name, type : str
        ``number``, ``category`` or ``array``; the label's is ``class`` or ``number``.
    rows, missing : int
        Cells read, and those whose value is not known.
    values : dict of str to int
        Category or class: rows of each declared value.
    range : dict of str to float
        Number: ``least``, ``most``, ``mean``, ``deviation``, and the last two of the prepared values.
    problems, warnings : list of str
        What does not fit, each with its code; what fits and looks wrong.
    """

    name: str
    type: str
    rows: int = 0
    missing: int = 0
    values: dict[str, int] = field(default_factory=dict)
    range: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataReport:
    """What a file holds and whether it fits a task.

    Parameters
    ----------
    file, digest : str
        The file and the SHA-256 of its bytes.
    fits : bool
        Whether there is no problem.
    rows, held_back : int
        Its rows, and about how many of them are kept for evaluation; which ones follows from the task's id.
    columns : list of ColumnReport
        The declared columns, the label last.
    unread : list of str
        Columns that the task does not name.
    problems, warnings : list of str
        About the file as a whole.
    """

    file: str
    digest: str
    fits: bool
    rows: int
    held_back: int
    columns: list[ColumnReport]
    unread: list[str]
    problems: list[str]
    warnings: list[str]


#: Rows, columns, columns that are not read, problems of the file as a whole.
_Seen = tuple[int, list[ColumnReport], list[str], list[str]]


def check(path: Path, spec: DataSpec) -> DataReport:
    """Hold a file against a task's ``[data]`` table.

    Raises
    ------
    BeflError
        ``BEFL-C-101`` to ``BEFL-C-104`` when there is nothing to look at: the file cannot be read, is too large, empty,
        or of another kind.
    """
    content = data.read_file(path)
    look = _table if spec.form == "table" else _arrays
    rows, columns, unread, problems = look(content, path, spec)
    warnings = []
    if rows and all(0 < each.missing == each.rows for each in columns[:-1]):
        problems.append("BEFL-C-114: no value is known in any column")
    held = rows * spec.held_back / 100
    if rows == 0:
        problems.append("BEFL-C-104: there are no rows")
    elif rows < data.LEAST_ROWS:
        problems.append(f"BEFL-C-111: {rows} rows; training needs {data.LEAST_ROWS}")
    elif not 1 <= held <= rows - 1:
        warnings.append(f"of {rows} rows {spec.held_back} per cent are held back: that may be none, or all")
    return DataReport(
        file=str(path),
        digest=hashlib.sha256(content).hexdigest(),
        fits=not problems and not any(column.problems for column in columns),
        rows=rows,
        held_back=round(held),
        columns=columns,
        unread=unread,
        problems=problems,
        warnings=warnings,
    )


def _table(content: bytes, path: Path, spec: DataSpec) -> _Seen:
    """Look at a CSV file."""
    reader = data.csv_rows(content, path)
    header = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in header if header.count(name) > 1})
    problems = [f"BEFL-C-105: the header names a column twice: {data.listed(twice)}"] if twice else []
    if data.otherwise_separated(header):
        problems.append(f"BEFL-C-105: {data.SEPARATED}")
    wanted = [*spec.columns, spec.label]
    places = {name: header.index(name) for name in wanted if name in header}
    rows, cells, odd = _cells(reader, len(header), places)
    unread = [name for name in header if name not in wanted]
    columns = []
    for name in wanted:
        if name not in places:
            columns.append(_absent(name, spec, unread))
        elif name == spec.label:
            columns.append(_label(cells[name], spec))
        else:
            look = _number if spec.columns[name].type == "number" else _category
            columns.append(look(name, spec.columns[name], cells[name]))
    return rows, columns, unread, problems + odd


def _cells(
    reader: Iterator[list[str]], width: int, places: Mapping[str, int]
) -> tuple[int, dict[str, list[_Cell]], list[str]]:
    """Read the cells of some columns; rows of another width are a problem and are left out."""
    cells: dict[str, list[_Cell]] = {name: [] for name in places}
    odd, problems, number = [], [], 0
    try:
        for number, row in enumerate(reader, start=1):
            if len(row) != width:
                odd.append(str(number))
                continue
            for name, place in places.items():
                cells[name].append((number, row[place].strip()))
            if number * len(places) > data.MOST_CELLS:
                raise BeflError("BEFL-C-102", f"more than {data.MOST_CELLS} cells; what follows was not read")
    except BeflError as error:  # such as a quote that is never closed: what follows cannot be read
        problems.append(f"{error.code}: {error.message}")
    if odd:
        many = "1 row has" if len(odd) == 1 else f"{len(odd)} rows have"
        problems.append(f"BEFL-C-106: {many} another number of cells than the header's {width}: row {_few(odd)}")
    return number, cells, problems


def _absent(name: str, spec: DataSpec, unread: list[str]) -> ColumnReport:
    kind = spec.target if name == spec.label else spec.columns[name].type
    folded = {each.casefold(): each for each in unread}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
    hint = f"; is it {folded[near[0]][:40]!r}?" if near else ""
    return ColumnReport(name, kind, problems=[f"BEFL-C-105: the file has no such column{hint}"])


def _number(name: str, column: Column, cells: list[_Cell], prefix: str = "") -> ColumnReport:
    is_missing = data.missing_number(column)
    known, wrong, missing = [], [], 0
    for row, text in cells:
        value = data.number(text)
        if is_missing(text):
            missing += 1
        elif data.usable((value - float(column.centre)) / float(column.spread)):
            known.append(value)
        else:
            wrong.append((row, text))
    report = ColumnReport(name, "number", len(cells), missing)
    if wrong:
        report.problems.append(f"BEFL-C-107: {_count(wrong)} not a number that can be used: {_where(wrong)}")
    report.range.update(_range(np.array(known), float(column.centre), float(column.spread)))
    if column.statistics == "declared":
        report.warnings.extend(_far(report.range, prefix))
    if cells and missing == len(cells):
        report.warnings.append("no value is known in this file")
    return report


def _category(name: str, column: Column, cells: list[_Cell]) -> ColumnReport:
    texts = {"", *column.missing}
    found = Counter(text for _, text in cells)
    allowed = {*texts, *column.values}
    wrong = [(row, text) for row, text in cells if text not in allowed]
    values = {value: found[value] for value in column.values}
    report = ColumnReport(name, "category", len(cells), sum(found[text] for text in texts), values)
    if wrong:
        report.problems.append(f"BEFL-C-108: {_count(wrong)} not a declared value: {_where(wrong)}")
    if cells and report.missing == len(cells):
        report.warnings.append("no value is known in this file")
    return report


def _label(cells: list[_Cell], spec: DataSpec) -> ColumnReport:
    if spec.target == "class":
        found = Counter(text for _, text in cells)
        report = ColumnReport(spec.label, "class", len(cells), values={value: found[value] for value in spec.classes})
        wrong = [(row, text) for row, text in cells if text not in report.values]
        if wrong:
            report.problems.append(f"BEFL-C-109: {_count(wrong)} not one of the classes: {_where(wrong)}")
        _balance(report)
        return report
    column = Column("number", centre=spec.label_centre, spread=spec.label_spread, missing=())
    report = _number(spec.label, column, [each for each in cells if each[1]], "label_")
    empty = [each for each in cells if not each[1]]
    if empty:
        report.problems.append(f"BEFL-C-109: {_count(empty)} empty: {_where(empty)}")
    _spread_out(report)
    return report


def _balance(report: ColumnReport) -> None:
    """Say what is wrong with how the classes are represented."""
    present = [value for value, rows in report.values.items() if rows]
    if len(present) == 1:
        report.warnings.append(
            f"every row has {present[0][:40]!r}: is it the right column, or do others have the rest?"
        )
        return
    few = {value: rows for value, rows in report.values.items() if rows < _FEW_ROWS}
    if present and few:
        shown = _few([f"{value[:40]!r} ({rows})" for value, rows in few.items()])
        report.warnings.append(f"classes of fewer than {_FEW_ROWS} rows: {shown}")


def _spread_out(report: ColumnReport) -> None:
    if report.range and report.range["least"] == report.range["most"]:
        report.problems.append(f"BEFL-C-110: every row has {report.range['least']:g}")


def _arrays(content: bytes, path: Path, spec: DataSpec) -> _Seen:
    """Look at a file of arrays."""
    found = arrays.opened(content, path)
    x, y = found.get("x"), found.get("y")
    rows = len(x) if x is not None and x.ndim else 0
    columns = [
        ColumnReport("x", "array", rows),
        ColumnReport("y", spec.target, len(y) if y is not None and y.ndim else 0),
    ]
    for name, column, look in (("x", columns[0], _x), ("y", columns[1], _y)):
        if name not in found:
            column.problems.append("BEFL-C-105: the file has no such array")
        else:
            look(found[name], rows, spec, column)
    return rows, columns, [], []


def _x(x: NDArray[Any], rows: int, spec: DataSpec, report: ColumnReport) -> None:
    del rows
    if x.shape[1:] != spec.shape or x.ndim == 0 or x.dtype.kind not in "uif":
        wanted = f"the task wants numbers, rows of shape {list(spec.shape)}"
        report.problems.append(f"BEFL-C-106: of shape {list(x.shape)} and type {x.dtype}; {wanted}")
        return
    _values(x, spec.centre, spec.spread, report)
    report.warnings.extend(_far(report.range, ""))


def _y(y: NDArray[Any], rows: int, spec: DataSpec, report: ColumnReport) -> None:
    kinds = "uif" if spec.target == "number" else "uibU"
    if y.dtype.kind not in kinds or y.shape != (rows,):
        what = "numbers" if spec.target == "number" else "whole numbers or text"
        report.problems.append(
            f"BEFL-C-106: of shape {list(y.shape)} and type {y.dtype}; x has {rows} rows, and the label is {what}"
        )
    elif spec.target == "number":
        _values(y, spec.label_centre, spec.label_spread, report)
        report.warnings.extend(_far(report.range, "label_"))
        _spread_out(report)
    else:
        labels, counts = np.unique(y, return_counts=True)
        texts = Counter(dict(zip(arrays.label_texts(labels), map(int, counts), strict=True)))
        report.values.update({value: texts[value] for value in spec.classes})
        wrong = {text: count for text, count in texts.items() if text not in report.values}
        if wrong:
            shown = _few([f"{text[:40]!r} ({count})" for text, count in wrong.items()])
            report.problems.append(f"BEFL-C-109: {sum(wrong.values())} labels are not one of the classes: {shown}")
        _balance(report)


def _values(values: NDArray[Any], centre: str, spread: str, report: ColumnReport) -> None:
    """Describe numbers of an array; those that are not finite are a problem."""
    finite = np.isfinite(arrays.prepared(values, centre, spread))
    wrong = int(finite.size - finite.sum())
    if wrong:
        report.problems.append(f"BEFL-C-107: {wrong} values are not finite numbers that can be used")
    report.range.update(_range(values[finite].astype(np.float64), float(centre), float(spread)))


def _range(known: NDArray[np.float64], centre: float, spread: float) -> dict[str, float]:
    if len(known) == 0:
        return {}
    mean, deviation = float(known.mean()), float(known.std())
    return {
        "least": float(known.min()),
        "most": float(known.max()),
        "mean": mean,
        "deviation": deviation,
        "prepared_mean": (mean - centre) / spread,
        "prepared_deviation": deviation / spread,
    }


def _far(found: Mapping[str, float], prefix: str) -> list[str]:
    """Warn when the prepared values are far from mean 0 and deviation 1, which training wants."""
    if not found:
        return []
    if found["deviation"] == 0:
        return [f"every known value is {found['least']:g}"]
    mean, deviation = found["prepared_mean"], found["prepared_deviation"]
    if abs(mean) <= _FAR_MEAN and 1 / _FAR_DEVIATION <= deviation <= _FAR_DEVIATION:
        return []
    alone = f"{prefix}centre = {found['mean']:.4g}, {prefix}spread = {found['deviation']:.4g}"
    return [
        f"prepared mean {mean:.3g}, deviation {deviation:.3g}; training wants about 0 and 1: of this file alone {alone}"
    ]


def _count(wrong: list[Any]) -> str:
    return "1 cell is" if len(wrong) == 1 else f"{len(wrong)} cells are"


def _where(wrong: list[_Cell]) -> str:
    return _few([f"row {row}: {data.cell(text)}" for row, text in wrong])


def _few(items: list[str]) -> str:
    """Show the first few, and how many more there are."""
    more = len(items) - _EXAMPLES
    return ", ".join(items[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
