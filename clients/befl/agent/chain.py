"""The chain of models: each one follows from the one before and the round's updates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from befl.agent.ledger import Ledger
from befl.agent.store import Store
from befl.rules import codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.view import TaskView


def model_after(ledger: Ledger, store: Store, view: TaskView, number: int) -> NDArray[np.int64]:
    """Return the integer model of a task after a round, made from the updates at the institution's own peer.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    store : Store
        Where models already made are kept.
    view : TaskView
        The task.
    number : int
        The round, which is closed or void; 0 gives the initial model.

    Returns
    -------
    ndarray of int64, shape (length,)

    Raises
    ------
    BeflError
        ``BEFL-M-007`` when an update, an aggregate or a model differs from what the ledger says.
    """
    length = view.record["length"]
    kept = store.kept_model(view.id, number)
    if kept is None:
        first = ledger.model_bytes(view.id, 0, view.record["model"])
        kept = (0, first)
        store.keep_model(view.id, 0, first)
    start, data = kept
    model = codec.read_model(data, length)
    for current in range(start + 1, number + 1):
        model = _follow(ledger, view, current, model)
    if number > start:
        store.keep_model(view.id, number, codec.model_bytes(model))
    return model


def _follow(ledger: Ledger, view: TaskView, number: int, model: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take one round's step."""
    record = ledger.round(view.id, number)["round"]
    _check(record["start"], codec.digest(codec.model_bytes(model)), f"the model before round {number}")
    if record["state"] == "void":
        return model
    rule = RULES[view.record["rules"]["aggregation"]]
    settings = view.spec.aggregation
    most = codec.bound(settings.scale_bits, settings.clip)
    updates = (
        (codec.read_update(ledger.update(view.id, number, msp_id, item["update"]), model.size, most), item["weight"])
        for msp_id, item in record["updates"].items()
    )
    aggregate = rule.aggregate(updates, model.size)
    _check(record["aggregate"], codec.digest(codec.model_bytes(aggregate)), f"the aggregate of round {number}")
    model = model + rule.step(aggregate, record["weight"])
    if "model" in record:
        _check(record["model"], codec.digest(codec.model_bytes(model)), f"the model after round {number}")
    return model


def _check(recorded: str, made: str, what: str) -> None:
    if recorded != made:
        raise BeflError("BEFL-M-007", f"{what} has SHA-256 {made[:16]} here and {recorded[:16]} on the ledger")
