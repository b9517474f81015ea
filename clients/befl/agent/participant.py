"""Training for one task: the institution's rows, and the app in its child process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from befl.agent.config import AgentConfig
from befl.agent.ledger import Ledger
from befl.agent.store import Store
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor, read_layout
from befl.rules.metrics import METRICS
from befl.rules.seeds import rounding_seed, rows_seed, training_seed
from befl.rules.spec import DataSpec, TaskSpec
from befl.rules.view import TaskView
from befl.training import AppCode, Trainer, builtin_apps, open_archive
from befl.training.data import Table, listed, load, problem, split, sums, unknown
from befl.training.metrics import COUNTING

log = logging.getLogger("befl.agent")


class AppParticipant:
    """Trains a task's app on the institution's file.

    Parameters
    ----------
    config : AgentConfig
        Where the file is and which interpreter runs the app.
    msp_id : str
        The institution.
    view : TaskView
        The task.
    ledger : Ledger, optional
        Where the archive of an app is fetched that is not in the agent's folder.
    trainer : Trainer, optional
        Where the app runs, shared with others and closed by its owner; one of its own unless given.
    warn : callable, optional
        Is told what fits and looks wrong; the agent's log unless given.

    Raises
    ------
    BeflError
        ``BEFL-C-007`` no file for the data, ``BEFL-C-1..`` the file does not fit, ``BEFL-T-009`` the task's app is not
        here, ``BEFL-M-111`` it is another than the ledger says.
    """

    def __init__(
        self,
        config: AgentConfig,
        msp_id: str,
        view: TaskView,
        ledger: Ledger | None = None,
        *,
        trainer: Trainer | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._msp_id = msp_id
        self._layout: tuple[Tensor, ...] = read_layout(view.record["layout"])
        self._owned = trainer is None
        self._trainer = trainer or _own_trainer(config, view, code_of(view, Store(config.state_dir), ledger))
        self._config = config
        self._warn = warn or (lambda text: log.warning("%s", text, extra={"task": view.id}))
        self._warned = ""
        self._read: tuple[DataSpec, tuple[int, ...]] | None = None
        try:  # the child imports torch while the rows are read
            self._rows(view)
        except BaseException:
            self.close()
            raise

    def statistics(self, view: TaskView) -> dict[str, Any]:
        """Sum over the rows to train on what the task asks for."""
        return sums(self._rows(view)[0], view.spec.data)

    def train(
        self, view: TaskView, model: NDArray[np.int64], number: int, correction: NDArray[np.float32] | None
    ) -> tuple[int, NDArray[np.int32]]:
        """Train one round from an integer model, all local steps together corrected by ``correction``.

        Returns
        -------
        weight : int
            Rows trained on.
        update : ndarray of int32, shape (length,)
            The change in fixed point.
        """
        rows, rule = self._rows(view)[0], view.spec.aggregation
        start = codec.to_float(model, rule.scale_bits)
        seed = training_seed(view.id, number, self._msp_id)
        trained = self._trainer.train(self._layout, start, rows.x, rows.y, seed, correction=correction)
        change = trained.astype(np.float64) - start.astype(np.float64)
        drawn = rounding_seed(view.id, number, self._msp_id)
        return len(rows.y), codec.encode(change, rule.scale_bits, rule.clip, rule.bits, drawn)

    def evaluate(self, view: TaskView, model: NDArray[np.int64]) -> Any:
        """Count on the held-back rows what an integer model predicts."""
        rows, values = self._rows(view)[1], codec.to_float(model, view.spec.aggregation.scale_bits)
        found = self._trainer.predict(self._layout, values, rows.x)
        rule = view.record["rules"]["metrics"]
        return METRICS[rule].read_counts(COUNTING[rule](found, rows.y), view.spec.data)

    def interrupt(self) -> None:
        """Kill the child process; a call that waits for it in another thread raises ``BEFL-M-105``."""
        self._trainer.interrupt()

    def close(self) -> None:
        """End the child process."""
        if self._owned:
            self._trainer.close()

    def _rows(self, view: TaskView) -> tuple[Table, Table]:
        """Return the rows to train on and those held back; they are read again when file or preparation changed."""
        asked = (view.data, _state(self._config.data_path(view.spec.data.alias)))
        if asked != self._read:
            self._split = rows_of(self._config, view)
            self._read = asked
            self._doubt(view.data)
        return self._split

    def _doubt(self, spec: DataSpec) -> None:
        """Say once which columns teach nothing here."""
        absent = set.intersection(*(set(unknown(part, spec)) for part in self._split))
        text = f'data "{spec.alias}": no value is known of {listed(sorted(absent))}' if absent else ""
        if text and text != self._warned:
            self._warn(text)
            self._warned = text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rows_of(config: AgentConfig, view: TaskView) -> tuple[Table, Table]:
    """Read an institution's rows for a task: those to train on and those held back.

    Raises
    ------
    BeflError
        ``BEFL-C-007`` no file for the data, ``BEFL-C-1..`` the file does not fit, ``BEFL-C-112`` it is another one than
        when the task first used it.
    """
    path = config.data_path(view.spec.data.alias)
    table = load(path, view.data)
    rows = split(table, view.data, rows_seed(view.id))  # before: who mends a file that was refused may give another one
    first = Store(config.state_dir).keep_data(view.id, table.digest)
    if table.digest != first:
        raise BeflError(
            "BEFL-C-112",
            f"{path}: has SHA-256 {table.digest[:16]}; task {view.id} was begun with {first[:16]}",
            "Put the old file back; give new data an alias of its own.",
        )
    return rows


def _state(path: Path) -> tuple[int, ...]:
    """Return what tells without reading whether a file was changed; empty when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def code_of(view: TaskView, store: Store, ledger: Ledger | None = None) -> AppCode:
    """Find the code of a task's app by its digest: in this release, in the agent's folder, on the ledger.

    Nobody is asked here: the agent's worker holds the digest against its operator's approvals before each step.

    Raises
    ------
    BeflError
        ``BEFL-T-009`` when it is nowhere, ``BEFL-M-111`` when it is not the app that the task names.
    """
    name, digest = view.record["app"]["name"], view.record["app"]["digest"]
    own = [app for app in builtin_apps().values() if app.digest == digest]
    if own:
        return own[0]
    archive = store.app(digest)
    if archive is None:
        archive = _fetch(digest, name, ledger)
        store.keep_app(digest, archive)
    return app_from(archive, name, f"task {view.id}")


