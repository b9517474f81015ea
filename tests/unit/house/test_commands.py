"""Every command that a page shows is run by a test, and none names what `befl` or `make` does not know.

Commands to be typed stand in blocks of `sh`, programs in blocks of `python`; `TYPED` says which test types each page.
What is named in passing, within a line, is held against the command line's own table of commands and options.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from befl.cli.main import root

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if "generated" not in path.parts
)
TYPED = {
    "README.md": "tests/unit/client/test_pages.py::test_a_page",
    "docs/how-to/agent-elsewhere.md": "tests/network/test_agent_elsewhere.py::test_the_page",
    "docs/how-to/apps.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/audit.md": "tests/network/test_audit_replay.py::test_the_page",
    "docs/how-to/decide-together.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/fabric-programs.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/follow-and-export.md": "tests/network/test_audit_replay.py::test_the_page_on_export",
    "docs/how-to/hfc.md": "tests/network/test_hfc.py::test_hfc_queries_and_invokes",
    "docs/how-to/identities.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/join-a-consortium.md": "tests/network/test_join.py::test_a_fifth_institution_joins_trains_and_leaves",
    "docs/how-to/monitor.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/simulate.md": "tests/unit/client/test_pages.py::test_a_page",
    "docs/how-to/troubleshoot.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/upgrade-chaincode.md": "tests/network/test_lifecycle.py::test_an_upgrade_while_a_task_runs",
    "docs/how-to/who-did-what.md": "tests/network/test_howto_pages.py::test_each_block_of_commands",
    "docs/how-to/write-an-app.md": "tests/unit/client/test_pages.py::test_a_page",
    "docs/tutorials/your-consortium.md": "tests/network/test_tutorial.py::test_the_tutorial",
}
"""Each page with commands, but for those of `make`, and the test that types it."""

MADE = {
    "bench": "tests/network/test_bench.py::test_rounds_are_measured_by_step",
    "demo": "tests/network/test_demo.py::test_the_demo",
    "fuzz": "tests/fuzz/test_run.py::test_make_fuzz",
    "lock": "tests/unit/house/test_commands.py::test_the_locks_are_what_make_lock_writes",
    "soak": "tests/network/test_soak.py::test_make_soak",
}
"""What pages let `make` do that is no part of the pipeline `.ci/run`, and the test that does the same."""

PIPELINE = {"check", "test", "test-slow", "setup", "test-unit", "test-network", "docs"}
"""What `.ci/run` makes, and what those targets make."""

BEGINNINGS = ("befl", "make", "python", "pip", "docker", "curl", "cd", "export", "peer")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def lines(page: Path) -> list[str]:
    """The commands of a page, one a line, without comments; a line that ends in a backslash goes on."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in {
        getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / path).read_text()))
    }


def test_every_page_with_commands_is_typed():
    shown = {
        named(page)
        for page in PAGES
        if blocks(page, "python") or not all(line.startswith("make ") for line in lines(page))
    }
    assert sorted(shown ^ set(TYPED)) == []


@pytest.mark.parametrize(("page", "test"), TYPED.items())
def test_the_test_reads_the_page(page, test):
    assert exists(test), test
    path = ROOT / test.partition("::")[0]
    assert Path(page).name in path.read_text(), f"{path} does not name {page}"


def test_what_pages_make():
    targets = [word for page in PAGES for line in lines(page) if line.startswith("make ") for word in made(line)]
    targets += [word for page in PAGES for found in spans(page) if found.startswith("make ") for word in made(found)]
    assert {"demo", "test", "check"} <= set(targets)
    assert set(targets) - PIPELINE == set(MADE)
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in set(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    assert all(exists(test) for test in MADE.values())


def made(line: str) -> list[str]:
    return [word for word in line.partition("#")[0].split()[1:] if re.fullmatch(r"[a-z-]+", word)]


def test_commands_stand_in_blocks_of_sh():
    """A block that is only indented, or of another language, would escape the tests."""
    found = [
        f"{named(page)}: {line}"
        for page in PAGES
        for line in page.read_text().splitlines()
        if re.match(rf" {{4,}}(?:\$ )?(?:{'|'.join(BEGINNINGS)}) ", line)
    ]
    assert found == []
    assert [named(page) for page in PAGES if blocks(page, "bash", "console", "shell", "py", "pycon")] == []


def spans(page: Path) -> list[str]:
    """Code within lines, outside blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def unknown(line: str) -> str:
    """Say what of a command `befl` does not know; empty when it knows all."""
    words = shlex.split(line.replace("…", ""), comments=True)[1:]
    command: click.Command = root
    context = click.Context(root)
    options = set()
    for word in words:
        if word in ("|", "||", "&&", ";", "&", ">", "|&"):
            break
        if isinstance(command, click.Group) and not word.startswith("-"):
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break  # a placeholder, COMMAND, or alternatives
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word!r}"
            command = found
        elif re.fullmatch(r"--?[a-z][a-z-]*(?:=.*)?", word):
            options.add(word.partition("=")[0])
    known = {"--help", "-h"} | {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return ", ".join(sorted(f"no option {option}" for option in options - known))


def test_every_command_and_option_that_a_page_names_is_there():
    named_by = [(named(page), line) for page in PAGES for line in (*lines(page), *spans(page))]
    commands = [(page, line) for page, line in named_by if re.match(r"befl\s", line)]
    assert len(commands) > 100
    wrong = [f"{page}: {line}: {why}" for page, line in commands for why in [unknown(line)] if why]
    assert wrong == []


@pytest.mark.parametrize("line", ["befl tsk list", "befl task list --colour", "befl model verify DIR --offline=1"])
def test_what_befl_does_not_know_is_found(line):
    assert unknown(line)


@pytest.mark.slow  # it asks a package registry
def test_the_locks_are_what_make_lock_writes(tmp_path):
    """Resolved again, pyproject.toml gives what is committed: a pin stays unless it has become impossible."""
    for name in ("Makefile", "pyproject.toml", "requirements", "README.md", "chaincode/befl/rules/version.py"):
        copy(ROOT / name, tmp_path / name)
    stamp = f"{sys.prefix}/.stamp-packages"
    done = subprocess.run(
        ["make", "lock", f"VENV={sys.prefix}", "-o", stamp],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "requirements").iterdir():
        assert (tmp_path / "requirements" / path.name).read_text() == path.read_text(), path.name


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        for path in source.iterdir():
            copy(path, target / path.name)
    else:
        target.write_bytes(source.read_bytes())


def test_every_file_of_the_project_that_a_page_names_is_there():
    tops = "|".join(("chaincode", "clients", "network/befl", "tests", "docs", "examples", "benchmarks", "requirements"))
    found = [
        (named(page), path)
        for page in PAGES
        for span in (*spans(page), *re.findall(r"\]\(([^):#]+\.md)\)", page.read_text() if page.parent == ROOT else ""))
        for path in re.findall(rf"^(?:python )?((?:{tops})/[\w./-]*)", span)
    ]
    assert len(found) > 50
    assert [f"{page}: {path}" for page, path in found if not (ROOT / path).exists()] == []
