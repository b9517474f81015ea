"""The training loop of befl's own apps, and of any app that brings only a torch module.

An app imports it as ``loop`` (``loop = "torch"`` in its ``app.toml`` puts this file into its archive) and says::

    init, train, predict, check, export = loop.app(module, hidden=32)

where ``module(settings, problem)`` makes the ``torch.nn.Module`` (and raises ``ValueError`` for what it does not take)
and the keywords are the app's own settings with their defaults. A module returns one logit a class, shape (rows,
classes), or for a number shape (rows, 1).

Settings (``[app.settings]`` of a task), all optional:

- ``epochs`` (passes over the rows) or ``steps`` (steps of the optimiser): local training of one round, default 1 epoch;
- ``batch``: rows a step, 0 for all rows (default);
- ``learning_rate``: default 0.1; ``optimiser``: ``"sgd"`` (default, with ``momentum``) or ``"adam"``; its state starts
  anew in each round;
- ``l2``: weight of half the squared norm of all weights (biases excepted) in the loss; default 0;
- ``proximal``: weight of half the squared distance to the round's model, FedProx (Li et al. 2020); default 0;
- ``loss``: for classes ``"cross_entropy"`` (default) or ``"focal"`` (Lin et al. 2017, with ``focal_gamma``, default 2);
  for a number ``"squared"`` (default) or ``"huber"``;
- ``class_weights``: ``"none"`` (default), ``"balanced"`` (rows / (classes present * rows of the class), from the
  institution's own rows) or one number for each class;
- ``sampling``: which rows a batch has: ``"shuffle"`` (default), ``"stratified"`` (each batch has the classes in the
  proportions of all rows) or ``"balanced"`` (drawn with replacement, each class as often as the others);
- ``clip_gradient``: largest norm of the gradient of a step, 0 for none (default);
- ``amp``: true for automatic mixed precision, only on a GPU; default false.

SCAFFOLD (Karimireddy et al. 2020): with the aggregation rule ``scaffold`` each step's gradient gets the correction
C - C_i, which comes in the model's units and is divided by steps * learning_rate. It needs ``steps`` and plain SGD.

Parameters and floating-point buffers (a batch norm's averages) are the model. Other buffers (its counter) are made anew
in each round. The same model, rows, settings and seed give the same bytes on one machine's processor; on a GPU nearly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

Model = dict[str, NDArray[np.float32]]
Settings = dict[str, Any]
Problem = dict[str, Any]

_PREDICTED_AT_ONCE = 4_096

#: Each setting's default; its type says what is taken: a whole number, a decimal (as text), a word of a few, a boolean.
DEFAULTS: Settings = {
    "epochs": 0,
    "steps": 0,
    "batch": 0,
    "learning_rate": "0.1",
    "optimiser": "sgd",
    "momentum": "0",
    "l2": "0",
    "proximal": "0",
    "loss": "",
    "focal_gamma": "2",
    "class_weights": "none",
    "sampling": "shuffle",
    "clip_gradient": "0",
    "amp": False,
}
_WORDS = {
    "optimiser": ("sgd", "adam"),
    "loss": ("", "cross_entropy", "focal", "squared", "huber"),
    "class_weights": ("none", "balanced"),
    "sampling": ("shuffle", "stratified", "balanced"),
}
_LOSSES = {"class": ("cross_entropy", "focal"), "number": ("squared", "huber")}


def app(make: Callable[[Settings, Problem], nn.Module], **own: Any) -> tuple[Callable[..., Any], ...]:
    """Return an app's functions: ``init``, ``train``, ``predict``, ``check``, ``export``."""

    def read(settings: Settings, problem: Problem) -> Settings:
        known, allowed = _read(settings, own), _LOSSES[problem["kind"]]
        known["loss"] = known["loss"] or allowed[0]
        if known["loss"] not in allowed:
            raise ValueError(f"loss: must be one of {', '.join(allowed)} for this label, not {known['loss']!r}")
        return known

    def init(settings: Settings, problem: Problem, seed: int) -> Model:
        torch.manual_seed(seed)
        return _arrays(make(read(settings, problem), problem))

    def train(
        model: Model,
        x: NDArray[np.float32],
        y: NDArray[Any],
        settings: Settings,
        problem: Problem,
        seed: int,
        correction: Model | None = None,
    ) -> Model:
        known = read(settings, problem)
        module = _module(make(known, problem), model)
        _fit(module, x, y, known, problem, seed, correction)
        return _arrays(module)

    def predict(model: Model, x: NDArray[np.float32], settings: Settings, problem: Problem) -> NDArray[np.float32]:
        module = _module(make(read(settings, problem), problem), model).eval().to(_device(problem))
        pieces = []
        with torch.no_grad():
            for piece in torch.split(_tensor(x), _PREDICTED_AT_ONCE):
                made = module(piece.to(_device(problem)))
                pieces.append(functional.softmax(made, 1) if problem["kind"] == "class" else made)
        found: NDArray[np.float32] = torch.cat(pieces).cpu().numpy()
        return found

    def check(settings: Settings, problem: Problem) -> None:
        make(read(settings, problem), problem)

    def export(model: Model, settings: Settings, problem: Problem) -> bytes:
        module = _module(make(read(settings, problem), problem), model)
        return _onnx(nn.Sequential(module, nn.Softmax(1)) if problem["kind"] == "class" else module, problem)

    return init, train, predict, check, export


