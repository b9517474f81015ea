"""A model in the ONNX form: what another program computes with it is what the app predicts."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from befl.cli.main import run
from befl.rules.errors import BeflError
from befl.rules.reader import read
from befl.rules.spec import DataSpec
from befl.training import AppCode, Problem, Trainer, builtin_apps, data
from befl.training.predict import load_model

from .test_predict import DATA, ROWS, SETTINGS, UNLABELLED, folder_of

APP = """
import numpy as np
def init(settings, problem, seed):
    return {"w": np.zeros(1, np.float32)}
def train(model, x, y, settings, problem, seed):
    return model
def predict(model, x, settings, problem):
    return np.full((len(x), 2), 0.5, np.float32)
"""


def computed(form: bytes, x: np.ndarray) -> np.ndarray:
    """What ONNX' own reference implementation makes of rows."""
    made = onnx.load_from_string(form)
    onnx.checker.check_model(made)
    (found,) = ReferenceEvaluator(made).run(["predictions"], {"x": x})
    return found


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("tabular", {"model": "perceptron", "hidden": [5]}, Problem((4,), 3)),
        ("tabular", {"model": "linear"}, Problem((4,), 1, "number")),
        ("image", {"channels": 2, "hidden": 4}, Problem((3, 8, 8), 2)),
    ],
)
def test_what_it_computes_is_what_the_app_predicts(name, settings, problem):
    chance = np.random.default_rng(0)
    with Trainer(builtin_apps()[name], settings, problem) as trainer:
        layout, vector = trainer.init(3)
        vector = vector + chance.normal(size=vector.shape, scale=0.3).astype(np.float32)
        form = trainer.export(layout, vector)
        assert trainer.export(layout, vector) == form, "the same model gives the same bytes"
        for count in (1, 7):
            x = chance.normal(size=(count, *problem.shape)).astype(np.float32)
            assert computed(form, x) == pytest.approx(trainer.predict(layout, vector, x), abs=1e-5)


def test_a_model_folder_becomes_a_file(tmp_path, capsys):
    app, spec = builtin_apps()["tabular"], read(DataSpec, DATA)
    (tmp_path / "ward.csv").write_text(ROWS)
    (tmp_path / "new.csv").write_text(UNLABELLED)
    table = data.load(tmp_path / "ward.csv", spec)
    with Trainer(app, SETTINGS, data.problem(spec)) as trainer:
        layout, vector = trainer.init(0)
        vector = trainer.train(layout, vector, table.x, table.y, 0)
    folder = folder_of(tmp_path / "model", app, SETTINGS, vector, layout)
    file = tmp_path / "out" / "model.onnx"
    assert run(["model", "export", str(folder), "--output", str(file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(file), "bytes": file.stat().st_size}
    found = computed(file.read_bytes(), table.x)
    expected = load_model(folder).predict(tmp_path / "new.csv").probabilities
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("files", "code", "text"),
    [
        ({"app.py": APP}, "BEFL-M-112", "the app has no function export"),
        ({"app.py": APP + "def export(*_): raise OSError('full')"}, "BEFL-M-112", "export: OSError: full"),
        ({"app.py": APP + "def export(*_): return 'text'"}, "BEFL-M-103", "export returned str, not bytes"),
        (
            {**builtin_apps()["tabular"].files, "onnxscript.py": "raise ModuleNotFoundError('no onnxscript')"},
            "BEFL-M-112",
            "export: ModuleNotFoundError: no onnxscript",
        ),
    ],
)
def test_a_model_that_cannot_be_exported(files, code, text):
    content = {name: file if isinstance(file, bytes) else file.encode() for name, file in files.items()}
    with Trainer(AppCode("own", content), {}, Problem((4,), 2), timeout=60) as trainer:
        layout, vector = trainer.init(0)
        with pytest.raises(BeflError) as caught:
            trainer.export(layout, vector)
        assert (caught.value.code, text in caught.value.message) == (code, True)
        assert trainer.predict(layout, vector, np.zeros((3, 4), np.float32)).shape == (3, 2), "it lives on"
