"""Whole rounds without training on a real network: agents as they are, and participants that have their updates ready.

What a participant does is not left out: it packs its update (fixed point, 16 bits a value, rounded by the seeded draw),
its agent keeps it on disk and submits it, follows the chain of models by reading all updates from its own peer, and
reports. All agents are threads of this process; each has a connection and an identity of its own.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from consortium import TASK, configure, names
from numpy.typing import NDArray

import befl.network
from befl import client
from befl.agent.config import load
from befl.agent.daemon import Agent
from befl.agent.ledger import Committed, Ledger
from befl.agent.participant import app_of
from befl.gateway import Contract, Profile, connect, wait
from befl.rules import codec
from befl.rules import spec as specs
from befl.rules.layout import Tensor
from befl.rules.metrics.binary import BINS, Counts
from befl.rules.seeds import rounding_seed
from befl.rules.view import TaskView

#: What follows what in a round; each lasts from the end of the one before to the end of all institutions' own.
STEPS = ("pack", "submit", "close", "follow", "report", "open")


class Ready:
    """A participant that has trained already."""

    def __init__(self, msp_id: str, change: NDArray[np.float64]) -> None:
        self._msp_id = msp_id
        self._change = change

    def statistics(self, view: TaskView) -> dict[str, Any]:  # noqa: ARG002  # the task asks for none
        return {}

    def train(
        self,
        view: TaskView,
        model: NDArray[np.int64],  # noqa: ARG002  # it has its change already
        number: int,
        correction: NDArray[np.float32] | None,  # noqa: ARG002  # see above
    ) -> tuple[int, NDArray[np.int32]]:
        rule = view.spec.aggregation
        seed = rounding_seed(view.id, number, self._msp_id)
        return 1, codec.encode(self._change, rule.scale_bits, rule.clip, rule.bits, seed)

    def evaluate(self, view: TaskView, model: NDArray[np.int64]) -> Counts:  # noqa: ARG002  # it has no rows
        return Counts(0, 0, 0, (0,) * BINS, (0,) * BINS)

    def interrupt(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


class Noting:
    """Submits for one institution and notes when each transaction began and was committed, by its name and round."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.spans: dict[tuple[str, int], tuple[float, float]] = {}

    def evaluate(self, function: str, *args: str) -> bytes:
        return self._contract.evaluate(function, *args)

    def submit(self, function: str, *args: str, transient: Mapping[str, bytes] | None = None) -> Committed:
        began = time.monotonic()
        committed = self._contract.submit(function, *args, transient=transient)
        number = json.loads(committed.result).get("round", 0)
        self.spans[function.partition(":")[2], number] = (began, time.monotonic())
        return committed


@dataclass(frozen=True)
class Rounds:
    """What a task took.

    Parameters
    ----------
    task : str
        Its id.
    split : dict
        The seconds of each round, by step; the steps of a round, from the commit that opens it to the one that opens
        the next, add up to it.
    processor : list of float
        Processor seconds a round of each institution's peer, orderer, CA and chaincode server, and of its agent (all
        agents are in this process: an equal part each). Publishing and applying count too.
    """

    task: str
    split: dict[str, list[float]]
    processor: list[float]


def measure(folder: Path, parameters: int, institutions: int, rounds: int) -> Rounds:
    """Let the agents of a network do a task."""
    with ExitStack() as stack:
        stopped = threading.Event()
        found = [
            stack.enter_context(_agent(folder, org, parameters, seed, stopped))
            for seed, org in enumerate(names(institutions))
        ]
        issuer = stack.enter_context(client.connect(network=folder, identity="org1/issuer"))
        text = TASK.format(name="benchmark", institutions=institutions, rounds=rounds + 1, bits=16)
        spec = specs.from_toml(text.encode())
        layout, model = (Tensor("weights", (parameters,)),), codec.model_bytes(np.zeros(parameters, np.int64))
        idle = _processor(folder)
        task = issuer.ledger.publish(spec, app_of("tabular").digest, layout, model).value["task"]
        wait.until(
            lambda: issuer.tasks.get(task).state == "finished", timeout=600, interval=0.5, what="the end of the rounds"
        )
        used = [(end - start) / (rounds + 1) for start, end in zip(idle, _processor(folder), strict=True)]
    spans: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for each in found:
        for transaction, span in each.spans.items():
            spans.setdefault(transaction, []).append(span)
    split: dict[str, list[float]] = {step: [] for step in STEPS}
    for number in range(1, rounds + 1):
        ends = [
            max(ended for _, ended in spans["Open", number]),
            min(began for began, _ in spans["Submit", number]),
            max(ended for _, ended in spans["Submit", number]),
            max(ended for _, ended in spans["Close", number]),
            min(began for began, _ in spans["Report", number]),
            max(ended for _, ended in spans["Report", number]),
            max(ended for _, ended in spans["Open", number + 1]),
        ]
        for step, before, after in zip(STEPS, ends[:-1], ends[1:], strict=True):
            split[step].append(after - before)
    return Rounds(task, split, used)


def _processor(folder: Path) -> list[float]:
    """Return the processor seconds that each institution has used up to now."""
    orgs = befl.network.status(folder).institutions
    ticks = os.sysconf("SC_CLK_TCK")
    of_processes = []
    for org in orgs:
        # proc(5): behind the name in brackets, utime and stime are the 12th and 13th fields
        stats = [Path(f"/proc/{each.pid}/stat").read_text().rpartition(")")[2].split() for each in org.processes]
        of_processes.append(sum(int(stat[11]) + int(stat[12]) for stat in stats) / ticks)
    return [seconds + time.process_time() / len(orgs) for seconds in of_processes]


@contextmanager
def _agent(folder: Path, org: str, parameters: int, seed: int, stopped: threading.Event) -> Iterator[Noting]:
    """Run an institution's agent in a thread, woken by events as :mod:`befl.agent.start` does it."""
    (folder / org / "agent").mkdir()
    config = load(configure(folder, org, "tabular", "rows.csv"))
    profile = Profile.load(config.profile)
    change = np.random.default_rng(seed).normal(0, 0.1, parameters)
    with connect(profile, config.user_dir) as gateway:
        chain = gateway.network(config.network.channel)
        noting = Noting(chain.contract(config.network.chaincode))
        agent = Agent(config, profile.msp_id, Ledger(noting), lambda *_: Ready(profile.msp_id, change), stopped)
        events = chain.chaincode_events(config.network.chaincode)
        threads = [
            threading.Thread(target=agent.run, name=org),
            threading.Thread(target=agent.follow, args=((event.payload for event in events),), name=f"{org} events"),
        ]
        for thread in threads:
            thread.start()
        try:
            yield noting
        finally:
            stopped.set()
            agent.stop()
            events.close()
            for thread in threads:
                thread.join()
