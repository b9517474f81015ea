"""One task at each institution: the whole road, races, the policy, failures that pass and failures that stay."""

from __future__ import annotations

import logging
import re
import threading
import time

import numpy as np
import pytest

from befl.agent.config import Policy
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError

from .memory import APP, LENGTH, Institution, Participant, deterministic, expected, initial, working


def finished(consortium, task, state="finished"):
    until(lambda: consortium.ledger("Org1MSP").view(task).state == state, timeout=20, what=f"the task {state}")


def said(caplog) -> str:
    return "\n".join(f"{record.levelname} {record.getMessage()}" for record in caplog.records)


@pytest.fixture
def institutions(consortium, tmp_path):
    return [Institution(consortium, f"Org{n}MSP", tmp_path / f"org{n}") for n in (1, 2, 3)]


def test_three_institutions_end_a_task_with_the_model_that_was_computed_by_hand(consortium, institutions):
    task = consortium.publish(least=3, most=3, count=4)
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    ledger = consortium.ledger("Org1MSP")
    record = ledger.model(task)
    assert record["model"] == codec.digest(codec.model_bytes(expected(consortium, task)))
    assert record["contributors"].keys() == {"Org1MSP", "Org2MSP", "Org3MSP"}
    for each in institutions:
        assert each.made[0].trained == [1, 2, 3, 4]
        assert [participant.closed for participant in each.made] == [True]
        folder = each.store.folder / "models" / task
        assert {path.name: codec.digest(path.read_bytes()) for path in folder.iterdir()} == record["files"]


def test_each_transaction_stands_once(consortium, institutions):
    """Whoever lost a race read again; nothing was done twice and no refusal ended anybody."""
    task = consortium.publish(least=3, most=3, count=3)
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    names = [event.name for event in consortium.memory.events(consortium.founded + 1)]
    assert {name: names.count(name) for name in set(names)} == {
        "Publish": 1,
        "Apply": 3,
        "Open": 3,
        "Submit": 9,
        "Close": 3,
        "Report": 9,
        "Finish": 1,
    }


@pytest.mark.parametrize("code", ["BEFL-T-002", "BEFL-T-003", "BEFL-T-004", "BEFL-T-005", "BEFL-T-012", "BEFL-G-020"])
def test_a_lost_race_is_read_again_and_not_spoken_of(consortium, institutions, caplog, code):
    caplog.set_level(logging.INFO)
    task = consortium.publish()
    lost = []

    def lose(function):
        if function == "TaskContract:Open" and len(lost) < 3:
            lost.append(function)
            raise BeflError(code, "another institution was faster")

    institutions[0].caller.before = lose
    institutions[0].worker(task).run()
    assert consortium.ledger("Org1MSP").view(task).state == "finished"
    assert len(lost) == 3
    assert "faster" not in said(caplog)


def test_ask_never_applies_and_says_how(consortium, tmp_path, caplog):
    institution = Institution(
        consortium, "Org1MSP", tmp_path / "org1", policy=Policy(apply="ask", schemes=("none",), least=1)
    )
    task = consortium.publish()
    worker = institution.worker(task)
    with working(consortium, [worker]):
        until(lambda: institution.caller.calls.count("TaskContract:View") >= 1, timeout=5, what="a look at the task")
        for _ in range(5):  # however often it is woken
            looked = len(institution.caller.calls)
            worker.wake()
            until(lambda: len(institution.caller.calls) > looked, timeout=5, what="another look")  # noqa: B023  # called within the loop's turn
        assert set(institution.caller.calls) == {"TaskContract:View"}
        assert said(caplog).count("does not apply") == 1
        assert f'the operator decides (policy.apply = "ask"): befl task apply {task}' in said(caplog)
        consortium.ledger("Org1MSP").apply(task, APP)  # the operator's yes
        finished(consortium, task)


def test_every_objection_is_named_and_nothing_is_done(consortium, tmp_path, caplog):
    policy = Policy(apply="always", issuers=("OtherMSP",), schemes=(), least=3)
    institution = Institution(consortium, "Org1MSP", tmp_path / "org1", policy=policy)
    institution.store.folder.joinpath("approvals.json").unlink()
    institution.aliases = frozenset()
    task = consortium.publish()
    with working(consortium, [institution.worker(task)]):
        until(lambda: "does not apply" in said(caplog), timeout=5, what="the reasons")
    for reason in ("IssuerMSP", "'none'", "policy.least is 3", "is not approved", "no file is configured"):
        assert reason in said(caplog)
    assert set(institution.caller.calls) == {"TaskContract:View"}


