"""``befl model``: list, fetch, verify, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import app_option, connected, emit, format_option, measured, python_option, table

if TYPE_CHECKING:
    from befl.client import Client


@click.group()
def model() -> None:
    """List, fetch, verify and export final models."""


@model.command("list")
@connected("agent")
@format_option
def list_models(client: Client, form: str) -> None:
    """List the final models of the channel."""
    emit(
        client.models.list(),
        form,
        lambda records: table(
            ("task", "name", "rounds", "institutions", "metrics", "privacy", "SHA-256"),
            [
                (
                    record["task"],
                    record["name"],
                    record["round"],
                    len(record["contributors"]),
                    ", ".join(" ".join(item) for item in measured(record["rules"]["metrics"], record["metrics"])),
                    record["scheme"],
                    record["digest"][:16],
                )
                for record in records
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
@connected("agent")
@format_option
def verify(client: Client, folder: Path, form: str) -> None:
    """Hold a model folder against its manifest, file by file, and the manifest against the ledger."""
    emit(
        client.models.verify(folder),
        form,
        lambda verdict: "\n".join(
            [
                *(f"ok  {name}  {digest[:16]}" for name, digest in sorted(verdict.files.items())),
                f"the ledger registered this folder in transaction {verdict.txid[:16]} for task {verdict.task}",
            ]
        ),
    )


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
