"""The training loop of befl's apps: every setting does what its paper says, in numpy beside it where that is short."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from befl.training.apps import loop

from .apps import TWO, module

tabular, image = module("tabular"), module("image")
NUMBER = {"shape": [3], "outputs": 1, "kind": "number"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the training process has it; two tests at once then do not fight for the processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rows():
    chance = np.random.default_rng(3)
    x = chance.normal(size=(90, 3)).astype(np.float32)
    return x, (x[:, 0] + chance.normal(size=90) > 0.9).astype(np.int64)


def step(settings, rows, problem=TWO, **more):
    """Train one step of full-batch gradient descent from zero; return weight and bias."""
    asked = {"steps": 1, "learning_rate": "0.5", **settings}
    return tabular.train(more.pop("model", tabular.init(asked, problem, 0)), *rows, asked, problem, 1, **more)


def gradient(rows, weight, weights=None, gamma=0.0):
    """The gradient of the weighted (focal) cross-entropy of two classes, by finite differences in double precision."""
    x, y = rows[0].astype(np.float64), rows[1]
    each = np.ones(2) if weights is None else np.array(weights)

    def loss(w):
        p = 1 / (1 + np.exp(-(x @ w[:3] + w[3])))
        true = np.where(y == 1, p, 1 - p)
        return (each[y] * (1 - true) ** gamma * -np.log(true)).sum() / each[y].sum()

    eps = 1e-6
    return np.array([(loss(weight + eps * e) - loss(weight - eps * e)) / (2 * eps) for e in np.eye(4)])


def flat(model):
    return np.append(model["weight"][0], model["bias"])


def test_the_plain_step(rows):
    assert flat(step({}, rows)) == pytest.approx(-0.5 * gradient(rows, np.zeros(4)), abs=1e-5)


@pytest.mark.parametrize("gamma", ["0", "2"])
def test_focal_loss(rows, gamma):
    made = step({"loss": "focal", "focal_gamma": gamma}, rows)
    assert flat(made) == pytest.approx(-0.5 * gradient(rows, np.zeros(4), gamma=float(gamma)), abs=1e-5)


def test_class_weights(rows):
    _, y = rows
    balanced = [len(y) / (2 * (y == each).sum()) for each in (0, 1)]
    expected = -0.5 * gradient(rows, np.zeros(4), weights=balanced)
    assert flat(step({"class_weights": "balanced"}, rows)) == pytest.approx(expected, abs=1e-5)
    listed = [f"{value:.6f}" for value in balanced]
    assert flat(step({"class_weights": listed}, rows)) == pytest.approx(expected, abs=1e-5)
    focal = -0.5 * gradient(rows, np.zeros(4), weights=balanced, gamma=2)
    assert flat(step({"class_weights": "balanced", "loss": "focal"}, rows)) == pytest.approx(focal, abs=1e-5)
    with pytest.raises(ValueError, match="class_weights: 3 numbers for 2 classes"):
        step({"class_weights": ["1", "2", "3"]}, rows)


def test_the_proximal_term_pulls_towards_the_rounds_model(rows):
    """Two steps by hand: the term has no gradient in the first, where the model is the round's."""
    mu, rate = 0.8, 0.5
    w = np.zeros(4)
    for _ in range(2):
        w = w - rate * (gradient(rows, w) + mu * w)
    made = step({"steps": 2, "proximal": str(mu)}, rows)
    assert flat(made) == pytest.approx(w, abs=1e-5)


def test_a_large_proximal_term_keeps_the_model_near(rows):
    away = [np.abs(flat(step({"steps": 20, "proximal": mu}, rows))).max() for mu in ("0", "0.5", "1.9")]
    assert away[0] > away[1] > away[2]


def test_momentum(rows):
    w, velocity = np.zeros(4), np.zeros(4)
    for _ in range(3):
        velocity = 0.9 * velocity + gradient(rows, w)
        w = w - 0.5 * velocity
    assert flat(step({"steps": 3, "momentum": "0.9"}, rows)) == pytest.approx(w, abs=1e-4)


def test_a_gradient_is_cut_to_its_norm(rows):
    assert np.linalg.norm(flat(step({"clip_gradient": "0.01"}, rows))) == pytest.approx(0.005, rel=1e-3)


def test_the_correction_shifts_every_step(rows):
    """SCAFFOLD: the way of the round gets exactly minus the correction, beside what the gradients do."""
    correction = {"weight": np.array([[0.3, 0.0, -0.1]], np.float32), "bias": np.array([0.2], np.float32)}
    one = step({}, rows, correction=correction)
    assert flat(one) - flat(step({}, rows)) == pytest.approx([-0.3, 0, 0.1, -0.2], abs=1e-6)
    w = np.zeros(4)
    for _ in range(4):
        w = w - 0.5 * (gradient(rows, w) + np.array([0.3, 0, -0.1, 0.2]) / (4 * 0.5))
    assert flat(step({"steps": 4}, rows, correction=correction)) == pytest.approx(w, abs=1e-5)


@pytest.mark.parametrize("settings", [{"steps": 0, "epochs": 2}, {"optimiser": "adam"}, {"momentum": "0.5"}])
def test_a_correction_needs_steps_of_plain_sgd(rows, settings):
    with pytest.raises(ValueError, match="steps: scaffold needs"):
        step(settings, rows, correction=tabular.init({}, TWO, 0))


