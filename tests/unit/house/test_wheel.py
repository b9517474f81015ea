"""The wheel does all that the checkout does: it holds every source and data file, and works with the base alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_tracked_file_of_the_sources(wheel):
    names = run("git", "ls-files", "chaincode", "clients", "network").splitlines()
    expected = {name.partition("/")[2] for name in names if (ROOT / name).exists()}
    assert len(expected) > 30
    assert any(name.endswith("go.sum") for name in expected), "Go modules are package data"
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert expected - held == set()
    assert not [name for name in held if "__pycache__" in name or name == "befl/__init__.py"]
    assert any(name.endswith("licenses/LICENSE") for name in held)


def test_the_source_archive_holds_all_that_its_pages_want(tmp_path):
    """`make demo`, `make test` and the wheel work from it: every tracked file is there."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {name for name in run("git", "ls-files").splitlines() if (ROOT / name).exists()}
    assert tracked - held == set()
    assert "-m hatchling build -t wheel" in (ROOT / "docs/tutorials/your-consortium.md").read_text()


def test_pages_agree_on_go():
    """The modules decide; a page that asks for an older one sends its reader into a failing build."""
    wanted = max(
        tuple(map(int, line.split()[1].split(".")[:2]))
        for path in (ROOT / "network/befl/network/go").glob("*/go.mod")
        for line in path.read_text().splitlines()
        if line.startswith("go ")
    )
    said = {
        (page.name, tuple(map(int, found)))
        for page in [ROOT / "README.md", *ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("docs/how-to/*.md")]
        for found in re.findall(r"\bGo (\d+)\.(\d+)", page.read_text())
    }
    assert {name for name, _ in said} >= {"README.md", "four-hospitals.md", "fabric-programs.md"}
    assert {version for _, version in said} == {wanted}


@pytest.mark.slow
def test_the_wheel_works_with_the_base_alone(wheel, tmp_path):
    """In an empty environment: locked base dependencies, no torch, no compiler, away from the checkout."""
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", home)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", ROOT / "requirements" / "base.txt")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel)
    run(python, "-m", "pip", "check")
    assert "Usage" in run(home / "bin" / "befl", "--help", cwd=tmp_path)
    program = (
        "import importlib.util, befl.contracts, befl.gateway, befl.ledger, befl.network, befl.shim, befl.client\n"
        "assert importlib.util.find_spec('torch') is None"
    )
    run(python, "-c", program, cwd=tmp_path)
    digest = "from befl.shim.digest import code_digest; print(code_digest())"
    assert run(python, "-c", digest, cwd=tmp_path) == run(sys.executable, "-c", digest), "peers would not agree"
