"""A whole consortium in one process: the contracts, the agents and the app, with the ledger in memory."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from safetensors.numpy import load

from befl.agent.participant import AppParticipant
from befl.rules import codec
from befl.rules.artefact import MANIFEST
from befl.rules.errors import BeflError
from befl.rules.spec import from_toml
from befl.simulate import simulate
from befl.training import AppCode

TASK = """\
befl = 1
name = "made-up hearts"
mode = "horizontal"
[app]
name = "tabular"
[app.settings]
model = "logistic"
epochs = 5
learning_rate = 0.3
[data]
alias = "hearts"
label = "disease"
classes = ["no", "yes"]
[data.columns]
age = { type = "number", centre = 50, spread = 10 }
sex = { type = "category", values = ["f", "m"] }
[participants]
least = 3
most = 4
[rounds]
count = 3
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""


def table(seed: int, rows: int = 60) -> str:
    chance = np.random.default_rng(seed)
    lines = ["age,sex,disease"]
    for _ in range(rows):
        age, sex = chance.normal(55, 9), "fm"[chance.integers(2)]
        sick = (age - 55) / 9 + (sex == "m") + chance.normal() > 0.5
        lines.append(f"{age:.1f},{sex},{'yes' if sick else 'no'}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def spec():
    return from_toml(TASK.encode())


@pytest.fixture
def files(tmp_path):
    made = {}
    for number, name in enumerate(("north", "east", "south", "west")):
        made[name] = tmp_path / f"{name}.csv"
        made[name].write_text(table(number))
    return made


def test_from_the_task_to_the_model(spec, files):
    seen = []
    made = simulate(spec, files, progress=seen.append)
    assert made.record["roster"] == ["EastMSP", "NorthMSP", "SouthMSP", "WestMSP"]
    assert [each.number for each in made.rounds] == [1, 2, 3]
    assert seen == list(made.rounds)
    assert {each.record["state"] for each in made.rounds} == {"evaluated"}
    pooled = [each.record["metrics"]["pooled"] for each in made.rounds]
    assert pooled[-1]["loss_micro"] < pooled[0]["loss_micro"] < 693_147, "it has learnt something"
    assert made.record["state"] == "finished"
    assert made.digest == hashlib.sha256(made.files[MANIFEST]).hexdigest()
    assert made.rounds[-1].record["model"] == made.model
    assert {"submit", "close", "report"} <= set(made.rounds[1].seconds)
    assert made.warnings == ()


def test_the_same_again_and_another_id(spec, files):
    one, two = simulate(spec, files), simulate(spec, dict(reversed(files.items())))
    assert (one.task, one.files) == (two.task, two.files)
    other = simulate(spec, files, task="0123456789abcdef")
    assert other.task == "0123456789abcdef"
    assert other.model != one.model, "seeds follow from the id"


def test_more_institutions_than_the_task_takes(spec, files):
    spec = dataclasses.replace(spec, participants=dataclasses.replace(spec.participants, most=3))
    made = simulate(spec, files)
    assert len(made.record["roster"]) == 3
    assert all(len(each.record["updates"]) == 3 for each in made.rounds)


def test_too_few_institutions(spec, files):
    with pytest.raises(BeflError, match="starts with 3") as caught:
        simulate(spec, {name: files[name] for name in ("north", "east")})
    assert caught.value.code == "BEFL-C-010"


@pytest.mark.slow
def test_a_hundred_institutions(spec, tmp_path):
    """Each round has an update of each of them."""
    files = {f"org{number}": tmp_path / f"org{number}.csv" for number in range(100)}
    for number, path in enumerate(files.values()):
        path.write_text(table(number, 40))
    spec = dataclasses.replace(
        spec,
        participants=dataclasses.replace(spec.participants, least=100, most=100),
        rounds=dataclasses.replace(spec.rounds, count=2),
    )
    made = simulate(spec, files)
    assert len(made.record["roster"]) == 100
    assert [(each.record["state"], len(each.record["updates"])) for each in made.rounds] == [("evaluated", 100)] * 2
    assert {len(each.record["metrics"]["institutions"]) for each in made.rounds} == {100}


def test_who_is_not_invited_stays_out(spec, files):
    invited = ("NorthMSP", "EastMSP", "SouthMSP")
    made = simulate(
        dataclasses.replace(spec, participants=dataclasses.replace(spec.participants, institutions=invited)), files
    )
    assert made.record["roster"] == sorted(invited)


def test_a_refusal_says_whose_it_is(spec, files):
    files["south"].write_text("age,sex,disease\n1,x,no\n")
    with pytest.raises(BeflError, match=r"SouthMSP: .*column sex: 'x'") as caught:
        simulate(spec, files)
    assert caught.value.code == "BEFL-C-108"


def blank(path, *places: int):
    """Empty columns of a file."""
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    rows = [["" if place in places else cell for place, cell in enumerate(row)] for row in rows]
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


def test_a_column_that_is_empty_somewhere_is_named(spec, files):
    blank(files["south"], 0)
    blank(files["east"], 1)
    made = simulate(spec, files)
    assert made.warnings == (
        "EastMSP: data \"hearts\": no value is known of 'sex'",
        "SouthMSP: data \"hearts\": no value is known of 'age'",
    )
    assert all(np.isfinite(tensor).all() for tensor in load(made.files["model.safetensors"]).values())
    assert made.rounds[-1].record["metrics"]["pooled"]["loss_micro"] < 693_147, "the others have taught it something"


def test_a_table_in_which_nothing_is_known(spec, files):
    blank(files["south"], 0, 1)
    with pytest.raises(BeflError, match='SouthMSP: data "hearts": no value is known in any of the 2 columns') as caught:
        simulate(spec, files)
    assert caught.value.code == "BEFL-C-114"


def test_an_app_that_fails(spec, files):
    broken = AppCode.of("tabular", b"def init(*_): 1 / 0\ndef train(*_): pass\ndef predict(*_): pass\n")
    with pytest.raises(BeflError, match="ZeroDivisionError") as caught:
        simulate(spec, files, app=broken)
    assert caught.value.code == "BEFL-M-102"


def test_nobody_waits_for_ever(spec, files, monkeypatch):
    """What keeps an institution from acting is said when the task's own times are over."""
    monkeypatch.setattr("befl.agent.worker.objections", lambda *_: ["the operator is on holiday"])
    with pytest.raises(BeflError, match="NorthMSP: does not apply: the operator is on holiday") as caught:
        simulate(spec, files)
    assert caught.value.code == "BEFL-C-010"


def test_the_model_is_what_the_rules_make_of_the_updates(spec, files, monkeypatch):
    """Followed beside it, in Python's own integers."""
    updates = {}
    train = AppParticipant.train

    def kept(self, view, model, number, *rest):
        weight, update = train(self, view, model, number, *rest)
        updates.setdefault(number, []).append((weight, [int(value) for value in update]))
        first.setdefault("model", [int(value) for value in model])
        return weight, update

    first: dict[str, list[int]] = {}
    monkeypatch.setattr(AppParticipant, "train", kept)
    made = simulate(spec, files)
    model = first["model"]
    for number in (1, 2, 3):
        weight = sum(each for each, _ in updates[number])
        for place in range(len(model)):
            total = sum(each * update[place] for each, update in updates[number])
            model[place] += (2 * total + weight) // (2 * weight)
    assert codec.digest(codec.model_bytes(np.array(model, dtype=np.int64))) == made.model
