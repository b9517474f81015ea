"""The layout of a model: which tensors, in which order, of which shapes, one vector holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from befl.rules.errors import BeflError
from befl.rules.reader import Integer, Sequence, Text, read, setting
from befl.rules.spec import MOST_PARAMETERS


@dataclass(frozen=True)
class Tensor:
    """One tensor of a model."""

    name: str = setting(Text(most=200, pattern=r"[A-Za-z0-9_.\-]+", expects="a tensor's name"), "its name in the app")
    shape: tuple[int, ...] = setting(Sequence(Integer(1, MOST_PARAMETERS), 0, 8), "its dimensions")

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def read_layout(value: object) -> tuple[Tensor, ...]:
    """Read a layout from its JSON form, a list of ``{"name": ..., "shape": [...]}``.

    Raises
    ------
    BeflError
        ``BEFL-M-006`` when it is malformed, empty, names a tensor twice or is too large.
    """
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 1_000:
        raise BeflError("BEFL-M-006", "a layout is a list of 1 to 1000 tensors")
    try:
        tensors = tuple(read(Tensor, item, f"layout[{index}]") for index, item in enumerate(value))
    except BeflError as error:
        raise BeflError("BEFL-M-006", error.message, error.hint) from None
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise BeflError("BEFL-M-006", "two tensors of the layout have one name")
    if any(tensor.name == "__metadata__" for tensor in tensors):
        raise BeflError("BEFL-M-006", "no tensor can be named __metadata__: safetensors keeps the name for itself")
    if length(tensors) > MOST_PARAMETERS:
        raise BeflError(
            "BEFL-M-006", f"the model has {length(tensors)} parameters, {MOST_PARAMETERS} at most are taken"
        )
    return tensors


def length(layout: tuple[Tensor, ...]) -> int:
    """Return the number of parameters."""
    return sum(tensor.size for tensor in layout)
