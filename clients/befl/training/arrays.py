"""Rows that are arrays, such as images: a ``.npz`` file of numpy or a ``.safetensors`` file, with ``x`` and ``y``.

``x`` has one row a first index and the shape that the task declares; ``y`` has the label of each row. Every value
becomes ``(value - centre) / spread``. Nothing is unpickled.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.spec import DataSpec

MOST_BYTES: Final = 4 * 2**30


def read(content: bytes, path: Path, spec: DataSpec, *, labelled: bool) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Read and prepare the arrays of a file.

    Parameters
    ----------
    content : bytes
        The file.
    path : Path
        Its name: the ending tells the form.
    spec : DataSpec
        What it must look like.
    labelled : bool
        Whether ``y`` is wanted.

    Returns
    -------
    x : ndarray of float32, shape (rows, *shape)
    y : ndarray of int64 (index of the class) or float32 (prepared number), shape (rows,); empty when not wanted

    Raises
    ------
    BeflError
        ``BEFL-C-103`` not such a file, ``BEFL-C-102`` too large, ``BEFL-C-105`` an array is missing, ``BEFL-C-106`` of
        another shape or type, ``BEFL-C-107`` values that are not finite, ``BEFL-C-109`` a label that is not declared.
    """
    found = opened(content, path)
    wanted = ("x", "y") if labelled else ("x",)
    missing = [name for name in wanted if name not in found]
    if missing:
        names = ", ".join(sorted(found)) or "neither x nor y"
        raise BeflError("BEFL-C-105", f"{path}: there is no array {missing[0]}; the file has {names}")
    x = found["x"]
    if x.shape[1:] != spec.shape or x.ndim == 0 or x.dtype.kind not in "uif":
        raise BeflError(
            "BEFL-C-106",
            f"{path}: x is of shape {x.shape} and type {x.dtype}; the task wants rows of shape {spec.shape}, numbers",
        )
    if len(x) == 0:
        raise BeflError("BEFL-C-104", f"{path}: x has no rows")
    prepared = _prepare(x, spec.centre, spec.spread, path, "x")
    if not labelled:
        return prepared, np.zeros(0, np.int64)
    y = found["y"]
    if y.shape != (len(x),):
        raise BeflError("BEFL-C-106", f"{path}: y is of shape {y.shape}, and x has {len(x)} rows")
    return prepared, _labels(y, spec, path)


def opened(content: bytes, path: Path) -> Mapping[str, NDArray[Any]]:
    """Return the arrays ``x`` and ``y`` of a file, as far as it has them; raises ``BEFL-C-102``, ``BEFL-C-103``."""
    return _safetensors(content, path) if path.suffix == ".safetensors" else _npz(content, path)


def prepared(values: NDArray[Any], centre: str, spread: str) -> NDArray[np.float32]:
    """Return ``(value - centre) / spread`` in single precision; what is beyond it is infinite."""
    with np.errstate(over="ignore"):
        made = values.astype(np.float32)
        if float(centre):
            made -= np.float32(centre)
        if float(spread) != 1:
            made /= np.float32(spread)
    return made


def _prepare(values: NDArray[Any], centre: str, spread: str, path: Path, name: str) -> NDArray[np.float32]:
    made = prepared(values, centre, spread)
    if not np.isfinite(made).all():
        raise BeflError("BEFL-C-107", f"{path}: {name} holds values that are not finite numbers")
    return made


def label_texts(values: NDArray[Any]) -> list[str]:
    """Write labels, whole numbers or text, as a task's classes are written."""
    return [str(value) if values.dtype.kind == "U" else str(int(value)) for value in values]


def _labels(y: NDArray[Any], spec: DataSpec, path: Path) -> NDArray[Any]:
    if spec.target == "number":
        if y.dtype.kind not in "uif":
            raise BeflError("BEFL-C-106", f"{path}: y is of type {y.dtype}, not numbers")
        return _prepare(y, spec.label_centre, spec.label_spread, path, "y")
    if y.dtype.kind not in "uibU":
        raise BeflError("BEFL-C-106", f"{path}: y is of type {y.dtype}, not whole numbers or text")
    values, inverse = np.unique(y, return_inverse=True)
    texts = label_texts(values)
    place = {text: index for index, text in enumerate(spec.classes)}
    unknown = [text for text in texts if text not in place]
    if unknown:
        declared = ", ".join(spec.classes[:20])
        raise BeflError("BEFL-C-109", f"{path}: y holds {unknown[0][:40]!r}; must be one of {declared}")
    return np.array([place[text] for text in texts], dtype=np.int64)[inverse.reshape(-1)]


def _npz(content: bytes, path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > MOST_BYTES:
            raise BeflError("BEFL-C-102", f"{path}: its arrays are larger than {MOST_BYTES} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return {name: _array(found[name]) for name in found.files if name in ("x", "y")}
    except BeflError:
        raise
    except Exception as error:  # noqa: BLE001 - numpy, zipfile and zlib raise many kinds for what is none
        raise BeflError(
            "BEFL-C-103",
            f"{path}: not a .npz file of plain arrays ({type(error).__name__})",
            "Write it with numpy.savez(path, x=..., y=...); arrays of Python objects are not taken.",
        ) from None


def _array(member: Any) -> NDArray[Any]:
    """Refuse what numpy gives for a member that is no array: its bytes."""
    if not isinstance(member, np.ndarray):
        raise TypeError("no array")
    return member


def _safetensors(content: bytes, path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        from safetensors.numpy import load  # noqa: PLC0415 - comes with befl[train]

        return {name: array for name, array in load(content).items() if name in ("x", "y")}
    except ImportError:
        raise BeflError("BEFL-M-101", "the safetensors library is not installed", "pip install 'befl[train]'") from None
    except Exception as error:  # noqa: BLE001 - the library raises its own kinds, and numpy's
        raise BeflError("BEFL-C-103", f"{path}: not a .safetensors file ({type(error).__name__})") from None
