"""``befl model``: list, fetch, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import connected, emit, format_option, measured, table

if TYPE_CHECKING:
    from befl.client import Client


@click.group()
def model() -> None:
    """List, fetch and verify final models."""


@model.command("list")
@connected("agent")
@format_option
def list_models(client: Client, form: str) -> None:
    """List the final models of the channel."""
    emit(
        client.models.list(),
        form,
        lambda records: table(
            ("task", "name", "rounds", "institutions", "metrics", "privacy", "digest"),
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
