"""Following a task in TensorBoard or MLflow: each round's metrics, with the ids under which they stand on the ledger.

Both libraries come with ``befl[track]`` and are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from befl.client.tasks import RoundRecords, Tasks
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS
from befl.rules.view import TaskView


class Sink(Protocol):
    """Where metrics go."""

    def write(self, number: int, values: Mapping[str, float], origin: str) -> None:
        """Write a round: values by name, and the ids of task and transactions they come from."""


def track(tasks: Tasks, task: str, sink: Sink) -> int:
    """Write every round that a task has evaluated, then each further one, until the task has ended.

    Returns
    -------
    int
        How many rounds were written.
    """
    seen = written = 0
    for change in tasks.watch(task):
        if change.transaction not in ("", "Open", "Finish"):
            continue  # no round ends by anything else
        rule = METRICS[change.view.record["rules"]["metrics"]]
        while seen < change.view.record["round"]:
            record = tasks.round(task, seen + 1)
            if record.round["state"] not in ("evaluated", "void"):
                break
            seen += 1
            metrics = record.round.get("metrics")
            if metrics is None:
                continue
            names = {"all together": metrics["pooled"], **metrics["institutions"]}
            values = {
                f"{shown.heading}/{who}": found[shown.key] / 1e6
                for shown in rule.shown
                for who, found in names.items()
                if found[shown.key] is not None
            }
            sink.write(seen, values, _origin(task, record))
            written += 1
    return written


@contextmanager
def tensorboard(folder: str | Path, view: TaskView) -> Iterator[Sink]:
    """Write to a folder that ``tensorboard --logdir`` shows; one run a task.

    Raises
    ------
    BeflError
        ``BEFL-C-013`` when the library is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - an extra
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415 - an extra
        from tensorboard.plugins.text.summary_v2 import text_pb  # noqa: PLC0415 - an extra
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415 - an extra
    except ImportError:
        raise _missing("tensorboard") from None
    writer = EventFileWriter(str(Path(folder) / f"{view.spec.name}-{view.id}".replace("/", "-")))

    class Board:
        def write(self, number: int, values: Mapping[str, float], origin: str) -> None:
            scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            writer.add_event(Event(step=number, summary=Summary(value=scalars)))
            writer.add_event(Event(step=number, summary=text_pb("on the ledger", origin)))

    try:
        yield Board()
    finally:
        writer.close()


@contextmanager
def mlflow(uri: str, view: TaskView, *, experiment: str = "befl") -> Iterator[Sink]:
    """Write to an MLflow tracking server or folder; one run a task, tagged with its ids.

    Raises
    ------
    BeflError
        ``BEFL-C-013`` when the library is not installed, or has no such place: a database needs the whole ``mlflow``;
        ``BEFL-C-006`` when the place cannot be used.
    """
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above
        from mlflow.tracking import registry  # noqa: PLC0415 - as above
    except ImportError:
        raise _missing("mlflow-skinny") from None
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
    except registry.UnsupportedModelRegistryStoreURIException:
        raise BeflError(
            "BEFL-C-013",
            f"the MLflow that is installed cannot write to {uri}",
            "Name a server, http://HOST:5000; a database, sqlite:///FILE, needs `pip install mlflow`.",
        ) from None
    except MlflowException as error:
        raise BeflError("BEFL-C-006", f"MLflow at {uri}: {error.message.splitlines()[0]}") from None
    number_of = found.experiment_id if found else client.create_experiment(experiment)
    tags = {"befl.task": view.id, "befl.issuer": view.record["issuer"], "befl.app": view.record["app"]["digest"]}
    run = client.create_run(number_of, run_name=f"{view.spec.name} {view.id}", tags=tags).info.run_id
    for name, value in view.spec.app.settings.items():
        client.log_param(run, name, value)

    class Server:
        def write(self, number: int, values: Mapping[str, float], origin: str) -> None:
            for name, value in values.items():
                client.log_metric(run, name, value, step=number)
            client.set_tag(run, f"befl.round.{number}", origin)

    try:
        yield Server()
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED")


def _origin(task: str, record: RoundRecords) -> str:
    """Name task, model and the transactions of a round's reports."""
    reports = ", ".join(f"{msp_id} {item['txid']}" for msp_id, item in sorted(record.reports.items()))
    return f"task {task}, model {record.round['model']}, reports: {reports}"


def _missing(library: str) -> BeflError:
    return BeflError("BEFL-C-013", f"the library {library} is not installed", "pip install 'befl[track]'")
