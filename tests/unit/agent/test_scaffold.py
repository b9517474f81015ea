"""Control variates that nobody sends: each trainer's follow from the ledger, whatever was lost or killed."""

from __future__ import annotations

import numpy as np

import befl.agent.store
from befl.agent.chain import link_after
from befl.agent.store import Store
from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError

from .memory import LENGTH, Consortium, Institution, Killed, Participant, initial, working

RULE = RULES["scaffold/1"]
STEPS, RATE, UNIT = 10, 0.1, 2.0**-16
PLACES = {f"Org{n}MSP": np.linspace(-n, 2 * n, LENGTH) for n in (1, 2, 3)}
CURVES = {f"Org{n}MSP": np.linspace(0.2, 0.3 * n, LENGTH) for n in (1, 2, 3)}


def local(msp_id: str, start: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """Train towards the institution's own place; each of the steps is corrected by its share."""
    y = start
    for _ in range(STEPS):
        y = y - RATE * CURVES[msp_id] * (y - PLACES[msp_id]) - correction / STEPS
    return y


class Quadratic(Participant):
    """Trains by arithmetic on the model and the correction it is given."""

    def train(self, view, model, number, correction):
        self._raise("train")
        assert (correction.dtype, correction.shape) == (np.float32, (LENGTH,))
        self.trained.append(number)
        start = model * UNIT
        return 7 * len(self.msp_id), codec.encode(local(self.msp_id, start, correction) - start, 16, "8")


def original(rounds: list[list[str]], trainers: int, x: np.ndarray | None = None) -> np.ndarray:
    """Run the paper's algorithm in float64 with its control variates sent; a round is whose updates were included."""
    x, c = initial() * UNIT if x is None else x, np.zeros(LENGTH)
    own = {msp_id: np.zeros(LENGTH) for msp_id in PLACES}
    for included in rounds:
        if not included:
            continue
        y = {msp_id: local(msp_id, x, STEPS * RATE * (c - own[msp_id])) for msp_id in included}
        new = {msp_id: own[msp_id] - c + (x - y[msp_id]) / (STEPS * RATE) for msp_id in included}
        c = c + sum(new[msp_id] - own[msp_id] for msp_id in included) / trainers
        own |= new
        x = x + sum(each - x for each in y.values()) / len(included)
    return x


def test_a_task_follows_the_original_through_lost_updates_and_a_void_round(consortium, tmp_path):
    """Org3's update of round 2 never arrives though it was kept; in round 3 only Org1's does, and the round is void."""
    task = consortium.publish(least=2, most=3, count=5, deadline="3s", rule="scaffold")
    institutions = [Institution(consortium, msp_id, tmp_path / msp_id) for msp_id in PLACES]
    lost = {"Org3MSP": {2, 3}, "Org2MSP": {3}}
    for each in institutions:
        each.make = lambda msp_id=each.msp_id: Quadratic(msp_id)

        def lose(function, msp_id=each.msp_id):
            rounds = lost.get(msp_id, ()) if function == "RoundContract:Submit" else ()
            if rounds and consortium.ledger("Org1MSP").view(task).round.number in rounds:
                raise BeflError("BEFL-G-002", "no connection")

        each.caller.before = lose
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(30)
    ledger = consortium.ledger("Org4MSP")
    rounds = list(ledger.rounds(task))
    included = [list(each["updates"]) if each["state"] == "evaluated" else [] for each in rounds]
    everybody = list(PLACES)
    assert included == [everybody, everybody[:2], [], everybody, everybody, everybody]
    assert institutions[2].made[0].trained == [1, 2, 3, 4, 5, 6]  # it trained for nothing, and no harm was done
    view = ledger.view(task)
    link = link_after(ledger, Store(tmp_path / "eyes"), view, len(rounds), "Org2MSP")
    off = np.abs(link.model * UNIT - original(included, 3))
    assert off.max() <= 10 * UNIT
    # all the control variates from the ledger alone: their sum is what the rule carries
    own = [link_after(ledger, Store(tmp_path / f"eyes-{each}"), view, len(rounds), each).control for each in everybody]
    assert sum(own)[0].tolist() == link.state[1].tolist()
    assert all(each.any() for each in own)


def test_when_a_trainer_leaves_all_begin_anew(consortium, tmp_path):
    """Org3 leaves as it reports on round 2: from then on the other two train as if they had started there."""
    task = consortium.publish(least=2, most=3, count=4, rule="scaffold")
    institutions = [Institution(consortium, msp_id, tmp_path / msp_id) for msp_id in PLACES]
    corrections = []
    for each in institutions:

        class Noting(Quadratic):
            def train(self, view, model, number, correction):
                corrections.append((number, bool(correction.any())))
                return super().train(view, model, number, correction)

        each.make = lambda msp_id=each.msp_id, kind=Noting: kind(msp_id)

    def leave(function):
        if function == "RoundContract:Report" and consortium.ledger("Org1MSP").view(task).round.number == 2:
            consortium.ledger("Org3MSP").leave_task(task, "no staff")
            institutions[2].caller.before = lambda function: None

    institutions[2].caller.before = leave
    workers = [each.worker(task) for each in institutions]
    with working(consortium, workers):
        for worker in workers:
            worker.join(30)
    ledger = consortium.ledger("Org4MSP")
    rounds = list(ledger.rounds(task))
    two = list(PLACES)[:2]
    assert [(each["trainers"], each["left"]) for each in rounds] == [(3, []), (3, []), (2, ["Org3MSP"]), (2, [])]
    assert set(corrections) == {(1, False), (2, True), (3, False), (4, True)}
    view = ledger.view(task)
    link = link_after(ledger, Store(tmp_path / "eyes"), view, 4, "Org1MSP")
    before = link_after(ledger, Store(tmp_path / "again"), view, 2, "Org1MSP").model
    assert np.abs(link.model * UNIT - original([two, two], 2, before * UNIT)).max() <= 10 * UNIT
    own = [link_after(ledger, Store(tmp_path / f"eyes-{each}"), view, 4, each).control for each in two]
    assert sum(own)[0].tolist() == link.state[1].tolist()


def test_killed_at_every_place(monkeypatch, tmp_path):
    """After any death the agent corrects by the same vector: each update on the ledger is the one that follows."""

    def one_run(folder, kill_at):
        consortium = Consortium()
        institution = Institution(consortium, "Org1MSP", folder)
        institution.make = lambda: Quadratic("Org1MSP")
        task, places = consortium.publish(count=3, rule="scaffold"), []
        monkeypatch.setattr(befl.agent.store.os, "fsync", lambda descriptor: None)  # no machine loses power here
        write = befl.agent.store.write_whole

        def place(name):
            places.append(name)
            if len(places) - 1 == kill_at:
                raise Killed(name)

        def written(path, data, **options):
            place("before writing")
            write(path, data, **options)
            place("after writing")

        institution.caller.before = institution.caller.after = place
        monkeypatch.setattr(befl.agent.store, "write_whole", written)
        while True:
            try:
                institution.worker(task).run()
            except Killed:
                continue
            monkeypatch.undo()
            return consortium.ledger("Org1MSP"), task, places

    for kill_at in range(len(one_run(tmp_path / "undisturbed", None)[2])):
        ledger, task, places = one_run(tmp_path / str(kill_at), kill_at)
        view = ledger.view(task)
        assert view.state == "finished", places[kill_at]
        for number in range(1, 4):
            link = link_after(ledger, Store(tmp_path / f"eyes-{kill_at}"), view, number - 1, "Org1MSP")
            correction = codec.to_float(RULE.correction(link.control, link.state), 16)
            _, update = Quadratic("Org1MSP").train(view, link.model, number, correction)
            sent = ledger.round(task, number)["round"]["updates"]["Org1MSP"]["update"]
            assert sent == codec.digest(codec.update_bytes(update)), (places[kill_at], number)


def test_a_rule_without_control_variates_corrects_nothing(consortium, tmp_path):
    given = []

    class Curious(Participant):
        def train(self, view, model, number, correction):
            given.append(correction)
            return super().train(view, model, number, correction)

    institution = Institution(consortium, "Org1MSP", tmp_path)
    institution.make = lambda: Curious("Org1MSP")
    task = consortium.publish(rule="fedadam")
    institution.worker(task).run()
    assert given == [None, None]
    assert consortium.ledger("Org1MSP").view(task).state == "finished"
