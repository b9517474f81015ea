"""What an app learns: the shape of a row, and what is predicted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """A problem as an app sees it.

    Parameters
    ----------
    shape : tuple of int
        One row's shape: ``(features,)`` of a table, such as ``(1, 28, 28)`` of an array.
    outputs : int
        Number of classes, or 1 for a number.
    kind : str
        ``"class"`` or ``"number"``.
    """

    shape: tuple[int, ...]
    outputs: int
    kind: Literal["class", "number"] = "class"
