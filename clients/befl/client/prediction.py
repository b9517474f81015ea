"""Using a model folder: ``befl.training.predict`` for those who use befl, without network or ledger."""

from __future__ import annotations

from pathlib import Path

from befl.agent.store import write_whole
from befl.training.app import AppCode, read_app
from befl.training.predict import Model, Predictions, load_model

__all__ = ["AppCode", "Model", "Predictions", "export_model", "load_model", "read_app"]


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
