"""The rows of a task: the same from first use to the end, prepared as all institutions agreed when training began."""

from __future__ import annotations

import dataclasses
import logging
import os

import numpy as np
import pytest

from befl.agent.config import DataTable
from befl.agent.participant import AppParticipant, app_of, initial_model, rows_of
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.rules.reader import to_record
from befl.rules.seeds import initial_seed, rows_seed
from befl.rules.spec import from_record
from befl.rules.view import make
from befl.training.data import held_back, load, sums

from .memory import Institution, asking, config, spec_of, working

AGES = [30 + number % 40 for number in range(120)]
ROWS = "age,disease\n" + "".join(f"{age},{int(age > 47)}\n" for age in AGES)
EMPTY = "age,disease\n" + "".join(f"NA,{int(age > 47)}\n" for age in AGES)
OTHER = ROWS.replace("30,0", "31,1")


def view_of(spec, layout, preparation=None):
    record = {
        "app": {"digest": app_of("tabular").digest, "name": "tabular"},
        "best": None,
        "done": 0,
        "id": "0123456789abcdef",
        "issuer": "Org1MSP",
        "layout": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in layout],
        "preparation": preparation or {},
        "published_ms": 0,
        "roster": [],
        "rules": spec.rules(),
        "spec": to_record(spec),
        "stale": 0,
        "state": "published",
    }
    return make(record, [], [], None, [], [])


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "heart.csv").write_text(ROWS)
    return dataclasses.replace(config(tmp_path / "state"), folder=tmp_path)


@pytest.fixture(scope="module")
def started():
    """A specification, its layout and its initial model in fixed point."""
    spec = asking(spec_of())
    layout, values = initial_model(spec, app_of("tabular"), initial_seed(spec))
    return spec, layout, codec.to_fixed(values, spec.aggregation.scale_bits)


def test_other_rows_are_refused_and_the_old_ones_taken_again(configured, started, tmp_path):
    spec, layout, model = started
    view, path = view_of(spec, layout), tmp_path / "heart.csv"
    with AppParticipant(configured, "Org1MSP", view) as participant:
        before = participant.train(view, model, 1, None)
        path.write_text(OTHER)
        for call in (lambda: participant.train(view, model, 2, None), lambda: participant.evaluate(view, model)):
            with pytest.raises(BeflError, match=r"has SHA-256 [0-9a-f]{16}; task 0123456789abcdef was begun") as caught:
                call()
            assert caught.value.code == "BEFL-C-112"
        with pytest.raises(BeflError, match="BEFL-C-112"):
            AppParticipant(configured, "Org1MSP", view)  # after a restart too
        path.unlink()
        with pytest.raises(BeflError, match="BEFL-C-101"):
            participant.train(view, model, 2, None)
        path.write_text(ROWS)
        after = participant.train(view, model, 1, None)
    assert codec.update_bytes(before[1]) == codec.update_bytes(after[1])


def test_a_change_that_keeps_size_and_time_is_seen(configured, started, tmp_path):
    spec, layout, model = started
    view, path = view_of(spec, layout), tmp_path / "heart.csv"
    with AppParticipant(configured, "Org1MSP", view) as participant:
        times = path.stat()
        path.write_text(ROWS.replace("30,0", "31,0"))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert path.stat().st_size == times.st_size
        with pytest.raises(BeflError, match="BEFL-C-112"):
            participant.train(view, model, 1, None)


def published(consortium) -> str:
    """A task of two rounds, with the model that befl's own app makes for it."""
    spec, app = spec_of(count=2), app_of("tabular")
    layout, values = initial_model(spec, app, initial_seed(spec))
    model = codec.model_bytes(codec.to_fixed(values, spec.aggregation.scale_bits))
    return consortium.ledger("IssuerMSP", "issuer").publish(spec, app.digest, layout, model).value["task"]


def trained(consortium, folder) -> Institution:
    """An institution that trains on the file in a folder, in the real child."""
    institution = Institution(consortium, "Org1MSP", folder / "state")
    institution.store.approve(app_of("tabular").digest, {"name": "tabular"})
    agent = dataclasses.replace(config(folder / "state"), folder=folder)
    institution.participant = lambda view: AppParticipant(agent, "Org1MSP", view)
    return institution


