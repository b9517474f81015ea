"""`befl doctor` as it is typed: a table or JSON, and an exit status that scripts can use."""

from __future__ import annotations

import json

import pytest

from befl.cli import doctor
from befl.cli.main import run
from befl.operations.findings import Finding

OK = Finding("installation", "Python", "ok", "Python 3.11")
LOW = Finding("network", "disk", "warning", "disk is low", "Free some.")
DEAD = Finding("network", "processes", "problem", "org1/peer is dead", "befl network logs org1/peer")


@pytest.fixture
def found(monkeypatch):
    def give(*findings):
        monkeypatch.setattr(doctor, "examine", lambda *asked: list(findings))

    return give


def test_a_table_says_what_to_do(found, capsys):
    found(OK, LOW)
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "ok       installation: Python  Python 3.11",
        "warning  network: disk         disk is low",
        "                               -> Free some.",
        "2 checks, 0 problems, 1 warnings",
    ]


def test_a_problem_ends_with_status_1(found, capsys):
    found(OK, DEAD)
    with pytest.raises(SystemExit, match="1"):
        run(["doctor", "--format", "json"])
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["ok", "problem"]


def test_what_cannot_be_looked_at_is_a_problem(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        run(["doctor", "--network", "nowhere", "--config", "AGENT.toml", "--format", "json"])
    wrong = {one["area"]: one["found"] for one in json.loads(capsys.readouterr().out) if one["state"] == "problem"}
    assert wrong["network"].startswith("BEFL-N-009")
    assert wrong["agent"].startswith("BEFL-C-006")


def test_a_task_needs_an_agent(capsys):
    assert run(["doctor", "--task", "TASK.toml"]) == 2
    assert "--task goes with --config" in capsys.readouterr().err
