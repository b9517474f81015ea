"""``befl data check``: what a data scientist sees before anybody else is asked."""

from __future__ import annotations

import json

import pytest

from befl.cli.main import run
from befl.client import check_data

TASK = """\
befl = 1
name = "hearts"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "heart"
label = "disease"
columns = { age = "number", sex = { type = "category", values = ["f", "m"] } }
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""
ROWS = [f"{number % 5 - 2},{'fm'[number % 2]},{number % 2},left" for number in range(30)]


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "TASK.toml"
    path.write_text(TASK)
    return path


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "heart.csv"
    path.write_text("age,sex,disease,ward\n" + "\n".join(ROWS) + "\n")
    return path


def test_a_file_that_fits(task, rows, capsys):
    assert run(["data", "check", str(task), "--data", str(rows)]) == 0
    said = capsys.readouterr().out
    assert f"{rows}: 30 rows, SHA-256" in said
    assert "about 6 rows are held back" in said
    assert "age      number      30        0  -2 to 2, mean 0, deviation 1.414; prepared: mean 0" in said
    assert "sex      category    30        0  f: 15, m: 15" in said
    assert "not read: ward" in said
    assert said.endswith("\nfits\n")


def test_columns_that_are_separated_otherwise(task, rows, capsys):
    """The commonest file of all: what a spreadsheet makes where the comma is in numbers."""
    rows.write_text(rows.read_text().replace(",", ";"))
    with pytest.raises(SystemExit) as ended:
        run(["data", "check", str(task), "--data", str(rows)])
    assert ended.value.code == 1
    assert "BEFL-C-105: The header looks separated by semicolons or tabs" in capsys.readouterr().out


def test_a_file_that_does_not(task, rows, capsys):
    rows.write_text(rows.read_text().replace("2,f", "two,x").replace("-1,m", ",m"))
    with pytest.raises(SystemExit) as ended:
        run(["data", "check", str(task), "--data", str(rows)])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    problems = said[said.index("problems:") : said.index("does not fit")]
    assert "  age: BEFL-C-107: " in problems
    assert "  sex: BEFL-C-108: " in problems
    assert said.endswith("does not fit (befl explain CODE says more)\n")


def test_json_is_what_the_python_api_returns(task, rows, capsys):
    assert run(["data", "check", str(task), "--data", str(rows), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    made = check_data(task, rows)
    assert (found["fits"], found["rows"], found["digest"]) == (True, made.rows, made.digest)
    assert found["columns"][1]["values"] == {"f": 15, "m": 15}


def test_many_values_are_cut(task, rows, capsys):
    values = [f"v{number}" for number in range(25)]
    task.write_text(TASK.replace('["f", "m"]', json.dumps(values)))
    rows.write_text("age,sex,disease\n" + "".join(f"{n % 3},v{n % 25},{n % 2}\n" for n in range(50)))
    assert run(["data", "check", str(task), "--data", str(rows)]) == 0
    assert "v9: 2 and 15 more" in capsys.readouterr().out


def test_what_cannot_be_looked_at(task, rows, tmp_path, capsys):
    assert run(["data", "check", str(task), "--data", str(tmp_path / "absent.csv")]) == 2
    assert "BEFL-C-101" in capsys.readouterr().err
    assert run(["data", "check", str(tmp_path / "absent.toml"), "--data", str(rows)]) == 2
    assert "BEFL-C-006" in capsys.readouterr().err
    task.write_text("befl = 2")
    assert run(["data", "check", str(task), "--data", str(rows)]) == 2
    assert run(["data", "check", str(task)]) == 2
