"""Training app ``image``: a small convolutional network for images, rows of shape [channels, height, width].

Settings beside those of the loop (see loop.py):

- ``channels``: channels of the first convolution, the second has twice as many; default 16;
- ``hidden``: size of the layer between the convolutions and the outputs; default 64.

Two 5x5 convolutions, each with ReLU and 2x2 max pooling, then two linear layers: LeNet's shape (LeCun et al. 1998).
"""

from __future__ import annotations

from typing import Any

import loop
from torch import nn


def module(settings: dict[str, Any], problem: dict[str, Any]) -> nn.Module:
    """Make the network of a task."""
    for name in ("channels", "hidden"):
        loop.whole(name, settings[name], 1)
    shape = problem["shape"]
    if len(shape) != 3 or min(shape[1:]) < 4:
        raise ValueError(f"the rows' shape is {shape}: images are [channels, height, width], at least 4 x 4")
    deep, height, width = shape
    first, hidden = settings["channels"], settings["hidden"]
    return nn.Sequential(
        nn.Conv2d(deep, first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, 2 * first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * first * (height // 4) * (width // 4), hidden),
        nn.ReLU(),
        nn.Linear(hidden, problem["outputs"]),
    )


init, train, predict, check, export = loop.app(module, channels=16, hidden=64)
