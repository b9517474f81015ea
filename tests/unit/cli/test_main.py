"""The command line as people meet it: help that teaches, exit statuses, no traceback, late imports."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from befl.cli.main import root, run
from befl.gateway import wait
from befl.rules.errors import CODES, BeflError
from befl.rules.version import __version__

ROOT = Path(__file__).parents[3]


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


OPERATORS = [path for path in EVERY if len(path) > 1 and path[0] in ("org", "channel", "chaincode", "identity")]


@pytest.mark.parametrize("path", OPERATORS, ids=" ".join)
def test_operators_commands_show_examples(capsys, path):
    assert run([*path, "--help"]) == 0
    examples = re.search(r"^  Examples?:\n((?:    .*\n)+)", capsys.readouterr().out, re.MULTILINE)
    assert examples
    assert all(line.strip().startswith(f"befl {' '.join(path)}") for line in examples[1].splitlines())


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


@pytest.mark.parametrize(
    "error", [KeyError("x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), RecursionError("r")]
)
def test_a_mistake_of_befl_is_two_and_has_a_code(monkeypatch, capsys, error):
    """1 would be a refusal, and for `befl audit replay` the verdict FAIL."""
    monkeypatch.delenv("BEFL_TRACEBACK", raising=False)
    assert status(monkeypatch, error) == 2
    first, hint, more = capsys.readouterr().err.splitlines()
    assert first.startswith(f"BEFL-C-015: {type(error).__name__}: ")
    assert re.search(r" \(\w+\.py, line \d+\)$", first)
    assert "BEFL_TRACEBACK=1" in hint
    assert more == "More: befl explain BEFL-C-015"


def test_the_traceback_of_a_mistake_can_be_seen(monkeypatch, capsys):
    monkeypatch.setenv("BEFL_TRACEBACK", "1")
    assert status(monkeypatch, ValueError("\x1b[2J")) == 2
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert "\nBEFL-C-015: ValueError: " in said
    assert "\x1b[2J" not in said


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


REPLAY = ["audit", "replay", "2858cf0e19eb0ba2", "--blocks", str(ROOT / "tests/ledgers/0.1.0.gz")]


@pytest.mark.parametrize(
    "arguments", [["explain"], ["--help"], [*REPLAY, "--model", "MODEL"]], ids=["a", "help", "fail"]
)
def test_a_reader_that_goes_away_is_no_success(tmp_path, arguments):
    """`befl audit replay ... | head -1`: what ended early has not said yes."""
    (tmp_path / "manifest.json").write_text("{}")  # a model folder that is not the task's: the verdict is FAIL
    arguments = [str(tmp_path) if each == "MODEL" else each for each in arguments]
    with subprocess.Popen(
        [sys.executable, "-m", "befl.cli.main", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 141
    assert "Traceback" not in errors
    assert "Exception" not in errors


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([*REPLAY, "--model", "absent"], "BEFL-C-006"),
        (["audit", "replay", "0" * 16, *REPLAY[3:]], "BEFL-T-007"),
    ],
)
def test_a_replay_that_had_nothing_to_look_at_is_no_verdict(capsys, tmp_path, monkeypatch, arguments, code):
    monkeypatch.chdir(tmp_path)
    try:
        ended = run(arguments)
    except SystemExit as end:
        ended = end.code
    said = capsys.readouterr()
    assert (ended, said.out) == (2, "")
    assert said.err.splitlines()[-1] == f"More: befl explain {code}"


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", LONG],
        ["simulate", "TASK.toml", "--data", LONG],
        ["simulate", "TASK.toml", "--output", LONG],
        ["simulate", "TASK.toml", "--output", "file/x"],
        ["simulate", "TASK.toml", "--data", "data/north.csv", "--split", "iid", "--output", "file/x"],
        ["app", "show", LONG],
        ["app", "approve", LONG, "--config", "AGENT.toml"],
        ["app", "pack", "app", "--output", f"{LONG}.befl-app"],
        ["model", "verify", "data", "--network", LONG],
        ["task", "list", "--network", LONG],
        ["doctor", "--network", LONG],
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)
def test_what_the_system_refuses_has_a_code(tmp_path, monkeypatch, capsys, arguments):
    assert run(["init", str(tmp_path / "here")]) == 0
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "file").write_text("")
    capsys.readouterr()
    try:
        ended = run(arguments)
    except SystemExit as end:  # of doctor
        ended = end.code
    said = capsys.readouterr()
    assert ended in (1, 2)
    assert re.match(r"BEFL-[CN]-[0-9]{3}: ", said.err) or "PROBLEM" in said.out
    assert "Errno" not in said.err


@pytest.mark.parametrize("arguments", [["version"], ["explain"], ["--help"], ["task", "--help"], ["app", "list"]])
def test_a_disk_that_is_full(arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123  # a device
        done = subprocess.run(
            [sys.executable, "-m", "befl.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("BEFL-C-006: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_leaves_nothing(tmp_path):
    """As `timeout`, batch systems and service managers end a command; parts of a split are somebody's rows."""
    assert run(["init", str(tmp_path / "here")]) == 0
    task = tmp_path / "here" / "TASK.toml"
    task.write_text(re.sub(r"^count = .*", "count = 1000", task.read_text(), flags=re.MULTILINE))
    (tmp_path / "tmp").mkdir()
    split = ["--data", str(tmp_path / "here/data/north.csv"), "--split", "iid", "--institutions", "2"]
    with subprocess.Popen(
        [sys.executable, "-m", "befl.cli.main", "simulate", str(task), *split],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    ) as process:
        assert process.stdout.readline().startswith("round")
        assert {path.name.rpartition("-")[0] for path in (tmp_path / "tmp").iterdir()} >= {"befl-parts"}
        process.terminate()
        assert process.wait(60) == 143
        assert process.stderr.read() == ""
    wait.until(lambda: not list((tmp_path / "tmp").iterdir()), timeout=20, what="the folders removed")


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("", True)])
def test_no_color(tmp_path, value, coloured):
    """On a terminal; https://no-color.org."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "befl.cli.main", "data", "check", "absent.toml", "--data", "absent.csv"],
        env={**os.environ, "NO_COLOR": value},
        stderr=theirs,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert b"BEFL-C-006" in said
    assert (b"\x1b[31m" in said) == coloured


def test_a_shell_can_complete():
    done = subprocess.run(
        [sys.executable, "-m", "befl.cli.main"],
        env={**os.environ, "_BEFL_COMPLETE": "bash_complete", "COMP_WORDS": "befl ver", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "plain,version\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["--version"], ["task", "--help"], ["task", "publish", "--help"], ["predict", "--help"]],
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


@pytest.mark.parametrize(("columns", "most"), [("60", 60), ("200", 100)])
def test_explain_fits_the_terminal(capsys, monkeypatch, columns, most):
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["explain", "BEFL-C-006"]) == 0
    assert most - 20 < max(map(len, capsys.readouterr().out.splitlines())) <= most


def test_what_is_to_be_typed_next_is_quoted(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["init", "my folder"]) == 0
    assert capsys.readouterr().out.endswith("next: befl simulate 'my folder/TASK.toml'\n")


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
