"""Processes end and start in any order: a network mends itself, an agent waits for it, and nothing is left running."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import befl.network
from befl.gateway import wait

from .hospitals import AGENT, table

KINDS = ("ca", "orderer", "peer", "chaincode")


def pids(directory: Path) -> dict[str, int]:
    return {
        f"{one.name}/{process.name}": process.pid
        for one in befl.network.status(directory).institutions
        for process in one.processes
    }


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("order") / "network"
    befl.network.up(directory, befl.network.make(["alone"]), owner=os.getpid())
    yield directory
    befl.network.down(directory)


@pytest.mark.parametrize("order", [KINDS, KINDS[::-1], ("peer", "ca", "chaincode", "orderer")])
def test_processes_that_are_ended_in_any_order_come_back(network, order):
    before = pids(network)
    for kind in order:
        os.kill(before[f"alone/{kind}"], signal.SIGTERM)
    wait.until(
        lambda: all(pids(network).get(name) not in (0, pid) for name, pid in before.items()),
        timeout=60,
        interval=0.3,
        what="every process anew",
    )
    wait.until(lambda: befl.network.status(network).ready, timeout=60, interval=0.3, what="the network ready")
    wait.until(lambda: befl.network.status(network).led, timeout=60, interval=0.3, what="a leader")


def success(port: int) -> float:
    """When the agent last succeeded, as its metrics say."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:
        return 0
    finally:
        connection.close()
    found = re.search(r"^befl_agent_last_success_timestamp_seconds (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


def test_an_agent_outlives_the_network_and_ends_without_it(network, tmp_path):
    """Network down, agent stays; network up, agent goes on; network down again, agent ends at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    org = network / "alone"
    text = AGENT.format(profile=org / "connection.json", user=org / "users" / "agent", alias="hearts", apply="ask")
    (tmp_path / "AGENT.toml").write_text(f'{text}[metrics]\nlisten = "127.0.0.1:{port}"\n')
    (tmp_path / "rows.csv").write_text(table(1))
    befl.network.down(network)
    command = [sys.executable, "-m", "befl.cli.main", "agent", "run", "--log-format", "json", "--config"]
    with (tmp_path / "log").open("w") as log:
        agent = subprocess.Popen([*command, str(tmp_path / "AGENT.toml")], stdin=subprocess.DEVNULL, stderr=log)
    try:
        befl.network.up(network, owner=os.getpid())
        first = wait.until(lambda: success(port), timeout=40, interval=0.3, what="an agent that was there first")
        befl.network.down(network)
        befl.network.up(network, owner=os.getpid())
        wait.until(lambda: success(port) > first, timeout=40, interval=0.3, what="the agent at work again")
        befl.network.down(network)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0
    finally:
        agent.kill()
        agent.wait()
    said = (tmp_path / "log").read_text()
    assert '"message": "agent of AloneMSP has stopped"' in said
    assert "Traceback" not in said
    # what an institution's shell would see: no process works in the folder any more
    assert [path for path in Path("/proc").glob("[0-9]*") if uses(path, network)] == []


def uses(process: Path, directory: Path) -> bool:
    try:
        command, folder = (process / "cmdline").read_bytes(), str((process / "cwd").readlink())
    except OSError:
        return False
    return os.fsencode(directory) in command or str(directory) in folder
