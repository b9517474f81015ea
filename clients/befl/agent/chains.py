"""One chain for everybody: the agent holds its own peer's blocks against those of every other institution's peer.

Raft orders what honest orderers agree on; it does not keep the leader's institution from showing two chains. An agent
that trained on one of them while others saw another would take part in something that nobody agreed to.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.gateway.profile import PeerAddress
from befl.rules.errors import BeflError

log = logging.getLogger("befl.agent")

EVERY_S: Final = 60.0
"""Seconds between two comparisons."""

Ask = Callable[[PeerAddress | None], PeerQuestions]
"""Opens a connection to a peer; to the institution's own for None."""


def compare(ask: Ask) -> None:
    """Compare the newest block that the own peer and another have in common, for every other institution.

    A peer that does not answer is not compared; doctor and status say who is down.

    Raises
    ------
    BeflError
        ``BEFL-G-036`` when they differ, ``BEFL-G-003`` when the own peer does not answer.
    """
    with ask(None) as own:
        height, newest = own.chain()
        for msp_id, address in own.members().items():
            if address is None:
                continue
            try:
                with ask(address) as peer:
                    common, theirs = peer.chain_at_most(height)
            except (BeflError, AnsweredError) as error:
                log.debug("the blocks at %s's peer: %s", msp_id, error)
                continue
            ours = newest if common == height else own.block_hash(common)
            if ours != theirs:
                raise BeflError(
                    "BEFL-G-036",
                    f"block {common - 1} has hash {ours.hex()[:16]} at the own peer, {theirs.hex()[:16]} at {msp_id}'s",
                )


class ChainWatch(threading.Thread):
    """Compares now and every minute; sets ``stopped`` when there are two chains, and has the error then.

    Parameters
    ----------
    ask : callable
        See :data:`Ask`.
    stopped : threading.Event
        Ends the watch, and is set by it.
    """

    def __init__(self, ask: Ask, stopped: threading.Event) -> None:
        super().__init__(name="chains", daemon=True)
        self._ask = ask
        self._stopped = stopped
        self._error: BeflError | None = None

    def run(self) -> None:
        """Compare until there are two chains or the agent stops."""
        while not self._stopped.is_set():
            try:
                compare(self._ask)
            except BeflError as error:
                if error.code == "BEFL-G-036":
                    self._error = error
                    self._stopped.set()
                    return
                log.debug("blocks not compared: %s", error)
            except AnsweredError as error:
                log.debug("blocks not compared: %s", error)
            self._stopped.wait(EVERY_S)

    def end(self) -> None:
        """Wait for the watch's end, once ``stopped`` is set.

        Raises
        ------
        BeflError
            ``BEFL-G-036`` when it has found two chains.
        """
        self.join(timeout=5)
        if self._error is not None:
            raise self._error
