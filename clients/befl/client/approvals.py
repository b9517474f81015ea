"""Training apps: which there are, what would run, how they travel, what an operator has approved."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from befl.agent.config import load
from befl.agent.ledger import Ledger, Receipt
from befl.agent.participant import app_from
from befl.agent.store import Store, write_whole
from befl.rules.errors import BeflError
from befl.training import AppCode, builtin_apps, read_app
from befl.training.app import SUFFIX

_DIGEST: Final = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class App:
    """An app of this release, or one that was added to the ledger.

    Parameters
    ----------
    name : str
        What a task calls it.
    digest : str
        SHA-256 of its archive.
    bytes : int
        Size of the archive.
    added_by : str
        The institution that added it; empty for an app of this release.
    approved_by : tuple of str
        MSP IDs of the institutions whose approval stands on the ledger.
    """

    name: str
    digest: str
    bytes: int
    added_by: str = ""
    approved_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approval:
    """An operator's recorded decision about one agent.

    Parameters
    ----------
    name, digest : str
        The app and the SHA-256 of its archive.
    approved : str
        When, ISO 8601 in UTC.
    """

    name: str
    digest: str
    approved: str


class Apps:
    """The apps on the ledger.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self) -> Sequence[App]:
        """Return the apps of this release and those that were added, with the institutions that approve them."""
        approved: dict[str, list[str]] = {}
        for record in self._ledger.app_approvals():
            approved.setdefault(record["digest"], []).append(record["msp_id"])
        return [
            dataclasses.replace(each, approved_by=tuple(sorted(approved.get(each.digest, ()))))
            for each in [*apps(), *self.added()]
        ]

    def added(self) -> Sequence[App]:
        """Return the apps that were added, without their approvals."""
        return [App(each["name"], each["digest"], each["bytes"], each["msp_id"]) for each in self._ledger.apps()]

    def code(self, digest: str) -> AppCode:
        """Return the code of an app that was added, held against its digest and name.

        Raises
        ------
        BeflError
            ``BEFL-T-007`` it was not added, ``BEFL-M-007`` the peer gave other bytes, ``BEFL-M-111`` they are no
            archive or have another name.
        """
        record = self._ledger.app(digest)["app"]
        if record is None:
            raise BeflError("BEFL-T-007", f"app {digest[:16]} was approved, not added", "befl app add FILE adds it.")
        return app_from(self._ledger.app_bytes(digest), record["name"], f"{record['msp_id']}, who added it,")

    def add(self, app: AppCode) -> Receipt:
        """Add an app, as an issuer; raises ``BEFL-T-003`` when it is there already."""
        return self._ledger.add_app(app.name, app.archive)

    def has(self, digest: str) -> bool:
        """Say whether an app was added."""
        try:
            return self._ledger.app(digest)["app"] is not None
        except BeflError as error:
            if error.code != "BEFL-T-007":
                raise
            return False

    def approve(self, digest: str) -> Receipt:
        """Record, as the institution's operator, that its agent may run an app."""
        return self._ledger.approve_app(digest)

    def withdraw(self, digest: str) -> Receipt:
        """Take the institution's approval back, as its operator."""
        return self._ledger.withdraw_app(digest)


def apps() -> list[App]:
    """Return the apps of this release."""
    return [App(name, code.digest, len(code.archive)) for name, code in sorted(builtin_apps().items())]


