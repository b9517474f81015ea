"""``befl task``: publish, list, show, watch, apply, decline, leave, cancel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import awaited, connected, emit, format_option, harmless, measured, moment, plain, table

if TYPE_CHECKING:
    from befl.client import Client
    from befl.client.tasks import Change, Departure, Refusal, RoundSummary
    from befl.rules.spec import DataSpec
    from befl.rules.view import TaskView


@click.group()
def task() -> None:
    """Publish tasks, look at them, watch them, apply, decline, leave, cancel."""


@task.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--app",
    metavar="APP",
    help="Its app's folder, archive, Python file or SHA-256, when befl does not bring it and the ledger has none, or "
    "several, of its name. An app that the ledger lacks is added.",
)
@click.option("--python", metavar="PATH", help="The interpreter with torch that makes the initial model.")
@connected("issuer")
@format_option
def publish(client: Client, file: Path, app: str | None, python: str | None, form: str) -> None:
    """Publish the task of a TASK.toml, with an initial model that its app makes.

    \b
    Examples:
      befl task publish heart.toml --network network --as org1
      befl task publish scans.toml --app scans/ --network network --as org1
    """  # noqa: D301  # click wants the character itself
    emit(
        client.tasks.publish(file, app=app, python=python),
        form,
        lambda made: (
            (f"added its app {made.app[:16]} to the ledger\n" if made.added else "")
            + f"published task {made.task} ({made.parameters} parameters), block {made.block}, "
            f"transaction {made.txid[:16]}\nnext: befl task watch {made.task}"
        ),
    )


@task.command("list")
@connected("agent")
@format_option
def list_tasks(client: Client, form: str) -> None:
    """List the tasks of the channel."""
    emit(
        client.tasks.list(),
        form,
        lambda tasks: table(
            ("id", "name", "state", "round", "mode", "app", "privacy", "issuer", "published"),
            [
                (
                    each.id,
                    each.name,
                    each.state,
                    f"{each.round}/{each.rounds}",
                    each.mode,
                    each.app,
                    each.scheme,
                    each.issuer,
                    moment(each.published_ms),
                )
                for each in tasks
            ],
        ),
    )


@task.command()
@click.argument("id")
@connected("agent")
@format_option
def show(client: Client, id: str, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Show a task: what it wants, who takes part, whom it waits for, who was refused and why, its rounds.

    Of each round the seconds by step (until the last update, until it was closed, until the last report, until the next
    one opened), its metrics, and the block and transaction that closed it.
    """
    from befl.client import waiting

    view = client.tasks.get(id)
    rounds = client.tasks.rounds(id, steps=True)
    applicants, departures = client.tasks.applicants(id), client.tasks.departures(id)
    refused = client.tasks.refused(view, rounds)
    emit(
        {
            "task": view.record,
            "waits_for": waiting(view),
            "rounds": rounds,
            "applicants": applicants,
            "departures": departures,
            "refused": refused,
        },
        form,
        lambda shown: _page(
            harmless(view),
            shown["rounds"],
            shown["applicants"],
            shown["departures"],
            shown["refused"],
            client.tasks.reachable(view),
        ),
    )


