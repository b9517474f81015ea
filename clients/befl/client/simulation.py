"""Simulating a task before anybody else is asked: no Fabric, no network, no keys."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from befl.agent.store import write_whole
from befl.client.tasks import read_spec
from befl.rules.errors import BeflError
from befl.rules.spec import TaskSpec
from befl.simulate import Round, Simulation, institutions_of, split_file
from befl.simulate import simulate as run
from befl.training import AppCode, builtin_apps, read_app

__all__ = ["Round", "Simulation", "simulate"]


def simulate(
    task: str | Path,
    *,
    data: str | Path | Mapping[str, str | Path] | None = None,
    split: str | None = None,
    institutions: int = 0,
    seed: int = 0,
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
        ``"iid"``, ``"dirichlet:A"`` or ``"column:NAME"``: see :func:`befl.simulate.split_file`.
    institutions : int
        How many parts a split makes; 0 for the task's ``[participants] most``, or with ``column`` for all values.
    seed : int
        Decides the split.
    app : path, optional
        The app's folder, archive or file, when it does not come with befl; the folder ``app`` beside the task's file
        when None.
    output : path, optional
        Where the model folder (``model``), the rounds (``rounds.json``) and the parts of a split (``parts``) go;
        nothing is kept without it.
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
        institutions, and whatever rules, agents and the app refuse.
    """
    spec = read_spec(task)
    if id is not None and not re.fullmatch("[0-9a-f]{16}", id):
        raise BeflError("BEFL-C-004", f"id: must be a task's id, 16 hex digits, not {id[:40]!r}")
    with tempfile.TemporaryDirectory(prefix="befl-parts-") as temporary:
        place = Path(output) / "parts" if output is not None else Path(temporary)
        if isinstance(data, Mapping):
            files = {name: Path(file) for name, file in data.items()}
        else:
            files = _files(spec, Path(data or Path(task).parent / "data"), split, institutions, seed, place)
        code = read_app(Path(app)) if app is not None else _beside(Path(task), spec)
        made = run(spec, files, task=id, app=code, python=python, threads=threads, progress=progress)
    if output is not None:
        for name, content in made.files.items():
            write_whole(Path(output) / "model" / name, content, mode=0o644)
        rounds = [each.record for each in made.rounds]
        write_whole(Path(output) / "rounds.json", json.dumps(rounds, indent=1).encode(), mode=0o644)
    return made


def _beside(task: Path, spec: TaskSpec) -> AppCode | None:
    """Return the app in the folder ``app`` beside the task's file, when it is the task's."""
    folder = task.parent / "app"
    found = read_app(folder) if spec.app.name not in builtin_apps() and folder.is_dir() else None
    return found if found is not None and found.name == spec.app.name else None


def _files(spec: TaskSpec, data: Path, split: str | None, institutions: int, seed: int, place: Path) -> dict[str, Path]:
    if data.is_dir():
        if split or institutions:
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
    return split_file(data, split, count, spec.data.label, place, seed=seed)
