"""The hospitals' example: its data, and that training together costs no accuracy."""

from __future__ import annotations

import hashlib
import importlib.util
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from befl.rules import aggregation, codec, seeds
from befl.rules.spec import from_toml
from befl.training import data
from befl.training.metrics import auc

from .apps import module as app_module

tabular = app_module("tabular")
HEART = Path(__file__).parents[3] / "examples/heart"
#: (rows, diseased) as UCI counts them.
HOSPITALS = {"cleveland": (303, 139), "hungary": (294, 106), "switzerland": (123, 115), "va": (200, 149)}
TASKS = [f"task-{number}" for number in range(4)]


def module():
    spec = importlib.util.spec_from_file_location("heart_data", HEART / "data.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


heart = module()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the training process has it; two tests at once then do not fight for the processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spec():
    return from_toml((HEART / "task.toml").read_bytes())


@pytest.fixture(scope="module")
def tables(spec, tmp_path_factory):
    place = tmp_path_factory.mktemp("hospitals")
    paths = heart.write({name: place / name for name in HOSPITALS})
    return {name: data.load(path, spec.data) for name, path in paths.items()}


def test_the_hospitals_have_the_patients_that_uci_counts(tables):
    assert {name: (len(table.y), int(table.y.sum())) for name, table in tables.items()} == HOSPITALS


def test_each_file_is_in_its_own_folder_and_private(tmp_path):
    made = heart.write({"va": tmp_path / "va"})
    assert list(tmp_path.rglob("*.*")) == [made["va"]]
    assert stat.S_IMODE(made["va"].stat().st_mode) == 0o600
    assert (
        made["va"]
        .read_text()
        .startswith("age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,disease")
    )


def run(spec, parts, task):
    """Train as the ledger would: integer updates, the exact weighted mean, the seeds of the task."""
    rule, settings = spec.aggregation, dict(spec.app.settings)
    width = len(data.features(spec.data))
    problem = {"shape": [width], "outputs": 2, "kind": "class"}
    shapes = tabular.init(settings, problem, 0)
    fedavg = aggregation.RULES[aggregation.RULES.newest(rule.rule)]
    model = np.zeros(width + 1, np.int64)

    def cut(values):
        return {"weight": values[:width].reshape(1, width), "bias": values[width:]}

    for number in range(1, spec.rounds.count + 1):
        start = codec.to_float(model, rule.scale_bits)
        updates = []
        for name, (train, _) in parts.items():
            made = tabular.train(
                cut(start), train.x, train.y, settings, problem, seeds.training_seed(task, number, name)
            )
            change = np.concatenate([made["weight"][0], made["bias"]]).astype(np.float64) - start
            updates.append((codec.encode(change, rule.scale_bits, rule.clip), len(train.y)))
        aggregate = fedavg.aggregate(updates, width + 1)
        weight = sum(weight for _, weight in updates)
        model = model + fedavg.step(aggregate, weight, fedavg.start(width + 1, rule), (1, 1), rule)[0]
    federated = cut(codec.to_float(model, rule.scale_bits))

    def alone(x, y, times):
        passes = {**settings, "epochs": settings["epochs"] * spec.rounds.count * times}
        return tabular.train(shapes, x, y, passes, problem, 0)

    x, y = (np.concatenate([getattr(train, part) for train, _ in parts.values()]) for part in "xy")
    return {
        "federated": federated,
        "central": alone(x, y, 1),
        "converged": alone(x, y, 10),
        "alone": {name: alone(train.x, train.y, 1) for name, (train, _) in parts.items()},
    }


def area(model, x, y):
    return auc(y, tabular.predict(model, x, {}, {"shape": [x.shape[1]], "outputs": 2, "kind": "class"})[:, 1])


def figures(spec, tables, task):
    """Areas under the ROC curve on held-back rows: pooled, and of each hospital."""
    parts = {name: data.split(table, spec.data, seeds.rows_seed(task)) for name, table in tables.items()}
    made = run(spec, parts, task)
    x, y = (np.concatenate([getattr(kept, part) for _, kept in parts.values()]) for part in "xy")
    pooled = {name: area(made[name], x, y) for name in ("federated", "central", "converged")}
    each = {
        name: [area(model, kept.x, kept.y) for model in (made["alone"][name], made["federated"], made["central"])]
        for name, (_, kept) in parts.items()
    }
    return pooled, each


@pytest.mark.parametrize("task", TASKS)
def test_training_together_is_as_good_as_training_on_all_rows(spec, tables, task):
    pooled, _ = figures(spec, tables, task)
    assert abs(pooled["federated"] - pooled["central"]) < 0.01
    assert abs(pooled["federated"] - pooled["converged"]) < 0.01
    assert pooled["federated"] > 0.8


def archive(place: Path, content: bytes) -> bytes:
    with zipfile.ZipFile(place, "w") as file:
        file.writestr(heart.MEMBER, content)
    return place.read_bytes()


def test_an_altered_archive_is_refused_and_removed(tmp_path):
    place = tmp_path / heart.ARCHIVE
    archive(place, b"id,num\n")
    with pytest.raises(heart.DataError, match="another SHA-256"):
        heart.hospitals(tmp_path)
    assert not place.exists()


def test_an_archive_with_an_altered_file_is_refused(tmp_path, monkeypatch):
    content = archive(tmp_path / heart.ARCHIVE, b"id,num\n")
    monkeypatch.setattr(heart, "ARCHIVE_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(heart.DataError, match="nothing was written"):
        heart.write({"va": tmp_path / "va"}, tmp_path)
    assert not (tmp_path / "va").exists()


def test_a_registry_that_cannot_be_reached(tmp_path, monkeypatch):
    def fail(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: no such host\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(heart.DataError, match="ERROR: no such host"):
        heart.hospitals(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_does_not_answer(tmp_path, monkeypatch):
    def hang(command, **_):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(heart.DataError, match="within 120 s"):
        heart.hospitals(tmp_path)


def test_the_second_time_nothing_is_downloaded(tables, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert set(heart.hospitals()) == set(HOSPITALS)
