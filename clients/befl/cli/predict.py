"""``befl predict``: a print over :mod:`befl.client.prediction`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import app_option, python_option, visible

if TYPE_CHECKING:
    from befl.client.prediction import Predictions


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file instead of printing."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "csv", "json")),
    help="How to write it; csv for a file, text for a screen.",
)
@app_option
@python_option
def predict(
    model: Path, data: Path, output: Path | None, form: str | None, app: Path | None, python: str | None
) -> None:
    """Predict each row of the file DATA with the model folder MODEL.

    The columns are those that the model's task declared; the label is not needed. Needs no network.
    """
    from befl.client.prediction import load_model, read_app, write_predictions

    loaded = load_model(model)
    made = loaded.predict(data, app=read_app(app) if app else None, python=python)
    text = {"text": _table, "csv": _csv, "json": _json}[form or ("csv" if output else "text")](made)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_predictions(text, output, data)


def _lines(made: Predictions) -> list[list[str]]:
    header = ["row", *(f"p({name})" for name in made.classes), "predicted"]
    rows = zip(made.probabilities, made.predicted, strict=True)
    return [
        header,
        *(
            [str(number), *(f"{value:.6f}" for value in row), name if isinstance(name, str) else f"{name:.7g}"]
            for number, (row, name) in enumerate(rows, start=1)
        ),
    ]


def _table(made: Predictions) -> str:
    lines = [[visible(cell, "") for cell in line] for line in _lines(made)]  # who made the model named the classes
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n" for line in lines
    )


def _csv(made: Predictions) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_lines(made))
    return text.getvalue()


def _json(made: Predictions) -> str:
    value: dict[str, object] = {"predicted": made.predicted}
    if made.classes:
        probabilities = [[round(float(value), 6) for value in row] for row in made.probabilities]
        value = {"classes": list(made.classes), **value, "probabilities": probabilities}
    return json.dumps(value, indent=2) + "\n"
