"""Tasks with server optimisers, SCAFFOLD, few bits and a fraction of the trainers, with real training."""

from __future__ import annotations

import numpy as np
import pytest

from befl.rules.spec import from_toml
from befl.simulate import simulate

TASK = """\
befl = 1
name = "rules"
mode = "horizontal"
[app]
name = "tabular"
[app.settings]
learning_rate = 0.5
steps = 5
[data]
alias = "rows"
label = "sick"
columns = {{ age = {{ type = "number", centre = 50, spread = 10 }}, dose = "number" }}
[participants]
least = 3
most = 3
[rounds]
count = {count}
{rounds}
[aggregation]
{aggregation}
[privacy]
scheme = "none"
"""


@pytest.fixture
def files(tmp_path):
    """Three institutions of different sizes, each with patients of another age."""
    chance, made = np.random.default_rng(5), {}
    for place, rows in enumerate((60, 90, 150)):
        age, dose = chance.normal(40 + 10 * place, 10, rows), chance.normal(0, 1, rows)
        sick = (age - 50) / 10 + 2 * dose + chance.normal(0, 1, rows) > 0
        path = tmp_path / f"{place}.csv"
        lines = (f"{a:.1f},{d:.3f},{int(s)}\n" for a, d, s in zip(age, dose, sick, strict=True))
        path.write_text("age,dose,sick\n" + "".join(lines))
        made[f"org{place + 1}"] = path
    return made


def run(files, aggregation, rounds="", count=6):
    spec = from_toml(TASK.format(aggregation=aggregation, rounds=rounds, count=count).encode())
    return simulate(spec, files, task="00112233445566aa")


@pytest.mark.parametrize(
    "aggregation",
    ['rule = "fedavgm"', 'rule = "fedadam"', 'rule = "fedyogi"', 'rule = "scaffold"', 'rule = "fedavg"\nbits = 10'],
)
def test_each_rule_learns(files, aggregation):
    made = run(files, aggregation)
    losses = [each.record["metrics"]["pooled"]["loss_micro"] for each in made.rounds]
    assert len(losses) == 6
    assert all(each.record["dissent"] == {} for each in made.rounds)
    assert losses[-1] < 450_000 < 693_147  # ln 2, the loss of a model that knows nothing


def test_scaffold_with_few_bits_and_some_of_the_trainers(files):
    made = run(files, 'rule = "scaffold"\nbits = 12', "fraction = 60\nquorum = 1")
    assert {len(each.record["updates"]) for each in made.rounds} == {2}
    assert made.rounds[-1].record["metrics"]["pooled"]["loss_micro"] < 450_000
    assert made.model == run(files, 'rule = "scaffold"\nbits = 12', "fraction = 60\nquorum = 1").model


def test_a_task_ends_when_it_learns_no_more(files):
    made = run(files, 'rule = "fedavg"', 'patience = 2\nimprovement = "0.01"', count=100)
    assert 3 <= len(made.rounds) < 50
    assert made.record["stale"] == 2
    assert made.record["best"]["round"] == len(made.rounds) - 2