@task.command()
@click.argument("id")
@connected("agent")
@format_option
def watch(client: Client, id: str, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Follow a task until it has ended: each transaction with its block, whom it waits for and until when.

    Of each round that ends its metrics, its seconds by step, what closed it, and who was refused and why.
    With --format json one object a line.
    """
    import json

    from befl.client import waiting

    for change in client.tasks.watch(id):
        if form == "json":
            event = {"transaction": change.transaction, "txid": change.txid, "block": change.block}
            now = {"state": change.view.state, "round": change.view.round, "waits_for": waiting(change.view)}
            click.echo(json.dumps(plain({**event, **now, "ended": change.ended, "refused": change.refused})))
            continue
        change = harmless(change)  # noqa: PLW2901  # what is shown of it
        click.echo(_line(change))
        if change.ended:
            click.echo(f"         {_measured(change.view, change.ended)}")
        for words in _refused(change.refused):
            click.echo(f"         without {words}")
        if change.transaction not in ("Submit", "Report") and change.view.state in ("published", "running"):
            click.echo(f"         waits for {_waits(change.view)}")


@task.command()
@click.argument("id")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="A folder for TensorBoard.")
@click.option(
    "--mlflow",
    metavar="URI",
    help="An MLflow tracking server, such as http://localhost:5000; sqlite:///mlflow.db needs `pip install mlflow`.",
)
@connected("agent")
@format_option
def track(client: Client, id: str, tensorboard: Path | None, mlflow: str | None, form: str) -> None:  # noqa: A002  # as above
    """Write each round's metrics to TensorBoard or MLflow, with task and transaction ids, until the task has ended."""
    from befl.client import tracking

    if (tensorboard is None) == (mlflow is None):
        raise click.UsageError("name one of --tensorboard DIR and --mlflow URI")
    view = client.tasks.get(id)
    opened = tracking.tensorboard(tensorboard, view) if tensorboard else tracking.mlflow(str(mlflow), view)
    with opened as sink:
        written = tracking.track(client.tasks, id, sink)
    emit(
        {"task": id, "rounds": written, "tracked_in": tensorboard or mlflow},
        form,
        lambda made: f"{made['rounds']} rounds of task {id} in {made['tracked_in']}",
    )


@task.command()
@click.argument("id")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="AGENT.toml",
    help="The agent, for a task that asks for sums of its rows.",
)
@connected("agent")
@format_option
def apply(client: Client, id: str, config: Path | None, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Apply to a task for the institution: the operator's yes where the agent's policy says `ask`."""
    emit(client.tasks.apply(id, config=config), form, lambda made: f"applied to task {made.task}, block {made.block}")


_REASON = click.option("--reason", default="not said", show_default=True, help="Why; stands on the ledger.")


@task.command()
@click.argument("id")
@_REASON
@connected("agent")
@format_option
def decline(client: Client, id: str, reason: str, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Say for the institution that it will not apply, so that nobody waits for it.

    The agent asks no more. `befl task apply` still works while the task has not started.
    """
    emit(client.tasks.decline(id, reason), form, lambda made: f"declined task {id}, block {made.block}")


@task.command()
@click.argument("id")
@_REASON
@connected("agent")
@format_option
def leave(client: Client, id: str, reason: str, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Leave a task: withdraw the application, or take no part in later rounds of a task that runs.

    The round that is open goes on without the institution when its deadline is over.
    """
    emit(client.tasks.leave(id, reason), form, lambda made: f"left task {id}, block {made.block}")


@task.command()
@click.argument("id")
@click.option("--reason", required=True, help="Why; stands on the ledger.")
@connected("issuer")
@format_option
def cancel(client: Client, id: str, reason: str, form: str) -> None:  # noqa: A002  # the argument's name in the help
    """Cancel a task that the institution published."""
    emit(client.tasks.cancel(id, reason), form, lambda made: f"cancelled task {id}, block {made.block}")


def _page(
    view: TaskView,
    rounds: Sequence[RoundSummary],
    applicants: Sequence[str],
    departures: Sequence[Departure],
    refused: Sequence[Refusal],
    reachable: int,
) -> str:
    spec, record = view.spec, view.record
    rule = record["rules"]["metrics"]
    lines = [
        f"task {view.id}: {spec.name}",
        f"  state      {view.state}" + (f" ({record['reason']})" if "reason" in record else ""),
        f"  issuer     {record['issuer']}, published {moment(view.published_ms)}",
        f"  mode       {spec.mode}, rules {', '.join(sorted(record['rules'].values()))}",
        f"  app        {record['app']['name']} {record['app']['digest'][:16]}, {record['length']} parameters",
        f"  data       {_data(spec.data)}",
        f"  privacy    {spec.privacy.scheme}",
        f"  applied    {', '.join(applicants) or 'nobody yet'}",
        f"  trainers   {', '.join(view.roster) or 'not selected yet'}",
        *(f"  declined   {each.msp_id} ({each.reason})" for each in departures if not each.round),
        *(f"  left       {each.msp_id} in round {each.round} ({each.reason})" for each in departures if each.round),
        f"  waits for  {_waits(view)}",
        *_hopeless(view, reachable),
        *(f"  without    {words}" for words in _refused(refused)),
        "",
        table(
            (
                *("round", "state", "updates", *(f"{name} s" for name in _STEPS)),
                *(heading for heading, _ in measured(rule, None)),
                *("block", "closed by transaction"),
            ),
            [
                (
                    *(each.number, each.state, len(each.delivered)),
                    *(None if ms is None else f"{ms / 1000:.1f}" for ms in _milliseconds(each)),
                    *(text for _, text in measured(rule, each.metrics)),
                    *(each.block or None, each.txid[:16] or None),
                )
                for each in rounds
            ],
            right=frozenset({0, *range(2, 4 + len(_STEPS) + len(measured(rule, None)))}),
        ),
    ]
    return "\n".join(lines)


_STEPS = {"training": "training_ms", "closing": "closing_ms", "reports": "reporting_ms", "next": "evaluation_ms"}
"""What the steps of a round are called in the table, and the field that holds each."""


def _milliseconds(one: RoundSummary) -> list[int | None]:
    return [getattr(one.steps, name) if one.steps else None for name in _STEPS.values()]


def _refused(refused: Sequence[Refusal]) -> Iterator[str]:
    """Say who was refused and why: a line for each reason, whatever the number of rounds in which it was so."""
    found = dict[tuple[str, str], list[int]]()
    for each in refused:
        found.setdefault((each.msp_id, each.reason), []).append(each.round)
    for (msp_id, reason), numbers in found.items():
        where = (
            "" if numbers == [0] else f" in round {numbers[0]}" if len(numbers) == 1 else f" in rounds {_runs(numbers)}"
        )
        yield f"{msp_id}{where} ({reason})"


def _runs(numbers: Sequence[int]) -> str:
    """Write sorted numbers with a dash where they follow one another: 1-3, 7."""
    runs = list[list[int]]()
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _data(data: DataSpec) -> str:
    rows = f"{len(data.columns)} columns" if data.form == "table" else f"arrays of shape {list(data.shape)}"
    asked = f"; asks for sums of {', '.join(data.pooled)}" if data.pooled else ""
    return f"{data.alias}: {rows}, label {data.label} ({data.target}){asked}"


def _hopeless(view: TaskView, reachable: int) -> Iterator[str]:
    """Say when too few are left for what the task waits for, and who can do what."""
    least, stay = view.spec.participants.least, len(set(view.roster) - set(view.departed))
    if view.state == "published" and reachable < least:
        yield f"  in vain    {reachable} institutions have applied or still can; the task starts with {least}"
    elif view.state == "running" and stay < least:
        yield f"  in vain    {stay} trainers stay, a round opens with {least}; {view.record['issuer']} can cancel it"


def _waits(view: TaskView) -> str:
    from befl.client import waiting

    found = waiting(view)
    if found.what != "applications":
        return awaited(found)
    wanted = view.spec.participants
    come = f"applications: {len(view.applicants)} of {wanted.most} have come"
    return f"{come}; {wanted.least} are enough from {moment(found.until_ms)} on"


def _measured(view: TaskView, one: RoundSummary) -> str:
    """Say in one line what a round brought, how long its steps took, and what closed it."""
    closed = f"; closed in block {one.block}, transaction {one.txid[:16]}"
    if one.metrics is None:
        return f"round {one.number} was void: {len(one.delivered)} updates came{closed}"
    shown = ", ".join(" ".join(item) for item in measured(view.record["rules"]["metrics"], one.metrics))
    steps = zip(_STEPS, _milliseconds(one), strict=True)
    seconds = ", ".join(f"{name} {ms / 1000:.2f} s" for name, ms in steps if ms is not None)
    return f"round {one.number}: {shown}; {seconds}{closed}"


def _line(change: Change) -> str:
    view, current = change.view, change.view.round
    number = f"round {current.number}/{view.spec.rounds.count}" if current else ""
    if not change.transaction:
        return f"task {view.id} ({view.spec.name}) is {view.state} {number}".rstrip()
    detail = ""
    if change.transaction == "Submit" and current:
        detail = f"{len(current.updates)} of {len(current.roster)} updates"
    elif change.transaction == "Report" and current:
        detail = f"{len(current.reports)} of {len(view.roster)} reports"
    elif change.transaction == "Close" and current:
        detail = f"{current.state} after {(current.closed_ms - current.opened_ms) / 1000:.2f} s"
    elif change.transaction in ("Decline", "Leave"):
        detail = f"without {', '.join(view.departed)}"
    elif change.transaction == "Apply":
        detail = f"{len(view.applicants)} of {view.spec.participants.most} applications"
    where = f"block {change.block}  tx {change.txid[:12]}"
    return f"{change.transaction.lower():<8} {number:<12} {detail:<24} {where}".rstrip()
