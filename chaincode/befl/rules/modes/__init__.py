"""Modes of training: each with its state table, its guards and its next step. One file or folder a mode, one table."""

from __future__ import annotations

from typing import Final

from befl.rules.modes.horizontal import Horizontal
from befl.rules.modes.mode import Mode
from befl.rules.registry import Versions

__all__ = ["MODES", "Mode"]

MODES: Final[Versions[Mode]] = Versions("mode", {"horizontal/1": Horizontal()})
