"""Centre and spread from all institutions' rows: agreed when training begins, used by all, shipped with the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load

from befl.rules.seeds import rows_seed
from befl.rules.spec import from_toml
from befl.simulate import simulate
from befl.training.data import held_back
from befl.training.predict import load_model

TASK = """\
befl = 1
name = "made-up hearts"
mode = "horizontal"
[app]
name = "tabular"
[app.settings]
epochs = 5
learning_rate = 0.3
[data]
alias = "hearts"
label = "disease"
[data.columns]
age = { type = "number", statistics = "pooled" }
salt = { type = "number", statistics = "pooled", centre = 0.001, spread = 0.0001 }
[participants]
least = 3
most = 3
[rounds]
count = 3
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""
NAMES = ("north", "east", "south")


@pytest.fixture
def rows():
    """Each institution's own age and salt: no institution's mean is that of all."""
    made = {}
    for number, name in enumerate(NAMES):
        chance = np.random.default_rng(number)
        ages, salts = chance.normal(40 + 10 * number, 9, 80).round(1), chance.normal(0.002, 0.0003, 80).round(6)
        sick = (ages - 50) / 9 + chance.normal(size=80) > 0
        made[name] = list(zip(ages, salts, sick.astype(int), strict=True))
    return made


def test_from_the_sums_to_the_model(tmp_path, rows):
    files = {name: tmp_path / f"{name}.csv" for name in NAMES}
    header = "age,salt,disease"
    for name, path in files.items():
        path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows[name])]) + "\n")
    made = simulate(from_toml(TASK.encode()), files)

    kept = held_back(80, rows_seed(made.task), 20)
    train = np.array([row for name in NAMES for row, held in zip(rows[name], kept, strict=True) if not held])
    for place, column in enumerate(("age", "salt")):
        found = made.record["preparation"][column]
        assert float(found["centre"]) == pytest.approx(train[:, place].mean(), rel=1e-5)
        assert float(found["spread"]) == pytest.approx(train[:, place].std(), rel=1e-4)
    losses = [each.record["metrics"]["pooled"]["loss_micro"] for each in made.rounds]
    assert losses[-1] < losses[0] < 693_147, "with ages as they stand it would learn nothing"

    for name, content in made.files.items():
        (tmp_path / name).write_bytes(content)
    model = load_model(tmp_path)
    assert model.data.pooled == ()
    assert model.data.columns["salt"].spread == made.record["preparation"]["salt"]["spread"]
    card = json.loads(made.files["card.json"])
    assert card["statistics"] == ["age", "salt"]
    held = [",".join(map(str, row)) for row, back in zip(rows["north"], kept, strict=True) if back]
    path = tmp_path / "held.csv"
    path.write_text("\n".join([header, *held]) + "\n")
    assert model.evaluate(path) == card["metrics"]["institutions"]["NorthMSP"]


def test_a_column_that_nobody_knows_keeps_what_the_task_says(tmp_path, rows):
    """And the model is finite: what stands in for a missing value is the centre, which becomes 0."""
    files = {name: tmp_path / f"{name}.csv" for name in NAMES}
    for name, path in files.items():
        path.write_text("age,salt,disease\n" + "".join(f"{age},NA,{sick}\n" for age, _, sick in rows[name]))
    made = simulate(from_toml(TASK.encode()), files)
    assert made.record["preparation"]["salt"] == {"centre": "0.001", "spread": "0.0001"}
    assert made.record["preparation"]["age"]["spread"] != "1"
    assert [text.partition(": ")[0] for text in made.warnings] == ["EastMSP", "NorthMSP", "SouthMSP"]
    assert {text.rpartition("known of ")[2] for text in made.warnings} == {"'salt'"}
    assert all(np.isfinite(tensor).all() for tensor in load(made.files["model.safetensors"]).values())
    losses = [each.record["metrics"]["pooled"]["loss_micro"] for each in made.rounds]
    assert losses[-1] < losses[0] < 693_147
