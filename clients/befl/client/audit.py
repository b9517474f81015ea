"""What an auditor does: see what happened on the ledger."""

from __future__ import annotations

from befl.audit.query import Entry, Page, Query, query
from befl.audit.source import from_peer
from befl.gateway import Network

__all__ = ["Audit", "Entry", "Page"]


class Audit:
    """The ledger, looked at afterwards. Every identity of the channel may, whatever its role.

    Parameters
    ----------
    network : Network
        The channel.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def query(
        self,
        *,
        task: str = "",
        msp_id: str = "",
        kind: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 100,
        after: str = "",
    ) -> Page:
        """Show who did what and when, valid or not, oldest first.

        Parameters
        ----------
        task, msp_id, kind : str
            Of this task, submitted by this institution, calls of this transaction; each empty for all.
        since_ms, until_ms : int or None
            Proposed from this time on, and before that one; milliseconds since 1970.
        limit : int
            The most that a page holds.
        after : str
            The bookmark of the page before.

        Raises
        ------
        BeflError
            ``BEFL-C-004`` for a limit or a bookmark that cannot be.
        """
        wanted = Query(task, msp_id, kind, since_ms, until_ms, limit, after)
        return query(from_peer(self._network, wanted.place[0], private=False), wanted)
