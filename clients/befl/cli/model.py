"""``befl model``: list, fetch, verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import (
    app_option,
    check_where,
    connected,
    emit,
    format_option,
    measured,
    opened,
    place,
    python_option,
    table,
    where,
)

if TYPE_CHECKING:
    from befl.client import Client, Verdict


@click.group()
def model() -> None:
    """List, fetch, verify, evaluate and export final models."""


@model.command("list")
@connected("agent")
@format_option
def list_models(client: Client, form: str) -> None:
    """List the final models of the channel."""
    emit(
        client.models.list(),
        form,
        lambda models: table(
            ("task", "name", "rounds", "institutions", "metrics", "privacy", "SHA-256"),
            [
                (
                    each.task,
                    each.name,
                    each.round,
                    len(each.contributors),
                    ", ".join(" ".join(item) for item in measured(each.rules["metrics"], each.metrics)),
                    each.scheme,
                    each.digest[:16],
                )
                for each in models
            ],
        ),
    )


@model.command()
@click.argument("task")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the folder goes; model-TASK when absent.",
)
@connected("agent")
@format_option
def fetch(client: Client, task: str, output: Path | None, form: str) -> None:
    """Write a finished task's model folder; every file is held against the ledger first."""
    folder = client.models.fetch(task, output or Path(f"model-{task}"))
    emit({"folder": folder}, form, lambda made: f"model of task {task} in {made['folder']}")


@model.command()
@click.argument("folder", type=click.Path(path_type=Path))
@where("agent")
@format_option
def verify(
    folder: Path, network: Path | None, identity: str | None, profile: Path | None, user: Path | None, form: str
) -> None:
    """Hold a model folder against its manifest, file by file, and the manifest against the ledger.

    The files come first and need no network. Where no network is named and ./network is none, that is all: the command
    says so and exits with 0. With a network it exits with 0 only when the ledger registered this folder.

    Exit status 1 when a file is altered or missing, or when the ledger has another manifest or none for the task, as it
    has none for the model of a simulation; 2 when there is no such folder, or the network cannot be reached.
    """
    from befl.client import verify_folder

    check_where(profile, user)
    found = verify_folder(folder)
    if profile is None:
        network = place(network, optional=False) or place(network, optional=True)
    if network is not None or profile is not None:
        with opened("agent", network, identity, profile, user) as client:
            found = client.models.verify(folder)
    emit(found, form, _verdict)


def _verdict(found: Verdict) -> str:
    if found.txid:
        last = f"the ledger registered this folder in transaction {found.txid[:16]} for task {found.task}"
    elif found.simulated:
        last = "the files are as the manifest says; a simulation made them: this model stands on no ledger"
    else:
        last = (
            "the files are as the manifest says; they were not held against a ledger: "
            f"name the network (--network DIR --as ORG) to ask it about task {found.task}"
        )
    return "\n".join([*(f"ok  {name}  {digest[:16]}" for name, digest in sorted(found.files.items())), last])


@model.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--held-back",
    is_flag=True,
    help="Only on the rows that an institution with this file held back, by the task's id and percentage.",
)
@app_option
@python_option
@format_option
def evaluate(folder: Path, data: Path, held_back: bool, app: Path | None, python: str | None, form: str) -> None:
    """Say how good the model in FOLDER is on the file DATA, in the terms of its card. Needs no network.

    Without --held-back all rows count, those that the model was trained on included. With it, and with the file that an
    institution's agent used, these are the figures of the card for that institution.
    """
    from befl.client.prediction import load_model, read_app

    loaded = load_model(folder)
    metrics = loaded.evaluate(data, held_back=held_back, app=read_app(app) if app else None, python=python)
    shown = [("rows", str(metrics["rows"])), *measured(loaded.metrics_rule, metrics)]
    emit(metrics, form, lambda _: table(tuple(name for name, _ in shown), [tuple(text for _, text in shown)]))


@model.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.onnx", help="The file to write."
)
@app_option
@python_option
@format_option
def export(folder: Path, output: Path, app: Path | None, python: str | None, form: str) -> None:
    """Write a model folder as ONNX, for programs without befl. Needs no network, but the extra befl[train,onnx].

    The file's input x are rows prepared as preparation.json says, its output predictions are the probability of each
    class, or the prepared number.
    """
    from befl.client.prediction import export_model, read_app

    size = export_model(folder, output, app=read_app(app) if app else None, python=python)
    emit({"file": output, "bytes": size}, form, lambda made: f"{made['bytes']} bytes in {made['file']}")
