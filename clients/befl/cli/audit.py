"""``befl audit``: the ledger, looked at afterwards: query, replay, export."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from befl.cli.common import connected, emit, format_option, harmless, moment, table
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.client import Client, Page, Replay


@click.group()
def audit() -> None:
    """See what happened on the ledger, and check all of it. An auditor's identity suffices, as any of the channel."""


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
        click.echo(_csv(harmless(page)), nl=False)
        return
    emit(page, form, _text)


@audit.command()
@click.argument("task")
@click.option(
    "--blocks",
    "files",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A recorded ledger instead of the peer's blocks; several are read one after another. Needs no network.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A model folder: is it what the task made?",
)
@connected("agent", optional=True)
@format_option
def replay(client: Client | None, task: str, files: tuple[Path, ...], model: Path | None, form: str) -> None:
    """Check the channel's blocks, run every transaction of befl again, and follow a task from its updates to its model.

    Nobody is believed: neither peers nor orderers nor chaincode servers. What is taken for granted is the first block,
    whose hash is printed. The last line is the verdict; exit status 0 for PASS, 1 for FAIL, 2 when there was nothing
    to look at.

    \b
    Examples:
      befl audit replay 5e1f0c2d9a3b4e87 --network network --as org1
      befl audit replay 5e1f0c2d9a3b4e87 --blocks ledger.gz --model model-5e1f0c2d9a3b4e87
    """  # noqa: D301  # click wants the character itself
    from befl.cli.main import show
    from befl.client import replay_files

    if client is None and not files:
        raise click.UsageError("Name a network or a profile, or recorded ledgers with --blocks.")
    try:
        if client is not None:
            made = client.audit.replay(task, files=files, model=model, progress=_progress)
        else:
            made = replay_files(task, files, model=model, progress=_progress)
    except BeflError as error:  # whatever its family: 1 is a verdict
        show(error)
        sys.exit(2)
    emit(made, form, _verdict)
    if not made.passed:
        sys.exit(1)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@connected("agent")
@format_option
def export(client: Client, file: Path, form: str) -> None:
    """Record the channel in a file: all blocks, with the private data that the institution may read.

    Whoever has the file can replay it without a network. It holds what the private collections hold: keep it private.
    """
    blocks = client.audit.export(file, progress=_progress)
    emit({"file": file, "blocks": blocks}, form, lambda made: f"{made['blocks']} blocks in {made['file']}")


def _progress(blocks: int) -> None:
    if blocks % 100 == 0:
        click.echo(f"{blocks} blocks", err=True)


def _verdict(made: Replay) -> str:
    lines = [f"{made.blocks} blocks, {made.transactions} transactions: {made.genesis[:16]} to {made.newest[:16]}", ""]
    for each in made.checks:
        word = "FAIL" if each.findings else "ok" if each.looked else "-"
        lines.append(f"{word:<4}  {each.looked:>6}  {each.name:<18}  {each.sentence}")
    found = made.lineage
    again = f"{sum(step.recomputed for step in found.steps)} of {len(found.steps)} rounds computed again"
    ends = f"from model {found.initial[:16]} to {found.final[:16] or 'none'}"
    lines += ["", f"task {found.task} ({found.name}, {found.state}): {again}, {ends}"]
    lines += [f"  round {step.round}: {who} reported another model" for step in found.steps for who in step.dissent]
    lines += ["", "Cannot be replayed:", *(f"  {gap.what}: {gap.why}" for gap in made.gaps)]
    if made.findings:
        lines += ["", "Findings:"]
    for finding in made.findings:
        where = f"block {finding.block}" + (f", transaction {finding.txid[:16]}" if finding.txid else "")
        lines.append(f"  {finding.check}: {where}: {finding.message}")
    return "\n".join([*lines, "", f"verdict: {made.verdict}"])


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
