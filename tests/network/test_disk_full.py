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

from befl.client import connect
from befl.gateway import wait

from .conftest import Consortium
from .hospitals import BEFL, Hospital, task_toml, undisturbed
from .sides import plain_environment

UP = "import sys, befl.network; befl.network.up(sys.argv[1], befl.network.make(['alone']), owner=int(sys.argv[2]))"


class Disk:
    """A file system of its own, in a mount namespace that ends with this process, whatever happens to it."""

    def __init__(self, folder: Path, holder: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.seen = Path(f"/proc/{holder.pid}/root{folder}")
        """The folder, for those outside."""
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

    def start(self, log: Path, *argv: str) -> subprocess.Popen[bytes]:
        """Start a process that sees the file system."""
        with log.open("ab") as file:
            return subprocess.Popen(
                [*self._inside, *argv], env=plain_environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def resize(self, size: str) -> bool:
        """Make it so large; False when more than that is on it."""
        return self.run("mount", "-o", f"remount,size={size}", str(self.folder)).returncode == 0

    def fill(self) -> None:
        """Leave no room; by taking it away, so that no memory is used up. Again, when one wrote in between."""
        used = ("df", "--output=used", "--block-size=1K", str(self.folder))
        wait.until(lambda: self.resize(f"{self.run(*used).stdout.split()[-1]}k"), timeout=30, what="a full disk")

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
def test_a_full_disk(disk, tmp_path):
    """In the middle of a round; the agent's state and log are there too, and the model is the undisturbed one."""
    network = disk.folder / "network"
    up = disk.run(sys.executable, "-c", UP, str(network), str(os.getpid()))
    assert up.returncode == 0, up.stdout
    consortium = Consortium(disk.seen / "network", ("alone",), ("AloneMSP",))
    agent = Hospital(consortium, "alone", disk.seen, "hearts")
    config = str(disk.folder / "alone/AGENT.toml")
    try:
        assert disk.wrong() == {}
        assert disk.run(*BEFL, "app", "approve", "tabular", "--config", config, "--yes").returncode == 0
        agent.process = disk.start(agent.logged, *BEFL, "agent", "run", "--config", config)
        with connect(network=consortium.directory, identity="alone", name="issuer") as client:
            task = client.tasks.publish(task_toml(tmp_path, "hearts", steps=400, least=1, most=1, count=40)).task
            wait.until(lambda: (client.tasks.get(task).record["round"] or 0) >= 2, timeout=60, what="the second round")

            disk.fill()
            # the agent may be at its own file, and hand nothing to order
            roles = ("--roles", "issuer,trainer,validator")
            disk.run("timeout", "20", *BEFL, "member", "approve", "AloneMSP", *roles, "--network", str(network))

            def stopped() -> dict[str, list[str]]:
                """What was wrong at one moment, once the orderer was among it."""
                found = disk.wrong()
                return found if any(one.startswith("alone/orderer ") for one in found.get("processes", [])) else {}

            found = wait.until(stopped, timeout=90, interval=0.5, what="an orderer that stopped")
            assert found["disk"] == [f"disk full or nearly: 0.0 GB free at {network}"]
            assert "supervisor" not in found, "it starts them again when there is room"
            assert agent.process.poll() is None

            assert disk.resize("8g")
            wait.until(lambda: disk.wrong() == {}, timeout=90, interval=0.5, what="all running again")
            assert client.tasks.get(task).state == "running", "the disk was full in the middle"
            wait.until(lambda: client.tasks.get(task).state == "finished", timeout=180, interval=0.3, what="its end")
            assert client.ledger.model(task)["model"] == undisturbed(client, task, [agent])[0]
            assert agent.stop() == 0
    finally:
        if agent.process is not None:
            agent.process.kill()
            agent.process.wait()
        down = disk.run(*BEFL, "network", "down", "--network", str(network))
        assert down.returncode == 0, down.stdout
