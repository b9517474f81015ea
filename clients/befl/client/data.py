"""Holding an institution's file against a task before anybody else is asked."""

from __future__ import annotations

from pathlib import Path

from befl.client.tasks import read_spec
from befl.training.check import ColumnReport, DataReport, check

__all__ = ["ColumnReport", "DataReport", "check_data"]


def check_data(task: str | Path, data: str | Path) -> DataReport:
    """Say column by column what of a file fits a TASK.toml and what does not.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-006`` for the task's file, ``BEFL-C-101`` to ``BEFL-C-104`` when there is nothing to
        look at in the data.
    """
    return check(Path(data), read_spec(task).data)
