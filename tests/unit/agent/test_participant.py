"""What trains for a task: the institution's file and the app in its child process."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

from befl.agent.config import DataTable
from befl.agent.participant import AppParticipant, app_of, initial_model
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.reader import to_record
from befl.rules.view import make

from .memory import config, spec_of

LAYOUT = (Tensor("linear.weight", (1, 2)), Tensor("linear.bias", (1,)))


def view_of(digest: str | None = None, layout=LAYOUT):
    record = {
        "app": {"digest": digest or app_of("tabular").digest, "name": "tabular"},
        "done": 0,
        "id": "0123456789abcdef",
        "issuer": "Org1MSP",
        "layout": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in layout],
        "preparation": {},
        "published_ms": 0,
        "roster": [],
        "rules": spec_of().rules(),
        "spec": to_record(spec_of()),
        "state": "published",
    }
    return make(record, [], None, [], [])


@pytest.fixture
def configured(tmp_path):
    rows = "".join(f"{30 + n % 40},{int(n % 40 > 17)}\n" for n in range(120))
    (tmp_path / "heart.csv").write_text("age,disease\n" + rows)
    return dataclasses.replace(config(tmp_path / "state"), folder=tmp_path)


def test_the_same_bytes_each_time_and_each_life(configured):
    spec = spec_of()
    digest, layout, values = initial_model(spec, 7)
    assert digest == app_of("tabular").digest
    view, model = view_of(layout=layout), codec.to_fixed(values, spec.aggregation.scale_bits)
    with AppParticipant(configured, "Org1MSP", view) as first:
        weight, update = first.train(view, model, 1)
        again = first.train(view, model, 1)[1]
        counts = first.evaluate(view, model)
        _, later = first.train(view, model, 2)
    with AppParticipant(configured, "Org1MSP", view) as second:
        _, reborn = second.train(view, model, 1)
    assert update.dtype == np.int32
    assert codec.update_bytes(update) == codec.update_bytes(again) == codec.update_bytes(reborn)
    assert weight + counts.rows == 120
    assert update.any()
    assert later.shape == update.shape


def test_interrupt_breaks_off_a_call_in_another_thread(configured):
    view = view_of()
    participant = AppParticipant(configured, "Org1MSP", view)
    caught = []

    def train():
        try:
            participant.train(view, np.zeros(3, np.int64), 1)
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


def test_another_app_than_the_tasks(configured):
    with pytest.raises(BeflError, match="BEFL-T-009") as caught:
        AppParticipant(configured, "Org1MSP", view_of(digest="b" * 64))
    assert "same release" in caught.value.hint


def test_an_app_that_befl_does_not_bring():
    with pytest.raises(BeflError, match=r"BEFL-C-004: app\.name: must be one of image, tabular.*'homoeopathy'"):
        app_of("homoeopathy")
