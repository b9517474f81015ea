"""A task's models, followed from the initial one to the folder that people use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from befl.audit.execution import Execution, PrivateKey
from befl.audit.report import Report
from befl.ledger import create_composite_key, digest, number_key
from befl.rules import artefact, canonical, chain, codec
from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.chain import Link
from befl.rules.errors import BeflError
from befl.rules.view import TaskView

_MODELS: Final = "models"
_UPDATES: Final = "updates"
_ENDED: Final = frozenset({"closed", "evaluated", "void"})


@dataclass(frozen=True)
class Step:
    """One round of a task's lineage.

    Parameters
    ----------
    round : int
        From 1.
    state : str
        As the round's record says.
    updates : dict of str to str
        SHA-256 of each update that counted, by MSP ID.
    aggregate, model : str
        SHA-256; empty for a void round, the model also until the round is evaluated.
    dissent : dict of str to str
        Who reported another model, and its SHA-256.
    recomputed : bool
        Whether aggregate and model were computed again from the updates.
    """

    round: int
    state: str
    updates: dict[str, str]
    aggregate: str
    model: str
    dissent: dict[str, str]
    recomputed: bool


@dataclass(frozen=True)
class Lineage:
    """Where a task's models come from.

    Parameters
    ----------
    task, name, state : str
        Its id, its name, and how far it is; of a record that is false, empty what cannot be read.
    initial, final : str
        SHA-256 of the initial integer model and of the last one that could be computed again.
    steps : tuple of Step
        Every round.
    """

    task: str
    name: str
    state: str
    initial: str
    final: str
    steps: tuple[Step, ...]


class _Follower:
    """Follows one task on the state after the last block."""

    def __init__(self, execution: Execution, report: Report, task: str) -> None:
        self._execution = execution
        self._report = report
        self._state = execution.ledger.state()
        self._private = {name: execution.ledger.private_state(name) for name in (_MODELS, _UPDATES)}
        self._id = task
        if create_composite_key("task", (task,)) not in self._state:
            raise BeflError("BEFL-T-007", f"there is no task {task} in these blocks")

    @cached_property
    def task(self) -> dict[str, Any]:
        """The task's record; raises what a false one makes the reader raise."""
        found = self.record("task", self._id)
        if not isinstance(found, dict):
            raise TypeError(f"the task's record is no table but {found!r}")
        return found

    def said(self, *names: str) -> str:
        """Return a text of the task's record; empty when nothing there can be read as one."""
        try:
            found: Any = self.task
            for name in names:
                found = found[name]
        except Exception:  # noqa: BLE001  # as in trace, where it is a finding
            return ""
        return found if isinstance(found, str) else ""

    @cached_property
    def view(self) -> TaskView:
        """The task as its rules read it; raises what a false record makes them raise."""
        return views.make(self.task, [], [], None, [], [])

    def record(self, kind: str, *names: str) -> dict[str, Any] | None:
        data = self._state.get(create_composite_key(kind, names))
        return canonical.loads(data) if data is not None else None

    def find(self, check: str, message: str, kind: str, *names: str) -> None:
        """Record a finding where the record was written that it is about."""
        block, txid = self._execution.place(create_composite_key(kind, names))
        self._report.find(check, block, txid, message)

    def value(self, collection: str, kind: str, *names: str) -> bytes:
        """Return a private value; raises :class:`_LackingError` when it is not at hand."""
        key = create_composite_key(kind, names)
        try:
            return self._private[collection][key]
        except KeyError:
            raise _LackingError((collection, digest(key)), f"{kind} {' '.join(names)}") from None

    def pinned(self) -> bool:
        """Say whether this release has every rule that the task fixed."""
        unknown = specs.unknown_rules(self.task["rules"])
        for version in unknown:
            self._report.cannot(f"what follows from {version}", "this release of befl does not have that rule")
        return not unknown

    def follow(self) -> tuple[NDArray[np.int64] | None, list[Step]]:
        """Take the rounds' steps as far as all is there that they need; return the last model, and every round."""
        task, steps = self.task["id"], []
        link = self._start()
        for number in range(1, self.task["round"] + 1):
            record = self.record("round", task, number_key(number)) or {}
            before, ended = link, record["state"] in _ENDED
            if link is not None and ended and self._report.looks("lineage"):
                link = self._step(record, link)
            dissent = record.get("dissent", {})
            updates = {msp_id: item["update"] for msp_id, item in record.get("updates", {}).items()}
            hashes = (record.get("aggregate", ""), record.get("model", ""))
            done = ended and before is not None and link is not None
            steps.append(Step(number, record["state"], updates, *hashes, dissent, recomputed=done))
        return (None if link is None else link.model), steps

    def final(self, model: NDArray[np.int64] | None, folder: Path | None) -> None:
        """Hold the registered model, and a folder of it, against the last one of the chain."""
        task = self.task["id"]
        record, last = self.record("model", task), self.record("round", task, number_key(self.task["round"]))
        if record is None or last is None:
            self._report.cannot("the final model", f"task {task} has registered none: it is {self.task['state']}")
            return
        if model is None:  # the bytes that were kept: that they follow from the updates is said not to be shown
            try:
                kept = self.value(_MODELS, "model", task, number_key(record["round"]))
                model = codec.read_model(kept, self.task["length"])
            except _LackingError as error:
                self._report.cannot("the final model's files", error.why(self._execution))
        if model is not None and self._report.looks("model"):
            made = artefact.files(self.task, last, model)
            files = {name: codec.digest(content) for name, content in made.items()}
            wrong = sorted(name for name in {*files, *record["files"]} if files.get(name) != record["files"].get(name))
            if wrong or (record["digest"], record["model"]) != (files[artefact.MANIFEST], last["model"]):
                what = f"the registered model is another than the last one ({', '.join(wrong) or 'its digest'})"
                self.find("model", what, "model", task)
        if folder is not None:
            for name, expected in sorted(record["files"].items()):
                if self._report.looks("folder") and (why := _differs(folder / name, expected)):
                    self.find("folder", why, "model", task)

    def _start(self) -> Link | None:
        task = self.task["id"]
        try:
            data = self.value(_MODELS, "model", task, number_key(0))
        except _LackingError as error:
            self._report.cannot(f"the models of task {task}", error.why(self._execution))
            return None
        return chain.start(self.view, codec.read_model(data, self.task["length"]))

    def _step(self, record: dict[str, Any], link: Link) -> Link | None:
        """Take one round's step; None when it cannot be taken, or leads elsewhere than the ledger says."""
        task, number = self.task["id"], number_key(record["round"])
        try:
            return chain.follow(self.view, record, link, lambda of: self.value(_UPDATES, "update", task, number, of))
        except _LackingError as error:
            what = f"the models of task {task} from round {record['round']} on"
            self._report.cannot(what, error.why(self._execution))
        except BeflError as error:
            self.find("lineage", error.message, "round", task, number)
        return None


