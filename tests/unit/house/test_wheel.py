"""The wheel does all that the checkout does: it holds every source and data file, and works with the base alone."""

from __future__ import annotations

import subprocess
import sys
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