def test_what_the_policy_forbids_later_is_not_submitted(consortium, tmp_path, caplog):
    """The policy is asked again each step: an app whose approval was taken back runs no more, not even to evaluate."""
    institution = Institution(consortium, "Org1MSP", tmp_path / "org1")
    task = consortium.publish(count=3)

    def revoke(function):
        if function == "RoundContract:Close":
            institution.store.folder.joinpath("approvals.json").unlink()
            institution.caller.after = lambda function: None

    institution.caller.after = revoke
    worker = institution.worker(task)
    with working(consortium, [worker]):
        until(lambda: "does not report" in said(caplog), timeout=5, what="the objection")
        view = consortium.ledger("Org1MSP").view(task)
        assert (view.round.number, view.round.state, view.round.reports) == (1, "closed", ())
        institution.store.approve(APP, {"name": "tabular"})
        worker.wake()
        finished(consortium, task)


def test_an_approval_on_the_ledger_alone_is_none(consortium, tmp_path, caplog):
    """What stands on the ledger is what a majority endorsed; what runs is the operator's own decision."""
    institution = Institution(consortium, "Org1MSP", tmp_path / "org1")
    institution.store.withdraw(APP)
    consortium.ledger("Org1MSP", "operator").approve_app(APP)
    task = consortium.publish()
    with working(consortium, [institution.worker(task)]):
        until(lambda: f"app tabular {APP[:16]} is not approved" in said(caplog), timeout=5, what="the objection")
    assert institution.made == []
    assert consortium.ledger("Org1MSP").view(task).applicants == ()


def test_a_declined_task_is_applied_to_no_more_until_the_operator_does(consortium, tmp_path):
    institution = Institution(consortium, "Org1MSP", tmp_path / "org1")
    task = consortium.publish()
    consortium.ledger("Org1MSP").decline(task, "no staff")
    worker = institution.worker(task)
    assert worker.step() > 0
    assert "has declined" in worker.says
    assert set(institution.caller.calls) == {"TaskContract:View"}
    with working(consortium, [institution.worker(task)]):
        consortium.ledger("Org1MSP").apply(task, APP)  # its operator thinks better of it
        finished(consortium, task)


def test_who_has_left_trains_no_more(consortium, institutions, caplog):
    caplog.set_level(logging.INFO)
    task = consortium.publish(least=2, most=3, count=3)
    gone = institutions[2]

    def leave(function):
        if function == "RoundContract:Report":  # before it: round 2 opens as soon as the last report is there
            gone.caller.before = lambda function: None
            consortium.ledger("Org3MSP").leave_task(task, "no power")

    gone.caller.before = leave
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    view = consortium.ledger("Org1MSP").view(task)
    assert (view.state, view.roster, view.departed) == ("finished", ("Org1MSP", "Org2MSP"), ("Org3MSP",))
    assert gone.made[0].trained == [1]
    assert re.search("ends: (has declined or left the task|the task is finished)", said(caplog))
    assert view.record["contributors"]["Org3MSP"]["rounds"] == 1
    assert consortium.ledger("Org1MSP").model(task)["model"] == codec.digest(
        codec.model_bytes(expected(consortium, task))
    )


@pytest.mark.parametrize("where", ["make", "train", "evaluate"])
@pytest.mark.parametrize(
    "trouble", [BeflError("BEFL-M-102", "the app raised"), RuntimeError("a mistake")], ids=["coded", "unexpected"]
)
def test_a_failure_is_said_and_the_worker_lives_on(consortium, institutions, caplog, where, trouble):
    institution = institutions[0]
    task = consortium.publish()

    def make():
        if where == "make" and len(institution.made) == 0:
            institution.make = lambda: Participant("Org1MSP")
            raise trouble
        return Participant("Org1MSP", {where: trouble} if where != "make" and not institution.made else {})

    institution.make = make
    institution.worker(task).run()
    assert consortium.ledger("Org1MSP").view(task).state == "finished"
    expected_words = "BEFL-M-102: The training app raised" if isinstance(trouble, BeflError) else "a mistake in befl"
    assert expected_words in said(caplog)


def test_data_that_does_not_fit_is_found_before_applying(consortium, institutions, caplog):
    """An institution that cannot train would cost the others a deadline in every round."""
    institution = institutions[0]
    broken = threading.Event()
    broken.set()

    def make():
        if broken.is_set():
            raise BeflError("BEFL-C-101", "heart.csv: No such file or directory")
        return Participant("Org1MSP")

    institution.make = make
    task = consortium.publish()
    worker = institution.worker(task)
    with working(consortium, [worker]):
        until(lambda: "BEFL-C-101" in said(caplog), timeout=5, what="the reason")
        assert consortium.ledger("Org1MSP").view(task).applicants == ()
        broken.clear()
        worker.wake()
        finished(consortium, task)


