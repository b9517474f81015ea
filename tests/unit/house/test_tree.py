"""What must not stand in tracked files, and what must."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[3]

# a directive, and what follows it
DIRECTIVE = re.compile(
    r"#\s*(?P<what>noqa|type:\s*ignore|pragma:\s*no\s*\w+|fmt:\s*(?:off|skip)|ruff:\s*noqa|nosec)"
    r"(?P<codes>(?::\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*)|(?:\[[\w, -]+\]))?(?P<reason>.*)"
)
HOME = re.compile(r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+)/|/tmp/[a-z]")


@cache
def tracked() -> dict[str, str]:
    """Return the text files of the project: what git knows, and what it would be asked to add."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    texts = {}
    for name in filter(None, names):
        try:
            texts[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return texts


def matches(pattern: re.Pattern[str], *, without: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[0]}"
        for name, text in tracked().items()
        if not name.startswith(without)
        for found in pattern.finditer(text)
    ]


def test_no_paths_of_a_machine():
    assert matches(HOME, without=(str(Path(__file__).relative_to(ROOT)),)) == []


def test_locks_hold_no_addresses():
    assert len([name for name in tracked() if name.startswith("requirements/")]) >= 4
    for name, text in tracked().items():
        if name.startswith("requirements/"):
            assert "://" not in text, name
            assert "--index" not in text, name


def test_no_hosts_of_package_registries():
    """Whatever this machine's clients are set to must not have slipped into a file."""
    settings = [value for key, value in os.environ.items() if re.match(r"(PIP|UV|GOPROXY|GOSUMDB|NPM)", key)]
    for command in ([sys.executable, "-m", "pip", "config", "list"], ["go", "env", "GOPROXY"]):
        try:
            settings.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        except FileNotFoundError:
            continue
    hosts = {urlsplit(address).hostname for text in settings for address in re.findall(r"https?://[^\s,'\"|]+", text)}
    for host in hosts - {None, "localhost", "127.0.0.1"}:
        assert matches(re.compile(re.escape(str(host)))) == []


def test_every_exception_from_a_checker_says_why():
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked().items()
        if name.endswith((".py", ".pyi"))
        for number, line in enumerate(text.splitlines(), 1)
        for directive in [DIRECTIVE.search(line)]
        if directive and not re.search(r"[A-Za-z]{4,}", directive["reason"])
    ]
    assert found == []


def test_befl_is_a_namespace_and_its_packages_are_typed():
    for root in ("chaincode", "clients", "network"):
        assert not (ROOT / root / "befl" / "__init__.py").exists()
        packages = [path for path in (ROOT / root / "befl").iterdir() if path.is_dir() and path.name != "__pycache__"]
        assert packages
        for package in packages:
            assert (package / "__init__.py").is_file(), package
            assert (package / "py.typed").is_file(), package


def test_no_unfinished_work():
    pattern = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|raise Not" + r"ImplementedError)\b")
    assert matches(pattern, without=("LICENSE", "docs/", "requirements/")) == []


def starts_process(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "subprocess"
        and node.func.attr in {"run", "Popen", "check_output", "check_call", "call"}
    )


def test_subprocesses_never_wait_for_a_terminal():
    """Each process that is started in the sources says what its standard input is."""
    missing = [
        f"{name}:{node.lineno}"
        for name, text in tracked().items()
        if name.startswith(("chaincode/", "clients/", "network/")) and name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if starts_process(node) and not {"stdin", "input", None} & {keyword.arg for keyword in node.keywords}
    ]
    assert missing == []


def test_make_explains_itself():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    for target in ("setup", "demo", "test", "test-slow", "check", "docs", "lock", "clean"):
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target
