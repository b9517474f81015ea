"""Each kind of task from its specification to the model folder, whose card says what the folder does on those rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from befl.rules.seeds import rows_seed
from befl.rules.spec import from_toml
from befl.simulate import simulate
from befl.training.data import held_back
from befl.training.predict import load_model

HEAD = """\
befl = 1
name = "{kind}"
mode = "horizontal"
[participants]
least = 3
most = 3
[rounds]
count = {rounds}
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
[app]
name = "{app}"
[app.settings]
"""
TABLES = {
    "binary": """\
learning_rate = 0.5
epochs = 3
[data]
alias = "rows"
label = "sick"
columns = {age = {type = "number", centre = 50, spread = 10}, sex = {type = "category", values = ["f", "m"]}}
""",
    "multiclass": """\
model = "perceptron"
hidden = [8]
learning_rate = 0.2
batch = 16
sampling = "stratified"
class_weights = "balanced"
epochs = 3
[data]
alias = "rows"
label = "ward"
classes = ["east", "north", "west"]
columns = {age = {type = "number", centre = 50, spread = 10}, dose = "number"}
""",
    "regression": """\
model = "linear"
learning_rate = 0.1
epochs = 5
[data]
alias = "rows"
label = "days"
target = "number"
label_centre = 12
label_spread = 5
columns = {age = {type = "number", centre = 50, spread = 10}, dose = "number"}
""",
}
IMAGES = """\
channels = 4
hidden = 8
optimiser = "adam"
learning_rate = 0.01
batch = 16
epochs = 3
[data]
alias = "rows"
label = "digit"
form = "array"
shape = [1, 8, 8]
spread = 255
classes = ["0", "1", "2"]
"""


def rows(kind: str, seed: int) -> list[str]:
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(120):
        age, dose, sex = chance.normal(50, 10), chance.normal(), "fm"[chance.integers(2)]
        where = (age - 50) / 10 + 0.3 * chance.normal()
        label = {
            "binary": str(int(where + (sex == "m") > 0.5)),
            "multiclass": "east" if where < -0.5 else "west" if dose > 0 else "north",
            "regression": f"{12 + 5 * where + 2 * dose:.2f}",
        }[kind]
        made.append(f"{age:.2f},{dose:.3f},{sex},{label}")
    return made


def spec_of(kind: str):
    app, body = ("image", IMAGES) if kind == "images" else ("tabular", TABLES[kind])
    return from_toml((HEAD.format(kind=kind, app=app, rounds=4) + body).encode())


def keep(folder, made):
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    return load_model(folder)


@pytest.mark.parametrize("kind", TABLES)
def test_a_table(tmp_path, kind):
    spec = spec_of(kind)
    header = f"age,dose,sex,{spec.data.label}"
    lines = {name: rows(kind, number) for number, name in enumerate(("north", "east", "south"))}
    files = {name: tmp_path / f"{name}.csv" for name in lines}
    for name, path in files.items():
        path.write_text("\n".join([header, *lines[name]]) + "\n")
    made = simulate(spec, files)
    pooled = [each.record["metrics"]["pooled"]["loss_micro"] for each in made.rounds]
    assert pooled[-1] < pooled[0]
    card = json.loads(made.files["card.json"])
    (tmp_path / "model").mkdir()
    model = keep(tmp_path / "model", made)
    kept = tmp_path / "kept.csv"
    together = []
    for name, each in lines.items():
        chosen = held_back(len(each), rows_seed(made.task), spec.data.held_back)
        own = [line for line, back in zip(each, chosen, strict=True) if back]
        together += own
        kept.write_text("\n".join([header, *own]) + "\n")
        assert model.evaluate(kept) == card["metrics"]["institutions"][f"{name.title()}MSP"]
        assert model.evaluate(files[name], held_back=True) == card["metrics"]["institutions"][f"{name.title()}MSP"]
    kept.write_text("\n".join([header, *together]) + "\n")
    assert model.evaluate(kept) == card["metrics"]["pooled"]
    predicted = model.predict(kept)
    assert len(predicted.predicted) == len(together)
    if kind == "regression":
        true = np.array([float(line.split(",")[-1]) for line in together])
        rmse = np.sqrt(np.square(np.array(predicted.predicted) - true).mean())
        assert rmse == pytest.approx(card["metrics"]["pooled"]["rmse_micro"] / 1e6, abs=1e-4)
        assert "| institution | rows | RMSE | MAE | R2 |" in made.files["card.md"].decode()
        assert card["metrics"]["pooled"]["r2_ppm"] > 700_000
    else:
        right = [guess == line.split(",")[-1] for guess, line in zip(predicted.predicted, together, strict=True)]
        assert round(1e6 * np.mean(right)) == card["metrics"]["pooled"]["accuracy_ppm"]
        assert np.mean(right) > 0.75


def test_images(tmp_path):
    chance = np.random.default_rng(0)
    files = {}
    for name in ("north", "east", "south"):
        y = chance.integers(0, 3, 150)
        x = chance.integers(0, 60, (150, 1, 8, 8))
        for number, label in enumerate(y):
            x[number, 0, 2 * label : 2 * label + 2] += 150
        files[name] = tmp_path / f"{name}.npz"
        np.savez(files[name], x=x.astype(np.uint8), y=y)
    made = simulate(spec_of("images"), files)
    (tmp_path / "model").mkdir()
    model = keep(tmp_path / "model", made)
    kept = tmp_path / "kept.npz"
    with np.load(files["east"]) as found:
        chosen = held_back(150, rows_seed(made.task), 20)
        np.savez(kept, x=found["x"][chosen], y=found["y"][chosen])
    card = json.loads(made.files["card.json"])
    assert model.evaluate(kept) == card["metrics"]["institutions"]["EastMSP"]
    assert card["metrics"]["pooled"]["accuracy_ppm"] > 900_000
    assert "macro F1" in made.files["card.md"].decode()
