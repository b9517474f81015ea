"""Where a task's chain of models stands at an institution: made from the updates at its own peer, and kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from befl.agent.ledger import Ledger
from befl.agent.store import Store
from befl.rules import chain, codec
from befl.rules.chain import Link
from befl.rules.view import TaskView


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
    length = view.record["length"]
    kept = store.kept_model(view.id, number)
    if kept is None:
        first = ledger.model_bytes(view.id, 0, view.record["model"])
        at, link = 0, chain.start(view, codec.read_model(first, length))
        store.keep_model(view.id, 0, link.to_bytes())
    else:
        at, link = kept[0], chain.start(view, np.zeros(length, np.int64)).read(kept[1])
    for current in range(at + 1, number + 1):
        record = ledger.round(view.id, current)["round"]

        def update(of: str, record: dict[str, Any] = record) -> bytes:
            return ledger.update(view.id, record["round"], of, record["updates"][of]["update"])

        link = chain.follow(view, record, link, update, msp_id)
    if number > at:
        store.keep_model(view.id, number, link.to_bytes())
    return link
