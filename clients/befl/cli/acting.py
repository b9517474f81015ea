"""Options and printing of the commands that act for one institution, in its folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from befl.cli.common import emit, format_option, visible

if TYPE_CHECKING:
    from befl.network.channel import Outcome

network_option = click.option(
    "--network",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("network"),
    envvar="BEFL_NETWORK",
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="The institution's folder, or a folder of several.",
)
as_option = click.option(
    "--as",
    "institution",
    default="",
    envvar="BEFL_AS",
    show_envvar=True,
    metavar="ORG",
    help="Which institution of the folder acts; needed when it holds several.",
)


def acting(command: Callable[..., Outcome]) -> Callable[..., None]:
    """Give a command the institution that acts (first argument) and print its outcome."""

    @network_option
    @as_option
    @format_option
    @functools.wraps(command)
    def run(*args: Any, directory: Path, institution: str, form: str, **rest: Any) -> None:
        from befl.network import consortium

        # ORG/NAME is how other commands name an identity; here the institution's admin acts
        with consortium.acting(directory, institution.partition("/")[0], progress) as member:
            emit(command(member, *args, **rest), form, shown)

    return run


def shown(outcome: Outcome) -> str:
    """Write an outcome for people."""
    return "\n".join([*outcome.details, outcome.message])


def progress(line: str) -> None:
    """Say what goes on, beside the result."""
    click.echo(visible(line), err=True)
