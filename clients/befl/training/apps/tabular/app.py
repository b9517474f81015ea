"""Training app ``tabular``: linear models and perceptrons for tables.

Settings beside those of the loop (see loop.py):

- ``model``: ``"logistic"`` or ``"linear"`` (the same: no hidden layer), or ``"perceptron"``;
- ``hidden``: sizes of the perceptron's hidden layers, such as ``[32, 16]`` (ReLU between them).

For classes the last layer has one output fewer than there are classes: the first class is the reference, its logit
is 0. So two classes are the usual logistic regression, more are multinomial, and no direction of the parameters is
without effect. The last layer starts at zero, hidden layers from seeded He-uniform weights.
"""

from __future__ import annotations

import math
from typing import Any

import loop
import torch
from torch import nn
from torch.nn import functional


class Tabular(nn.Module):
    """Hidden layers and a last one that starts at zero."""

    def __init__(self, width: int, hidden: list[int], outputs: int, *, reference: bool) -> None:
        super().__init__()
        self.reference = reference
        self.hidden = nn.ModuleList()
        for size in hidden:
            layer = nn.Linear(width, size)
            bound = math.sqrt(6 / width)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
            self.hidden.append(layer)
            width = size
        self.weight = nn.Parameter(torch.zeros(outputs - reference, width))
        self.bias = nn.Parameter(torch.zeros(outputs - reference))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one logit a class, or one number, for each row."""
        x = x.flatten(1)
        for layer in self.hidden:
            x = functional.relu(layer(x))
        made = functional.linear(x, self.weight, self.bias)
        return functional.pad(made, (1, 0)) if self.reference else made


def module(settings: dict[str, Any], problem: dict[str, Any]) -> nn.Module:
    """Make the model of a task."""
    loop.one_of(settings, "model", ("logistic", "linear", "perceptron"))
    hidden = settings["hidden"]
    if not isinstance(hidden, list) or (settings["model"] == "perceptron") != bool(hidden):
        raise ValueError("hidden: a perceptron has a list of sizes such as [32, 16], a linear model has none")
    for size in hidden:
        loop.whole("hidden", size, 1)
    return Tabular(math.prod(problem["shape"]), hidden, problem["outputs"], reference=problem["kind"] == "class")


init, train, predict, check, export = loop.app(module, model="logistic", hidden=[])