def test_stratified_batches_have_the_proportions_of_all_rows(rows):
    _, y = rows
    known = {**loop.DEFAULTS, "epochs": 1, "batch": 15, "sampling": "stratified"}
    batches = [y[chosen.numpy()] for chosen in loop._batches(y, known, TWO, 7)]
    assert sorted(np.concatenate([chosen.numpy() for chosen in loop._batches(y, known, TWO, 7)])) == list(range(90))
    share = y.mean() * 15
    assert all(abs(each.sum() - share) <= 1 for each in batches)
    shuffled = [y[chosen.numpy()] for chosen in loop._batches(y, {**known, "sampling": "shuffle"}, TWO, 7)]
    assert max(abs(each.sum() - share) for each in shuffled) > 1, "which chance alone does not give"


def test_balanced_batches_have_each_class_as_often(rows):
    _, y = rows
    known = {**loop.DEFAULTS, "epochs": 40, "batch": 30, "sampling": "balanced"}
    drawn = np.concatenate([y[chosen.numpy()] for chosen in loop._batches(y, known, TWO, 7)])
    assert len(drawn) == 40 * 90
    assert abs(drawn.mean() - 0.5) < 0.03
    assert y.mean() < 0.35


def test_a_number_is_learned_as_least_squares_do(rows):
    x, _ = rows
    y = (x @ np.array([1.5, -2, 0.5], np.float32) + 0.25).astype(np.float32)
    settings = {"model": "linear", "learning_rate": "0.3", "epochs": 200}
    model = tabular.train(tabular.init(settings, NUMBER, 0), x, y, settings, NUMBER, 0)
    assert flat(model) == pytest.approx([1.5, -2, 0.5, 0.25], abs=1e-3)
    predicted = tabular.predict(model, x, settings, NUMBER)
    assert predicted.shape == (90, 1)
    assert predicted[:, 0] == pytest.approx(y, abs=1e-2)
    huber = tabular.train(model, x, y, {**settings, "loss": "huber"}, NUMBER, 0)
    assert flat(huber) == pytest.approx([1.5, -2, 0.5, 0.25], abs=1e-3)


@pytest.mark.parametrize(("problem", "loss"), [(TWO, "squared"), (NUMBER, "focal")])
def test_a_loss_belongs_to_its_kind(problem, loss):
    with pytest.raises(ValueError, match=r"^loss: must be one of"):
        tabular.check({"loss": loss}, problem)


def test_images():
    problem = {"shape": [1, 8, 8], "outputs": 3, "kind": "class"}
    chance = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = chance.normal(size=(120, 1, 8, 8)).astype(np.float32) * 0.3
    for number, label in enumerate(y):
        x[number, 0, 2 * label : 2 * label + 2] += 1  # a bright stripe, higher or lower
    settings = {"channels": 4, "hidden": 8, "epochs": 12, "batch": 20, "optimiser": "adam", "learning_rate": "0.01"}
    start = image.init(settings, problem, 5)
    assert start["0.weight"].shape == (4, 1, 5, 5)
    assert np.array_equal(start["0.weight"], image.init(settings, problem, 5)["0.weight"])
    assert not np.array_equal(start["0.weight"], image.init(settings, problem, 6)["0.weight"])
    made = [image.train(start, x, y, settings, problem, 1) for _ in range(2)]
    assert all(np.array_equal(made[0][name], made[1][name]) for name in start)
    found = image.predict(made[0], x, settings, problem)
    assert (found.argmax(axis=1) == y).mean() > 0.95
    with pytest.raises(ValueError, match=r"rows' shape is \[64\]"):
        image.check({}, {**problem, "shape": [64]})
    with pytest.raises(ValueError, match="channels: must be a whole number"):
        image.check({"channels": 0}, problem)


def test_an_own_module_with_a_batch_norm(rows):
    """Its averages are the model's, its counter is not."""
    init, train, predict, check, _ = loop.app(
        lambda settings, problem: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, settings["width"]), nn.Linear(2, 2)),
        width=2,
    )
    check({"width": 2}, TWO)
    model = init({}, TWO, 0)
    assert {name: value.shape for name, value in model.items() if name.startswith("0.")} == {
        "0.weight": (3,),
        "0.bias": (3,),
        "0.running_mean": (3,),
        "0.running_var": (3,),
    }
    made = train(model, *rows, {"epochs": 3, "batch": 30}, TWO, 1)
    assert made["0.running_mean"].any()
    found = predict(made, rows[0], {}, TWO)
    alone = np.concatenate([predict(made, rows[0][row : row + 1], {}, TWO) for row in range(5)])
    assert found[:5] == pytest.approx(alone, abs=1e-6), "in use it does not look at the other rows"


def test_prediction_in_pieces_is_prediction(monkeypatch, rows):
    model = step({}, rows)
    whole = tabular.predict(model, rows[0], {}, TWO)
    monkeypatch.setattr(loop, "_PREDICTED_AT_ONCE", 7)
    assert tabular.predict(model, rows[0], {}, TWO) == pytest.approx(whole, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"amp": "yes"}, "amp"),
        ({"amp": 1}, "amp"),
        ({"momentum": "1"}, "momentum"),
        ({"momentum": "0.5", "optimiser": "adam"}, "momentum"),
        ({"sampling": "all"}, "sampling"),
        ({"class_weights": "some"}, "class_weights"),
        ({"class_weights": ["-1", "1"]}, "class_weights"),
        ({"focal_gamma": "-1"}, "focal_gamma"),
        ({"proximal": True}, "proximal"),
    ],
)
def test_settings_it_does_not_take(settings, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        tabular.check(settings, TWO)


def test_loss_of_certainty_is_finite(rows):
    model = {"weight": np.full((1, 3), 1e4, np.float32), "bias": np.zeros(1, np.float32)}
    assert all(math.isfinite(value) for value in flat(step({"loss": "focal"}, rows, model=model)))
