"""``befl data``: an institution's own file, held against a task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import emit, format_option, table

if TYPE_CHECKING:
    from befl.client.data import ColumnReport, DataReport


@click.group()
def data() -> None:
    """Hold an institution's own file against a task."""


@data.command()
@click.argument("task", type=click.Path(path_type=Path))
@click.option(
    "--data", "file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The institution's file."
)
@format_option
def check(task: Path, file: Path, form: str) -> None:
    """Say column by column what of a file fits a TASK.toml, and what does not.

    Everything that does not fit is listed, with a few cells of it: the output is for whoever may see the data. Exit
    status 0 when the file fits, 1 when it does not.

    \b
    Example:
      befl data check TASK.toml --data cleveland.csv
    """  # noqa: D301  # click wants the character itself
    from befl.client.data import check_data

    found = check_data(task, file)
    emit(found, form, _text)
    if not found.fits:
        sys.exit(1)


def _text(found: DataReport) -> str:
    lines = [
        f"{found.file}: {found.rows} rows, SHA-256 {found.digest[:16]}",
        f"about {found.held_back} rows are held back for evaluation",
        "",
        table(
            ("column", "type", "rows", "missing", "found"),
            [(each.name, each.type, each.rows, each.missing, _found(each)) for each in found.columns],
            right=frozenset({2, 3}),
        ),
    ]
    if found.unread:
        lines += ["", f"not read: {', '.join(found.unread)}"]
    for title in ("problems", "warnings"):
        said = [(each.name, text) for each in found.columns for text in getattr(each, title)]
        rows = [*getattr(found, title), *(f"{name}: {text}" for name, text in said)]
        if rows:
            lines += ["", f"{title}:", *(f"  {row}" for row in rows)]
    lines += ["", "fits" if found.fits else "does not fit (befl explain CODE says more)"]
    return "\n".join(lines)


def _found(column: ColumnReport) -> str:
    if column.values:
        shown = [f"{value}: {rows}" for value, rows in list(column.values.items())[:10]]
        return ", ".join(shown) + (f" and {len(column.values) - 10} more" if len(column.values) > 10 else "")
    if not column.range:
        return "-"
    seen = column.range
    return (
        f"{seen['least']:.4g} to {seen['most']:.4g}, mean {seen['mean']:.4g}, deviation {seen['deviation']:.4g}; "
        f"prepared: mean {seen['prepared_mean']:.3g}, deviation {seen['prepared_deviation']:.3g}"
    )
