"""Training apps: which there are, what would run, what an operator has approved."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from befl.agent.config import load
from befl.agent.participant import app_of
from befl.agent.store import Store
from befl.training import builtin_apps


@dataclass(frozen=True)
class App:
    """An app of this release.

    Parameters
    ----------
    name : str
        What a task calls it.
    digest : str
        SHA-256 of its code.
    """

    name: str
    digest: str


@dataclass(frozen=True)
class Approval:
    """An operator's recorded decision about one agent.

    Parameters
    ----------
    name, digest : str
        The app and the SHA-256 of its code.
    approved : str
        When, ISO 8601 in UTC.
    """

    name: str
    digest: str
    approved: str


def apps() -> list[App]:
    """Return the apps of this release."""
    return [App(name, code.digest) for name, code in sorted(builtin_apps().items())]


def app_code(name: str) -> str:
    """Return the code that would run; raises ``BEFL-C-004`` when there is no such app."""
    return app_of(name).files["app.py"].decode()


def approve_app(name: str, config: str | Path) -> Approval:
    """Approve an app's code, by its digest, for the agent of an AGENT.toml.

    Raises
    ------
    BeflError
        ``BEFL-C-004`` when there is no such app, ``BEFL-C-002`` to ``BEFL-C-006`` for the configuration.
    """
    code = app_of(name)
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    Store(load(Path(config)).state_dir).approve(code.digest, {"approved": moment, "name": name})
    return Approval(name, code.digest, moment)
