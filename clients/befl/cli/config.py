"""``befl config``: what holds for a command, and where each value comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from befl.cli.common import emit, format_option, place, plain, table, where

if TYPE_CHECKING:
    from befl.client import Setting

_ORIGINS = {
    "network": ("option --network", "environment BEFL_NETWORK"),
    "identity": ("option --as", "environment BEFL_AS"),
    "profile": ("option --profile", ""),
    "user": ("option --user", ""),
}


@click.group()
def config() -> None:
    """See the configuration in force."""


@config.command()
@where("agent")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="AGENT.toml",
    help="An agent's configuration too, key by key.",
)
@format_option
def show(
    network: Path | None, identity: str | None, profile: Path | None, user: Path | None, file: Path | None, form: str
) -> None:
    """Show what holds for a command that is called with the same options, and where each value comes from.

    Options stand before BEFL_* variables, those before files, those before defaults. Nothing is connected to, and
    no key is read.

    \b
    Examples:
      befl config show
      befl config show --network network --as org1
      befl config show --config AGENT.toml
    """  # noqa: D301  # click wants the character itself
    from befl.client import Setting, agent_settings, connection_settings
    from befl.network.fabric import cache_dir

    context = click.get_current_context()
    origins = {}
    for name, (option, variable) in _ORIGINS.items():
        source = context.get_parameter_source(name)
        from_environment = source is ParameterSource.ENVIRONMENT
        origins[name] = variable if from_environment else option if source is ParameterSource.COMMANDLINE else "default"
    if profile is None and user is None:
        network = place(network, optional=False)
    chosen = os.environ.get("BEFL_FABRIC_BIN")
    found = [
        *connection_settings(network=network, identity=identity, profile=profile, user=user, origins=origins),
        Setting("cache", str(cache_dir()), "environment BEFL_CACHE" if os.environ.get("BEFL_CACHE") else "default"),
        Setting("fabric", chosen or "from PATH, else cache", "environment BEFL_FABRIC_BIN" if chosen else "default"),
        *(agent_settings(file) if file is not None else ()),
    ]
    emit(found, form, _page)


def _page(found: Sequence[Setting]) -> str:
    rows = [(each.name, _written(each), each.origin) for each in found]
    problems = [f"{each.name}: {each.problem}" for each in found if each.problem]
    return "\n".join([table(("name", "value", "from"), rows), *problems])


def _written(one: Setting) -> str | None:
    """Write a value as a file would have it; text that is not empty as it is."""
    written: str | None = one.value
    if one.value is not None and not (isinstance(one.value, str) and one.value):
        written = json.dumps(plain(one.value))
    return written
