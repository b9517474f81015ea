"""Whose data is whose in a simulation: a folder with an entry an institution, or one file that is split.

A part of a split has the same header or arrays as the whole and is written as a file, so that an institution's rows
take the same way into training as on a real network. What decides is a seed: the same split gives the same files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.agent.store import write_whole
from befl.rules.errors import BeflError

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,31}")
_SPLIT: Final = re.compile(r"iid|dirichlet:([0-9.]+)|column:(.+)")
_DATA: Final = (".csv", ".npz", ".safetensors")
_ATTEMPTS: Final = 100


def institutions_of(folder: Path, alias: str) -> dict[str, Path]:
    """Find the institutions in a folder.

    Parameters
    ----------
    folder : Path
        Each file in it (``.csv``, ``.npz``, ``.safetensors``) is an institution of the file's name; each folder is an
        institution whose file is called by the alias, or is the only one there.
    alias : str
        The alias of the task's data.

    Returns
    -------
    dict of str to Path

    Raises
    ------
    BeflError
        ``BEFL-C-011`` when there is none, or two of one name.
    """
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if not _NAME.fullmatch(entry.stem):
            continue
        files = _files(entry, alias) if entry.is_dir() else [entry] * (entry.suffix in _DATA)
        if len(files) > 1:
            raise BeflError(
                "BEFL-C-011", f"{entry}: {len(files)} files, and none of them is called {alias}{files[0].suffix}"
            )
        if files and entry.stem in found:
            raise BeflError("BEFL-C-011", f"{folder}: two entries for the institution {entry.stem}")
        for file in files:
            found[entry.stem] = file
    if not found:
        raise BeflError(
            "BEFL-C-011",
            f"{folder}: no data of any institution",
            "A folder has one file or one folder for each institution, named after it: data/north.csv, data/south.csv.",
        )
    return found


def split_file(path: Path, split: str, count: int, label: str, folder: Path, *, seed: int = 0) -> dict[str, Path]:
    """Split one file into parts, one for each institution.

    Parameters
    ----------
    path : Path
        A CSV file, or a ``.npz`` of arrays with one row each.
    split : str
        ``"iid"``; ``"dirichlet:A"``: each class is dealt by proportions drawn from a Dirichlet distribution with
        concentration A (Hsu et al. 2019; small A, unlike parts); or ``"column:NAME"``: an institution for each value.
    count : int
        Institutions; with ``column`` the most frequent values, 0 for all.
    label : str
        The column, or for arrays the name, of what Dirichlet deals by (``y`` stands in for arrays).
    folder : Path
        Where the parts go; for their owner's eyes, as rows are, whoever may read the whole.
    seed : int
        Decides chance.

    Returns
    -------
    dict of str to Path
        ``part1`` and so on, or for ``column`` names made of the values.

    Raises
    ------
    BeflError
        ``BEFL-C-011`` when the split cannot be made, ``BEFL-C-101`` when the file cannot be read, ``BEFL-C-006`` when
        a part cannot be written.
    """
    chosen = _SPLIT.fullmatch(split)
    if chosen is None:
        raise BeflError("BEFL-C-011", f'split {split[:40]!r}: must be "iid", "dirichlet:A" or "column:NAME"')
    rows = _Arrays(path) if path.suffix == ".npz" else _Lines(path)
    if chosen[2]:
        parts = _by_value(rows.column(chosen[2]), count)
    else:
        if not 1 <= count <= rows.count:
            raise BeflError("BEFL-C-011", f"{rows.count} rows cannot be split among {count} institutions")
        generator = np.random.default_rng(seed)
        if chosen[1]:
            parts = _dirichlet(rows.column(label), float(chosen[1]), count, generator)
        else:
            dealt = generator.permutation(rows.count)
            parts = {f"part{index + 1}": np.sort(dealt[index::count]) for index in range(count)}
    made = {name: folder / f"{name}{path.suffix}" for name in parts}
    for name, which in parts.items():
        write_whole(made[name], rows.part(which))
    return made


def _files(folder: Path, alias: str) -> list[Path]:
    files = [each for each in sorted(folder.iterdir()) if each.suffix in _DATA]
    named = [each for each in files if each.stem == alias]
    return named or files


def _by_value(values: NDArray[np.str_], count: int) -> dict[str, NDArray[np.int64]]:
    found, numbers = np.unique(values, return_counts=True)
    if count > len(found):
        raise BeflError("BEFL-C-011", f"the column has {len(found)} values, which do not make {count} institutions")
    order = sorted(range(len(found)), key=lambda index: (-numbers[index], found[index]))[: count or None]
    parts: dict[str, NDArray[np.int64]] = {}
    for index in sorted(order, key=lambda index: found[index]):
        word = re.sub(r"[^a-z0-9]+", "-", str(found[index]).lower()).strip("-")[:24]
        name = word if word[:1].isalpha() else f"part-{word}".rstrip("-")
        if name in parts:
            raise BeflError("BEFL-C-011", f"two values of the column make the name {name}")
        parts[name] = np.flatnonzero(values == found[index])
    return parts


def _dirichlet(
    labels: NDArray[np.str_], concentration: float, count: int, generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Deal each class by proportions of its own; drawn again while a part would teach nothing."""
    if not 0.001 <= concentration <= 1e6:
        raise BeflError("BEFL-C-011", f"dirichlet: the concentration must be from 0.001 to 1e6, not {concentration:g}")
    least = min(30, len(labels) // (2 * count))
    for _ in range(_ATTEMPTS):
        parts: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
        for value in np.unique(labels):
            members = generator.permutation(np.flatnonzero(labels == value))
            cuts = np.cumsum(generator.dirichlet([concentration] * count))[:-1] * len(members)
            for part, piece in zip(parts, np.split(members, cuts.astype(np.int64)), strict=True):
                part.append(piece)
        whole = {f"part{index + 1}": np.sort(np.concatenate(pieces)) for index, pieces in enumerate(parts)}
        if all(len(rows) >= least and len(np.unique(labels[rows])) > 1 for rows in whole.values()):
            return whole
    raise BeflError(
        "BEFL-C-011",
        f"dirichlet: {_ATTEMPTS} draws left somebody with fewer than {least} rows, or with one class, each time",
        "A larger concentration or fewer institutions help.",
    )


class _Lines:
    """The rows of a CSV file."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text("utf-8-sig")
            self._header, *self._rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except OSError as error:
            raise BeflError("BEFL-C-101", f"{path}: {error.strerror}") from None
        except (UnicodeDecodeError, csv.Error, ValueError):
            raise BeflError("BEFL-C-103", f"{path}: not a CSV file in UTF-8 with a header") from None
        self._path = path
        self.count = len(self._rows)

    def column(self, name: str) -> NDArray[np.str_]:
        """Return the texts of a column."""
        if name not in self._header:
            raise BeflError("BEFL-C-105", f"{self._path}: there is no column {name[:40]!r}")
        place = self._header.index(name)
        short = next((number for number, row in enumerate(self._rows, start=1) if len(row) <= place), None)
        if short is not None:
            raise BeflError("BEFL-C-106", f"{self._path}: row {short} has fewer cells than the header")
        return np.array([row[place].strip() for row in self._rows])

    def part(self, rows: NDArray[np.int64]) -> bytes:
        """Return the file of a part."""
        made = io.StringIO()
        writer = csv.writer(made, lineterminator="\n")
        writer.writerow(self._header)
        writer.writerows(self._rows[row] for row in rows)
        return made.getvalue().encode()


class _Arrays:
    """The rows of a .npz file."""

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as found:
                self._arrays: Mapping[str, NDArray[np.generic]] = {name: found[name] for name in found.files}
        except OSError as error:
            raise BeflError("BEFL-C-101", f"{path}: {error.strerror or 'cannot be read'}") from None
        except Exception:  # noqa: BLE001 - numpy and zipfile raise many kinds for a file that is none
            raise BeflError("BEFL-C-103", f"{path}: not a .npz file of plain arrays") from None
        lengths = {len(array) for array in self._arrays.values() if array.ndim}
        if len(lengths) != 1 or not all(array.ndim for array in self._arrays.values()):
            raise BeflError("BEFL-C-106", f"{path}: its arrays have no rows, or not the same number")
        self._path = path
        (self.count,) = lengths

    def column(self, name: str) -> NDArray[np.str_]:
        """Return the values of a one-dimensional array as texts; ``y`` when there is none of that name."""
        array = self._arrays.get(name, self._arrays.get("y"))
        if array is None or array.ndim != 1:
            raise BeflError("BEFL-C-105", f"{self._path}: there is no array {name[:40]!r} with one value a row")
        return array.astype(np.str_)

    def part(self, rows: NDArray[np.int64]) -> bytes:
        """Return the file of a part."""
        parts: dict[str, Any] = {name: array[rows] for name, array in self._arrays.items()}
        made = io.BytesIO()
        np.savez(made, **parts)
        return made.getvalue()
