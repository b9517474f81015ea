"""Throw-away networks, and agents on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import befl.network
from befl import client

TASK = """\
befl = 1
name = "{name}"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "rows"
label = "y"
classes = ["no", "yes"]
[data.columns]
x = "number"
[participants]
least = {institutions}
most = {institutions}
[rounds]
count = {rounds}
[aggregation]
rule = "fedavg"
bits = {bits}
[privacy]
scheme = "none"
"""
AGENT = """\
befl = 1
[network]
profile = "{home}/connection.json"
[identity]
msp_dir = "{home}/users/agent/msp"
[data.rows]
path = "{data}"
[policy]
apply = "always"
schemes = ["none"]
"""


@contextmanager
def network(institutions: int) -> Iterator[Path]:
    """Run a throw-away network; it ends with this process, however that ends."""
    folder = Path(tempfile.mkdtemp(prefix="befl-bench-"))
    try:
        befl.network.up(folder / "network", befl.network.make(names(institutions)), owner=os.getpid())
        yield folder / "network"
    finally:
        if (folder / "network" / "network.toml").exists():
            befl.network.down(folder / "network")
        shutil.rmtree(folder, ignore_errors=True)


def names(institutions: int) -> tuple[str, ...]:
    """Return the short names of so many institutions."""
    return tuple(f"org{number}" for number in range(1, institutions + 1))


def configure(folder: Path, org: str, app: str, data: str) -> Path:
    """Write the configuration of an institution's agent and let its operator approve an app; return the file.

    ``data`` is a file in the folder ``agent`` of the institution, which is there.
    """
    config = folder / org / "agent" / "AGENT.toml"
    config.write_text(AGENT.format(home=folder / org, data=data))
    client.approve_app(app, config)
    return config


@contextmanager
def agents(configs: Iterable[Path]) -> Iterator[list[int]]:
    """Run agents, each a process of its own, and yield their process ids."""
    with ExitStack() as stack:
        pids = []
        for config in configs:
            log = stack.enter_context((config.parent / "agent.log").open("ab"))
            command = [sys.executable, "-m", "befl.cli.main", "agent", "run", "--config", str(config)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            pids.append(process.pid)
        yield pids