def test_the_agent_lives_on(consortium, tmp_path, caplog):
    """In the middle of a task the file is another one: said once, nothing sent; with the old file the task ends."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "heart.csv"
    path.write_text(ROWS)
    institution = trained(consortium, tmp_path)

    def change(function):
        if function == "RoundContract:Close":
            path.write_text(OTHER)
            institution.caller.after = lambda function: None

    institution.caller.after = change
    task = published(consortium)
    worker = institution.worker(task)
    with working(consortium, [worker]):
        until(lambda: "BEFL-C-112" in caplog.text, timeout=20, what="the refusal")
        assert consortium.ledger("Org1MSP").view(task).round.reports == ()
        path.write_text(ROWS)
        until(lambda: consortium.ledger("Org1MSP").view(task).state == "finished", timeout=20, what="the task's end")
    assert caplog.text.count("BEFL-C-112") == 1


def test_a_file_in_which_nothing_is_known(consortium, tmp_path, caplog):
    """It is refused before the institution applies, and said once; with values in it the task ends."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "heart.csv"
    path.write_text(EMPTY)
    task = published(consortium)
    worker = trained(consortium, tmp_path).worker(task)
    with working(consortium, [worker]):
        until(lambda: "BEFL-C-114" in caplog.text, timeout=20, what="the refusal")
        assert consortium.ledger("Org1MSP").view(task).applicants == ()
        path.write_text(ROWS)
        until(lambda: consortium.ledger("Org1MSP").view(task).state == "finished", timeout=20, what="the task's end")
    assert caplog.text.count("BEFL-C-114") == 1
    assert "no value is known of" not in caplog.text


def test_a_column_of_which_nothing_is_known_is_named_once(configured, started, tmp_path, caplog):
    """The other columns may still teach something, and the numbers stay finite: with sums of nothing, too."""
    record = to_record(started[0])
    record["data"]["columns"]["sex"] = {"type": "category", "values": ["f", "m"]}
    spec = from_record(record)
    (tmp_path / "heart.csv").write_text(
        "age,sex,disease\n" + "".join(f"NA,{'fm'[row % 2]},{int(row % 3 > 0)}\n" for row in range(60))
    )
    layout, values = initial_model(spec, app_of("tabular"), initial_seed(spec))
    view, model = view_of(spec, layout), codec.to_fixed(values, spec.aggregation.scale_bits)
    guessed = view_of(spec, layout, {"age": {"centre": "0", "spread": "1"}})
    with AppParticipant(configured, "Org1MSP", view) as participant:
        assert participant.statistics(view) == {"age": {"values": 0, "total": 0, "squares": 0}}
        assert participant.train(guessed, model, 1, None)[1].any()
        assert participant.evaluate(guessed, model).rows > 0
    assert [record.getMessage() for record in caplog.records] == ["data \"heart\": no value is known of 'age'"]


def test_the_sums_are_of_the_rows_to_train_on(configured, started):
    spec, layout, _ = started
    view = view_of(spec, layout)
    kept = held_back(len(AGES), rows_seed(view.id), spec.data.held_back)
    ages = [age * 10**6 for age, held in zip(AGES, kept, strict=True) if not held]
    with AppParticipant(configured, "Org1MSP", view) as participant:
        found = participant.statistics(view)
    assert found == {"age": {"values": len(ages), "total": sum(ages), "squares": sum(age * age for age in ages)}}
    assert 0 < len(ages) < 120


def test_what_is_missing_is_not_summed(configured, started, tmp_path):
    spec, layout, _ = started
    (tmp_path / "heart.csv").write_text(ROWS.replace("30,0", "?,0"))
    view = view_of(spec, layout)
    kept = held_back(len(AGES), rows_seed(view.id), spec.data.held_back)
    known = sum(not held and age != 30 for age, held in zip(AGES, kept, strict=True))
    with AppParticipant(configured, "Org1MSP", view) as participant:
        assert participant.statistics(view)["age"]["values"] == known


def test_rows_are_prepared_anew_when_training_begins_and_alike_after_a_restart(configured, started):
    spec, layout, model = started
    published, running = view_of(spec, layout), view_of(spec, layout, {"age": {"centre": "49.5", "spread": "11.5"}})
    with AppParticipant(configured, "Org1MSP", published) as participant:
        guessed = participant.train(published, model, 1, None)[1]
        agreed = participant.train(running, model, 1, None)[1]
        counts = participant.evaluate(running, model)
    with AppParticipant(configured, "Org1MSP", running) as reborn:
        assert codec.update_bytes(reborn.train(running, model, 1, None)[1]) == codec.update_bytes(agreed)
        assert reborn.evaluate(running, model) == counts
    assert codec.update_bytes(guessed) != codec.update_bytes(agreed)
    train, _ = rows_of(configured, running)
    assert float(np.abs(train.x[:, 0].mean())) < 0.1
    assert 0.9 < float(train.x[:, 0].std()) < 1.1


def test_the_initial_model_does_not_depend_on_the_sums(started):
    spec, layout, model = started
    again, values = initial_model(spec, app_of("tabular"), initial_seed(spec))
    assert again == layout
    assert codec.to_fixed(values, spec.aggregation.scale_bits).tolist() == model.tolist()


def test_no_file_for_the_data(configured, started):
    lacking = dataclasses.replace(configured, data={"lung": DataTable("lung.csv")})
    with pytest.raises(BeflError, match="BEFL-C-007"):
        rows_of(lacking, view_of(*started[:2]))


def test_a_value_beyond_a_million_is_cut(tmp_path, started):
    spec = started[0].data
    path = tmp_path / "heart.csv"
    path.write_text("age,disease\n1e7,0\n-1e9,1\n")
    cut = 10**12
    assert sums(load(path, spec), spec) == {"age": {"values": 2, "total": 0, "squares": 2 * cut**2}}
