"""The tutorial, command by command, in one shell, as a reader types it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import befl.network
from befl.network import commands

PAGE = Path(__file__).parents[2] / "docs/tutorials/your-consortium.md"
SAID = (
    r"made readmission",
    r"2 institutions, 10 rounds",
    r"# Who is readmitted\?",
    r"a simulation made them: this model stands on no ledger",
    r"^rows +accuracy +AUC +loss\n\d+ +0\.\d+",
    r"^fits\n",
    r"^not read: smoker\n\nfits\n",
    r"^smoker +category +400 +0 +no: 200, yes: 200\n(.*\n)+?\nfits\n",
    r"^  smoker: BEFL-C-105: the file has no such column",
    r"does not fit",
    r"^exit status 1\n",
    r"^fits\n",
    r"2 institutions, 10 rounds",
    r"ready",
    r"published task [0-9a-f]{16}",
    r"def module\(settings",
    r"waits for updates of Org1MSP, Org2MSP until",
    r"finish +round 10/10",
    r"round 10: accuracy 0\.\d+, AUC 0\.\d+, loss 0\.\d+",
    r"the ledger registered this folder",
    r"state +finished",
    r"^stopped",
)
"""What the commands print, in this order."""


def test_the_tutorial(tmp_path):
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program = tmp_path / "bin" / "befl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m befl.cli.main "$@"\n')
    program.chmod(0o700)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BEFL_") or "TEST" in name}
    kept = {name: os.environ[name] for name in ("BEFL_CACHE", "BEFL_FABRIC_BIN") if name in os.environ}
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=tmp_path,
            env={**plain, **kept, **commands.python_environment(), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
    finally:
        if (tmp_path / "readmission/network/network.toml").exists():
            befl.network.down(tmp_path / "readmission/network")
    assert done.returncode == 0, done.stdout
    place = 0
    for each in SAID:
        found = re.compile(each, re.MULTILINE).search(done.stdout, place)
        assert found, f"{each} after\n{done.stdout[place:]}"
        place = found.end()
    assert len((tmp_path / "readmission/predictions.csv").read_text().splitlines()) == 401
