"""What trains for a task: the institution's file and the app in its child process."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

from befl.agent.config import DataTable, TrainingTable
from befl.agent.ledger import Ledger
from befl.agent.participant import AppParticipant, _own_trainer, app_of, code_of, initial_model
from befl.agent.store import Store
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.reader import to_record
from befl.rules.seeds import rounding_seed, training_seed
from befl.rules.view import make
from befl.training import AppCode

from .memory import config, spec_of

LAYOUT = (Tensor("linear.weight", (1, 2)), Tensor("linear.bias", (1,)))


def view_of(digest: str | None = None, layout=LAYOUT, task="0123456789abcdef"):
    record = {
        "app": {"digest": digest or app_of("tabular").digest, "name": "tabular"},
        "best": None,
        "done": 0,
        "id": task,
        "issuer": "Org1MSP",
        "layout": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in layout],
        "preparation": {},
        "published_ms": 0,
        "roster": [],
        "rules": spec_of().rules(),
        "spec": to_record(spec_of()),
        "stale": 0,
        "state": "published",
    }
    return make(record, [], [], None, [], [])


@pytest.fixture
def configured(tmp_path):
    rows = "".join(f"{30 + n % 40},{int(n % 40 > 17)}\n" for n in range(120))
    (tmp_path / "heart.csv").write_text("age,disease\n" + rows)
    return dataclasses.replace(config(tmp_path / "state"), folder=tmp_path)


def test_the_same_bytes_each_time_and_each_life(configured):
    spec = spec_of()
    layout, values = initial_model(spec, app_of("tabular"), 7)
    view, model = view_of(layout=layout), codec.to_fixed(values, spec.aggregation.scale_bits)
    with AppParticipant(configured, "Org1MSP", view) as first:
        weight, update = first.train(view, model, 1, None)
        again = first.train(view, model, 1, None)[1]
        counts = first.evaluate(view, model)
        _, later = first.train(view, model, 2, None)
    with AppParticipant(configured, "Org1MSP", view) as second:
        _, reborn = second.train(view, model, 1, None)
    assert update.dtype == np.int32
    assert codec.update_bytes(update) == codec.update_bytes(again) == codec.update_bytes(reborn)
    assert weight + counts.rows == 120
    assert update.any()
    assert later.shape == update.shape


class RecordingTrainer:
    """Trains nothing; keeps the seeds that it was given."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def train(self, layout, start, x, y, seed, *, correction=None):
        self.seeds.append(seed)
        return start


def test_chance_follows_from_task_round_and_institution(configured, monkeypatch):
    """Seeds of the training and of the rounding, so that anybody with the rows can compute an update again."""
    trainer, drawn, encode = RecordingTrainer(), [], codec.encode

    def spy(change, scale_bits, clip, bits, seed):
        drawn.append(seed)
        return encode(change, scale_bits, clip, bits, seed)

    monkeypatch.setattr(codec, "encode", spy)
    places = []
    for task in ("0123456789abcdef", "fedcba9876543210"):
        view = view_of(task=task)
        for msp_id in ("Org1MSP", "Org2MSP"):
            participant = AppParticipant(configured, msp_id, view, trainer=trainer)
            for number in (1, 2):
                participant.train(view, np.zeros(3, np.int64), number, None)
                places.append((task, number, msp_id))
    assert trainer.seeds == [training_seed(*place) for place in places]
    assert drawn == [rounding_seed(*place) for place in places]
    assert len(set(trainer.seeds)) == len(set(drawn)) == 8


def test_the_app_runs_as_the_configuration_says(configured):
    says = b"""
import os, resource
def init(*_): pass
train = predict = init
def check(settings, problem):
    memory = resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20
    raise ValueError(f"{memory} MiB, {os.environ['OMP_NUM_THREADS']} threads, {problem['device']}")
"""
    training = TrainingTable(threads=3, memory=700, device="auto")
    app = AppCode.of("curious", says)
    with _own_trainer(dataclasses.replace(configured, training=training), view_of(), app) as trainer:
        with pytest.raises(BeflError, match="700 MiB, 3 threads, auto") as caught:
            trainer.check()
        assert caught.value.code == "BEFL-M-106"


