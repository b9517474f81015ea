"""State machines as data: the contracts follow these tables and the diagrams in the reference are drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from befl.rules.errors import BeflError

NONE = "none"


@dataclass(frozen=True)
class Transition:
    """One row of a state machine.

    Parameters
    ----------
    state : str
        The state before; ``"none"`` when there is no record yet.
    transaction : str
        The transaction that asks for it.
    next : str
        The state after.
    guard : str
        What must hold besides, in words; the function that holds it stands beside the table.
    """

    state: str
    transaction: str
    next: str
    guard: str = ""


@dataclass(frozen=True)
class Machine:
    """The states of one kind of record."""

    kind: str
    transitions: tuple[Transition, ...]

    def require(self, name: str, state: str, transaction: str, following: str | None = None) -> None:
        """Refuse a transaction that has no row for the state.

        Parameters
        ----------
        name : str
            Which task or round, for the message.
        state, transaction : str
            Where the record is and what is asked.
        following : str or None
            The state that is about to be written, when there is a choice.

        Raises
        ------
        BeflError
            ``BEFL-T-002``.
        """
        rows = [row for row in self.transitions if row.state == state]
        if any(row.transaction == transaction and following in (None, row.next) for row in rows):
            return
        possible = sorted({row.transaction for row in rows})
        raise BeflError(
            "BEFL-T-002",
            f"{self.kind} {name} is {state}: {transaction} is not possible",
            f"Possible now: {', '.join(possible)}." if possible else "It has ended; nothing can change it.",
        )

    def diagram(self) -> str:
        """Draw the machine in Mermaid's state diagram language."""
        lines = ["stateDiagram-v2"]
        for row in self.transitions:
            start = "[*]" if row.state == NONE else row.state
            lines.append(f"    {start} --> {row.next}: {row.transaction}")
        targets: Mapping[str, None] = dict.fromkeys(row.next for row in self.transitions)
        sources = {row.state for row in self.transitions}
        lines += [f"    {state} --> [*]" for state in targets if state not in sources]
        return "\n".join(lines) + "\n"
