"""An agent killed at any moment and started again: same model, same update bytes, nothing twice.

The end of the process is an exception that nothing in befl catches, thrown before or after each call of the ledger and
each file that is written, and inside training. What is left is what a killed process leaves: the ledger and the folder.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import befl.agent.store
from befl.rules import codec

from .memory import Consortium, Institution, Killed, Participant, deterministic, expected

ROUNDS = 2


class Moody(Participant):
    """Trains otherwise each time it is asked: only bytes that were kept can be sent again."""

    asked = itertools.count()

    def train(self, view, model, number, correction):
        self._raise("train")
        weight, update = deterministic(view.id, number, self.msp_id, model)
        return weight, update + np.int32(next(self.asked) % 1000)


class Lives:
    """Runs a worker to its end, killed at one place at most; counts places."""

    def __init__(self, consortium: Consortium, institution: Institution, monkeypatch, kill_at: int | None) -> None:
        self.places: list[str] = []
        self.kill_at = kill_at
        self.deaths = 0
        self.sent: dict[int, set[bytes]] = {}
        self._consortium = consortium
        self._institution = institution
        institution.caller.before = lambda function: self.place(f"before {function}")
        institution.caller.after = lambda function: self.place(f"after {function}")
        write = befl.agent.store.write_whole
        monkeypatch.setattr(befl.agent.store.os, "fsync", lambda descriptor: None)  # no machine loses power here

        def written(path, data, **options):
            self.place(f"before writing {path.name}")
            write(path, data, **options)
            self.place(f"after writing {path.name}")

        monkeypatch.setattr(befl.agent.store, "write_whole", written)

    def place(self, name: str) -> None:
        self.places.append(name)
        if len(self.places) - 1 == self.kill_at:
            raise Killed(name)

    def run(self, task: str) -> None:
        while True:
            try:
                self._institution.worker(task).run()
            except Killed:
                self.deaths += 1
                continue
            return


def one_run(monkeypatch, folder, kill_at: int | None, participant=Participant):
    consortium = Consortium()
    institution = Institution(consortium, "Org1MSP", folder)
    institution.make = lambda: participant("Org1MSP")
    task = consortium.publish(count=ROUNDS)
    lives = Lives(consortium, institution, monkeypatch, kill_at)
    lives.run(task)
    return consortium, institution, task, lives


def test_killed_at_every_place(monkeypatch, tmp_path):
    *_, undisturbed = one_run(monkeypatch, tmp_path / "undisturbed", None)
    assert {"before RoundContract:Submit", "after TaskContract:Finish", "after writing manifest.json"} <= set(
        undisturbed.places
    )
    for place, name in enumerate(undisturbed.places):
        monkeypatch.undo()
        consortium, institution, task, lives = one_run(monkeypatch, tmp_path / str(place), place)
        assert lives.deaths == 1, name
        record = consortium.ledger("Org1MSP").model(task)
        assert record["model"] == codec.digest(codec.model_bytes(expected(consortium, task))), name
        assert len(consortium.memory.events(consortium.founded + 1)) == 1 + 1 + 4 * ROUNDS + 1, (
            name
        )  # Publish, Apply, rounds, Finish
        folder = institution.store.folder / "models" / task
        assert {path.name: codec.digest(path.read_bytes()) for path in folder.iterdir()} == record["files"], name


def test_the_kept_update_is_sent_again(monkeypatch, tmp_path):
    """Training that would come out otherwise makes no difference once an update was kept."""
    *_, undisturbed = one_run(monkeypatch, tmp_path / "undisturbed", None, Moody)
    names = undisturbed.places
    kept = names.index("after writing update-000001")
    submitted = names.index("after RoundContract:Submit")
    for place in range(kept, submitted + 1):
        monkeypatch.undo()
        Moody.asked = itertools.count()
        consortium, _, task, lives = one_run(monkeypatch, tmp_path / str(place), place, Moody)
        assert lives.deaths == 1
        view = consortium.ledger("Org1MSP").round(task, 1)
        model = codec.read_model(consortium.ledger("Org1MSP").model_bytes(task, 0, view["round"]["start"]), 8)
        _, first = deterministic(task, 1, "Org1MSP", model)  # the counter was 0
        assert view["updates"]["Org1MSP"]["update"] == codec.digest(codec.update_bytes(first)), names[place]


def test_killed_in_training(monkeypatch, tmp_path):
    class Mortal(Participant):
        deaths = 0

        def train(self, view, model, number, correction):
            if Mortal.deaths < number:
                Mortal.deaths += 1
                raise Killed
            return super().train(view, model, number, correction)

    consortium, _, task, lives = one_run(monkeypatch, tmp_path / "state", None, Mortal)
    assert lives.deaths == ROUNDS
    assert consortium.ledger("Org1MSP").model(task)["model"] == codec.digest(
        codec.model_bytes(expected(consortium, task))
    )


@pytest.mark.parametrize("lost", ["model-*", "update-*", "*"])
def test_what_the_store_lost_is_made_again(monkeypatch, tmp_path, lost):
    """The state folder may vanish between two lives: the ledger and the peer have all that is needed."""
    *_, undisturbed = one_run(monkeypatch, tmp_path / "undisturbed", None)
    place = undisturbed.places.index("after TaskContract:Open", undisturbed.places.index("after TaskContract:Open") + 1)
    monkeypatch.undo()
    consortium = Consortium()
    institution = Institution(consortium, "Org1MSP", tmp_path / "state")
    task = consortium.publish(count=ROUNDS)
    lives = Lives(consortium, institution, monkeypatch, place)
    with pytest.raises(Killed):
        institution.worker(task).run()
    gone = list((institution.store.folder / "tasks" / task).glob(lost))
    assert gone
    for path in gone:
        path.unlink()
    lives.run(task)
    assert consortium.ledger("Org1MSP").model(task)["model"] == codec.digest(
        codec.model_bytes(expected(consortium, task))
    )
