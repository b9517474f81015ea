"""What the ledger costs: a real torch job of three institutions on a real network, and the same loop without one."""

from __future__ import annotations

import math
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
from consortium import agents, configure
from numpy.typing import NDArray

from befl import client
from befl.agent.config import load
from befl.agent.participant import AppParticipant
from befl.gateway import wait
from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.view import TaskView

ORGS = ("org1", "org2", "org3")
LEAST_S = 5.0
"""What is promised holds for jobs that train for so long a round: with shorter ones the ledger weighs more."""
ROUNDS = 4
EPOCHS = 45
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
epochs = {EPOCHS}
learning_rate = 0.01
[data]
alias = "rows"
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


def folders(network: Path) -> dict[str, Path]:
    """Write each institution's rows and its agent's configuration; the operator approves the app."""
    chance, made = np.random.default_rng(0), {}
    for org in ORGS:
        home = network / org / "agent"
        home.mkdir(exist_ok=True)
        x = chance.random((ROWS, 1, 28, 28)).astype(np.float32)
        np.savez(home / "images.npz", x=x, y=chance.integers(0, 10, ROWS))
        made[org] = configure(network, org, "image", "images.npz")
    return made


def with_ledger(network: Path, toml: Path) -> tuple[TaskView, NDArray[np.int64], list[float]]:
    """Let the agents do a task; return its end, its initial model and the seconds of each round.

    Of each but the first, in which the children import torch.
    """
    with client.connect(network=network, identity="org1/issuer") as issuer:
        task = issuer.tasks.publish(toml).task
        wait.until(lambda: issuer.tasks.get(task).state == "finished", timeout=600, interval=0.5, what="the task's end")
        view = issuer.tasks.get(task)
        opened = [each.opened_ms for each in issuer.tasks.rounds(task)] + [view.record["finished_ms"]]
        initial = codec.read_model(issuer.ledger.model_bytes(task, 0, view.record["model"]), view.record["length"])
    return view, initial, [(after - before) / 1_000 for before, after in pairwise(opened[1:])]


def without(view: TaskView, initial: NDArray[np.int64], configs: dict[str, Path]) -> list[float]:
    """Do the same in one process: train, aggregate and evaluate, all institutions at once, with their own children.

    The model that comes out must be the ledger's, bit for bit: so it was the same work.
    """
    rule, seconds = RULES[view.record["rules"]["aggregation"]], []
    with ExitStack() as stack, ThreadPoolExecutor(len(ORGS)) as pool:
        parts = [
            stack.enter_context(AppParticipant(load(config), f"{org.title()}MSP", view))
            for org, config in configs.items()
        ]
        model = initial
        state = rule.start(len(model), view.spec.aggregation)
        for number in range(1, ROUNDS + 1):
            began, start = time.monotonic(), model
            made = list(pool.map(lambda part, start=start, number=number: part.train(view, start, number, None), parts))
            aggregate = rule.aggregate([(update, weight) for weight, update in made], len(model))
            weight, share = sum(weight for weight, _ in made), (len(made), len(parts))
            moved, state = rule.step(aggregate, weight, state, share, view.spec.aggregation)
            model = model + moved
            list(pool.map(lambda part, after=model: part.evaluate(view, after), parts))
            digest = codec.digest(codec.model_bytes(model))
            seconds.append(time.monotonic() - began)
    assert view.round is not None
    if digest != view.round.record["model"]:
        raise BeflError("BEFL-M-007", "the loop without the ledger came to another model than the task on the ledger")
    return seconds[1:]


def measure(network: Path, pairs: int) -> dict[str, list[float]]:
    """Return the seconds of rounds in the order with, without, without, with: what drifts hits both."""
    configs = folders(network)
    toml = network / "TASK.toml"
    toml.write_text(TASK)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for pair in range(pairs):
        with agents(configs.values()):
            view, initial, seconds = with_ledger(network, toml)
        found["with"] += seconds
        if pair == 0:
            found["without"] = [second for _ in range(pairs) for second in without(view, initial, configs)]
    return found


def ratio(found: dict[str, list[float]]) -> float:
    """Return the median with over the median without; refuse when that is shorter than what the bar is about."""
    plain = statistics.median(found["without"])
    if plain < LEAST_S:
        sys.exit(
            f"ledger_tax: a round without the ledger took {plain:.2f} s, the bar is for {LEAST_S:g} s and more: this "
            f"machine needs EPOCHS = {math.ceil(1.1 * EPOCHS * LEAST_S / plain)} in benchmarks/ledger_tax.py"
        )
    return statistics.median(found["with"]) / plain
