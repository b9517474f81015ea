"""What is released works where there is no checkout: source distribution, the wheel made of it, an empty environment.

Nothing is in the environment but the wheel and what `requirements/train.txt` pins. That was downloaded and held against
its hashes when the environment of the tests was made; its files are linked from there, for torch is some gigabytes.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from befl.shim.digest import code_digest

from .sides import plain_environment

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # gigabytes of torch are linked, and the demo runs


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in plain_environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The source distribution, unpacked: its folder."""
    folder = tmp_path_factory.mktemp("release")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def home(unpacked, tmp_path_factory) -> Path:
    """An environment with the wheel, made from the source distribution, and what is locked for training."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    [wheel] = folder.glob("*.whl")
    environment = folder / "venv"
    run(sys.executable, "-m", "venv", environment, cwd=folder)
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/train.txt").read_text(), re.MULTILINE)
    target = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    assert link(set(locked), target) >= {"torch", "numpy", "grpcio"}
    run(environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    run(environment / "bin/python", "-m", "pip", "check", cwd=folder)
    return environment


def link(names: set[str], target: Path) -> set[str]:
    """Link the files of distributions that are installed here; what the lock has for other systems only is not."""
    source = Path(sysconfig.get_path("purelib"))
    done = set()
    for distribution in importlib.metadata.distributions(path=[str(source)]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name not in names:
            continue
        for file in distribution.files or ():
            if ".." in file.parts or not (source / file).is_file():
                continue  # a program in bin/
            place = target / file
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                continue  # setuptools comes with some environments
            try:
                os.link(source / file, place)
            except OSError:  # another file system
                shutil.copyfile(source / file, place)
        done.add(name)
    return done


def test_the_code_is_the_wheels(home, tmp_path):
    program = (
        "import befl.rules, befl.client, befl.network, torch; from befl.shim.digest import code_digest\n"
        "print(befl.rules.__file__, torch.__file__, code_digest())"
    )
    *places, digest = run(home / "bin/python", "-c", program, cwd=tmp_path).split()
    assert all(Path(place).is_relative_to(home) for place in places)
    assert digest == code_digest(), "peers would not agree"


def test_simulate(home, tmp_path):
    befl = home / "bin/befl"
    run(befl, "init", "first", cwd=tmp_path)
    assert "model in run/model" in run(befl, "simulate", "first/TASK.toml", "--output", "run", cwd=tmp_path)
    assert "predicted" in run(befl, "predict", "run/model", "first/data/north.csv", "--app", "first/app", cwd=tmp_path)


def test_the_demo(home, unpacked, tmp_path):
    said = run(home / "bin/python", unpacked / "examples/heart/demo.py", "--folder", tmp_path / "demo", cwd=tmp_path)
    assert "4 institutions, 16 processes" in said
    assert "Budapest found all" in said
    assert said.splitlines()[-1] == "verdict: PASS"
    assert (tmp_path / "demo/model/card.md").is_file()
