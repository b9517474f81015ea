"""A folder to start from: a task, an agent's configuration, an app, and rows to try them on."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Final

from befl.agent.store import write_whole
from befl.rules.errors import BeflError

_STARTER: Final = Path(__file__).with_name("starter")
_FILES: Final = ("TASK.toml", "AGENT.toml", "app/app.toml", "app/app.py")
_ROWS: Final = 400


def init(folder: str | Path) -> list[Path]:
    """Write the folder and return its files.

    The rows of ``data/north.csv`` and ``data/south.csv`` are made up: the same at each call, with more surgery in the
    north and older patients in the south.

    Raises
    ------
    BeflError
        ``BEFL-C-012`` when something is there already, ``BEFL-C-006`` when it cannot be written.
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BeflError("BEFL-C-012", f"{place}: is there already, and not an empty folder", "Name a new one.")
    content = {name: (_STARTER / name).read_bytes() for name in _FILES}
    content |= {f"data/{name}.csv": _rows(name).encode() for name in ("north", "south")}
    for name, data in content.items():
        write_whole(place / name, data, mode=0o644)
    return [place / name for name in content]


def _rows(institution: str) -> str:
    chance = random.Random(institution)  # noqa: S311 - made-up patients, the same for everybody
    lines = ["age,stay,ward,readmitted"]
    for _ in range(_ROWS):
        age = chance.gauss(58 if institution == "north" else 66, 13)
        stay = max(1, round(chance.expovariate(0.2)))
        ward = "surgery" if chance.random() < (0.6 if institution == "north" else 0.3) else "medicine"
        risk = (age - 62) / 10 + (stay - 5) / 3 + (0.8 if ward == "medicine" else -0.4) - 0.3
        readmitted = "yes" if chance.random() < 1 / (1 + math.exp(-risk)) else "no"
        lines.append(f"{age:.0f},{'?' if chance.random() < 0.05 else stay},{ward},{readmitted}")
    return "\n".join(lines) + "\n"