def test_interrupt_breaks_off_a_call_in_another_thread(configured):
    view = view_of()
    participant = AppParticipant(configured, "Org1MSP", view)
    caught = []

    def train():
        try:
            participant.train(view, np.zeros(3, np.int64), 1, None)
        except BeflError as error:
            caught.append(error)

    participant._trainer._send = lambda header, arrays: None  # the app is never asked, so it never answers
    participant._trainer._loaded = True
    thread = threading.Thread(target=train)
    thread.start()
    until(lambda: participant._trainer.pid, timeout=10, what="the child")
    started = time.monotonic()
    participant.interrupt()
    thread.join(10)
    assert time.monotonic() - started < 5
    participant.interrupt()  # nothing is left to be interrupted
    participant.close()
    participant.interrupt()
    assert [error.code for error in caught] == ["BEFL-M-105"]


def test_no_file_for_the_data(configured):
    lacking = dataclasses.replace(configured, data={"lung": DataTable("lung.csv")})
    with pytest.raises(BeflError, match="BEFL-C-007"):
        AppParticipant(lacking, "Org1MSP", view_of())


def test_a_file_that_does_not_fit_leaves_no_process(configured, tmp_path):
    """The session's end looks for processes that were left."""
    (tmp_path / "heart.csv").write_text("years,disease\n1,0\n")
    with pytest.raises(BeflError, match=r"BEFL-C-105: .*'age'"):
        AppParticipant(configured, "Org1MSP", view_of())
    (tmp_path / "heart.csv").unlink()
    with pytest.raises(BeflError, match="BEFL-C-101"):
        AppParticipant(configured, "Org1MSP", view_of())


FILES = app_of("tabular").files
FOREST = AppCode("tabular", {**FILES, "app.py": b"# another app of this name\n" + FILES["app.py"]})


def test_an_app_that_is_nowhere(configured, consortium):
    for ledger in (None, consortium.ledger("Org1MSP")):
        with pytest.raises(BeflError, match="BEFL-T-009: app tabular bbbbbbbbbbbbbbbb is neither in") as caught:
            AppParticipant(configured, "Org1MSP", view_of(digest="b" * 64), ledger)
        assert "befl app approve FILE" in caught.value.hint


def test_an_app_of_the_agents_folder_goes_by_its_digest(configured):
    """Two apps of one name: each task gets its own."""
    store = Store(configured.state_dir)
    store.approve(FOREST.digest, {"name": "tabular"}, FOREST.archive)
    assert code_of(view_of(FOREST.digest), store) == FOREST
    assert code_of(view_of(), store) == app_of("tabular") != FOREST


def test_an_app_is_fetched_from_the_ledger_once(configured, consortium):
    store, caller = Store(configured.state_dir), consortium.caller("Org1MSP")
    consortium.ledger("Org2MSP", "issuer").add_app("tabular", FOREST.archive)
    for _ in range(2):
        assert code_of(view_of(FOREST.digest), store, Ledger(caller)) == FOREST
    assert caller.calls == ["AppContract:Bytes"]
    store.folder.joinpath("apps", f"{FOREST.digest}.befl-app").write_bytes(b"damaged")
    assert code_of(view_of(FOREST.digest), store, Ledger(caller)) == FOREST
    assert len(caller.calls) == 2


def test_a_peer_that_gives_another_archive(configured, consortium):
    caller = consortium.caller("Org1MSP")
    consortium.ledger("Org2MSP", "issuer").add_app("tabular", FOREST.archive)
    caller.answers = lambda function, answer: app_of("tabular").archive
    with pytest.raises(BeflError, match="BEFL-M-007"):
        code_of(view_of(FOREST.digest), Store(configured.state_dir), Ledger(caller))


def test_an_archive_that_is_none_or_another_app(configured, consortium):
    oak = AppCode.of("oak", b"")
    for archive, words in ((oak.archive, "is app oak"), (b"no archive", "is no archive of an app")):
        consortium.ledger("Org2MSP", "issuer").add_app("tabular", archive)
        with pytest.raises(BeflError, match=rf"BEFL-M-111: task \w+ names app tabular.*{words}"):
            code_of(view_of(codec.digest(archive)), Store(configured.state_dir), consortium.ledger("Org1MSP"))


def test_an_app_of_ones_own_trains(configured):
    """From the archive in the agent's folder, in the real child."""
    Store(configured.state_dir).approve(FOREST.digest, {"name": "tabular"}, FOREST.archive)
    layout, values = initial_model(spec_of(), FOREST, 7)
    view = view_of(FOREST.digest, layout)
    with AppParticipant(configured, "Org1MSP", view) as participant:
        weight, update = participant.train(view, codec.to_fixed(values, 16), 1, None)
    assert weight > 0
    assert update.any()


def test_an_app_that_befl_does_not_bring():
    with pytest.raises(BeflError, match=r"BEFL-C-004: app\.name: must be one of image, tabular.*'homoeopathy'"):
        app_of("homoeopathy")
