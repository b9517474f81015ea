"""Approved apps that fail in every way they can, in the real training process: the agent says it and goes on.

All of them are tasks of one agent at once. Beside it a second institution trains as it should, by arithmetic.
"""

from __future__ import annotations

import dataclasses
import logging
import textwrap
import threading
from collections import defaultdict
from typing import NamedTuple

import pytest

from befl.agent import Agent, Ledger
from befl.agent.config import TrainingTable
from befl.agent.participant import AppParticipant
from befl.agent.status import read
from befl.agent.store import Store
from befl.gateway.wait import until
from befl.rules import codec
from befl.training import AppCode

from .memory import LAYOUT, Consortium, Institution, config, initial, spec_of, working

GOOD = """\
import os, pickle, time
import numpy as np

def init(settings, problem, seed): return {}
def train(model, x, y, settings, problem, seed): return {name: array + 0.125 for name, array in model.items()}
def predict(model, x, settings, problem): return np.full((len(x), 2), 0.5, np.float32)
"""


class Bad(NamedTuple):
    """What an app does in place of training, and the code that it gets."""

    code: str
    train: str
    training: TrainingTable = TrainingTable()
    quorum: int = 1


HANGS = TrainingTable(timeout=2)
LITTLE = TrainingTable(memory=300)
BAD = {
    "raises": Bad("BEFL-M-102", "raise ZeroDivisionError('a mistake')"),
    "raises_and_is_needed": Bad("BEFL-M-102", "raise ZeroDivisionError('also a mistake')", quorum=2),
    "exits": Bad("BEFL-M-102", "raise SystemExit(0)"),
    "dies": Bad("BEFL-M-105", "os._exit(3)"),
    "hangs": Bad("BEFL-M-104", "time.sleep(3600)", HANGS),
    "not_finite": Bad("BEFL-M-107", "return {name: array * np.nan for name, array in model.items()}"),
    "other_shapes": Bad("BEFL-M-103", "return {name: array.reshape(-1) for name, array in model.items()}"),
    "other_names": Bad("BEFL-M-103", "return {name + '0': array for name, array in model.items()}"),
    "an_object": Bad("BEFL-M-103", "return Reduced()"),
    "a_pickle": Bad("BEFL-M-103", "return pickle.dumps(Reduced())"),
    "objects_in_arrays": Bad("BEFL-M-103", "return {name: np.array([Reduced()]) for name in model}"),
    "eats_memory": Bad("BEFL-M-102", "held = []\nwhile True: held.append(np.ones(2**20))", LITTLE),
}

REDUCED = """
class Reduced:
    def __reduce__(self): return exec, ("open({marker!r}, 'w')",)
"""


class Outcome(NamedTuple):
    """What came of it: the log's words by task, the status' code, the rounds."""

    tasks: dict[str, str]
    said: dict[str, list[str]]
    codes: dict[str, str]
    rounds: dict[str, list[dict]]
    states: dict[str, str]
    models: set[str]
    marked: bool


def app_of(train: str, marker: str = "") -> AppCode:
    reduced = REDUCED.format(marker=marker)
    source = f"{GOOD}{reduced}\ndef train(model, x, y, settings, problem, seed):\n{textwrap.indent(train, ' ')}\n"
    return AppCode.of("tabular", source.encode())


