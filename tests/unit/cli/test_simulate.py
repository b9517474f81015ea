"""`befl simulate`: one task, every institution, one process."""

from __future__ import annotations

import json
import stat
import sys

import pytest
from tests.unit.simulate.test_consortium import TASK, table

from befl.cli.main import run
from befl.client import simulate


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "TASK.toml").write_text(TASK)
    (tmp_path / "data").mkdir()
    for number, name in enumerate(("north", "east", "south")):
        (tmp_path / "data" / f"{name}.csv").write_text(table(number))
    (tmp_path / "all.csv").write_text(table(9, 200))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_beside_the_task(place, capsys):
    assert run(["simulate", "TASK.toml", "--output", "run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["round", "updates", "accuracy", "AUC", "loss", "seconds"]
    assert [line.split()[:2] for line in said[1:4]] == [["1", "3"], ["2", "3"], ["3", "3"]]
    assert said[4].startswith("3 institutions, 3 rounds, ")
    assert said[-1] == "model in run/model, on no ledger; try: befl predict run/model DATA.csv"
    assert run(["predict", "run/model", "data/north.csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 61
    assert [each["round"] for each in json.loads((place / "run/rounds.json").read_text())] == [1, 2, 3]


def test_its_model_is_verified_and_evaluated_right_after(place, capsys):
    """No network is there: the files are held against the manifest, and that they stand on no ledger is said."""
    assert run(["simulate", "TASK.toml", "--output", "run"]) == 0
    capsys.readouterr()
    assert run(["model", "verify", "run/model"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in said[:-1]} == {
        "card.json",
        "card.md",
        "manifest.json",
        "model.safetensors",
        "preparation.json",
    }
    assert said[-1].endswith("a simulation made them: this model stands on no ledger")
    assert run(["model", "verify", "run/model", "--format", "json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["txid"], verdict["simulated"]) == ("", True)
    text = (place / "run/model/card.md").read_text()
    assert text.endswith("\n\nA simulation: this model stands on no ledger.\n")
    assert "befl model verify" not in text
    card = json.loads((place / "run/model/card.json").read_text())["metrics"]["institutions"]
    for name in ("north", "east", "south"):
        data = ["run/model", f"data/{name}.csv", "--held-back"]
        assert run(["model", "evaluate", *data, "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == card[f"{name.title()}MSP"]
    assert run(["model", "evaluate", *data]) == 0
    heading, figures = capsys.readouterr().out.splitlines()
    assert heading.split() == ["rows", "accuracy", "AUC", "loss"]
    expected = [f"{card['SouthMSP'][key] / 1e6:.3f}" for key in ("accuracy_ppm", "auc_ppm", "loss_micro")]
    assert figures.split() == [str(card["SouthMSP"]["rows"]), *expected]
    assert run(["model", "evaluate", "run/model", "data/south.csv", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 60
    (place / "run/model/card.md").write_text(text + "!")
    for where in ([], ["--network", "nowhere", "--as", "org1"]):
        assert run(["model", "verify", "run/model", *where]) == 1
        assert capsys.readouterr().err.startswith("BEFL-M-009: run/model/card.md")
    (place / "run/model/card.md").write_text(text)
    assert run(["model", "verify", "run/model", "--network", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("BEFL-N-009")
    assert run(["model", "verify", "run/model", "--as", "org1"]) == 2
    assert "--as goes with --network" in capsys.readouterr().err


def test_an_empty_column_is_named(place, capsys):
    rows = (place / "data/north.csv").read_text().splitlines()
    (place / "data/north.csv").write_text(
        "\n".join([rows[0], *("," + row.partition(",")[2] for row in rows[1:])]) + "\n"
    )
    assert run(["simulate", "TASK.toml"]) == 0
    assert "\nwarning: NorthMSP: data \"hearts\": no value is known of 'age'\n3 inst" in capsys.readouterr().out
    assert run(["simulate", "TASK.toml", "--format", "json"]) == 0
    [warning] = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.startswith("NorthMSP: ")


def test_nothing_but_empty_columns(place, capsys):
    (place / "data/north.csv").write_text("age,sex,disease\n" + ",,no\n" * 20)
    assert run(["simulate", "TASK.toml"]) == 2
    assert capsys.readouterr().err.startswith("BEFL-C-114: NorthMSP: ")


def test_a_split_as_json_is_what_python_gives(place, capsys):
    arguments = ["--data", "all.csv", "--split", "iid", "--institutions", "3", "--seed", "4"]
    assert run(["simulate", "TASK.toml", *arguments, "--id", "00112233aabbccdd", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    made = simulate(
        "TASK.toml", data="all.csv", split="iid", institutions=3, seed=4, id="00112233aabbccdd", output="kept"
    )
    assert (said["task"], said["model"], said["digest"]) == ("00112233aabbccdd", made.model, made.digest)
    assert said["trainers"] == ["Part1MSP", "Part2MSP", "Part3MSP"]
    assert sorted(path.name for path in (place / "kept/parts").iterdir()) == ["part1.csv", "part2.csv", "part3.csv"]


def test_named_files_in_python(place):
    made = simulate("TASK.toml", data={name: f"data/{name}.csv" for name in ("north", "east", "south")})
    assert made.model == simulate("TASK.toml").model


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["absent.toml"], 2, "BEFL-C-006"),
        (["TASK.toml", "--data", "absent"], 2, "BEFL-C-101"),
        (["TASK.toml", "--split", "iid"], 2, "BEFL-C-011"),
        (["TASK.toml", "--seed", "5"], 2, "BEFL-C-011"),
        (["TASK.toml", "--data", "all.csv", "--split", "column:disease", "--institutions", "5"], 2, "BEFL-C-011"),
        (["TASK.toml", "--output", "data"], 2, "BEFL-C-012"),
        (["TASK.toml", "--output", "data/run"], 2, "BEFL-C-012"),
        (["TASK.toml", "--output", "."], 2, "BEFL-C-012"),
        (["TASK.toml", "--output", "all.csv/run"], 2, "BEFL-C-006"),
        (["TASK.toml", "--output", "/proc/run"], 2, "BEFL-C-006"),
        (["TASK.toml", "--data", "all.csv", "--institutions", "2"], 2, "BEFL-C-010"),
        (["TASK.toml", "--data", "all.csv", "--id", "zz"], 2, "BEFL-C-004"),
        (["TASK.toml", "--app", "absent.py"], 2, "BEFL-C-006"),
        (["OTHER.toml"], 2, "BEFL-C-014"),
    ],
)
def test_refusals(place, capsys, arguments, status, code):
    (place / "OTHER.toml").write_text(TASK.replace('name = "tabular"', 'name = "other"'))
    assert run(["simulate", *arguments]) == status
    said = capsys.readouterr()
    assert said.err.startswith(f"{code}: ")
    assert said.out == ""


def test_what_is_kept_is_for_the_owner_and_of_one_split(place, capsys):
    """Parts are rows of institutions: not readable for others, whoever may read the whole; and no older ones remain."""
    (place / "all.csv").chmod(0o600)
    for count in ("4", "3"):  # again into the same folder, which is an earlier simulation's
        arguments = ["--data", "all.csv", "--split", "iid", "--institutions", count, "--output", "made/run"]
        assert run(["simulate", "TASK.toml", *arguments]) == 0
    parts = sorted((place / "made/run/parts").iterdir())
    assert [path.name for path in parts] == ["part1.csv", "part2.csv", "part3.csv"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in parts} == {0o600}
    assert {stat.S_IMODE((place / "made/run" / name).stat().st_mode) for name in (".", "parts")} == {0o700}
    rows = (place / "made/run/parts/part1.csv").read_bytes()
    arguments = ["--data", "made/run/parts/part1.csv", "--split", "iid", "--output", "made/run"]
    assert run(["simulate", "TASK.toml", *arguments]) == 2
    assert "BEFL-C-012" in capsys.readouterr().err
    assert (place / "made/run/parts/part1.csv").read_bytes() == rows


def test_an_interpreter_beside(place, capsys):
    """A path to Python is meant from the working folder."""
    (place / "py").mkdir()
    (place / "py/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (place / "py/python").chmod(0o755)
    assert run(["simulate", "TASK.toml", "--python", "py/python"]) == 0
    assert run(["simulate", "TASK.toml", "--python", "py/absent"]) == 1
    assert "--python, or [training] python in AGENT.toml" in capsys.readouterr().err