def _fit(
    module: nn.Module,
    x: NDArray[np.float32],
    y: NDArray[Any],
    known: Settings,
    problem: Problem,
    seed: int,
    correction: Model | None,
) -> None:
    """Train the module in place for one round."""
    device = _device(problem)
    module.train().to(device)
    rows, labels = _tensor(x).to(device), _tensor(y).to(device)
    parameters = dict(module.named_parameters())
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    shift = _shift(correction, known, device)
    lossy = _loss(known, problem, y, device)
    kind = torch.optim.Adam if known["optimiser"] == "adam" else torch.optim.SGD
    more = {"momentum": known["momentum"]} if known["optimiser"] == "sgd" else {}
    optimiser = kind(parameters.values(), lr=known["learning_rate"], **more)
    amp = known["amp"] and device == "cuda"
    for chosen in _batches(y, known, problem, seed):
        optimiser.zero_grad()
        with torch.autocast("cuda", enabled=amp):
            loss = lossy(module(rows[chosen]).float(), labels[chosen])
        for name, parameter in parameters.items():
            if known["l2"] and name.endswith("weight"):
                loss = loss + known["l2"] / 2 * parameter.square().sum()
            if known["proximal"]:
                loss = loss + known["proximal"] / 2 * (parameter - start[name]).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        if known["clip_gradient"]:
            nn.utils.clip_grad_norm_(parameters.values(), known["clip_gradient"])
        for name, towards in shift.items():
            gradient = parameters[name].grad
            if gradient is not None:
                gradient += towards
        optimiser.step()
    module.cpu()


def _shift(correction: Model | None, known: Settings, device: str) -> dict[str, torch.Tensor]:
    """Return what SCAFFOLD adds to each step's gradient."""
    if correction is None:
        return {}
    if not known["steps"] or known["optimiser"] != "sgd" or known["momentum"]:
        raise ValueError("steps: scaffold needs a number of steps, and plain sgd without momentum")
    scale = known["steps"] * known["learning_rate"]
    return {name: _tensor(array).to(device) / scale for name, array in correction.items()}