def find_app(app: str | Path, *, apps: Apps | None = None, config: str | Path | None = None) -> AppCode:
    """Find the code of an app.

    Parameters
    ----------
    app : str or path
        The name of an app of this release; a folder, an archive or a Python file; or name or digest (its first 16 or
        more digits) of one that the agent's folder or the ledger has.
    apps : Apps, optional
        The ledger to look at.
    config : path, optional
        The AGENT.toml whose agent's folder to look at.

    Raises
    ------
    BeflError
        ``BEFL-C-014`` when there is none or several; ``BEFL-M-101`` for a file that is none, and as :meth:`Apps.code`;
        ``BEFL-C-002`` to ``BEFL-C-006`` for the configuration.
    """
    text, own = str(app), builtin_apps()
    store = Store(load(Path(config)).state_dir) if config is not None else None
    if text in own:
        return own[text]
    if Path(app).exists():
        return read_app(Path(app))
    known: dict[str, tuple[str, Callable[[], AppCode]]] = {}
    if apps is not None:
        known |= {each.digest: (each.name, functools.partial(apps.code, each.digest)) for each in apps.added()}
    if store is not None:
        for digest, decision in store.approvals().items():
            archive, name = store.app(digest), str(decision["name"])
            if archive is not None:
                known[digest] = (name, functools.partial(app_from, archive, name, "the approval"))
    for code in own.values():
        known[code.digest] = (code.name, functools.partial(own.__getitem__, code.name))
    return known[_chosen(text, {digest: name for digest, (name, _) in known.items()})][1]()


def pack_app(path: str | Path, output: str | Path | None = None) -> tuple[AppCode, Path]:
    """Write an app's archive; return the app and the file, by default ``NAME.befl-app`` in the working folder.

    Raises
    ------
    BeflError
        ``BEFL-M-101`` for what is no app, ``BEFL-C-004`` for a file of another kind of name, ``BEFL-C-006`` when it
        cannot be written.
    """
    code = read_app(Path(path))
    made = Path(output) if output is not None else Path(code.name + SUFFIX)
    if made.suffix != SUFFIX:  # so that no other file is written over, and no archive goes into the next one
        raise BeflError("BEFL-C-004", f"output: an archive is called NAME{SUFFIX}, not {made.name!r}")
    write_whole(made, code.archive, mode=0o644)
    return code, made


def approve_app(app: AppCode | str | Path, config: str | Path) -> Approval:
    """Approve an app's code, by its digest, for the agent of an AGENT.toml.

    This is what the agent goes by; :meth:`Apps.approve` records it on the ledger for all to see.

    Parameters
    ----------
    app : AppCode, str or path
        The app, or what :func:`find_app` finds without a ledger.
    config : path
        The AGENT.toml.

    Raises
    ------
    BeflError
        As :func:`find_app`; ``BEFL-C-002`` to ``BEFL-C-006`` for the configuration.
    """
    code = app if isinstance(app, AppCode) else find_app(app, config=config)
    store = Store(load(Path(config)).state_dir)
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    store.approve(code.digest, {"approved": moment, "name": code.name}, code.archive)
    return Approval(code.name, code.digest, moment)


def approved_apps(config: str | Path) -> list[Approval]:
    """Return what the operator of an AGENT.toml's agent has approved: all that it would run.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-006`` for the configuration.
    """
    found = Store(load(Path(config)).state_dir).approvals()
    made = [Approval(str(each["name"]), digest, str(each["approved"])) for digest, each in found.items()]
    return sorted(made, key=lambda each: (each.name, each.digest))


def withdraw_app(app: str, config: str | Path) -> Approval:
    """Take an approval back: from its next step on the agent runs the app no more.

    Returns
    -------
    Approval
        The one that stood.

    Raises
    ------
    BeflError
        ``BEFL-C-014`` when no such app is approved; ``BEFL-C-002`` to ``BEFL-C-006`` for the configuration.
    """
    store = Store(load(Path(config)).state_dir)
    approvals = store.approvals()
    digest = _chosen(app, {digest: decision["name"] for digest, decision in approvals.items()})
    store.withdraw(digest)
    return Approval(approvals[digest]["name"], digest, approvals[digest]["approved"])


def _chosen(text: str, known: dict[str, str]) -> str:
    """Return the one digest that a name or the beginning of a digest means."""
    found = sorted(
        digest
        for digest, name in known.items()
        if name == text or (_DIGEST.fullmatch(text) and digest.startswith(text))
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise BeflError("BEFL-C-014", f"{len(found)} apps are called {text}: {', '.join(found)}", "Name one by digest.")
    listed = ", ".join(sorted({f"{name} {digest[:16]}" for digest, name in known.items()})) or "none"
    raise BeflError("BEFL-C-014", f"there is no app {text[:80]!r}", f"Known here: {listed}; or name its file.")