def test_an_error_that_stays_is_said_once_and_asked_more_and_more_rarely(consortium, institutions, caplog, monkeypatch):
    institution = institutions[0]
    pauses = []

    def always(function):
        raise BeflError("BEFL-G-002", "the peer is away")

    institution.caller.before = always
    worker = institution.worker(consortium.publish())

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 8:
            worker.stop()

    monkeypatch.setattr(worker._wake, "wait", wait)
    caplog.set_level(logging.INFO)
    worker.run()
    assert pauses == [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 30.0, 30.0]
    assert said(caplog).count("the peer is away") == 1
    assert "INFO" in said(caplog)  # it may pass by itself: no error yet


def test_stop_ends_a_worker_that_waits(consortium, institutions):
    task = consortium.publish(least=2, most=2)
    worker = institutions[0].worker(task)
    worker.start()
    until(lambda: consortium.ledger("Org1MSP").view(task).applicants, timeout=5, what="the application")
    started = time.monotonic()
    worker.stop()
    worker.join(5)
    assert not worker.is_alive()
    assert time.monotonic() - started < 2


def test_stop_between_two_steps_is_not_lost(consortium, institutions, monkeypatch):
    """Stop comes just before the worker forgets its wake-ups: it does not sleep through it."""
    worker = institutions[0].worker(consortium.publish(least=2, most=2))
    clear = worker._wake.clear

    def stop_then_clear():
        worker.stop()
        clear()

    monkeypatch.setattr(worker._wake, "clear", stop_then_clear)
    started = time.monotonic()
    worker.run()
    assert time.monotonic() - started < 2


def test_stop_interrupts_training(consortium, institutions, caplog):
    """A round may train for an hour: whoever stops the agent does not wait for it, and nothing is complained of."""
    training, interrupted = threading.Event(), threading.Event()

    class Slow(Participant):
        def train(self, view, model, number, correction):
            training.set()
            assert interrupted.wait(20)
            raise BeflError("BEFL-M-105", "the training process was killed by SIGKILL")

        def interrupt(self):
            interrupted.set()

    institutions[0].make = lambda: Slow("Org1MSP")
    worker = institutions[0].worker(consortium.publish())
    worker.start()
    assert training.wait(5)
    worker.stop()
    worker.join(5)
    assert not worker.is_alive()
    assert institutions[0].made[0].closed
    assert "BEFL-M-105" not in said(caplog)


def test_whoever_is_not_invited_or_not_drawn_ends(consortium, institutions, caplog):
    caplog.set_level(logging.INFO)
    task = consortium.publish(least=1, most=2, count=1)
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    roster = consortium.ledger("Org1MSP").view(task).roster
    assert len(roster) <= 2
    assert "not among the trainers" in said(caplog)
    for each in institutions:
        assert (each.store.folder / "models" / task).is_dir() == (each.msp_id in roster)


def test_a_cancelled_task_ends(consortium, institutions, caplog):
    caplog.set_level(logging.INFO)
    task = consortium.publish(least=2, most=2)
    worker = institutions[0].worker(task)
    with working(consortium, [worker]):
        until(lambda: consortium.ledger("Org1MSP").view(task).applicants, timeout=5, what="the application")
        consortium.ledger("IssuerMSP", "issuer").cancel(task, "a mistake")
        worker.join(10)
        assert not worker.is_alive()
    assert "the task is cancelled" in said(caplog)


def test_a_round_without_quorum_is_void_and_repeated(consortium, institutions):
    """Two of three cannot submit until the first round's deadline is over."""
    task = consortium.publish(least=3, most=3, count=1, deadline="3s")

    def away(function):
        if function == "RoundContract:Submit" and consortium.ledger("Org1MSP").view(task).round.number == 1:
            raise BeflError("BEFL-G-002", "no connection")

    for each in institutions[1:]:
        each.caller.before = away
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(25)
    rounds = list(consortium.ledger("Org1MSP").rounds(task))
    assert [each["state"] for each in rounds] == ["void", "evaluated"]
    assert list(rounds[0]["updates"]) == ["Org1MSP"]
    assert consortium.ledger("Org1MSP").model(task)["model"] == codec.digest(
        codec.model_bytes(expected(consortium, task))
    )