def app_from(archive: bytes, name: str, whose: str) -> AppCode:
    """Read an archive that must be an app of a name; raises ``BEFL-M-111`` when it is another or none."""
    try:
        app = open_archive(archive)
    except BeflError as error:
        raise BeflError("BEFL-M-111", f"{whose} names app {name}: {error.message}") from None
    if app.name != name:
        raise BeflError("BEFL-M-111", f"{whose} names app {name}, the archive of that SHA-256 is app {app.name}")
    return app


def _fetch(digest: str, name: str, ledger: Ledger | None) -> bytes:
    try:
        if ledger is not None:
            return ledger.app_bytes(digest)
    except BeflError as error:
        if error.code != "BEFL-T-007":
            raise
    raise BeflError(
        "BEFL-T-009",
        f"app {name} {digest[:16]} is neither in this release of befl nor in the agent's folder nor on the ledger",
        "Ask the issuer for the app's file and approve it, `befl app approve FILE --config AGENT.toml`; or to add it, "
        "`befl app add FILE`.",
    )


def _own_trainer(config: AgentConfig, view: TaskView, app: AppCode) -> Trainer:
    return Trainer(
        app,
        view.spec.app.settings,
        problem(view.spec.data),
        python=config.python or None,
        threads=config.training.threads,
        timeout=config.training.timeout,
        memory=config.training.memory,
        device=config.training.device,
        user=config.training.user,
        confined=config.training.confine,
    )


def app_of(name: str) -> AppCode:
    """Return the code of a built-in app; raises ``BEFL-C-004`` when there is none of that name."""
    apps = builtin_apps()
    if name not in apps:
        raise BeflError("BEFL-C-004", f"app.name: must be one of {', '.join(sorted(apps))}, not {name!r}")
    return apps[name]


def initial_model(
    spec: TaskSpec, app: AppCode, seed: int, *, python: str | None = None
) -> tuple[tuple[Tensor, ...], NDArray[np.float32]]:
    """Make the initial model of a task with its app.

    Returns
    -------
    layout : tuple of Tensor
        The model's tensors.
    values : ndarray of float32, shape (length,)
        The initial parameters.
    """
    with Trainer(app, spec.app.settings, problem(spec.data), python=python) as trainer:
        return trainer.init(seed)
