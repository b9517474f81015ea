"""Training at the institution: data, apps, the child process they run in, metrics, prediction.

Nothing here imports torch; only the child process does, when the app wants it.
"""

from __future__ import annotations

from befl.training.app import AppCode, builtin_apps, open_archive, read_app
from befl.training.problem import Problem
from befl.training.trainer import Trainer

__all__ = ["AppCode", "Problem", "Trainer", "builtin_apps", "open_archive", "read_app"]
