"""A task followed in TensorBoard and MLflow, read back with their own libraries."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.unit.agent.memory import Consortium, Institution

from befl.client import Tasks, tracking
from befl.rules.errors import BeflError


class Numbers:
    def __init__(self):
        self.written = []

    def write(self, number, values, origin):
        self.written.append(number)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    consortium = Consortium()
    task = consortium.publish()
    Institution(consortium, "Org1MSP", tmp_path_factory.mktemp("org1")).worker(task).run()
    return Tasks(consortium.ledger("Org2MSP", "auditor"), consortium.events), task


def test_tensorboard(finished, tmp_path):
    tasks, task = finished
    with tracking.tensorboard(tmp_path, tasks.get(task)) as sink:
        assert tracking.track(tasks, task, sink) == 2
    board = EventAccumulator(str(tmp_path / f"hearts-{task}"))
    board.Reload()
    pooled = tasks.rounds(task)[1].metrics
    points = board.Scalars("AUC/all together")
    assert [point.step for point in points] == [1, 2]
    assert points[1].value == pytest.approx(pooled["auc_ppm"] / 1e6)
    assert board.Scalars("accuracy/Org1MSP")[1].value == pytest.approx(pooled["accuracy_ppm"] / 1e6)
    [_, origin] = board.Tensors("on the ledger")
    txid = tasks.round(task, 2).reports["Org1MSP"]["txid"]
    assert f"task {task}, model {tasks.rounds(task)[1].model}, reports: Org1MSP {txid}" in (
        origin.tensor_proto.string_val[0].decode()
    )


def test_mlflow(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder does for a test; users have a server
    tasks, task = finished
    uri = (tmp_path / "runs").as_uri()
    with tracking.mlflow(uri, tasks.get(task)) as sink:
        assert tracking.track(tasks, task, sink) == 2
    client = MlflowClient(tracking_uri=uri)
    [run] = client.search_runs([client.get_experiment_by_name("befl").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["befl.task"] == task
    for number in (1, 2):
        tag, record = run.data.tags[f"befl.round.{number}"], tasks.round(task, number)
        assert tag == (
            f"task {task}, model {record.round['model']}, reports: Org1MSP {record.reports['Org1MSP']['txid']}"
        )
    assert "befl.round.3" not in run.data.tags
    history = client.get_metric_history(run.info.run_id, "loss/all together")
    assert [point.step for point in history] == [1, 2]
    assert history[0].value == pytest.approx(tasks.rounds(task)[0].metrics["loss_micro"] / 1e6)
    with pytest.raises(ZeroDivisionError), tracking.mlflow(uri, tasks.get(task)):
        raise ZeroDivisionError
    statuses = {each.info.status for each in client.search_runs([run.info.experiment_id])}
    assert statuses == {"FINISHED", "FAILED"}


@pytest.mark.parametrize(
    ("uri", "code"), [("sqlite:///{}/runs.db", "BEFL-C-013"), ("nonsense://x", "BEFL-C-013"), ("{}/file", "BEFL-C-006")]
)
def test_where_mlflow_cannot_write(finished, tmp_path, monkeypatch, uri, code):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    tasks, task = finished
    with pytest.raises(BeflError) as caught, tracking.mlflow(uri.format(tmp_path), tasks.get(task)):
        pass
    assert caught.value.code == code


def test_void_rounds_are_not_counted(finished, monkeypatch):
    tasks, task = finished
    complete = tasks.round(task, 1)
    record = {key: value for key, value in complete.round.items() if key != "metrics"}
    void = dataclasses.replace(complete, round=record)
    monkeypatch.setattr(tasks, "round", lambda of, number: void if number == 1 else Tasks.round(tasks, of, number))
    sink = Numbers()
    assert tracking.track(tasks, task, sink) == 1
    assert sink.written == [2]


@pytest.mark.parametrize(("sink", "library"), [(tracking.tensorboard, "tensorboard"), (tracking.mlflow, "mlflow")])
def test_a_library_that_is_not_there(finished, tmp_path, monkeypatch, sink, library):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with (
        pytest.raises(BeflError, match="is not installed") as caught,
        sink(str(tmp_path), finished[0].get(finished[1])),
    ):
        pass
    assert caught.value.code == "BEFL-C-013"
