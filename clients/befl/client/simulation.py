"""Simulating a task before anybody else is asked: no Fabric, no network, no keys."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from befl.agent.store import write_whole
from befl.client.tasks import read_spec
from befl.rules.errors import BeflError
from befl.rules.spec import TaskSpec
from befl.simulate import Round, Simulation, institutions_of, split_file
from befl.simulate import simulate as run
from befl.training import AppCode, builtin_apps, read_app

__all__ = ["Round", "Simulation", "simulate"]

_MODEL, _PARTS, _ROUNDS = "model", "parts", "rounds.json"
_NEW: Final = "Name a new folder."


def simulate(
    task: str | Path,
    *,
    data: str | Path | Mapping[str, str | Path] | None = None,
    split: str | None = None,
    institutions: int = 0,
    seed: int | None = None,
    app: str | Path | None = None,
    output: str | Path | None = None,
    id: str | None = None,  # noqa: A002 - the word that commands and listings use
    python: str | None = None,
    threads: int = 1,
    progress: Callable[[Round], None] = lambda _: None,
) -> Simulation:
    """Run the task of a TASK.toml with a whole consortium in this process.

    Parameters
    ----------
    task : path
        The task specification.
    data : path or mapping, optional
        A folder with one file or folder for each institution; one file that ``split`` divides; or each institution's
        name and file. The folder ``data`` beside the task's file when None.
    split : str, optional
        ``"iid"`` (when None), ``"dirichlet:A"`` or ``"column:NAME"``: see :func:`befl.simulate.split_file`.
    institutions : int
        How many parts a split makes; 0 for the task's ``[participants] most``, or with ``column`` for all values.
    seed : int, optional
        Decides the split; 0 when None.
    app : path, optional
        The app's folder, archive or file, when it does not come with befl; the folder ``app`` beside the task's file
        when None.
    output : path, optional
        Where the model folder (``model``), the rounds (``rounds.json``) and the parts of a split (``parts``) go;
        nothing is kept without it. A new or empty folder, or that of an earlier simulation.
    id : str, optional
        The id that the task shall have: with that of a task on a network the same model comes out.
    python : str, optional
        Interpreter with torch; this one by default.
    threads : int
        Threads of the training process.
    progress : callable
        Is told each round as it ends.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-006`` for the task's file and id, ``BEFL-C-010`` and ``BEFL-C-011`` for the
        institutions, ``BEFL-C-012`` for an output that holds something else, ``BEFL-C-014`` for an app that
        is not here, and whatever rules, agents and the app
        refuse.
    """
    spec = read_spec(task)
    if id is not None and not re.fullmatch("[0-9a-f]{16}", id):
        raise BeflError("BEFL-C-004", f"id: must be a task's id, 16 hex digits, not {id[:40]!r}")
    rows = data if isinstance(data, Mapping) else Path(data or Path(task).parent / "data")
    if output is not None:
        _make_ready(Path(output), None if isinstance(rows, Mapping) else rows)
    with tempfile.TemporaryDirectory(prefix="befl-parts-") as temporary:
        place = Path(output) / _PARTS if output is not None else Path(temporary)
        if isinstance(rows, Mapping):
            files = {name: Path(file) for name, file in rows.items()}
        else:
            files = _files(spec, rows, split, institutions, seed, place)
        code = read_app(Path(app)) if app is not None else _beside(Path(task), spec)
        made = run(spec, files, task=id, app=code, python=python, threads=threads, progress=progress)
    if output is not None:
        for name, content in made.files.items():
            write_whole(Path(output) / _MODEL / name, content, mode=0o644)
        rounds = [each.record for each in made.rounds]
        write_whole(Path(output) / _ROUNDS, json.dumps(rounds, indent=1).encode(), mode=0o644)
    return made


def _make_ready(output: Path, data: Path | None) -> None:
    """Make the folder for what is kept, or refuse it, before anything is computed for it."""
    if data is not None:
        place, rows = output.resolve(), data.resolve()
        if place.is_relative_to(rows) or (rows.is_relative_to(place / _PARTS) and rows.is_file()):
            raise BeflError("BEFL-C-012", f"{output}: the data are there, and what is kept would lie among them", _NEW)
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        foreign = sorted({each.name for each in output.iterdir()} - {_MODEL, _PARTS, _ROUNDS})
        if foreign and not (output / _ROUNDS).is_file():
            raise BeflError("BEFL-C-012", f"{output}: has {foreign[0]} in it and is no earlier simulation", _NEW)
        (output / _MODEL).mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=output / _MODEL):
            pass
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{output}: {error.strerror or type(error).__name__}", _NEW) from None


def _beside(task: Path, spec: TaskSpec) -> AppCode | None:
    """Return the app in the folder ``app`` beside the task's file, when it is the task's."""
    folder = task.parent / "app"
    if spec.app.name in builtin_apps():
        return None
    found = read_app(folder) if folder.is_dir() else None
    if found is None or found.name != spec.app.name:
        known = ", ".join(sorted({*builtin_apps(), *([found.name] if found else [])}))
        raise BeflError(
            "BEFL-C-014", f"there is no app {spec.app.name!r} here", f"Known: {known}. Name another one: --app FOLDER."
        )
    return found


def _files(
    spec: TaskSpec, data: Path, split: str | None, institutions: int, seed: int | None, place: Path
) -> dict[str, Path]:
    if data.is_dir():
        if split or institutions or seed is not None:
            raise BeflError("BEFL-C-011", f"{data}: is a folder of institutions; a split divides one file")
        return institutions_of(data, spec.data.alias)
    if not data.exists():
        raise BeflError(
            "BEFL-C-101",
            f"{data}: no such file or folder",
            "Name the institutions' data: --data FOLDER, or --data FILE with --split.",
        )
    split = split or "iid"
    count = institutions or (0 if split.startswith("column:") else spec.participants.most)
    made = split_file(data, split, count, spec.data.label, place, seed=seed or 0)
    for old in set(place.iterdir()) - set(made.values()):
        if old.is_file():
            old.unlink()  # of a split before this one: together they would be no split
    return made
