"""``befl init``: a print over :mod:`befl.client.starting`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from befl.cli.common import emit, format_option

_ABOUT = {
    "TASK.toml": "the task, with comments",
    "AGENT.toml": "an agent's configuration, with comments",
    "app/app.toml": "an app of your own: what it is called",
    "app/app.py": "an app of your own: its torch module",
    "data/north.csv": "made-up rows of one institution",
    "data/south.csv": "made-up rows of another",
}


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@format_option
def init(folder: Path, form: str) -> None:
    """Write a folder to start from: a task, an agent's configuration, an app, and rows of two institutions.

    It simulates at once: change one thing, and simulate again.
    """
    from befl.client import init as start

    def told(made: list[Path]) -> str:
        lines = [f"  {path.relative_to(folder)!s:<16} {_ABOUT[path.relative_to(folder).as_posix()]}" for path in made]
        return "\n".join([f"made {folder}", *lines, f"next: befl simulate {shlex.quote(str(folder / 'TASK.toml'))}"])

    emit(start(folder), form, told)
