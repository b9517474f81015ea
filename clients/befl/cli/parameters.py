"""``befl parameters``: what the consortium has set for all tasks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import connected, emit, format_option, moment

if TYPE_CHECKING:
    from befl.client import Client, InForce, ParametersVersion
    from befl.rules.parameters import Parameters

_FILE = click.argument("file", type=click.Path(path_type=Path), metavar="FILE.toml")


@click.group()
def parameters() -> None:
    """See and change what the consortium has set for all tasks.

    A change needs the approval of more than half of the members: each approves the same file, then any of them assigns
    it. Every round names the version in force when it opened.
    """


@parameters.command()
@connected("agent")
@format_option
def show(client: Client, form: str) -> None:
    """Show the parameters in force as TOML, their version, and the approvals that wait."""
    emit(client.parameters.show(), form, _page)


@parameters.command("list")
@connected("agent")
@format_option
def list_parameters(client: Client, form: str) -> None:
    """List all versions that the members have put in force: since when, approved by whom, with which values."""
    emit(
        client.parameters.list(),
        form,
        lambda versions: "\n\n".join(map(_version, versions)) or "The defaults are in force, and always were.",
    )


@parameters.command()
@_FILE
@connected("admin")
@format_option
def approve(client: Client, file: Path, form: str) -> None:
    """Approve, for the own institution, the parameters of FILE.toml as the next version.

    It is a whole set, which is printed: what the file leaves out has its default, whatever is in force.
    """
    from befl.client.members import read_parameters_file

    wanted = read_parameters_file(file)
    emit(
        client.parameters.approve(wanted),
        form,
        lambda done: "\n".join([f"approved version {done.value['version']} (block {done.block})", *_values(wanted)]),
    )


@parameters.command()
@_FILE
@connected("admin")
@format_option
def assign(client: Client, file: Path, form: str) -> None:
    """Put the parameters of FILE.toml in force, which more than half of the members have approved."""
    from befl.client.members import read_parameters_file

    emit(
        client.parameters.assign(read_parameters_file(file)),
        form,
        lambda done: (
            f"version {done.value['version']} is in force, approved by {', '.join(done.value['approved_by'])} "
            f"(block {done.block})"
        ),
    )


def _page(found: InForce) -> str:
    lines = [f"# version {found.version}" + ("" if found.version else " (the defaults)")]
    lines += _values(found.parameters)
    lines += [f"# waits: {who} approves {words}" for who, words in sorted(found.waiting.items())]
    return "\n".join(lines)


def _version(one: ParametersVersion) -> str:
    about = f"# version {one.version}, since {moment(one.assigned_ms)}, approved by {', '.join(one.approved_by)}"
    return "\n".join([about, *_values(one.parameters)])


def _values(parameters: Parameters) -> list[str]:
    values = dataclasses.asdict(parameters)
    return [f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}" for name, value in values.items()]
