"""Tasks by the public API, on the in-memory ledger."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
from tests.unit.agent import memory
from tests.unit.agent.memory import APP, LAYOUT, LENGTH, Consortium, Institution, expected, initial

import befl.client.tasks
from befl.agent import Ledger
from befl.client import Tasks
from befl.client.tasks import read_spec
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.rules.seeds import initial_seed
from befl.training import AppCode, builtin_apps


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture
def tasks(consortium):
    def api(msp_id="Org1MSP", role="trainer"):
        return Tasks(consortium.ledger(msp_id, role), consortium.events)

    return api


@pytest.fixture
def task_toml(tmp_path):
    path = tmp_path / "TASK.toml"
    path.write_text(memory.task_toml())
    return path


@pytest.fixture
def no_torch(monkeypatch):
    """The initial model without a training process."""
    values = initial().astype(np.float32) / 2**16
    monkeypatch.setattr(befl.client.tasks, "initial_model", lambda spec, app, seed, python=None: (LAYOUT, values))


def test_the_initial_model_follows_from_the_file(tasks, consortium, task_toml):
    """Published twice, the same bytes: anybody can make the initial model again."""
    one = tasks("IssuerMSP", "issuer").publish(task_toml)
    two = tasks("Org2MSP", "issuer").publish(task_toml)
    records = [tasks().get(made.task).record for made in (one, two)]
    assert one.task != two.task
    assert records[0]["model"] == records[1]["model"]
    assert records[0]["app"] == {"digest": builtin_apps()["tabular"].digest, "name": "tabular"}
    assert one.parameters == records[0]["length"]
    assert (one.task, one.block) == (one.txid[:16], two.block - 1)
    stored = consortium.ledger("Org1MSP").model_bytes(one.task, 0, records[0]["model"])
    assert codec.read_model(stored, one.parameters).shape == (one.parameters,)


def test_the_initial_seed(task_toml):
    spec = read_spec(task_toml)
    assert initial_seed(spec) == initial_seed(read_spec(task_toml))
    assert 0 <= initial_seed(spec) < 2**63
    task_toml.write_text(task_toml.read_text().replace("hearts", "lungs"))
    assert initial_seed(read_spec(task_toml)) != initial_seed(spec)


def test_list_get_rounds(tasks, consortium, task_toml, no_torch, tmp_path):
    assert tasks().list() == []
    made = tasks("IssuerMSP", "issuer").publish(task_toml)
    [line] = tasks().list()
    assert (line.id, line.name, line.state, line.issuer, line.round, line.rounds, line.scheme) == (
        made.task,
        "hearts",
        "published",
        "IssuerMSP",
        0,
        2,
        "none",
    )
    assert tasks().rounds(made.task) == []
    institution = Institution(consortium, "Org1MSP", tmp_path / "org1")
    institution.store.approve(made.app, {"name": "tabular"})
    institution.worker(made.task).run()
    [line] = tasks().list()
    assert (line.state, line.round) == ("finished", 2)
    rounds = tasks().rounds(made.task)
    assert [(each.number, each.state, each.delivered) for each in rounds] == [
        (1, "evaluated", ("Org1MSP",)),
        (2, "evaluated", ("Org1MSP",)),
    ]
    assert rounds[1].model == codec.digest(codec.model_bytes(expected(consortium, made.task)))
    assert rounds[1].metrics["rows"] > 0
    assert rounds[1].opened_ms <= rounds[1].closed_ms


def test_a_round_that_runs_has_no_numbers_yet(tasks, consortium):
    task = consortium.publish()
    ledger = consortium.ledger("Org1MSP")
    ledger.apply(task, APP)
    ledger.open(task)
    [line] = tasks().rounds(task)
    assert (line.state, line.delivered, line.closed_ms, line.metrics, line.model) == ("open", (), 0, None, None)


def test_the_steps_of_rounds_and_what_closed_them(consortium, tmp_path):
    """One more question a round, and one reading of events, tell all that no record holds."""
    consortium.publish()  # another task's transactions stand between
    task = consortium.publish(count=3)
    Institution(consortium, "Org1MSP", tmp_path / "org1").worker(task).run()
    caller, opened = consortium.caller("Org2MSP"), []

    def events(**options):
        opened.append(options)
        return consortium.events(**options)

    api = Tasks(Ledger(caller), events)
    rounds = api.rounds(task, steps=True)
    assert caller.calls.count("RoundContract:Get") == len(caller.calls) - 2 == len(rounds) == 3
    [options] = opened
    assert options == {"after": api.round(task, 1).updates["Org1MSP"]["txid"]}
    closed = [event for event in consortium.memory.events() if event.name == "Close"]
    assert [(each.txid, each.block) for each in rounds] == [(event.txid, event.block) for event in closed]
    ends = [*(each.opened_ms for each in rounds[1:]), api.get(task).record["finished_ms"]]
    for each, end in zip(rounds, ends, strict=True):
        steps = dataclasses.astuple(each.steps)
        assert min(steps) >= 0
        assert sum(steps) == end - each.opened_ms
        assert (each.without, each.reported, each.dissent) == ((), ("Org1MSP",), {})


def test_the_steps_of_a_round_to_which_nobody_sent_anything(tasks, consortium):
    """No update leads to what closed it: the events are read from the first block on."""
    task = consortium.publish(deadline="1s")
    ledger = consortium.ledger("Org1MSP")
    ledger.apply(task, APP)
    ledger.open(task)
    until(lambda: time.time_ns() // 1_000_000 > ledger.view(task).round.deadline_ms, timeout=20, what="the deadline")
    [open_] = tasks().rounds(task, steps=True)
    assert (dataclasses.astuple(open_.steps), open_.txid, open_.block) == ((None,) * 4, "", 0)
    done = ledger.close(task, 1)
    [void] = tasks().rounds(task, steps=True)
    assert (void.state, void.without, void.txid, void.block) == ("void", ("Org1MSP",), done.txid, done.block)
    assert (void.steps.training_ms, void.steps.closing_ms) == (None, void.closed_ms - void.opened_ms)
    assert [(each.msp_id, each.reason) for each in tasks().refused(tasks().get(task), [void])] == [
        ("Org1MSP", "no update: none had come by the deadline")
    ]


def test_who_watches_from_the_middle_of_a_round_is_told_what_closed_it(tasks, consortium, tmp_path):
    task = consortium.publish(count=1)
    worker = Institution(consortium, "Org1MSP", tmp_path / "org1").worker(task)
    while consortium.ledger("Org1MSP").view(task).round is None or worker._ledger.view(task).round.state == "open":
        worker.step()
    changes = tasks().watch(task)
    assert next(changes).ended is None
    worker.run()
    *_, last = changes
    [closing] = [event for event in consortium.memory.events() if event.name == "Close"]
    assert (last.transaction, last.ended.number, last.ended.txid) == ("Finish", 1, closing.txid)
    assert last.ended == tasks().rounds(task, steps=True)[0]


def test_apply_and_cancel(tasks, consortium):
    task = consortium.publish(least=2, most=2)
    done = tasks().apply(task)
    assert (done.task, done.block) == (task, consortium.memory.height)
    assert tasks().get(task).applicants == ("Org1MSP",)
    with pytest.raises(BeflError, match="BEFL-T-003"):
        tasks().apply(task)
    tasks("IssuerMSP", "issuer").cancel(task, "a mistake")
    assert tasks().get(task).record["reason"] == "a mistake"


def test_decline_and_leave(tasks, consortium):
    task = consortium.publish(least=2, most=3)
    tasks("Org1MSP").decline(task, "no staff")
    tasks("Org2MSP").apply(task)
    tasks("Org3MSP").apply(task)
    view = tasks().get(task)
    assert (view.applicants, view.departed) == (("Org2MSP", "Org3MSP"), ("Org1MSP",))
    assert tasks().reachable(view) == 9  # nine of ten members: with the issuer, without Org1
    tasks("Org1MSP").apply(task)
    tasks("Org2MSP").leave(task, "no power")
    assert tasks().get(task).applicants == ("Org1MSP", "Org3MSP")
    (departure,) = tasks().departures(task)
    assert (departure.msp_id, departure.reason, departure.round) == ("Org2MSP", "no power", 0)


FOREST = AppCode("forest", {**builtin_apps()["tabular"].files, "app.toml": b'befl = 1\nname = "forest"\n'})


@pytest.fixture
def forest_toml(task_toml):
    task_toml.write_text(task_toml.read_text().replace('"tabular"', '"forest"'))
    return task_toml


def test_publish_with_an_app_of_ones_own(tasks, consortium, forest_toml, tmp_path):
    """The app is added on the first occasion; after that its name is enough, until there are two of it."""
    packed = tmp_path / "forest.befl-app"
    packed.write_bytes(FOREST.archive)
    issuer = tasks("IssuerMSP", "issuer")
    with pytest.raises(BeflError, match="BEFL-C-014: there is no app 'forest'"):
        issuer.publish(forest_toml)
    first = issuer.publish(forest_toml, app=packed)
    assert (first.app, first.added) == (FOREST.digest, True)
    assert consortium.ledger("Org1MSP").app_bytes(FOREST.digest) == FOREST.archive
    again = [issuer.publish(forest_toml, app=packed), issuer.publish(forest_toml)]
    assert [(made.app, made.added) for made in again] == [(FOREST.digest, False)] * 2
    other = AppCode("forest", {**FOREST.files, "notes.txt": b"of another institution"})
    consortium.ledger("Org2MSP", "issuer").add_app("forest", other.archive)
    with pytest.raises(BeflError, match="BEFL-C-014: 2 apps are called forest") as caught:
        issuer.publish(forest_toml)
    assert all(each.digest in caught.value.message for each in (FOREST, other))
    assert issuer.publish(forest_toml, app=other.digest[:16]).app == other.digest
    assert {tasks().get(made.task).record["app"]["digest"] for made in (first, *again)} == {FOREST.digest}


def test_publish_with_the_app_of_another_task(tasks, task_toml, tmp_path):
    packed = tmp_path / "forest.befl-app"
    packed.write_bytes(FOREST.archive)
    with pytest.raises(BeflError, match=r"BEFL-C-014: the task names app tabular, .* is app forest"):
        tasks("IssuerMSP", "issuer").publish(task_toml, app=packed)
    assert tasks().list() == []


def test_watch_tells_each_change_and_ends(tasks, consortium, tmp_path):
    task = consortium.publish()
    changes = tasks().watch(task)
    first = next(changes)
    assert (first.transaction, first.view.state, first.block) == ("", "published", 0)
    consortium.publish()  # another task: not a word about it
    worker = threading.Thread(target=Institution(consortium, "Org1MSP", tmp_path / "org1").worker(task).run)
    worker.start()
    seen = list(changes)
    worker.join(10)
    assert [change.transaction for change in seen] == [
        "Apply",
        *["Open", "Submit", "Close", "Report"] * 2,
        "Finish",
    ]
    assert seen[-1].view.state == "finished"
    events = {event.txid: event.block for event in consortium.memory.events()}
    assert all(events[change.txid] == change.block for change in seen)


def test_watching_a_cancelled_task_ends(tasks, consortium):
    task = consortium.publish()
    changes = tasks().watch(task)
    next(changes)
    consortium.ledger("IssuerMSP", "issuer").cancel(task, "a mistake")
    assert [change.transaction for change in changes] == ["Cancel"]
    assert [change.view.state for change in tasks().watch(task)] == ["cancelled"]


def test_watching_what_does_not_exist(tasks):
    with pytest.raises(BeflError, match="BEFL-T-007"):
        list(tasks().watch("0" * 16))


def test_only_an_issuer_publishes(tasks, task_toml, no_torch):
    with pytest.raises(BeflError, match="BEFL-A-001"):
        tasks("Org1MSP", "trainer").publish(task_toml)


def test_an_initial_model_that_does_not_fit(tasks, task_toml, monkeypatch):
    values = np.full(LENGTH, np.inf, np.float32)
    monkeypatch.setattr(befl.client.tasks, "initial_model", lambda spec, app, seed, python=None: (LAYOUT, values))
    with pytest.raises(BeflError, match="BEFL-M-002"):
        tasks("IssuerMSP", "issuer").publish(task_toml)
    assert tasks().list() == []


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*TASK\.toml"):
        read_spec(tmp_path / "TASK.toml")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        read_spec(tmp_path)