class _LackingError(Exception):
    """A private value is not at hand."""

    def __init__(self, key: PrivateKey, what: str) -> None:
        super().__init__(what)
        self._key = key
        self._what = what

    def why(self, execution: Execution) -> str:
        return f"{self._what}: {execution.why([self._key])}"


def trace(execution: Execution, report: Report, task: str, folder: Path | None = None) -> Lineage:
    """Follow a task's models on the state after the last block.

    Parameters
    ----------
    execution : Execution
        Has run all blocks.
    report : Report
        Takes the findings.
    task : str
        The task's id.
    folder : Path, optional
        A model folder that is said to be the task's.

    Raises
    ------
    BeflError
        ``BEFL-T-007`` when there is no such task.
    """
    follower = _Follower(execution, report, task)
    model: NDArray[np.int64] | None = None
    steps: list[Step] = []
    try:
        if follower.pinned():
            model, steps = follower.follow()
            follower.final(model, folder)
    except Exception as error:  # noqa: BLE001  # false records may break anything that reads them: that is a finding
        follower.find("lineage", f"the task's records cannot be followed: {error!r}", "task", task)
    final = "" if model is None else codec.digest(codec.model_bytes(model))
    named = follower.said("spec", "name"), follower.said("state"), follower.said("model")
    return Lineage(task, *named, final, tuple(steps))


def _differs(path: Path, expected: str) -> str:
    """Say how a file is another than the ledger says; nothing when it is that."""
    try:
        found = codec.digest(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return "" if found == expected else f"{path} has SHA-256 {found[:16]}, the ledger says {expected[:16]}"
