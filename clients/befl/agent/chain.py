"""The chain of models: each one follows from the one before and the round's updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from befl.agent.ledger import Ledger
from befl.agent.store import Store
from befl.rules import codec
from befl.rules.aggregation import RULES, Rule
from befl.rules.errors import BeflError
from befl.rules.view import TaskView


@dataclass(frozen=True)
class Link:
    """Where the chain stands after a round: all of it follows from the updates at the institution's own peer.

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


def link_after(ledger: Ledger, store: Store, view: TaskView, number: int, msp_id: str) -> Link:
    """Return where a task's chain stands after a round, made from the updates at the institution's own peer.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    store : Store
        Where links already made are kept.
    view : TaskView
        The task.
    number : int
        The round, which is closed or void; 0 gives the initial model.
    msp_id : str
        The institution whose control variate it is.

    Raises
    ------
    BeflError
        ``BEFL-M-007`` when an update, an aggregate or a model differs from what the ledger says.
    """
    length, rule = view.record["length"], RULES[view.record["rules"]["aggregation"]]
    link = Link(np.zeros(length, np.int64), rule.start(length, view.spec.aggregation), rule.control(length))
    kept = store.kept_model(view.id, number)
    if kept is None:
        first = ledger.model_bytes(view.id, 0, view.record["model"])
        start, link = 0, Link(codec.read_model(first, length), link.state, link.control)
        store.keep_model(view.id, 0, link.to_bytes())
    else:
        start, link = kept[0], link.read(kept[1])
    for current in range(start + 1, number + 1):
        link = _follow(ledger, view, rule, current, link, msp_id)
    if number > start:
        store.keep_model(view.id, number, link.to_bytes())
    return link


def begin(rule: Rule, link: Link, left: Sequence[str]) -> Link:
    """Return what a round starts from: where the chain stands before it, and who has left since."""
    return Link(link.model, *rule.left(link.state, link.control)) if left else link


def _follow(ledger: Ledger, view: TaskView, rule: Rule, number: int, link: Link, msp_id: str) -> Link:
    """Take one round's step."""
    record = ledger.round(view.id, number)["round"]
    _check(record["start"], codec.digest(codec.model_bytes(link.model)), f"the model before round {number}")
    link = begin(rule, link, record["left"])
    if record["state"] == "void":
        return link
    settings, length = view.spec.aggregation, link.model.size
    most = codec.bound(settings.scale_bits, settings.clip)

    def update(of: str) -> NDArray[np.int32]:
        data = ledger.update(view.id, number, of, record["updates"][of]["update"])
        return codec.read_update(data, length, most, settings.bits)

    aggregate = rule.aggregate(((update(of), item["weight"]) for of, item in record["updates"].items()), length)
    _check(record["aggregate"], codec.digest(codec.model_bytes(aggregate)), f"the aggregate of round {number}")
    share = (len(record["updates"]), record["trainers"])
    moved, state = rule.step(aggregate, record["weight"], link.state, share, settings)
    control = link.control
    if len(control) and msp_id in record["updates"]:
        control = rule.included(control, link.state, update(msp_id))
    model = link.model + moved
    if "model" in record:
        _check(record["model"], codec.digest(codec.model_bytes(model)), f"the model after round {number}")
    return Link(model, state, control)


def _check(recorded: str, made: str, what: str) -> None:
    if recorded != made:
        raise BeflError("BEFL-M-007", f"{what} has SHA-256 {made[:16]} here and {recorded[:16]} on the ledger")
