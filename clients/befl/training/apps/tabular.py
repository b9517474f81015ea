"""Training app ``tabular``: logistic regression and perceptron for tables, on torch.

Settings (``[app.settings]`` of a task):

- ``model``: ``"logistic"`` or ``"perceptron"``;
- ``hidden``: sizes of the perceptron's hidden layers, such as ``[32, 16]`` (ReLU between them);
- ``epochs`` (passes over the rows) or ``steps`` (steps of the optimiser): local training of one round, default 1 epoch;
- ``batch``: rows a step, 0 for all rows; default 0;
- ``learning_rate``: default 0.1;
- ``l2``: weight of half the squared norm of all weights (biases excepted) in the loss; default 0;
- ``optimiser``: ``"sgd"`` or ``"adam"``; its state starts anew in each round.

The last layer has one output fewer than there are classes: the first class is the reference, its logit is 0. So two
classes are the usual logistic regression, more are multinomial, and no direction of the parameters is without effect.
The loss is the mean cross-entropy. A logistic model starts at zero, a perceptron from seeded He-uniform weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Model = dict[str, NDArray[np.float32]]

_DEFAULTS: dict[str, Any] = {
    "model": "logistic",
    "hidden": [],
    "epochs": 0,
    "steps": 0,
    "batch": 0,
    "learning_rate": "0.1",
    "l2": "0",
    "optimiser": "sgd",
}


def check(settings: dict[str, Any]) -> None:
    """Refuse settings that this app does not know; raises ValueError naming the setting."""
    _read(settings)


def init(settings: dict[str, Any], features: int, classes: int, seed: int) -> Model:
    """Make the initial parameters."""
    known = _read(settings)
    generator = torch.Generator().manual_seed(seed)
    model: Model = {}
    width = features
    for index, size in enumerate(known["hidden"]):
        bound = math.sqrt(6 / width)
        weight = (torch.rand((size, width), generator=generator) * 2 - 1) * bound
        model[f"hidden.{index}.weight"] = weight.numpy()
        model[f"hidden.{index}.bias"] = np.zeros(size, np.float32)
        width = size
    model["weight"] = np.zeros((classes - 1, width), np.float32)
    model["bias"] = np.zeros(classes - 1, np.float32)
    return model


def train(model: Model, x: NDArray[np.float32], y: NDArray[np.int64], settings: dict[str, Any], seed: int) -> Model:
    """Train one round on the institution's rows and return the new parameters."""
    known = _read(settings)
    parameters = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in model.items()}
    rows, labels = _tensor(x), _tensor(y)
    kind = torch.optim.Adam if known["optimiser"] == "adam" else torch.optim.SGD
    optimiser = kind(parameters.values(), lr=known["learning_rate"])
    for chosen in _batches(len(y), known, seed):
        optimiser.zero_grad()
        loss = functional.cross_entropy(_logits(parameters, rows[chosen]), labels[chosen])
        for name, parameter in parameters.items():
            if known["l2"] and name.endswith("weight"):
                loss = loss + known["l2"] / 2 * parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimiser.step()
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}


def predict(model: Model, x: NDArray[np.float32], settings: dict[str, Any]) -> NDArray[np.float32]:
    """Return the probability of each class for each row."""
    del settings  # the shapes say it all
    with torch.no_grad():
        parameters = {name: _tensor(array) for name, array in model.items()}
        probabilities: NDArray[np.float32] = functional.softmax(_logits(parameters, _tensor(x)), 1).numpy()
    return probabilities


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """Share the array's memory, or copy what may not be written, which torch does not take."""
    return torch.from_numpy(np.require(array, requirements="W"))


def _logits(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for index in range((len(parameters) - 2) // 2):
        x = functional.relu(
            functional.linear(x, parameters[f"hidden.{index}.weight"], parameters[f"hidden.{index}.bias"])
        )
    outputs = functional.linear(x, parameters["weight"], parameters["bias"])
    return functional.pad(outputs, (1, 0))


def _batches(rows: int, known: dict[str, Any], seed: int) -> Iterator[Any]:
    """Yield the rows of each step; all rows in their order, or batches of a seeded shuffle per pass."""
    size = known["batch"] if 0 < known["batch"] < rows else rows
    passed = taken = 0
    generator = torch.Generator().manual_seed(seed)
    while taken < known["steps"] or passed < known["epochs"]:
        order = torch.randperm(rows, generator=generator) if size < rows else torch.arange(rows)
        for chosen in torch.split(order, size):
            if known["steps"] and taken == known["steps"]:
                return
            yield slice(None) if size == rows else chosen
            taken += 1
        passed += 1


def _read(settings: dict[str, Any]) -> dict[str, Any]:
    """Return all settings with numbers in place of decimal texts."""
    unknown = sorted(set(settings) - set(_DEFAULTS))
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown setting; known are {', '.join(_DEFAULTS)}")
    known = {**_DEFAULTS, **settings}
    _one_of(known, "model", ("logistic", "perceptron"))
    _one_of(known, "optimiser", ("sgd", "adam"))
    for name in ("epochs", "steps", "batch"):
        _whole(name, known[name], 0)
    if known["epochs"] and known["steps"]:
        raise ValueError("steps: give epochs or steps, not both")
    if not known["steps"]:
        known["epochs"] = known["epochs"] or 1
    if not isinstance(known["hidden"], list) or (known["model"] == "perceptron") != bool(known["hidden"]):
        raise ValueError("hidden: a perceptron has a list of sizes such as [32, 16], a logistic model has none")
    for size in known["hidden"]:
        _whole("hidden", size, 1)
    known["learning_rate"] = _decimal(known, "learning_rate")
    known["l2"] = _decimal(known, "l2")
    if known["learning_rate"] == 0:
        raise ValueError("learning_rate: must be greater than 0")
    return known


def _one_of(known: dict[str, Any], name: str, of: tuple[str, ...]) -> None:
    if known[name] not in of:
        raise ValueError(f"{name}: must be one of {', '.join(of)}, not {known[name]!r}")


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 1_000_000:
        raise ValueError(f"{name}: must be a whole number from {least} to 1000000, not {value!r}")


def _decimal(known: dict[str, Any], name: str) -> float:
    try:
        value = float(known[name])
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(known[name], bool) or not 0 <= value <= 1_000:
        raise ValueError(f"{name}: must be a number from 0 to 1000, not {known[name]!r}")
    return value
