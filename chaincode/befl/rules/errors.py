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
