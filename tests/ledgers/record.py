"""How the recorded ledgers beside this file were made: ``python tests/ledgers/record.py NAME``, once a release.

A network of three institutions is made, plays through what befl can do, is recorded and thrown away with all its
keys. Two files come out: NAME.gz, the blocks with their private data, and NAME.json, what is known of it beside.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import befl.network
from befl import client
from befl.agent.ledger import Ledger
from befl.agent.worker import RACES
from befl.gateway import wait
from befl.rules import chain, codec
from befl.rules import spec as specs
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.metrics.binary import BINS, Counts
from befl.rules.version import __version__

ORGS = ("org1", "org2", "org3")
LENGTH = 24
APP = codec.digest(b"an app")
TASK = """
befl = 1
name = "{name}"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "none"
label = "y"
[data.columns]
x = {column}
[participants]
least = 2
most = 3
[rounds]
count = {count}
deadline = "{deadline}"
quorum = 2
[aggregation]
rule = "{rule}"
bits = {bits}
[privacy]
scheme = "none"
"""
NUMBER = '"number"'
POOLED = '{ type = "number", statistics = "pooled" }'


def race(act: Callable[[], Any]) -> Any:
    """Do something that another may do first."""
    try:
        return act()
    except BeflError as error:
        if error.code not in {*RACES, "BEFL-T-007"}:  # no such task: the block is not there yet
            raise
        return None


def persist(act: Callable[[], Any]) -> Any:
    """Do something as soon as every endorser has the block before it."""
    return wait.until(lambda: race(act), timeout=60, interval=0.05, what="the transaction")


class Player:
    """Plays tasks through as agents would, without training: updates are drawn."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        def connect(identity: str) -> client.Client:
            return stack.enter_context(client.connect(network=folder, identity=identity))

        self.clients = [connect(org) for org in ORGS]
        self.ledgers = [each.ledger for each in self.clients]
        self.issuer, self.operator = connect("org1/issuer").ledger, connect("org2/admin").ledger
        self.pool = stack.enter_context(ThreadPoolExecutor(len(ORGS)))
        self.random = np.random.default_rng(1)

    def task(self, text: str, *, length: int = LENGTH, void: bool = False, leaves: bool = False) -> str:
        """Play one task from its publication to its final model; return its id."""
        spec = specs.from_toml(text.encode())
        model = np.arange(length, dtype=np.int64) * 100
        layout = (Tensor("weights", (length - 1,)), Tensor("bias", (1,)))
        task: str = self.issuer.publish(spec, APP, layout, codec.model_bytes(model)).value["task"]
        view = self.issuer.view(task)
        sums = {name: {"values": 40, "total": 40 * 10**6, "squares": 50 * 10**12} for name in spec.data.pooled}
        self.each(lambda ledger: ledger.apply(task, APP, sums))
        link, members = chain.start(view, model), list(range(len(ORGS)))
        for number in range(1, spec.rounds.count + void + 1):
            self.open(task, members)
            if leaves and number == 2:
                persist(lambda: self.ledgers[2].leave_task(task, "no staff this month"))
            delivering = [] if void and number == 1 else members
            updates = self.submit(task, number, length, delivering, spec)
            if not delivering:
                deadline = self.issuer.round(task, number)["round"]["deadline_ms"]
                persist(lambda n=number: self.ledgers[0].close(task, n))
                assert self.issuer.round(task, number)["round"]["closed_ms"] > deadline
            else:
                persist(lambda n=number: self.ledgers[n % 2].close(task, n))
            record = self.issuer.round(task, number)["round"]
            link = chain.follow(view, record, link, updates.__getitem__)
            if record["state"] == "closed":
                digest = codec.digest(codec.model_bytes(link.model))
                counts = Counts(4, 3, 4 * (900_000 - 50_000 * number), (2, *(0,) * (BINS - 1)), (*(0,) * (BINS - 1), 2))
                self.each(lambda ledger, n=number, d=digest, c=counts: ledger.report(task, n, d, c), members)
            if leaves and number == 2:
                members = members[:2]
        persist(lambda: self.ledgers[0].finish(task, codec.model_bytes(link.model)))
        return task

    def each(self, act: Callable[[Ledger], Any], members: list[int] | None = None) -> None:
        """Let institutions do something at the same time."""
        asked = [self.ledgers[place] for place in members or range(len(ORGS))]
        list(self.pool.map(lambda ledger: persist(lambda: act(ledger)), asked))

    def open(self, task: str, members: list[int]) -> None:
        """Open a round; all try at once, so that some transactions are in vain."""
        before = self.issuer.view(task).record["round"]

        def opened() -> bool:
            list(self.pool.map(lambda place: race(lambda: self.ledgers[place].open(task)), members))
            return all(ledger.view(task).record["round"] > before for ledger in self.ledgers)

        wait.until(opened, timeout=60, interval=0.05, what="the round open at every peer")

    def submit(self, task: str, number: int, length: int, members: list[int], spec: specs.TaskSpec) -> dict[str, bytes]:
        """Let members submit; return their updates by MSP ID."""
        made = {}
        for place in members:
            change = self.random.normal(0, 0.1, length)
            rule = spec.aggregation
            values = codec.encode(change, rule.scale_bits, rule.clip, rule.bits, f"{task}{number}{place}".encode())
            made[place] = codec.update_bytes(values, codec.bound(rule.scale_bits, rule.clip), rule.bits)
        list(
            self.pool.map(
                lambda place: persist(lambda: self.ledgers[place].submit(task, number, 40 + place, made[place])), made
            )
        )
        return {f"Org{place + 1}MSP": data for place, data in made.items()}


def play(player: Player) -> Iterator[tuple[str, str]]:
    """Play all that there is; yield what each task shows and its id."""
    archive = b"an app's archive, which nobody unpacks here"
    player.issuer.add_app("made-up", archive)
    persist(lambda: player.operator.approve_app(codec.digest(archive)))
    persist(lambda: player.operator.withdraw_app(codec.digest(archive)))
    plain = {"column": NUMBER, "count": 2, "deadline": "60s", "bits": 32}
    for rule in RULES.names():
        yield rule, player.task(TASK.format(**plain, name=rule, rule=rule))
    wide = plain | {"column": POOLED, "count": 3, "bits": 8}
    yield "leaves", player.task(TASK.format(**wide, name="one leaves", rule="fedavg"), leaves=True)
    yield "void", player.task(TASK.format(**plain | {"deadline": "5s"}, name="void", rule="fedavg"), void=True)


def record(folder: Path, name: Path) -> None:
    """Make a network in a folder, play, and write NAME.gz and NAME.json."""
    befl.network.up(folder, befl.network.make(ORGS), owner=os.getpid())
    try:
        with ExitStack() as stack:
            player = Player(folder, stack)
            tasks = dict(play(player))
            file = name.parent / f"{name.name}.gz"
            file.unlink(missing_ok=True)
            blocks = player.clients[0].audit.export(file)
            models = {task: player.issuer.model(task)["model"] for task in tasks.values()}
    finally:
        befl.network.down(folder)
    told = {"befl": __version__, "blocks": blocks, "models": models, "tasks": tasks}
    (name.parent / f"{name.name}.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        record(Path(place) / "network", Path(__file__).parent / sys.argv[1])
