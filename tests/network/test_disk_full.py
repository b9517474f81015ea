"""A real disk that is full: peer and orderer stop, `befl doctor` says why, and with room again all goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from befl.gateway import wait

from .hospitals import BEFL
from .sides import plain_environment

UP = "import sys, befl.network; befl.network.up(sys.argv[1], befl.network.make(['alone']), owner=int(sys.argv[2]))"


class Disk:
    """A file system of its own, in a mount namespace that ends with this process, whatever happens to it."""

    def __init__(self, folder: Path, holder: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._inside = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command that sees the file system."""
        return subprocess.run(
            [*self._inside, *argv],
            env=plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def resize(self, size: str) -> None:
        done = self.run("mount", "-o", f"remount,size={size}", str(self.folder))
        assert done.returncode == 0, done.stdout

    def fill(self) -> None:
        """Leave no room; by taking it away, so that no memory is used up."""
        self.resize(f"{self.run('df', '--output=used', '--block-size=1K', str(self.folder)).stdout.split()[-1]}k")

    def wrong(self) -> dict[str, list[str]]:
        """What doctor calls wrong with the network there, by check."""
        said = self.run(*BEFL, "doctor", "--network", str(self.folder / "network"), "--format", "json").stdout
        found: dict[str, list[str]] = {}
        for one in json.loads(said):
            if one["area"] == "network" and one["state"] == "problem":
                found.setdefault(one["check"], []).append(one["found"])
        return found


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or None in map(shutil.which, ("unshare", "nsenter", "mount")):
        pytest.skip("file systems can be mounted by root only")
    script = 'mount -t tmpfs -o size=8g none "$0" && echo mounted && exec cat'
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("file systems may not be mounted here")
        try:
            yield Disk(folder, holder)
        finally:
            holder.stdin.close()


@pytest.mark.slow
def test_a_full_disk(disk):
    network = str(disk.folder / "network")
    up = disk.run(sys.executable, "-c", UP, network, str(os.getpid()))
    assert up.returncode == 0, up.stdout
    try:
        assert disk.wrong() == {}

        disk.fill()
        disk.run("timeout", "5", *BEFL, "member", "leave", "--network", network)  # something to write
        wait.until(lambda: "processes" in disk.wrong(), timeout=60, interval=0.5, what="a process that stopped")
        found = disk.wrong()
        assert found["disk"] == [f"disk full or nearly: 0.0 GB free at {network}"]
        assert found["processes"][0].startswith("alone/orderer ")
        assert "supervisor" not in found, "it starts them again when there is room"

        disk.resize("8g")
        wait.until(lambda: disk.wrong() == {}, timeout=90, interval=0.5, what="all running again")
        wait.until(  # what was under way when the disk became full is ordered now, and may be in the way once
            lambda: disk.run(*BEFL, "member", "leave", "--network", network).returncode == 0,
            timeout=30,
            interval=0.5,
            what="a transaction",
        )
    finally:
        down = disk.run(*BEFL, "network", "down", "--network", network)
        assert down.returncode == 0, down.stdout