def test_the_others_go_on_when_one_delivers_nothing(consortium, institutions, caplog):
    """Quorum 2 of 3: at the deadline the round is closed without the third, which takes part again once it can."""
    task = consortium.publish(least=2, most=3, count=2, deadline="3s")

    class Failing(Participant):
        def train(self, view, model, number, correction):
            if number == 1:
                raise BeflError("BEFL-M-104", "no answer within 1 s")
            return super().train(view, model, number, correction)

    institutions[2].make = lambda: Failing("Org3MSP")
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(25)
    ledger = consortium.ledger("Org1MSP")
    rounds = list(ledger.rounds(task))
    assert [list(each["updates"]) for each in rounds] == [
        ["Org1MSP", "Org2MSP"],
        ["Org1MSP", "Org2MSP", "Org3MSP"],
    ]
    assert said(caplog).count("ERROR BEFL-M-104") == 1
    last = rounds[-1]
    model = codec.read_model(ledger.model_bytes(task, last["round"], last["model"]), LENGTH)
    np.testing.assert_array_equal(model, expected(consortium, task))


def test_a_report_made_from_damaged_state_is_corrected(consortium, institutions, caplog):
    """All three are needed. The third reports a model that does not follow; with its state whole it corrects that."""
    task = consortium.publish(least=3, most=3, quorum=3, count=2, deadline="1s")
    workers = [each.worker(task) for each in institutions]
    report, made = workers[2]._ledger.report, []

    def damaged(task, number, model, counts):
        made.append(model)
        return report(task, number, "e" * 64 if len(made) == 1 else model, counts)

    workers[2]._ledger.report = damaged
    with working(consortium, workers):
        for worker in workers:
            worker.join(40)
    ledger = consortium.ledger("Org1MSP")
    assert ledger.model(task)["model"] == codec.digest(codec.model_bytes(expected(consortium, task)))
    third = ledger.round(task, 1)["reports"]["Org3MSP"]
    assert (third["corrects"], third["model"]) == ("e" * 64, made[0])
    assert "WARNING reports model " in said(caplog)
    assert [each["dissent"] for each in ledger.rounds(task)] == [{}, {}]


# --- fewer bits, some of the trainers, an early end ------------------------------------------------------------------


def run(consortium, institutions, **wanted):
    task = consortium.publish(**wanted)
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(25)
    return task, list(consortium.ledger("Org1MSP").rounds(task))


def test_an_update_travels_with_the_bits_of_the_task(consortium, institutions):
    class Coarse(Participant):
        def train(self, view, model, number, correction):
            weight, update = super().train(view, model, number, correction)
            return weight, update >> 11 << 11  # 2^19 in ten bits: multiples of 2^11

    for each in institutions:
        each.make = lambda msp_id=each.msp_id: Coarse(msp_id)
    task, rounds = run(consortium, institutions, least=3, most=3, count=2, aggregation="bits = 10")
    assert [each["state"] for each in rounds] == ["evaluated"] * 2
    ledger = consortium.ledger("Org1MSP")
    for each in institutions:
        data = ledger.update(task, 1, each.msp_id, rounds[0]["updates"][each.msp_id]["update"])
        assert len(data) == LENGTH * 10 // 8
        _, trained = deterministic(task, 1, each.msp_id, initial())
        assert codec.read_update(data, LENGTH, 2**19, 10).tolist() == (trained >> 11 << 11).tolist()


def test_whoever_is_not_drawn_for_a_round_trains_in_another_and_reports_on_all(consortium, institutions):
    task, rounds = run(consortium, institutions, least=2, most=3, count=5, rounds="fraction = 40", quorum=1)
    ledger = consortium.ledger("Org1MSP")
    trained = {each.msp_id: each.made[0].trained for each in institutions}
    assert ledger.view(task).state == "finished"
    for each in rounds:
        assert len(each["roster"]) == 2
        assert list(each["updates"]) == each["roster"] == [name for name in trained if each["round"] in trained[name]]
        assert list(each["metrics"]["institutions"]) == sorted(trained)
    assert ledger.model(task)["model"] == codec.digest(codec.model_bytes(expected(consortium, task)))


def test_agents_finish_when_patience_is_over(consortium, institutions):
    """The arithmetic participants' loss is the same in each round: the first is the best."""
    task, rounds = run(consortium, institutions, least=3, most=3, count=50, rounds="patience = 3")
    record = consortium.ledger("Org1MSP").view(task).record
    assert (record["state"], record["done"], record["stale"], len(rounds)) == ("finished", 4, 3, 4)
    assert record["best"] == {"loss_micro": 1_000, "round": 1}
