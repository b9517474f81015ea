"""``befl app``: look at training apps, approve them."""

from __future__ import annotations

import datetime as dt
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
    from befl.training import builtin_apps

    apps = [{"name": name, "digest": code.digest} for name, code in sorted(builtin_apps().items())]
    emit(apps, form, lambda rows: table(("name", "SHA-256"), [(row["name"], row["digest"]) for row in rows]))


@app.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the code that would run."""
    from befl.agent.participant import app_of

    click.echo(app_of(name).source.decode())


@app.command()
@click.argument("name")
@_CONFIG
@format_option
def approve(name: str, config: Path, form: str) -> None:
    """Approve an app's code, by its SHA-256, for one agent.

    Look at it first with `befl app show NAME`.
    """
    from befl.agent.config import load
    from befl.agent.participant import app_of
    from befl.agent.store import Store

    code = app_of(name)
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    Store(load(config).state_dir).approve(code.digest, {"approved": moment, "name": name})
    emit(
        {"name": name, "digest": code.digest, "approved": moment},
        form,
        lambda made: f"approved {made['name']} {made['digest']}",
    )
