"""Using a model folder: ``befl.training.predict`` for those who use befl, without network or ledger."""

from __future__ import annotations

from pathlib import Path

from befl.agent.store import write_whole
from befl.rules.errors import BeflError
from befl.training.app import AppCode, read_app
from befl.training.predict import Model, Predictions, load_model

__all__ = ["AppCode", "Model", "Predictions", "export_model", "load_model", "read_app", "write_predictions"]


def export_model(folder: str | Path, to: str | Path, *, app: AppCode | None = None, python: str | None = None) -> int:
    """Write a model folder as one file in the ONNX form and return its size in bytes.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the file cannot be written; and as ``Model.export`` and ``load_model`` do.
    """
    form = load_model(Path(folder)).export(app=app, python=python)
    write_whole(Path(to), form, mode=0o644)
    return len(form)


def write_predictions(text: str, output: str | Path, data: str | Path) -> None:
    """Write predictions whole or not at all, for their owner's eyes: they are about the people in the rows.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the file cannot be written, or is the data that were predicted from.
    """
    place = Path(output).resolve()
    if place == Path(data).resolve():
        raise BeflError(
            "BEFL-C-006", f"{output}: is the data; predictions are not written over rows", "Name another file."
        )
    write_whole(place, text.encode())
