"""``befl app``: look at training apps, approve them."""

from __future__ import annotations

from pathlib import Path

import click

from befl.cli.common import emit, format_option, table

_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="AGENT.toml",
    help="The agent whose operator decides.",
)


@click.group()
def app() -> None:
    """Look at training apps and approve them: an agent runs only what its operator approved."""


@app.command("list")
@format_option
def list_apps(form: str) -> None:
    """List the apps of this release with the SHA-256 of their code."""
    from befl.client import apps

    emit(apps(), form, lambda found: table(("name", "SHA-256"), [(each.name, each.digest) for each in found]))


@app.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the code that would run."""
    from befl.client import app_code

    click.echo(app_code(name))


@app.command()
@click.argument("name")
@_CONFIG
@format_option
def approve(name: str, config: Path, form: str) -> None:
    """Approve an app's code, by its SHA-256, for one agent.

    Look at it first with `befl app show NAME`.
    """
    from befl.client import approve_app

    emit(approve_app(name, config), form, lambda made: f"approved {made.name} {made.digest}")
