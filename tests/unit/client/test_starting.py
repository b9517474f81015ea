"""`befl init`: a folder that simulates at once, and whose every part can be used as it is."""

from __future__ import annotations

import stat

import pytest

from befl.agent.config import load
from befl.cli.main import run
from befl.client import init, simulate
from befl.client.tasks import read_spec
from befl.rules.errors import BeflError
from befl.training import read_app
from befl.training.predict import load_model


def test_it_simulates_at_once_and_predicts(tmp_path, monkeypatch, capsys):
    assert run(["init", str(tmp_path / "mine")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: befl simulate {tmp_path / 'mine/TASK.toml'}"
    monkeypatch.chdir(tmp_path / "mine")
    assert run(["simulate", "TASK.toml", "--output", "run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].endswith("try: befl predict run/model DATA.csv --app app")
    first, *_, last = [line.split() for line in printed[1:11]]
    assert float(last[3]) > 0.75, "the area under the curve"
    assert float(last[4]) < float(first[4]), "the loss has fallen"
    assert run(["predict", "run/model", "data/south.csv", "--app", "app"]) == 0
    model = load_model(tmp_path / "mine/run/model")
    assert model.evaluate(tmp_path / "mine/data/south.csv", app=read_app(tmp_path / "mine/app"))["rows"] == 400


def test_the_same_each_time(tmp_path):
    one, two = init(tmp_path / "one"), init(tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert simulate(tmp_path / "one/TASK.toml").model == simulate(tmp_path / "two/TASK.toml").model


def test_every_file_is_what_it_says(tmp_path):
    made = init(tmp_path / "mine")
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in made)
    spec = read_spec(tmp_path / "mine/TASK.toml")
    config = load(tmp_path / "mine/AGENT.toml")
    assert config.data_path(spec.data.alias).is_file()
    assert spec.privacy.scheme in config.policy.schemes
    code = read_app(tmp_path / "mine/app")
    assert (code.name, sorted(code.files)) == (spec.app.name, ["app.py", "app.toml", "loop.py"])
    assert len((tmp_path / "mine/app/app.py").read_text().splitlines()) <= 30


@pytest.mark.parametrize("what", ["file", "full folder"])
def test_nothing_is_overwritten(tmp_path, what):
    place = tmp_path / "mine"
    kept = place / "kept" if what == "full folder" else place
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(BeflError) as caught:
        init(place)
    assert caught.value.code == "BEFL-C-012"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]


def test_an_empty_folder_will_do(tmp_path):
    assert len(init(tmp_path)) == 6
