"""``befl explain``: the page of an error code."""

from __future__ import annotations

import shutil
import textwrap

import click

from befl.cli.common import emit, format_option
from befl.rules.errors import CODES, Code


@click.command()
@click.argument("code", required=False)
@format_option
def explain(code: str | None, form: str) -> None:
    """Explain an error code, such as BEFL-T-005; without one, list them all."""
    if code is None:
        emit(list(CODES.values()), form, lambda codes: "\n".join(f"{each.id}  {each.title}" for each in codes))
        return
    found = CODES.get(code.upper())
    if found is None:
        raise click.BadParameter(f"{code!r} is none of befl's error codes; `befl explain` lists them")
    emit(found, form, _page)


def _page(code: Code) -> str:
    lines = [
        f"{code.id}: {code.title}",
        "",
        *textwrap.wrap(code.page, min(100, shutil.get_terminal_size((100, 0)).columns)),
    ]
    if code.retryable:
        lines += ["", "The same action may succeed later without anybody changing anything."]
    return "\n".join(lines)
