"""The agent: finds tasks, is woken by events, starts a worker a task, lives on, stops."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from contextlib import contextmanager

import pytest

from befl.agent import Agent, Ledger
from befl.agent.config import NetworkTable
from befl.agent.store import Store
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError

from .memory import APP, Participant, config, expected


class Running:
    """An agent in a thread, fed with events."""

    def __init__(self, consortium, msp_id, folder, endpoint="") -> None:
        self.caller = consortium.caller(msp_id)
        self.folder = folder
        self.stopped = threading.Event()
        Store(folder).approve(APP, {"name": "tabular"})
        self.kind = Participant
        self.made = []
        chosen = dataclasses.replace(config(folder), network=NetworkTable(profile="none", endpoint=endpoint))
        self.agent = Agent(chosen, msp_id, Ledger(self.caller), self.participant, self.stopped)
        self.error: BaseException | None = None
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=self._follow, args=(consortium,))]
        self._following = threading.Event()
        self._consortium = consortium

    def participant(self, configuration, msp_id, view):
        self.made.append((configuration, self.kind(msp_id)))
        return self.made[-1][1]

    def start(self):
        for thread in self._threads:
            thread.start()
        assert self._following.wait(5)

    def end(self):
        self.stopped.set()
        self._threads[0].join(10)
        self._consortium.end_events()
        self._threads[1].join(10)
        assert not any(thread.is_alive() for thread in self._threads)

    def _run(self):
        try:
            self.agent.run()
        except BeflError as error:
            self.error = error

    def _follow(self, consortium):
        with consortium.events() as events:
            self._following.set()
            self.agent.follow(event.payload for event in events)


@contextmanager
def running(consortium, tmp_path, *msp_ids):
    agents = [Running(consortium, msp_id, tmp_path / msp_id) for msp_id in msp_ids]
    for each in agents:
        each.start()
    try:
        yield agents
    finally:
        for each in agents:
            each.end()


def finished(consortium, *tasks):
    ledger = consortium.ledger("Org1MSP")
    until(
        lambda: all(ledger.view(task).state == "finished" for task in tasks), timeout=20, what="the tasks are finished"
    )


def test_three_agents_end_tasks_that_come_by_event_and_those_that_were_there(consortium, tmp_path):
    before = consortium.publish(least=3, most=3)
    with running(consortium, tmp_path, "Org1MSP", "Org2MSP", "Org3MSP") as agents:
        after = consortium.publish(least=3, most=3)
        finished(consortium, before, after)
        for each, task in itertools.product(agents, (before, after)):
            manifest = each.folder / "models" / task / "manifest.json"
            until(manifest.is_file, timeout=5, what=f"the model of {task}")
    for task in (before, after):
        record = consortium.ledger("Org1MSP").model(task)
        assert record["model"] == codec.digest(codec.model_bytes(expected(consortium, task)))
    assert all(participant.closed for each in agents for _, participant in each.made)


def test_a_model_that_was_finished_while_the_agent_was_away_is_kept(consortium, tmp_path):
    """Killed after Finish, before the folder was written: the next life writes it."""
    with running(consortium, tmp_path, "Org1MSP"):
        task = consortium.publish()
        finished(consortium, task)
        folder = tmp_path / "Org1MSP" / "models" / task
        until((folder / "manifest.json").is_file, timeout=5, what="the model")
    for path in folder.iterdir():
        path.unlink()
    with running(consortium, tmp_path, "Org1MSP") as [agent]:
        until((folder / "manifest.json").is_file, timeout=5, what="the model again")
        assert agent.made == []
    with running(consortium, tmp_path, "Org1MSP") as [agent]:  # it is there: nothing is fetched
        until(lambda: agent.caller.calls, timeout=5, what="a look")
    assert set(agent.caller.calls) - {"MemberContract:Get"} == {"TaskContract:List"}


def test_a_second_agent_is_refused_and_touches_nothing(consortium, tmp_path):
    with running(consortium, tmp_path, "Org1MSP") as [first]:
        until(lambda: first.caller.calls, timeout=5, what="the first at work, so with the lock")
        second = Running(consortium, "Org1MSP", tmp_path / "Org1MSP")
        second.start()
        until(lambda: second.error is not None, timeout=5, what="the refusal")
        assert second.error.code == "BEFL-C-008"
        task = consortium.publish()  # it follows events, but works on none
        finished(consortium, task)
        assert second.caller.calls == []
        second.end()


def test_a_peer_that_is_away_is_waited_for(consortium, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05)
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    away = [BeflError("BEFL-G-002", "connection refused"), RuntimeError("a mistake"), BeflError("BEFL-G-003", "late")]

    def before(function):
        if away and function == "TaskContract:List":
            raise away.pop(0)

    agent.caller.before = before
    task = consortium.publish()
    agent.start()
    finished(consortium, task)
    agent.end()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said[0] == "cannot read the tasks: BEFL-G-002: connection refused"
    assert "a mistake in befl; trying again" in said


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{}", b"[]", b"null"])
def test_an_event_that_says_nothing_is_passed_over(consortium, tmp_path, payload):
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    agent.agent.follow([payload])
    assert agent.caller.calls == []


def refusals(caplog) -> list[str]:
    return [record.task for record in caplog.records if record.getMessage().startswith("does not apply: ")]


@contextmanager
def at_work(agent):
    agent.start()
    try:
        yield
    finally:
        agent.end()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("task-")]


def test_tasks_that_the_policy_objects_to_cost_no_thread(consortium, tmp_path, caplog, monkeypatch):
    """Whoever may issue tasks may issue any number; each is refused with its reasons, once, and looked at again."""
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05)
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    (tmp_path / "state" / "approvals.json").unlink()
    before = [consortium.publish() for _ in range(20)]
    with at_work(agent):
        until(lambda: agent.caller.calls.count("TaskContract:List") > 5, timeout=20, what="some discoveries")
        after = [consortium.publish() for _ in range(20)]  # of which an event tells
        tasks = [*before, *after]
        until(lambda: set(refusals(caplog)) == set(tasks), timeout=20, what="a refusal of each")
        looked = agent.caller.calls.count("TaskContract:List")
        until(lambda: agent.caller.calls.count("TaskContract:List") > looked + 5, timeout=20, what="some discoveries")
        assert threads() == []
        assert len(refusals(caplog)) == len(tasks)
        assert agent.caller.calls.count("TaskContract:View") <= len(before) + 2 * len(after)  # by event, by discovery
        assert f"app tabular {APP[:16]} is not approved" in caplog.text
        assert agent.agent._held.keys() == set(tasks)

        consortium.ledger("IssuerMSP", "issuer").cancel(tasks[0], "enough")
        until(lambda: tasks[0] not in agent.agent._held, timeout=20, what="forgetting what is over")
        Store(tmp_path / "state").approve(APP, {"name": "tabular"})  # the operator's yes: at the next discovery
        finished(consortium, *tasks[1:])


@pytest.mark.parametrize("when", ["while the agent runs", "before it started"])
def test_what_the_operator_applied_for_by_hand_goes_on(consortium, tmp_path, caplog, monkeypatch, when):
    """A policy that objects to applying is not asked about opening: all may have applied by hand."""
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05 if when == "before it started" else 60.0)
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    (tmp_path / "state" / "approvals.json").unlink()
    task = consortium.publish()
    if when == "before it started":
        consortium.ledger("Org1MSP").apply(task, APP)
    with at_work(agent):
        if when == "while the agent runs":
            until(lambda: refusals(caplog) == [task], timeout=20, what="the refusal")
            done = consortium.caller("Org1MSP").submit("TaskContract:Apply", task, APP, "{}")
            assert done.block
        until(
            lambda: consortium.ledger("Org1MSP").view(task).state == "running", timeout=20, what="the task's beginning"
        )
        until(lambda: "does not submit: " in caplog.text, timeout=20, what="the policy's word")


def test_a_task_that_cannot_be_looked_at_has_a_worker_that_says_so(consortium, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05)
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    (tmp_path / "state" / "approvals.json").unlink()

    def before(function):
        if function == "TaskContract:View":
            raise BeflError("BEFL-G-003", "late")

    agent.caller.before = before
    consortium.publish()
    with at_work(agent):
        until(lambda: "BEFL-G-003: late" in caplog.text, timeout=20, what="the failure")
        assert len(threads()) == 1


def test_stop_ends_everything_quickly(consortium, tmp_path):
    """Also a worker in the middle of training."""
    training, interrupted = threading.Event(), threading.Event()

    class Slow(Participant):
        def train(self, view, model, number, correction):
            training.set()
            assert interrupted.wait(20)
            raise BeflError("BEFL-M-105", "killed")

        def interrupt(self):
            interrupted.set()

    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    agent.kind = Slow
    consortium.publish()
    agent.start()
    assert training.wait(5)
    started = time.monotonic()
    agent.end()
    assert time.monotonic() - started < 3


def test_the_participant_gets_the_operators_configuration(consortium, tmp_path):
    with running(consortium, tmp_path, "Org1MSP") as [agent]:
        finished(consortium, consortium.publish())
    configuration, participant = agent.made[0]
    assert configuration.data_path("heart").name == "heart.csv"
    assert participant.msp_id == "Org1MSP"


def announced(consortium, msp_id="Org1MSP"):
    return consortium.ledger("Org2MSP").member(msp_id)["agent"]


def announcements(consortium):
    return [event for event in consortium.memory.events() if event.name == "Announce"]


def started(consortium, folder, endpoint=""):
    """Start an agent, let it look at the ledger, and stop it."""
    agent = Running(consortium, "Org1MSP", folder, endpoint)
    agent.start()
    until(lambda: "MemberContract:Get" in agent.caller.calls, timeout=20, what="a look at the member's record")
    until(lambda: not any(one.name == "announce" for one in threading.enumerate()), timeout=20, what="the announcement")
    until(lambda: "TaskContract:List" in agent.caller.calls, timeout=20, what="a look at the tasks")
    agent.end()
    return agent


def test_it_announces_itself_once(consortium, tmp_path):
    assert announced(consortium) is None
    started(consortium, tmp_path)
    assert (announced(consortium)["endpoint"], announced(consortium)["key"]) == ("", "")
    for _ in range(2):
        started(consortium, tmp_path)
    assert len(announcements(consortium)) == 1


def test_it_announces_where_it_is_and_keeps_its_key(consortium, tmp_path):
    consortium.ledger("Org1MSP").announce("old.example:1", "0f" * 32)
    started(consortium, tmp_path)
    assert announced(consortium)["endpoint"] == "old.example:1", "it was not told another"
    for _ in range(2):
        started(consortium, tmp_path, "new.example:7443")
    assert (announced(consortium)["endpoint"], announced(consortium)["key"]) == ("new.example:7443", "0f" * 32)
    assert len(announcements(consortium)) == 2


def test_a_refused_announcement_stops_nothing(consortium, tmp_path, caplog):
    agent = Running(consortium, "Org1MSP", tmp_path)

    def before(function):
        if function == "MemberContract:Announce":
            raise BeflError("BEFL-A-001", "the certificate has no role")

    agent.caller.before = before
    task = consortium.publish()
    agent.start()
    finished(consortium, task)
    agent.end()
    assert agent.caller.calls.count("MemberContract:Announce") == 1
    assert "has not announced itself: BEFL-A-001" in caplog.text


def test_an_announcement_whose_answer_was_lost_is_not_made_twice(consortium, tmp_path, monkeypatch):
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05)
    agent = Running(consortium, "Org1MSP", tmp_path)
    lost = [BeflError("BEFL-G-003", "late")]

    def after(function):
        if function == "MemberContract:Announce" and lost:
            raise lost.pop()

    agent.caller.after = after
    agent.start()
    until(lambda: agent.caller.calls.count("MemberContract:Get") == 2, timeout=20, what="another look")
    agent.end()
    assert len(announcements(consortium)) == 1
