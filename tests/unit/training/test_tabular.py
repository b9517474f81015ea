from __future__ import annotations

import numpy as np
import pytest
import torch

from befl.training.app import builtin_apps
from befl.training.metrics import auc

from .apps import module

tabular = module("tabular")

BASE = {"learning_rate": "0.5"}
NET = {"model": "perceptron", "hidden": [8], "learning_rate": "0.05", "optimiser": "adam"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the training process has it; two tests at once then do not fight for the processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(features: int, outputs: int, kind: str = "class") -> dict:
    return {"shape": [features], "outputs": outputs, "kind": kind}


PROBLEM = problem(3, 2)


def rows(count: int = 400, seed: int = 1):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3)).astype(np.float32)
    y = (x[:, 0] - 2 * x[:, 1] + 0.3 * generator.normal(size=count) > 0).astype(np.int64)
    return x, y


def rings(count: int = 600):
    x = np.random.default_rng(2).normal(size=(count, 2)).astype(np.float32)
    return x, (np.square(x).sum(axis=1) > 1.4).astype(np.int64)


def test_it_is_among_the_apps():
    assert builtin_apps()["tabular"].files["app.py"].startswith(b'"""Training app ``tabular``')


def test_a_logistic_model_starts_at_zero_and_has_one_output_fewer_than_classes():
    model = tabular.init(BASE, problem(5, 3), 0)
    assert {name: array.shape for name, array in model.items()} == {"weight": (2, 5), "bias": (2,)}
    assert not any(array.any() for array in model.values())


def test_logistic_regression_follows_the_gradient_exactly():
    x, y = rows(50)
    settings = {"learning_rate": "0.5", "l2": "0.25", "steps": 3}
    made = tabular.train(tabular.init(settings, problem(3, 2), 0), x, y, settings, PROBLEM, 0)
    w, b = np.zeros(3), 0.0
    for _ in range(3):
        error = 1 / (1 + np.exp(-(x @ w + b))) - y
        w, b = w - 0.5 * (x.T @ error / len(y) + 0.25 * w), b - 0.5 * error.mean()
    assert made["weight"][0] == pytest.approx(w, abs=1e-5)
    assert made["bias"][0] == pytest.approx(b, abs=1e-5)


@pytest.mark.parametrize("more", [{"batch": 32, "epochs": 5}, {"epochs": 50}, {"optimiser": "adam", "steps": 60}])
def test_logistic_regression_learns(more):
    x, y = rows()
    settings = {**BASE, **more}
    model = tabular.train(tabular.init(settings, problem(3, 2), 7), x, y, settings, PROBLEM, 7)
    probabilities = tabular.predict(model, x, settings, PROBLEM)
    assert probabilities.shape == (400, 2)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert auc(y, probabilities[:, 1]) > 0.95


def test_a_perceptron_learns_what_a_line_cannot():
    x, y = rings()
    linear = {**BASE, "epochs": 100}
    line = tabular.train(tabular.init(linear, problem(2, 2), 3), x, y, linear, problem(2, 2), 3)
    deep = {**NET, "epochs": 60, "batch": 100}
    net = tabular.train(tabular.init(deep, problem(2, 2), 3), x, y, deep, problem(2, 2), 3)
    assert auc(y, tabular.predict(line, x, linear, problem(2, 2))[:, 1]) < 0.7
    assert auc(y, tabular.predict(net, x, deep, problem(2, 2))[:, 1]) > 0.97


def test_the_perceptrons_layers():
    model = tabular.init({"model": "perceptron", "hidden": [8, 4]}, problem(5, 2), 1)
    assert {name: array.shape for name, array in model.items()} == {
        "hidden.0.weight": (8, 5),
        "hidden.0.bias": (8,),
        "hidden.1.weight": (4, 8),
        "hidden.1.bias": (4,),
        "weight": (1, 4),
        "bias": (1,),
    }
    assert np.abs(model["hidden.0.weight"]).max() <= (6 / 5) ** 0.5


def test_the_seed_decides_start_and_batches():
    x, y = rows()
    settings = {**NET, "batch": 16}
    start = [tabular.init(settings, problem(3, 2), seed) for seed in (1, 1, 2)]
    assert np.array_equal(start[0]["hidden.0.weight"], start[1]["hidden.0.weight"])
    assert not np.array_equal(start[0]["hidden.0.weight"], start[2]["hidden.0.weight"])
    made = [tabular.train(start[0], x, y, settings, PROBLEM, seed)["weight"] for seed in (5, 5, 6)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_steps_are_steps_and_epochs_are_passes():
    x, y = rows(100)
    one = tabular.train(tabular.init(BASE, problem(3, 2), 0), x, y, {**BASE, "epochs": 1, "batch": 25}, PROBLEM, 9)
    four = tabular.train(tabular.init(BASE, problem(3, 2), 0), x, y, {**BASE, "steps": 4, "batch": 25}, PROBLEM, 9)
    assert np.array_equal(one["weight"], four["weight"])


def test_more_than_two_classes():
    generator = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (np.eye(3)[y] * 3 + generator.normal(size=(300, 3))).astype(np.float32)
    settings = {**BASE, "epochs": 100}
    three = problem(3, 3)
    model = tabular.train(tabular.init(settings, three, 0), x, y, settings, three, 0)
    assert (tabular.predict(model, x, settings, three).argmax(axis=1) == y).mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"colour": "red"}, "colour"),
        ({"model": "forest"}, "model"),
        ({"optimiser": "lbfgs"}, "optimiser"),
        ({"epochs": -1}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"steps": "3"}, "steps"),
        ({"epochs": 1, "steps": 1}, "steps"),
        ({"batch": 2_000_000}, "batch"),
        ({"learning_rate": "0"}, "learning_rate"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": "nan"}, "learning_rate"),
        ({"l2": "-1"}, "l2"),
        ({"l2": True}, "l2"),
        ({"hidden": [4]}, "hidden"),
        ({"model": "perceptron"}, "hidden"),
        ({"model": "perceptron", "hidden": [0]}, "hidden"),
        ({"model": "perceptron", "hidden": 8}, "hidden"),
    ],
)
def test_settings_it_does_not_take(settings, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        tabular.check(settings, PROBLEM)
