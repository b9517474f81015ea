"""``befl audit``: the ledger, looked at afterwards."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import click

from befl.cli.common import connected, emit, moment, table

if TYPE_CHECKING:
    from befl.client import Client, Page


@click.group()
def audit() -> None:
    """See what happened on the ledger. Any identity of the channel may: that of an auditor suffices."""


def time(value: str) -> int:
    """Read a date, or a date and a time, in UTC unless it says otherwise, as milliseconds since 1970."""
    try:
        found = dt.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time such as 2026-11-25 or 2026-11-25T14:30:00Z") from None
    return int(found.replace(tzinfo=found.tzinfo or dt.UTC).timestamp() * 1000)


@audit.command()
@click.option("--task", default="", metavar="ID", help="Of this task.")
@click.option("--msp", "msp_id", default="", metavar="MSPID", help="Submitted by this institution.")
@click.option(
    "--kind", default="", metavar="NAME", help="Calls of this transaction: Submit, TaskContract:Leave, config."
)
@click.option("--since", "since_ms", type=time, help="Proposed at this time or later (UTC).")
@click.option("--until", "until_ms", type=time, help="Proposed before this time (UTC).")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@click.option("--after", default="", metavar="BLOCK:INDEX", help="Go on behind this place, the bookmark of a page.")
@click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", help="How to print.")
@connected("agent")
def query(client: Client, form: str, **wanted: Any) -> None:
    """Show who did what and when, oldest first: valid transactions and invalid ones with Fabric's code.

    It prints what the institution's own peer has recorded.

    \b
    Examples:
      befl audit query --task 5e1f0c2d9a3b4e87 --kind Submit
      befl audit query --msp Org2MSP --since 2026-11-25 --format csv
    """  # noqa: D301  # click wants the character itself
    page = client.audit.query(**wanted)
    if form == "csv":
        click.echo(_csv(page), nl=False)
        return
    emit(page, form, _text)


def _text(page: Page) -> str:
    rows = [
        (
            f"{each.block}:{each.index}",
            moment(each.time_ms),
            each.msp_id,
            each.identity,
            each.transaction,
            each.task or None,
            each.round or None,
            each.code,
        )
        for each in page.entries
    ]
    text = table(("place", "time", "institution", "identity", "transaction", "task", "round", "code"), rows)
    return f"{text}\nThere are more: --after {page.bookmark}" if page.bookmark else text


def _csv(page: Page) -> str:
    """Write a row for each transaction; block and index of the last one are the place to go on from."""
    from befl.client import Entry

    names = [field.name for field in dataclasses.fields(Entry)]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(names)
    for entry in page.entries:
        values = [getattr(entry, name) for name in names]
        writer.writerow([" ".join(value) if isinstance(value, tuple) else value for value in values])
    return written.getvalue()