class Said(logging.Handler):
    """Keeps what the agent logs, by task."""

    def __init__(self) -> None:
        super().__init__()
        self.by_task: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        self.by_task[getattr(record, "task", "")].append(record.getMessage())


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Let an agent work on all bad apps' tasks, and on a good one's when each bad one was refused."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "heart.csv").write_text("age,disease\n" + "".join(f"{row % 40},{row % 2}\n" for row in range(40)))
    chosen = dataclasses.replace(config(folder / "state"), folder=folder)
    consortium, marker = Consortium(), folder / "marker"
    apps = {name: app_of(each.train, str(marker)) for name, each in BAD.items()} | {
        "good": AppCode.of("tabular", GOOD.encode())
    }
    other = Institution(consortium, "Org2MSP", folder / "other")
    for app in apps.values():
        Store(folder / "state").approve(app.digest, {"name": "tabular"}, app.archive)
        other.store.approve(app.digest, {"name": "tabular"})
    ledger, stopped, said = consortium.ledger("Org2MSP"), threading.Event(), Said()

    def participant(agent, msp_id, view):
        [name] = [name for name, app in apps.items() if app.digest == view.record["app"]["digest"]]
        training = BAD[name].training if name in BAD else TrainingTable()
        return AppParticipant(dataclasses.replace(agent, training=training), msp_id, view, ledger)

    def publish(name, **wanted):
        spec = spec_of(least=2, most=2, **{"count": 2, "deadline": "3s"} | wanted)
        issuer = consortium.ledger("IssuerMSP", "issuer")
        return issuer.publish(spec, apps[name].digest, LAYOUT, codec.model_bytes(initial())).value["task"]

    def code(name):
        errors = {each.task: each.error for each in read(folder / "state").tasks}
        error = errors.get(tasks[name])
        codes[name] = error.code if error else codes.get(name, "")
        return codes[name]

    codes: dict[str, str] = {}
    log = logging.getLogger("befl.agent")
    log.addHandler(said)
    agent = Agent(chosen, "Org1MSP", Ledger(consortium.caller("Org1MSP")), participant, stopped)
    running = threading.Thread(target=agent.run, daemon=True)
    try:
        tasks = {name: publish(name, quorum=each.quorum) for name, each in BAD.items()}
        workers = [other.worker(task) for task in tasks.values()]
        with consortium.events() as events, working(consortium, workers):
            running.start()
            follower = threading.Thread(target=agent.follow, args=((event.payload for event in events),), daemon=True)
            follower.start()
            until(lambda: min(code(name) for name in BAD), timeout=60, what=f"each refusal: {codes}")
            tasks["good"] = publish("good", deadline="60s")
            workers.append(other.worker(tasks["good"]))
            workers[-1].start()
            ended = [tasks["good"], *(tasks[name] for name, each in BAD.items() if each.quorum == 1)]
            until(
                lambda: all(ledger.view(task).state == "finished" for task in ended), timeout=60, what="the tasks' end"
            )
            needed = tasks["raises_and_is_needed"]
            until(
                lambda: any(each["state"] == "void" for each in ledger.rounds(needed)), timeout=60, what="a void round"
            )
            consortium.ledger("IssuerMSP", "issuer").cancel(needed, "the app is bad")
            manifest = folder / "state" / "models" / tasks["good"] / "manifest.json"
            until(manifest.is_file, timeout=20, what="the model folder")
            assert running.is_alive()
            stopped.set()
            agent.stop()
            running.join(20)
        follower.join(20)
        assert not running.is_alive()
        assert not follower.is_alive()
        yield Outcome(
            tasks,
            said.by_task,
            codes,
            {name: list(ledger.rounds(task)) for name, task in tasks.items()},
            {name: ledger.view(task).state for name, task in tasks.items()},
            {path.name for path in (folder / "state" / "models").iterdir()},
            marker.exists(),
        )
    finally:
        log.removeHandler(said)
        stopped.set()
        agent.stop()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_app_is_said_and_the_round_goes_on(outcome, name):
    """Once in the log for each round, with its code; the other institution's update is the round, or there is none."""
    bad, task = BAD[name], outcome.tasks[name]
    assert outcome.codes[name] == bad.code
    refusals = [text for text in outcome.said[task] if "BEFL-" in text]
    assert refusals
    assert all(text.startswith(f"{bad.code}: ") for text in refusals)
    assert not any("a mistake in befl" in text for text in outcome.said[task])
    if bad.quorum == 1:
        assert outcome.states[name] == "finished"
        assert [(each["state"], list(each["updates"])) for each in outcome.rounds[name]] == [
            ("evaluated", ["Org2MSP"]),
            ("evaluated", ["Org2MSP"]),
        ]
    else:
        assert outcome.states[name] == "cancelled"
        assert outcome.rounds[name][0]["state"] == "void"


def test_a_good_task_of_the_same_agent_ends(outcome):
    rounds = outcome.rounds["good"]
    assert outcome.states["good"] == "finished"
    assert [(each["state"], list(each["updates"])) for each in rounds] == [("evaluated", ["Org1MSP", "Org2MSP"])] * 2
    assert outcome.tasks["good"] in outcome.models
    assert not [text for text in outcome.said[outcome.tasks["good"]] if "BEFL-" in text]


def test_what_an_app_returns_is_never_unpickled(outcome):
    assert not outcome.marked
