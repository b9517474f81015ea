"""An app of your own: a torch module, and befl's loop trains it.

``module`` gets the task's ``[app.settings]`` and the problem: ``shape`` of a row, ``outputs``, ``kind`` ("class" or
"number"). It returns a module that gives one logit a class, or one number. Raise ValueError for a setting that you do
not take. What else an app can be: docs, "Train your own model".
"""

from __future__ import annotations

from typing import Any

import loop
from torch import nn


def module(settings: dict[str, Any], problem: dict[str, Any]) -> nn.Module:
    """Make the model: two layers with a batch norm between them."""
    loop.whole("width", settings["width"], 1)
    (features,) = problem["shape"]
    return nn.Sequential(
        nn.Linear(features, settings["width"]),
        nn.BatchNorm1d(settings["width"]),
        nn.ReLU(),
        nn.Linear(settings["width"], problem["outputs"]),
    )


init, train, predict, check, export = loop.app(module, width=8)  # own settings with their defaults
