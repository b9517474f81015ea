"""The life of a network of one institution: down, up again, a taken port, a supervisor that is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import befl.network
from befl.gateway import wait
from befl.network import commands, fabric, files, supervisor, topology
from befl.network.layout import Layout
from befl.rules import version
from befl.rules.errors import BeflError


def alive(directory: Path) -> list[str]:
    """Every process that works in the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command, folder = (place / "cmdline").read_bytes(), str((place / "cwd").readlink())
            if os.fsencode(directory) in command or str(directory) in folder:
                found.append(place.name)
        except OSError:
            continue
    return found


def committed(directory: Path) -> dict[str, Any]:
    alone = topology.parse((directory / "network.toml").read_bytes(), "network.toml").institution("alone")
    programs = fabric.locate()
    environment = files.cli_environment(alone, Layout(directory).home("alone"), programs.config)
    query = ["lifecycle", "chaincode", "querycommitted", "--channelID=befl", "--name=befl", "--output=json"]
    answer: dict[str, Any] = json.loads(
        commands.run([programs.command("peer"), *query], env=environment, what="asking for the definition")
    )
    return answer


def test_a_network_of_one_lives_and_resumes(tmp_path, monkeypatch):
    directory = tmp_path / "network"
    first = befl.network.up(directory, befl.network.make(["alone"]), owner=os.getpid())
    assert first.ready
    assert len(alive(directory)) == 5
    certificate = (directory / "alone/peer/msp/signcerts/cert.pem").read_bytes()

    assert befl.network.down(directory) is True
    assert alive(directory) == []
    assert befl.network.down(directory) is False

    port = topology.parse((directory / "network.toml").read_bytes(), "x").institution("alone").port("peer")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        with pytest.raises(BeflError, match=rf"BEFL-N-006: institutions\.alone\.ports\.peer: port {port} .* is taken"):
            befl.network.up(directory)
    assert alive(directory) == []

    again = befl.network.up(directory, owner=os.getpid())
    assert again.ready
    assert again.institutions[0].height >= first.institutions[0].height > 1
    assert (directory / "alone/peer/msp/signcerts/cert.pem").read_bytes() == certificate

    # other code, another package: up is also how it is upgraded
    monkeypatch.setattr(version, "__version__", "0.1.1")
    assert befl.network.up(directory).ready
    alone = topology.parse((directory / "network.toml").read_bytes(), "x").institution("alone")
    server = (directory / f"alone/chaincode/server-{alone.port('chaincode')}.json").read_text()
    assert '"befl_0.1.1-' in server  # it came beside the old one, at the other port, and has its place now
    assert sorted(path.stem for path in (directory / "alone/services").iterdir()) == [
        "ca",
        "chaincode",
        "orderer",
        "peer",
    ]
    assert committed(directory)["version"].startswith("0.1.1-")
    assert committed(directory)["sequence"] == 2

    os.kill(again.supervisor_pid, signal.SIGKILL)
    wait.until(lambda: not alive(directory), timeout=10, what="the end of all processes")
    assert supervisor.running(directory) == 0
    assert befl.network.status(directory).running is False

    assert befl.network.up(directory, owner=os.getpid()).ready
    befl.network.down(directory, purge=True)
    assert alive(directory) == []
    assert not directory.exists()
