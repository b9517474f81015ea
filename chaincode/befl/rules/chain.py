"""The chain of models: each one follows from the one before and the round's updates. Agents follow it, and auditors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from befl.rules import codec
from befl.rules.aggregation import RULES, Rule
from befl.rules.errors import BeflError
from befl.rules.view import TaskView


@dataclass(frozen=True)
class Link:
    """Where the chain stands after a round: all of it follows from the initial model and the updates.

    Parameters
    ----------
    model : ndarray of int64, shape (length,)
        The integer model, whose hash the ledger has.
    state : ndarray of int64, shape (k, length)
        What the aggregation rule carries from round to round.
    control : ndarray of int64, shape (0 or 1, length)
        The institution's own control variate, where the rule has trainers keep one.
    """

    model: NDArray[np.int64]
    state: NDArray[np.int64]
    control: NDArray[np.int64]

    def to_bytes(self) -> bytes:
        """Return the rows one after another, as :meth:`read` wants them."""
        return codec.model_bytes(np.vstack([self.model, self.state, self.control]))

    def read(self, data: bytes) -> Link:
        """Return the link that :meth:`to_bytes` of one of the same shapes gave; raises ``BEFL-M-001``."""
        rows = 1 + len(self.state) + len(self.control)
        found = codec.read_model(data, rows * self.model.size).reshape(rows, self.model.size)
        return Link(found[0], found[1 : 1 + len(self.state)], found[1 + len(self.state) :])


def start(view: TaskView, model: NDArray[np.int64]) -> Link:
    """Return where a task's chain begins; the model is the initial one, shape (length,)."""
    rule = RULES[view.record["rules"]["aggregation"]]
    return Link(model, rule.start(model.size, view.spec.aggregation), rule.control(model.size))


def begin(rule: Rule, link: Link, left: Sequence[str]) -> Link:
    """Return what a round starts from: where the chain stands before it, and who has left since."""
    return Link(link.model, *rule.left(link.state, link.control)) if left else link


def follow(view: TaskView, record: dict[str, Any], link: Link, read: Callable[[str], bytes], msp_id: str = "") -> Link:
    """Take one round's step and hold it against the round's record.

    Parameters
    ----------
    view : TaskView
        The task.
    record : dict
        The round's record, closed, evaluated or void.
    link : Link
        Where the chain stands before the round.
    read : callable
        Returns the bytes of an institution's update in the round.
    msp_id : str, optional
        The institution whose control variate is kept; nobody's unless given.

    Raises
    ------
    BeflError
        ``BEFL-M-007`` when an aggregate or a model differs from what the record says.
    """
    rule, number = RULES[view.record["rules"]["aggregation"]], record["round"]
    _check(record["start"], link.model, f"the model before round {number}")
    link = begin(rule, link, record["left"])
    if record["state"] == "void":
        return link
    settings, length = view.spec.aggregation, link.model.size
    most = codec.bound(settings.scale_bits, settings.clip)

    def update(of: str) -> NDArray[np.int32]:
        return codec.read_update(read(of), length, most, settings.bits)

    aggregate = rule.aggregate(((update(of), item["weight"]) for of, item in record["updates"].items()), length)
    _check(record["aggregate"], aggregate, f"the aggregate of round {number}")
    share = (len(record["updates"]), record["trainers"])
    moved, state = rule.step(aggregate, record["weight"], link.state, share, settings)
    control = link.control
    if len(control) and msp_id in record["updates"]:
        control = rule.included(control, link.state, update(msp_id))
    model = link.model + moved
    if "model" in record:
        _check(record["model"], model, f"the model after round {number}")
    return Link(model, state, control)


def _check(recorded: str, vector: NDArray[np.int64], what: str) -> None:
    made = codec.digest(codec.model_bytes(vector))
    if recorded != made:
        raise BeflError("BEFL-M-007", f"{what} has SHA-256 {made[:16]} here and {recorded[:16]} on the ledger")
