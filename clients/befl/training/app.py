"""Training apps: one Python file each.

An app is a file with three functions, on numpy arrays of float32 (``model`` is a dict of name to array):

- ``init(settings, features, classes, seed) -> model``: the initial parameters;
- ``train(model, x, y, settings, seed) -> model``: one round on one institution's rows, the new parameters;
- ``predict(model, x, settings) -> probabilities``: shape (rows, classes).

It may have ``check(settings)``, which raises ``ValueError`` for settings it does not take. ``settings`` is the task's
``[app.settings]``; decimals arrive as text. What an app may use is what the interpreter of the agent's ``[training]``
table has installed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from befl.rules.errors import BeflError

MOST_BYTES: Final = 2**20
_BUILTIN: Final = Path(__file__).parent / "apps"


@dataclass(frozen=True)
class AppCode:
    """An app's code.

    Parameters
    ----------
    name : str
        What the task calls it.
    source : bytes
        The file's content.
    """

    name: str
    source: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the source, hexadecimal: what a task names and an operator approves."""
        return hashlib.sha256(self.source).hexdigest()


def read_app(path: Path, name: str = "") -> AppCode:
    """Read an app from its file.

    Raises
    ------
    BeflError
        ``BEFL-M-101`` when the file cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            source = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BeflError("BEFL-M-101", f"app {path}: {error.strerror or type(error).__name__}") from None
    if len(source) > MOST_BYTES:
        raise BeflError("BEFL-M-101", f"app {path}: larger than {MOST_BYTES} bytes")
    return AppCode(name or path.stem, source)


def app_digest(path: Path) -> str:
    """Return the digest of the app in a file; raises like :func:`read_app`."""
    return read_app(path).digest


@cache
def builtin_apps() -> dict[str, AppCode]:
    """Return the apps that come with befl, by name."""
    return {path.stem: read_app(path) for path in sorted(_BUILTIN.glob("[a-z]*.py"))}
