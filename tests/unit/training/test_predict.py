from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from befl.cli.main import root
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError
from befl.rules.reader import read, to_record
from befl.rules.spec import DataSpec
from befl.training import AppCode, Trainer, builtin_apps, data
from befl.training.predict import load_model

DATA = {
    "alias": "ward",
    "label": "ill",
    "columns": {
        "age": {"type": "number", "centre": "50", "spread": "10"},
        "sex": {"type": "category", "values": ["f", "m"]},
    },
}
SETTINGS = {"learning_rate": "0.5", "epochs": 50}
SCALE_BITS = 16
ROWS = "age,sex,ill\n" + "".join(f"{30 + row % 50},{'fm'[row % 2]},{int(row % 50 > 25)}\n" for row in range(200))
UNLABELLED = "\n".join(line.rpartition(",")[0] for line in ROWS.splitlines()) + "\n"


def folder_of(place: Path, app: AppCode, settings: dict, values: np.ndarray, layout) -> Path:
    """Write a model folder by the ledger's own rule."""
    metrics = {"rows": 1, "accuracy_ppm": 1, "auc_ppm": None, "auc_bound_ppm": None, "loss_micro": 1}
    task = {
        "id": "t1",
        "layout": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in layout],
        "app": {"name": app.name, "digest": app.digest},
        "spec": {
            "app": {"name": app.name, "settings": settings},
            "data": to_record(read(DataSpec, DATA)),
            "aggregation": {"rule": "fedavg", "scale_bits": SCALE_BITS, "clip": "8"},
            "mode": "horizontal",
            "name": "ward",
        },
        "contributors": {},
        "finished_ms": 2,
        "preparation": {},
        "published_ms": 1,
        "issuer": "AMSP",
        "model": "0" * 64,
        "rules": {"metrics": "binary/1", "scheme": "none/1"},
    }
    last = {"model": "0" * 64, "round": 1, "metrics": {"institutions": {}, "pooled": metrics}}
    model = np.rint(values.astype(np.float64) * 2**SCALE_BITS).astype(np.int64)
    place.mkdir()
    for name, content in artefact.files(task, last, model).items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder, and what its app says of the rows."""
    place = tmp_path_factory.mktemp("model")
    path = place / "ward.csv"
    path.write_text(ROWS)
    table = data.load(path, read(DataSpec, DATA))
    app = builtin_apps()["tabular"]
    with Trainer(app, SETTINGS, data.problem(read(DataSpec, DATA))) as trainer:
        layout, vector = trainer.init(0)
        vector = trainer.train(layout, vector, table.x, table.y, 0)
        model = np.rint(vector.astype(np.float64) * 2**SCALE_BITS).astype(np.int64)
        expected = trainer.predict(layout, codec.to_float(model, SCALE_BITS), table.x)
    assert ((expected[:, 1] > 0.5) == table.y).mean() > 0.9
    return folder_of(place / "folder", app, SETTINGS, vector, layout), expected


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def sign(folder: Path) -> None:
    """Make the manifest agree with altered files, as somebody would who makes a folder of their own."""
    manifest = canonical.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {name: codec.digest((folder / name).read_bytes()) for name in manifest["files"]}
    (folder / "manifest.json").write_bytes(canonical.dumps(manifest))


def test_it_predicts_exactly_what_the_training_app_did(trained, tmp_path):
    folder, expected = trained
    path = tmp_path / "new.csv"
    path.write_text(UNLABELLED)
    made = load_model(folder).predict(path)
    assert made.probabilities.tobytes() == expected.tobytes()
    assert made.predicted == [str(int(p > 0.5)) for p in expected[:, 1]]


@pytest.mark.parametrize("name", ["model.safetensors", "preparation.json", "card.json", "card.md"])
def test_an_altered_file_is_refused(trained, tmp_path, name):
    folder = copy(trained[0], tmp_path / "copy")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BeflError, match=name) as caught:
        load_model(folder)
    assert caught.value.code == "BEFL-M-009"


@pytest.mark.parametrize("name", ["model.safetensors", "preparation.json"])
def test_a_missing_file_is_refused(trained, tmp_path, name):
    folder = copy(trained[0], tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(BeflError, match=f"{name}: No such file") as caught:
        load_model(folder)
    assert caught.value.code == "BEFL-M-009"


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_no_model_folder(tmp_path, name):
    """A mistake in typing, and no verdict about a model."""
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*manifest\.json: No such file") as caught:
        load_model(tmp_path / name)
    assert "A model folder has manifest.json in it" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{}", b'{"files":[1]}', b'{"files":{"../x":"0"}}'])
def test_a_manifest_that_is_none_is_refused(trained, tmp_path, content):
    folder = copy(trained[0], tmp_path / "copy")
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BeflError, match="not the manifest") as caught:
        load_model(folder)
    assert caught.value.code == "BEFL-M-009"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"\xff" * 40),
        ("preparation.json", b"{}"),
        ("preparation.json", b'{"app":{"digest":"0","name":"tabular","settings":{}},"data":{"alias":"a"}}'),
    ],
)
def test_files_that_cannot_be_understood_are_refused(trained, tmp_path, name, content):
    folder = copy(trained[0], tmp_path / "copy")
    (folder / name).write_bytes(content)
    sign(folder)
    with pytest.raises(BeflError, match="cannot be understood") as caught:
        load_model(folder)
    assert caught.value.code == "BEFL-M-009"


def test_another_app_than_the_models_is_refused(trained, tmp_path):
    model = load_model(trained[0])
    with pytest.raises(BeflError, match="was trained with") as caught:
        model.predict(tmp_path / "x.csv", app=AppCode.of("tabular", b"another"))
    assert caught.value.code == "BEFL-M-108"


def test_an_app_that_befl_does_not_bring_is_given_as_a_file(trained, tmp_path):
    model = load_model(trained[0])
    app = AppCode("mine", {**builtin_apps()["tabular"].files, "app.toml": b'befl = 1\nname = "mine"\n'})
    folder = folder_of(tmp_path / "mine", app, SETTINGS, model.vector, model.layout)
    rows, code = tmp_path / "rows.csv", tmp_path / "mine.befl-app"
    rows.write_text(UNLABELLED)
    code.write_bytes(app.archive)
    with pytest.raises(BeflError, match='no app "mine"') as caught:
        load_model(folder).predict(rows)
    assert caught.value.code == "BEFL-M-108"
    assert "--app PATH" in caught.value.hint
    done = CliRunner().invoke(
        root, ["predict", str(folder), str(rows), "--app", str(code), "--format", "json"], catch_exceptions=False
    )
    assert np.array(json.loads(done.output)["probabilities"]) == pytest.approx(trained[1], abs=1e-6)


def test_the_command_writes_csv_and_table(trained, tmp_path):
    folder, expected = trained
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text("\n".join(UNLABELLED.splitlines()[:3]) + "\n")
    runner = CliRunner()
    done = runner.invoke(root, ["predict", str(folder), str(rows), "--output", str(out)], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")
    made = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["row"] for row in made] == ["1", "2"]
    assert [float(row["p(1)"]) for row in made] == pytest.approx(expected[:2, 1], abs=1e-6)
    assert {row["predicted"] for row in made} == {"0"}
    done = runner.invoke(root, ["predict", str(folder), str(rows)], catch_exceptions=False)
    assert done.output.splitlines()[0].split() == ["row", "p(0)", "p(1)", "predicted"]
    assert len(done.output.splitlines()) == 3


def test_the_command_cannot_write(trained, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text(UNLABELLED)
    with pytest.raises(BeflError) as caught:
        CliRunner().invoke(
            root,
            ["predict", str(trained[0]), str(rows), "--output", str(rows / "out.csv")],
            catch_exceptions=False,
        )
    assert caught.value.code == "BEFL-C-006"
    with pytest.raises(BeflError, match=r"BEFL-C-006: .* not written over rows"):
        CliRunner().invoke(root, ["predict", str(trained[0]), str(rows), "--output", str(rows)], catch_exceptions=False)
    assert rows.read_text() == UNLABELLED


def test_data_that_does_not_fit_the_model(trained, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("age,sex\n50,x\n")
    with pytest.raises(BeflError) as caught:
        load_model(trained[0]).predict(rows)
    assert caught.value.code == "BEFL-C-108"
