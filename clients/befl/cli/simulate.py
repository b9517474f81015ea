"""``befl simulate``: a print over :mod:`befl.client.simulation`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import app_option, emit, format_option, measured, python_option

if TYPE_CHECKING:
    from befl.client.simulation import Round, Simulation


@click.command("simulate")
@click.argument("task", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder with a file or a folder for each institution, or one file to split; `data` beside TASK when absent.",
)
@click.option(
    "--split", metavar="HOW", help="Divide one file: iid (when absent), dirichlet:0.5 (by the label) or column:NAME."
)
@click.option(
    "--institutions",
    type=click.IntRange(1, 128),
    metavar="N",
    help="How many parts; [participants] most when absent, of a column all values.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Decides the split; 0 when absent.")
@app_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep model, rounds and parts here.",
)
@click.option("--id", metavar="TASK", help="The task's id; that of a task on a network gives the same model.")
@python_option
@click.option(
    "--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of the training process."
)
@format_option
def simulate(
    task: Path,
    data: Path | None,
    split: str | None,
    institutions: int | None,
    seed: int | None,
    app: Path | None,
    output: Path | None,
    id: str | None,  # noqa: A002  # the option's name
    python: str | None,
    threads: int,
    form: str,
) -> None:
    """Run the task of a TASK.toml here and now: every institution in one process, on a ledger in memory.

    The contracts, the agents' decisions and the app are those of a real network; there is no Fabric, nothing waits, and
    the same task and data give the same model.

    \b
    Examples:
      befl simulate TASK.toml                                       one institution for each file in ./data
      befl simulate TASK.toml --data all.csv --split iid --institutions 4
      befl simulate TASK.toml --data all.csv --split dirichlet:0.5 --institutions 10 --output run
    """  # noqa: D301  # click wants the character itself
    from befl.client.simulation import simulate as run

    lines = _Lines()
    made = run(
        task,
        data=data,
        split=split,
        institutions=institutions or 0,
        seed=seed,
        app=app,
        output=output,
        id=id,
        python=python,
        threads=threads,
        progress=lines.say if form == "text" else lambda _: None,
    )
    emit(_plain(made), form, lambda _: _end(made, output, app or task.parent / "app"))


class _Lines:
    """One line a round, as it ends."""

    def __init__(self) -> None:
        self.began = False

    def say(self, done: Round) -> None:
        pooled = done.record["metrics"]["pooled"] if "metrics" in done.record else None
        shown = measured(done.metrics, pooled)
        if not self.began:
            click.echo("  ".join(["round", "updates", *(f"{heading:>8}" for heading, _ in shown), "seconds"]))
            self.began = True
        cells = [f"{text:>8}" for _, text in shown] if pooled else ["void: too few updates"]
        seconds = f"{sum(done.seconds.values()):7.2f}"
        click.echo("  ".join([f"{done.number:>5}", f"{len(done.record['updates']):>7}", *cells, seconds]))


def _plain(made: Simulation) -> dict[str, object]:
    return {
        "task": made.task,
        "model": made.model,
        "digest": made.digest,
        "blocks": made.blocks,
        "seconds": round(made.seconds, 3),
        "trainers": made.record["roster"],
        "rounds": [{"record": each.record, "seconds": each.seconds} for each in made.rounds],
        "warnings": list(made.warnings),
    }


def _end(made: Simulation, output: Path | None, app: Path) -> str:
    from befl.client import apps

    own = made.record["app"]["name"] not in {each.name for each in apps()}
    lines = [
        *(f"warning: {text}" for text in made.warnings),
        f"{len(made.record['roster'])} institutions, {len(made.rounds)} rounds, {made.seconds:.1f} s",
        f"task {made.task}, model {made.model[:16]}",
    ]
    if output is not None:
        command = f"befl predict {shlex.quote(str(output / 'model'))} DATA.csv"
        command += f" --app {shlex.quote(str(app))}" if own else ""
        lines.append(f"model in {output / 'model'}, on no ledger; try: {command}")
    else:
        lines.append("nothing was kept; --output DIR keeps the model")
    return "\n".join(lines)
