"""What an agent says of itself without the ledger: what it does, every reason why not, what failed, whether it runs."""

from __future__ import annotations

import fcntl
import json
import threading
from contextlib import contextmanager

import pytest

from befl.agent import Agent
from befl.agent.config import Policy
from befl.agent.status import Notes, read
from befl.agent.store import Store, locked
from befl.gateway.wait import until
from befl.rules.errors import BeflError

from .memory import APP, WILLING, Institution, Participant, config


@contextmanager
def running(consortium, folder, *, policy=WILLING, make=Participant):
    stopped = threading.Event()
    ledger = consortium.ledger("Org1MSP")
    chosen = config(folder, policy=policy)
    agent = Agent(chosen, "Org1MSP", ledger, lambda *_: make("Org1MSP"), stopped, health="127.0.0.1:9")
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        until(lambda: read(folder).running, timeout=20, what="the agent")
        yield agent
    finally:
        stopped.set()
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


def of(folder, task):
    return {each.task: each for each in read(folder).tasks}.get(task)


def test_an_agent_that_has_never_run(tmp_path):
    folder = tmp_path / "state"
    found = read(folder)
    assert (found.running, found.msp_id, found.tasks) == (False, "", ())
    assert not folder.exists()


def test_every_reason_why_it_does_not_apply(consortium, tmp_path):
    policy = Policy(apply="always", issuers=("OtherMSP",), schemes=(), least=3)
    task = consortium.publish()
    with running(consortium, tmp_path, policy=policy):
        found = until(lambda: of(tmp_path, task), timeout=20, what="a look at the task")
        assert (found.name, found.issuer, found.state, found.part) == ("hearts", "IssuerMSP", "published", "none")
        assert (found.does, found.why) == ("refuses", "does not apply")
        assert len(found.against) == 4
        for words in ("policy.issuers", "policy.schemes", "policy.least", "befl app approve"):
            assert any(words in reason for reason in found.against)
        assert found.waits_for.what == "applications"
    found = read(tmp_path)
    assert (found.running, found.tasks[0].does) == (False, "refuses"), "as it was left"


def test_what_it_waits_for_what_failed_and_what_has_ended(consortium, tmp_path):
    Store(tmp_path).approve(APP, {"name": "tabular"})
    troubles = [BeflError("BEFL-C-107", "heart.csv: row 7, column age: 'planted' is not a number"), OSError("planted")]

    def make(msp_id):
        if troubles:
            raise troubles.pop(0)
        return Participant(msp_id)

    task = consortium.publish(least=2, most=2)
    with running(consortium, tmp_path, make=make) as agent:
        found = until(
            lambda: (one := of(tmp_path, task)) and one.does == "waits" and one, timeout=20, what="the application"
        )
        assert (found.part, found.waits_for.what) == ("applicant", "applications")
        assert found.error.code == "mistake"
        assert found.error.message == "a mistake in befl (OSError); the log says where"
        assert "planted" not in (tmp_path / "status.json").read_text()
        consortium.ledger("Org2MSP").apply(task, APP)
        consortium.ledger("Org2MSP").open(task)
        agent.follow([json.dumps({"task": task}).encode()])
        found = until(
            lambda: (one := of(tmp_path, task)) and one.round == 1 and one.does == "waits" and one,
            timeout=20,
            what="its update",
        )
        assert (found.part, found.round, found.rounds, found.state) == ("trainer", 1, 2, "running")
        assert (found.waits_for.what, found.waits_for.msp_ids) == ("updates", ("Org2MSP",))
        consortium.ledger("IssuerMSP", "issuer").cancel(task, "a test")
        agent.follow([json.dumps({"task": task}).encode()])
        until(lambda: of(tmp_path, task).does == "ended", timeout=20, what="the end")
        agent._discover()
        assert of(tmp_path, task) is None


def test_a_ledger_that_cannot_be_read(consortium, tmp_path):
    class Away:
        def tasks(self):
            raise BeflError("BEFL-G-002", "connection refused")

    stopped = threading.Event()
    agent = Agent(config(tmp_path), "Org1MSP", Away(), lambda *_: None, stopped)
    thread = threading.Thread(target=agent.run)
    thread.start()
    found = until(lambda: read(tmp_path).error, timeout=20, what="the failure")
    stopped.set()
    thread.join(20)
    assert (found.code, found.message) == ("BEFL-G-002", "connection refused")


def test_nothing_is_written_while_nothing_changes(consortium, tmp_path):
    institution = Institution(consortium, "Org1MSP", tmp_path)
    view = consortium.ledger("Org1MSP").view(consortium.publish())
    notes = Notes(institution.store, "Org1MSP")
    notes.task(view, "waits", "for others")
    first = (tmp_path / "status.json").stat()
    notes.task(view, "waits", "for others")
    assert (tmp_path / "status.json").stat().st_ino == first.st_ino
    notes.task(view, "apply")
    assert (tmp_path / "status.json").stat().st_ino != first.st_ino


def test_a_status_that_cannot_be_written_stops_nobody(consortium, tmp_path):
    Store(tmp_path).approve(APP, {"name": "tabular"})
    (tmp_path / "status.json").mkdir()
    task = consortium.publish()
    stopped = threading.Event()
    agent = Agent(config(tmp_path), "Org1MSP", consortium.ledger("Org1MSP"), lambda *_: Participant("Org1MSP"), stopped)
    thread = threading.Thread(target=agent.run)
    thread.start()
    ledger = consortium.ledger("Org1MSP")
    until(lambda: ledger.view(task).state == "finished", timeout=20, what="the task is finished")
    stopped.set()
    agent.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"tasks": 1}', '{"tasks": [{}], "error": null}', "[" * 9999])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(BeflError, match="BEFL-C-001"):
        read(tmp_path)


def test_who_looks_whether_it_runs_keeps_no_agent_from_starting(tmp_path):
    """A look holds the lock for a moment: who takes it at that moment tries again."""
    store = Store(tmp_path)
    store.lock()
    assert locked(tmp_path)
    store.unlock()
    assert not locked(tmp_path)
    with (tmp_path / "agent.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN))
        release.start()
        store.lock()
        release.join()
    assert locked(tmp_path)
    store.unlock()
