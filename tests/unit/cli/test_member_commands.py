"""`befl member` and `befl parameters`: how members decide together, command by command."""

from __future__ import annotations

import json

import pytest
from tests.unit.cli.test_commands import consortium  # noqa: F401  # the fixture: commands on the in-memory ledger

from befl.cli.main import run

MEMBERS = 10  # as the in-memory consortium registers them


def printed(capsys, *arguments: str) -> dict:
    assert run([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_new_institution_registers_and_leaves(consortium, capsys):  # noqa: F811  # the fixture
    assert run(["member", "register", "--as", "NewMSP"]) == 0
    assert "NewMSP is a member (block" in capsys.readouterr().out
    assert run(["member", "register", "--as", "NewMSP"]) == 1
    assert "BEFL-T-003" in capsys.readouterr().err
    found = printed(capsys, "member", "show", "NewMSP")
    assert found["roles"] == ["auditor", "issuer", "trainer", "validator"]
    assert run(["member", "leave", "--as", "NewMSP"]) == 0
    capsys.readouterr()
    assert run(["member", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("NewMSP"))
    assert "none" in line


def test_roles_need_more_than_half(consortium, capsys):  # noqa: F811  # the fixture
    roles = ["--roles", "trainer, auditor"]
    for number in range(1, MEMBERS // 2 + 1):
        assert run(["member", "approve", "Org9MSP", *roles, "--as", f"Org{number}MSP"]) == 0
    assert run(["member", "assign", "Org9MSP", *roles, "--as", "Org1MSP"]) == 1
    assert "BEFL-A-007: 5 of 10 members have approved" in capsys.readouterr().err
    assert run(["member", "show", "Org9MSP"]) == 0
    assert 'Org5MSP approves ["auditor","trainer"]' in capsys.readouterr().out
    assert run(["member", "approve", "Org9MSP", *roles, "--as", "Org6MSP"]) == 0
    assert run(["member", "assign", "Org9MSP", *roles, "--as", "Org1MSP"]) == 0
    assert "approved by Org1MSP, Org2MSP" in capsys.readouterr().out
    found = printed(capsys, "member", "show", "Org9MSP")
    assert (found["roles"], found["waiting"]) == (["auditor", "trainer"], {})
    assert found["approved_by"] == [f"Org{number}MSP" for number in range(1, 7)]


def test_an_agent_announces_itself(consortium, capsys):  # noqa: F811  # the fixture
    consortium.ledger("Org2MSP").announce("agent.example:7443", "0f" * 32)
    agents = {each["msp_id"]: each["agent"] for each in printed(capsys, "member", "list")}
    assert agents["Org1MSP"] is None
    assert (agents["Org2MSP"]["endpoint"], agents["Org2MSP"]["key"]) == ("agent.example:7443", "0f" * 32)
    consortium.ledger("Org3MSP").announce("", "")
    said = {
        "Org1MSP": "has not announced",
        "Org2MSP": "agent.example:7443, announced 20",
        "Org3MSP": "gives no address, a",
    }
    for msp_id, words in said.items():
        assert run(["member", "show", msp_id]) == 0
        assert f"agent     {words}" in capsys.readouterr().out


def test_parameters_change_by_majority_and_bind(consortium, capsys, tmp_path):  # noqa: F811  # the fixture
    file = tmp_path / "parameters.toml"
    file.write_text("least_trainers = 4\n")
    assert run(["parameters", "show"]) == 0
    assert "# version 0 (the defaults)" in capsys.readouterr().out
    for number in range(1, MEMBERS // 2 + 2):
        assert run(["parameters", "approve", str(file), "--as", f"Org{number}MSP"]) == 0
    approved = capsys.readouterr().out
    assert "least_trainers = 4" in approved
    assert "most_rounds = 10000" in approved, "what the file leaves out is approved too, and shown"
    assert len(printed_last(capsys, "parameters", "show")["waiting"]) == MEMBERS // 2 + 1
    assert run(["parameters", "assign", str(file), "--as", "Org1MSP"]) == 0
    capsys.readouterr()
    found = printed(capsys, "parameters", "show")
    assert (found["version"], found["parameters"]["least_trainers"], found["waiting"]) == (1, 4, {})
    [listed] = printed(capsys, "parameters", "list")
    assert (listed["version"], listed["parameters"]) == (1, found["parameters"])
    assert listed["approved_by"] == [f"Org{number}MSP" for number in range(1, MEMBERS // 2 + 2)]
    with pytest.raises(Exception, match="BEFL-T-011"):
        consortium.publish(least=3, most=5)


def test_all_versions_of_the_parameters_are_listed(consortium, capsys, tmp_path):  # noqa: F811  # the fixture
    assert run(["parameters", "list"]) == 0
    assert "The defaults are in force" in capsys.readouterr().out
    for least in (4, 3):
        file = tmp_path / "parameters.toml"
        file.write_text(f"least_trainers = {least}\n")
        for number in range(1, MEMBERS // 2 + 2):
            assert run(["parameters", "approve", str(file), "--as", f"Org{number}MSP"]) == 0
        assert run(["parameters", "assign", str(file), "--as", "Org1MSP"]) == 0
    capsys.readouterr()
    assert run(["parameters", "list"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    for number, page, least in ((1, first, 4), (2, second, 3)):
        assert page.startswith(f"# version {number}, since 20")
        assert "approved by Org1MSP, Org2MSP" in page
        assert f"\nleast_trainers = {least}\nmost_parameters = " in page


@pytest.mark.parametrize(
    ("content", "code"),
    [("least_trainers = 0", "BEFL-C-004"), ("wealth = 1", "BEFL-C-002"), ("a =", "BEFL-C-005"), (None, "BEFL-C-006")],
)
def test_a_file_that_holds_no_parameters(consortium, capsys, tmp_path, content, code):  # noqa: F811  # the fixture
    file = tmp_path / "parameters.toml"
    if content is not None:
        file.write_text(content)
    before = consortium.memory.height
    for verb in ("approve", "assign"):
        assert run(["parameters", verb, str(file)]) == 2
        assert code in capsys.readouterr().err
    assert consortium.memory.height == before


def printed_last(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    return printed(capsys, *arguments)
