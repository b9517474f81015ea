"""The chain of models: each round's step is taken from the updates at the own peer and held against the ledger."""

from __future__ import annotations

import json

import numpy as np
import pytest

from befl.agent import Ledger
from befl.agent.chain import link_after
from befl.agent.store import Store
from befl.rules import codec
from befl.rules.errors import BeflError

from .memory import LENGTH, Institution, Participant, expected, initial, working

ROUNDS = 3


@pytest.fixture
def finished(consortium, tmp_path):
    """A finished task of two institutions: consortium, task, and a third's eyes on it."""
    task = consortium.publish(least=2, most=2, count=ROUNDS)
    workers = [Institution(consortium, f"Org{n}MSP", tmp_path / f"org{n}").worker(task) for n in (1, 2)]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    caller = consortium.caller("Org3MSP")
    return consortium, task, caller, Store(tmp_path / "org3")


def after(finished, number):
    _, task, caller, store = finished
    ledger = Ledger(caller)
    return link_after(ledger, store, ledger.view(task), number, "Org3MSP").model


def test_from_nothing_to_the_end(finished):
    consortium, task, _, store = finished
    np.testing.assert_array_equal(after(finished, 0), initial())
    np.testing.assert_array_equal(after(finished, ROUNDS), expected(consortium, task))
    assert store.kept_model(task, 99)[0] == ROUNDS


def test_each_round_is_the_ledgers(finished):
    consortium, task, *_ = finished
    for record in consortium.ledger("Org3MSP").rounds(task):
        model = after(finished, record["round"])
        assert codec.digest(codec.model_bytes(model)) == record["model"]


def test_a_kept_model_saves_the_rounds_before_it(finished):
    caller = finished[2]
    after(finished, 2)
    caller.calls.clear()
    after(finished, 3)
    assert caller.calls.count("RoundContract:Update") == 2  # of round 3 only, one an institution
    caller.calls.clear()
    after(finished, 3)
    assert caller.calls == ["TaskContract:View"]


def test_a_damaged_kept_model_is_made_again(finished):
    consortium, task, _, store = finished
    after(finished, 2)
    path = store.folder / "tasks" / task / "model-000002"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    np.testing.assert_array_equal(after(finished, ROUNDS), expected(consortium, task))


def test_a_kept_model_of_another_history_is_noticed(finished):
    """Whole, but not what the ledger's rounds lead to: a folder of another consortium, say."""
    _, task, _, store = finished
    store.keep_model(task, 2, codec.model_bytes(initial()))
    with pytest.raises(BeflError, match="BEFL-M-007: the model before round 3"):
        after(finished, 3)


def changed(function, change):
    """Let the peer lie in its answers to one function."""

    def answers(asked, answer):
        return change(answer) if asked == function else answer

    return answers


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    ("function", "words"), [("RoundContract:Update", "RoundContract:Update"), ("ModelContract:Bytes", "ModelContract")]
)
def test_altered_bytes(finished, function, words):
    finished[2].answers = changed(function, flip)
    with pytest.raises(BeflError, match=f"BEFL-M-007: {words}"):
        after(finished, 1)
    finished[2].answers = changed(function, lambda data: data[:-1])
    with pytest.raises(BeflError, match="BEFL-M-007"):
        after(finished, 1)


def edit(field, value):
    def change(answer):
        record = json.loads(answer)
        record["round"][field] = value
        return json.dumps(record).encode()

    return change


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("start", "0" * 64, "the model before round 1"),
        ("aggregate", "0" * 64, "the aggregate of round 1"),
        ("model", "0" * 64, "the model after round 1"),
        ("weight", 1, "the model after round 1"),
        ("updates", {}, "the aggregate of round 1"),
    ],
)
def test_an_altered_record(finished, field, value, words):
    finished[2].answers = changed("RoundContract:Get", edit(field, value))
    with pytest.raises(BeflError, match=f"BEFL-M-007: {words}"):
        after(finished, 1)
    assert finished[3].kept_model(finished[1], 99)[0] == 0, "nothing that was refused is kept"


def test_a_void_round_changes_nothing(consortium, tmp_path):
    task = consortium.publish(least=2, most=2, count=1, deadline="3s")

    class Late(Participant):
        def train(self, view, model, number, correction):
            if number == 1:
                raise BeflError("BEFL-M-104", "too slow")
            return super().train(view, model, number, correction)

    institutions = [Institution(consortium, f"Org{n}MSP", tmp_path / f"org{n}") for n in (1, 2)]
    institutions[1].make = lambda: Late("Org2MSP")
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    ledger, store = consortium.ledger("Org3MSP"), Store(tmp_path / "org3")
    assert [each["state"] for each in ledger.rounds(task)] == ["void", "evaluated"]
    view = ledger.view(task)
    np.testing.assert_array_equal(link_after(ledger, store, view, 1, "Org3MSP").model, initial())
    np.testing.assert_array_equal(link_after(ledger, store, view, 2, "Org3MSP").model, expected(consortium, task))
    assert link_after(ledger, store, view, 2, "Org3MSP").model.shape == (LENGTH,)


# --- rules that carry state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["fedavgm", "fedadam", "fedyogi", "scaffold"])
def test_the_state_follows_from_the_updates(consortium, tmp_path, rule):
    """Agents of two institutions agree on each model, and an agent with an empty folder comes to the same ones."""
    task = consortium.publish(least=2, most=2, count=ROUNDS, rule=rule)
    workers = [Institution(consortium, f"Org{n}MSP", tmp_path / f"org{n}").worker(task) for n in (1, 2)]
    with working(consortium, workers):
        for worker in workers:
            worker.join(20)
    ledger, store = consortium.ledger("Org3MSP"), Store(tmp_path / "org3")
    view = ledger.view(task)
    assert (view.state, view.done) == ("finished", ROUNDS)
    from_nothing = link_after(ledger, store, view, ROUNDS, "Org1MSP")
    assert len(from_nothing.state) == {"fedavgm": 1}.get(rule, 2)
    assert from_nothing.state.any()
    for record in ledger.rounds(task):
        step_by_step = link_after(ledger, Store(tmp_path / "again"), view, record["round"], "Org1MSP")
        assert codec.digest(codec.model_bytes(step_by_step.model)) == record["model"]
        assert record["dissent"] == {}
    assert step_by_step.to_bytes() == from_nothing.to_bytes()
    assert store.kept_model(task, 99) == (ROUNDS, from_nothing.to_bytes())


def test_a_kept_file_of_another_rule_is_refused(finished):
    """As many rows as the rule wants, or it is not what this task's rule wrote."""
    _, task, _, store = finished
    store.keep_model(task, 2, codec.model_bytes(np.zeros(3 * LENGTH, np.int64)))
    with pytest.raises(BeflError, match="BEFL-M-001"):
        after(finished, 3)