def _loss(
    known: Settings, problem: Problem, y: NDArray[Any], device: str
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the mean loss of a batch, from outputs and labels."""
    if problem["kind"] == "number":
        measure = functional.huber_loss if known["loss"] == "huber" else functional.mse_loss
        return lambda made, true: measure(made[:, 0], true)
    weights = _class_weights(known["class_weights"], y, problem["outputs"])
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    if known["loss"] == "cross_entropy":
        return lambda made, true: functional.cross_entropy(made, true, weight)

    def focal(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(made, true, weight, reduction="none")
        sure = functional.softmax(made, 1).gather(1, true[:, None])[:, 0]
        total = len(true) if weight is None else weight[true].sum()
        mean: torch.Tensor = ((1 - sure) ** known["focal_gamma"] * each).sum() / total
        return mean

    return focal


def _class_weights(wanted: Any, y: NDArray[np.int64], classes: int) -> list[float] | None:
    if wanted == "none":
        return None
    if wanted == "balanced":
        counts = np.bincount(y, minlength=classes)
        present = int((counts > 0).sum())
        return [len(y) / (present * int(count)) if count else 0.0 for count in counts]
    if len(wanted) != classes:
        raise ValueError(f"class_weights: {len(wanted)} numbers for {classes} classes")
    return [float(value) for value in wanted]


def _batches(y: NDArray[Any], known: Settings, problem: Problem, seed: int) -> Iterator[Any]:
    """Yield the rows of each step: all rows in their order, or batches of a seeded order a pass."""
    rows = len(y)
    size = known["batch"] if 0 < known["batch"] < rows else rows
    sampling = known["sampling"] if problem["kind"] == "class" else "shuffle"
    chance = np.random.default_rng(seed)
    whole = size == rows and sampling != "balanced"
    passed = taken = 0
    while taken < known["steps"] or passed < known["epochs"]:
        order = np.arange(rows) if whole else _order(y, sampling, chance)
        for begin in range(0, rows, size):
            if known["steps"] and taken == known["steps"]:
                return
            yield slice(None) if whole else torch.from_numpy(order[begin : begin + size])
            taken += 1
        passed += 1


def _order(y: NDArray[Any], sampling: str, chance: np.random.Generator) -> NDArray[np.int64]:
    """Return the order of the rows in one pass."""
    if sampling == "shuffle":
        return chance.permutation(len(y))
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    if sampling == "balanced":
        return chance.choice(len(y), len(y), p=1 / (len(counts) * counts[inverse]))
    place = np.empty(len(y))
    for value, count in enumerate(counts):  # each class spread evenly over the pass
        place[inverse == value] = (chance.permutation(count) + chance.random()) / count
    return np.argsort(place, kind="stable")


def _onnx(module: nn.Module, problem: Problem) -> bytes:
    """Return a module in the ONNX form; it needs the packages onnx and onnxscript."""
    program = torch.onnx.export(
        module.eval(),
        (torch.zeros(2, *problem["shape"]),),
        dynamo=True,
        verbose=False,
        input_names=["x"],
        output_names=["predictions"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
    )
    if program is None:
        raise RuntimeError("torch exports nothing")
    form: bytes = program.model_proto.SerializeToString()
    return form


def _device(problem: Problem) -> str:
    wanted = str(problem.get("device", "cpu"))
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def _arrays(module: nn.Module) -> Model:
    return {name: tensor.detach().cpu().numpy() for name, tensor in _kept(module).items()}


def _module(module: nn.Module, model: Model) -> nn.Module:
    """Put a model's arrays into a module."""
    for name, tensor in _kept(module).items():
        tensor.detach().copy_(torch.from_numpy(model[name]))
    return module


def _kept(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what of a module is the model."""
    return {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if tensor.is_floating_point()}


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """Share the array's memory, or copy what may not be written, which torch does not take."""
    return torch.from_numpy(np.require(array, requirements="W"))


def _read(settings: Settings, own: Settings) -> Settings:
    """Return all settings with numbers in place of decimal texts; raises ValueError naming the setting."""
    defaults = {**DEFAULTS, **own}
    unknown = sorted(set(settings) - set(defaults))
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown setting; known are {', '.join(defaults)}")
    known = {**defaults, **settings}
    for name, default in DEFAULTS.items():
        _take(known, name, default)
    if known["epochs"] and known["steps"]:
        raise ValueError("steps: give epochs or steps, not both")
    if not known["steps"]:
        known["epochs"] = known["epochs"] or 1
    if known["learning_rate"] == 0:
        raise ValueError("learning_rate: must be greater than 0")
    if known["momentum"] >= 1 or (known["momentum"] and known["optimiser"] != "sgd"):
        raise ValueError("momentum: must be below 1, and belongs to sgd")
    return known


def _take(known: Settings, name: str, default: Any) -> None:
    """Read one setting in place."""
    value = known[name]
    if name == "class_weights" and isinstance(value, list):
        known[name] = [decimal({name: each}, name) for each in value]
    elif name in _WORDS:
        one_of(known, name, _WORDS[name])
    elif isinstance(default, bool):
        one_of(known, name, (True, False))
    elif isinstance(default, int):
        whole(name, value, 0)
    else:
        known[name] = decimal(known, name)


def one_of(known: Settings, name: str, of: tuple[Any, ...]) -> None:
    """Refuse what is none of a few words."""
    if not any(known[name] is each or (isinstance(each, str) and known[name] == each) for each in of):
        raise ValueError(
            f"{name}: must be one of {', '.join(str(each) for each in of if each != '')}, not {known[name]!r}"
        )


def whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number from ``least`` to a million."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 1_000_000:
        raise ValueError(f"{name}: must be a whole number from {least} to 1000000, not {value!r}")


def decimal(known: Settings, name: str) -> float:
    """Return a setting that is a decimal from 0 to 1000."""
    try:
        value = float(known[name])
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(known[name], bool) or not 0 <= value <= 1_000:
        raise ValueError(f"{name}: must be a number from 0 to 1000, not {known[name]!r}")
    return value
