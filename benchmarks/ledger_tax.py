"""What the ledger costs: a real torch job of three institutions on a real network, and the same loop without one."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from befl import client
from befl.agent.config import load
from befl.agent.participant import AppParticipant
from befl.gateway import wait
from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.view import TaskView

ORGS = ("org1", "org2", "org3")
PAIRS = 2
ROUNDS = 4
ROWS = 1_200
TASK = f"""\
befl = 1
name = "ledger tax"
mode = "horizontal"
[app]
name = "image"
[app.settings]
channels = 8
hidden = 32
batch = 32
epochs = 30
learning_rate = 0.01
[data]
alias = "images"
label = "y"
form = "array"
shape = [1, 28, 28]
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[participants]
least = 3
most = 3
[rounds]
count = {ROUNDS}
deadline = "10m"
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""
AGENT = """\
befl = 1
[network]
profile = "{home}/connection.json"
[identity]
msp_dir = "{home}/users/agent/msp"
[data.images]
path = "images.npz"
[policy]
apply = "always"
schemes = ["none"]
"""


def folders(network: Path) -> dict[str, Path]:
    """Write each institution's rows and its agent's configuration; the operator approves the app."""
    chance, made = np.random.default_rng(0), {}
    for org in ORGS:
        home = network / org / "agent"
        home.mkdir(exist_ok=True)
        x = chance.random((ROWS, 1, 28, 28)).astype(np.float32)
        np.savez(home / "images.npz", x=x, y=chance.integers(0, 10, ROWS))
        made[org] = home / "AGENT.toml"
        made[org].write_text(AGENT.format(home=network / org))
        client.approve_app("image", made[org])
    return made


@contextmanager
def agents(configs: dict[str, Path]) -> Iterator[None]:
    """Run each institution's agent as a process of its own."""
    with ExitStack() as stack:
        for config in configs.values():
            log = stack.enter_context((config.parent / "agent.log").open("ab"))
            command = [sys.executable, "-m", "befl.cli.main", "agent", "run", "--config", str(config)]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


def with_ledger(network: Path, toml: Path) -> tuple[TaskView, list[float]]:
    """Let the agents do a task; return its end and the seconds of each round but the first, which imports torch."""
    with client.connect(network=network, identity="org1/issuer") as issuer:
        task = issuer.tasks.publish(toml).task
        wait.until(lambda: issuer.tasks.get(task).state == "finished", timeout=600, interval=0.5, what="the task's end")
        view = issuer.tasks.get(task)
        opened = [each.opened_ms for each in issuer.tasks.rounds(task)] + [view.record["finished_ms"]]
    return view, [(after - before) / 1_000 for before, after in pairwise(opened[1:])]


def without(view: TaskView, configs: dict[str, Path]) -> list[float]:
    """Do the same in one process: train, aggregate and evaluate, all institutions at once, with their own children."""
    rule, seconds = RULES[view.record["rules"]["aggregation"]], []
    with ExitStack() as stack, ThreadPoolExecutor(len(ORGS)) as pool:
        parts = [
            stack.enter_context(AppParticipant(load(config), f"{org.title()}MSP", view))
            for org, config in configs.items()
        ]
        model = np.zeros(view.record["length"], np.int64)
        state = rule.start(len(model), view.spec.aggregation)
        for number in range(1, ROUNDS + 1):
            began, start = time.monotonic(), model
            made = list(pool.map(lambda part, start=start, number=number: part.train(view, start, number, None), parts))
            aggregate = rule.aggregate([(update, weight) for weight, update in made], len(model))
            weight, share = sum(weight for weight, _ in made), (len(made), len(parts))
            moved, state = rule.step(aggregate, weight, state, share, view.spec.aggregation)
            model = model + moved
            list(pool.map(lambda part, after=model: part.evaluate(view, after), parts))
            assert codec.model_bytes(model)
            seconds.append(time.monotonic() - began)
    return seconds[1:]


def measure(network: Path) -> dict[str, list[float]]:
    """Return the seconds of rounds with and without the ledger, taken in turns."""
    configs = folders(network)
    toml = network / "TASK.toml"
    toml.write_text(TASK)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(PAIRS):
        with agents(configs):
            view, seconds = with_ledger(network, toml)
        found["with"] += seconds
        found["without"] += without(view, configs)
    return found


def ratio(found: dict[str, list[float]]) -> float:
    """Return the median with over the median without."""
    return statistics.median(found["with"]) / statistics.median(found["without"])
