"""The one table of error codes, and the one exception that carries them.

Families: ``A`` authorisation, ``C`` configuration and data, ``G`` gateway and ledger, ``M`` model and update,
``N`` network, ``P`` privacy, ``T`` task and round, ``X`` exchange. A code never changes its meaning; a code that
is no longer raised keeps its page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One stable error code and its page.

    Parameters
    ----------
    id : str
        ``BEFL-<family>-<number>``.
    title : str
        What happened, in one line.
    page : str
        Why it happens and what to do; printed by ``befl explain CODE``.
    retryable : bool
        Whether the same action may succeed later without anybody changing anything.
    """

    id: str
    title: str
    page: str
    retryable: bool = False


_TABLE: Final = (
    # --- A: authorisation -------------------------------------------------------------------------------------
    # --- C: configuration and data ----------------------------------------------------------------------------
    # --- G: gateway and ledger --------------------------------------------------------------------------------
    Code(
        "BEFL-G-010",
        "A private value has not reached this peer yet",
        "The ledger holds the value's hash, but the peer that was asked does not hold the value: gossip has not "
        "brought it, or the peers that hold it are down. The same action succeeds once the value is there; befl "
        "tries again by itself. When it lasts: `befl network status` says which peers are up.",
        retryable=True,
    ),
    Code(
        "BEFL-G-012",
        "A paginated query in a transaction that writes",
        "Fabric refuses writes in a transaction that made a paginated query, and paginated queries in one that "
        "wrote: their result could not be checked at commit. List with an evaluate call, or read the keys one by "
        "one.",
    ),
    Code(
        "BEFL-G-013",
        "An empty key, value, event name or page",
        "In Fabric an empty value is a deletion and an empty key does not exist, so neither can be written; an "
        "event has a name, and a page at least one entry. Write at least one byte, or delete the key.",
    ),
    Code(
        "BEFL-G-014",
        "No such private data collection",
        "The chaincode definition of the channel does not name this collection. The collections are fixed when the "
        "definition is committed: `updates` and `models`.",
    ),
    Code(
        "BEFL-G-020",
        "Another transaction came first",
        "What the transaction had read was written by another one that was ordered before it (Fabric: "
        "MVCC_READ_CONFLICT or PHANTOM_READ_CONFLICT). Nothing was changed. Read the state again, and submit again "
        "if it is still wanted.",
        retryable=True,
    ),
    Code(
        "BEFL-G-021",
        "The transaction id stands on the ledger already",
        "The same signed transaction was sent twice (Fabric: DUPLICATE_TXID). The first copy decides; the second "
        "changed nothing. Ask for the commit status of the transaction id.",
    ),
    # --- M: model and update ----------------------------------------------------------------------------------
    # --- N: network -------------------------------------------------------------------------------------------
    # --- T: task and round ------------------------------------------------------------------------------------
)

CODES: Final[dict[str, Code]] = {code.id: code for code in _TABLE}

_WIRE: Final = re.compile(r"(BEFL-[A-Z]-\d{3}): ([^\n]*)(?:\n(.*))?", re.DOTALL)


class BeflError(Exception):
    """Every refusal and every failure that befl can name.

    Parameters
    ----------
    code : str
        A key of :data:`CODES`.
    message : str
        What happened here, with the names and numbers of this case; one line.
    hint : str
        What to do next; may be empty.

    Raises
    ------
    KeyError
        If ``code`` is not in the table (a mistake in befl, not in its use).
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code = CODES[code].id
        self.message = " ".join(message.split())
        self.hint = hint
        super().__init__(str(self))

    @property
    def retryable(self) -> bool:
        """Whether the same action may succeed later."""
        return CODES[self.code].retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f"\n{self.hint}" if self.hint else "")

    @classmethod
    def parse(cls, text: str) -> BeflError | None:
        """Find a coded error in text that crossed a process border.

        The text of a chaincode response is ``str(error)``; peers put words of their own before it.

        Returns
        -------
        BeflError or None
            None when the text holds no code of the table.
        """
        found = _WIRE.search(text)
        if found is None or found[1] not in CODES:
            return None
        return cls(found[1], found[2], found[3] or "")
