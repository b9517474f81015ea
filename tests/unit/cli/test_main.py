"""The command line as people meet it: help that teaches, exit statuses, no traceback, late imports."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from befl.cli.main import root, run
from befl.rules.errors import CODES, BeflError
from befl.rules.version import __version__


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


EVERY = commands(root)


def test_the_commands_are_those_that_are_promised():
    assert {" ".join(path) for path in EVERY} >= {
        "",
        "network up",
        "network down",
        "network status",
        "task publish",
        "task list",
        "task show",
        "task watch",
        "task apply",
        "task cancel",
        "agent run",
        "app list",
        "app show",
        "app approve",
        "model list",
        "model fetch",
        "model verify",
        "predict",
        "explain",
        "version",
    }


@pytest.mark.parametrize("path", EVERY, ids=[" ".join(path) or "befl" for path in EVERY])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(capsys, path, option):
    assert run([*path, option]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: befl {' '.join(path)}".rstrip())
    described = out.split("\n\n", 2)[1].strip()
    assert described.endswith((".", ":"))
    assert len(described) > 15
    command = root
    for name in path:
        command = command.get_command(click.Context(command), name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path}: {parameter.opts} says nothing"


def test_the_listing_says_what_each_command_does(capsys):
    assert run(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    for name in root.list_commands(click.Context(root)):
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line.split()) >= 4


def test_without_a_command_it_explains(capsys):
    assert run([]) == 2
    out = capsys.readouterr()
    assert "Commands:" in out.out + out.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["--no-such-option"],
        ["task"],
        ["task", "no-such-command"],
        ["task", "show"],
        ["task", "list", "--format", "yaml"],
        ["model", "fetch"],
        ["agent", "run"],
        ["app", "approve", "tabular"],
        ["explain", "BEFL-T-999"],
        ["explain", "nonsense"],
    ],
)
def test_wrong_use_is_two(capsys, arguments):
    assert run(arguments) == 2
    out = capsys.readouterr()
    assert out.err
    assert "Traceback" not in out.err


@pytest.mark.parametrize("code", ["BEFL-A-001", "BEFL-M-009", "BEFL-T-002"])
def test_a_refusal_is_one(monkeypatch, capsys, code):
    assert (status(monkeypatch, BeflError(code, "no", "do this")), capsys.readouterr().err) == (
        1,
        f"{code}: no\ndo this\nMore: befl explain {code}\n",
    )


@pytest.mark.parametrize("code", ["BEFL-C-004", "BEFL-G-002", "BEFL-N-001"])
def test_what_could_not_run_is_two(monkeypatch, capsys, code):
    assert status(monkeypatch, BeflError(code, "no")) == 2
    assert capsys.readouterr().err == f"{code}: no\nMore: befl explain {code}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_is_130(monkeypatch, capsys, error):
    assert status(monkeypatch, error) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def status(monkeypatch, error: BaseException) -> int:
    def fail() -> None:
        raise error

    monkeypatch.setattr(root, "get_command", lambda context, name: click.Command("fail", callback=fail))
    return run(["fail"])


def befl(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "befl.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_a_reader_that_goes_away_is_no_failure():
    """`befl explain | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "befl.cli.main", "explain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert errors == b""


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["task", "--help"], ["task", "publish", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from befl.cli.main import run; run(sys.argv[1:]); "
        "print([m for m in ('grpc', 'numpy', 'torch', 'cryptography', 'google.protobuf') if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


def test_explain(capsys):
    assert run(["explain", "befl-t-005"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("BEFL-T-005: Too early\n")
    assert "may succeed later" in out
    assert run(["explain"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(CODES)


def test_explain_in_json(capsys):
    assert run(["explain", "BEFL-A-001", "--format", "json"]) == 0
    code = CODES["BEFL-A-001"]
    assert json.loads(capsys.readouterr().out) == {
        "id": code.id,
        "title": code.title,
        "page": code.page,
        "retryable": code.retryable,
    }


def test_explain_what_is_unknown(capsys):
    assert run(["explain", "BEFL-T-999"]) == 2
    assert "'BEFL-T-999' is none of befl's error codes; `befl explain` lists them" in capsys.readouterr().err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"befl, version {__version__}\n"
    assert run(["version", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["befl"] == __version__
    assert len(found["chaincode"]) == 64
