"""What every mode of training offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from befl.rules.states import Machine
    from befl.rules.view import TaskView

Action = Literal["apply", "open", "submit", "close", "report", "finish", "wait", "end"]


@dataclass(frozen=True)
class Step:
    """What one institution does next about one task.

    Parameters
    ----------
    action : str
        The transaction to make; ``wait`` for something to change; ``end`` when nothing is left to do.
    round : int
        The round that the action is about; 0 when it is about none.
    until_ms : int
        With ``wait``: look again then at the latest, milliseconds since 1970; 0 when only a change of state matters.
    why : str
        In words, for the operator.
    """

    action: Action
    round: int = 0
    until_ms: int = 0
    why: str = ""


class Mode(Protocol):
    """A mode of training: pure functions on a view of the task."""

    task_machine: Machine
    round_machine: Machine

    def check_apply(self, view: TaskView, msp_id: str) -> None:
        """Refuse an application that may not be made."""

    def check_decline(self, view: TaskView, msp_id: str) -> None:
        """Refuse to decline what one was not asked, has applied to or has declined."""

    def check_leave(self, view: TaskView, msp_id: str) -> None:
        """Refuse to leave what one does not take part in."""

    def check_open(self, view: TaskView, msp_id: str, now_ms: int) -> None:
        """Refuse to open the next round."""

    def check_submit(self, view: TaskView, msp_id: str, number: int, now_ms: int) -> None:
        """Refuse an update."""

    def check_close(self, view: TaskView, msp_id: str, number: int, now_ms: int) -> bool:
        """Refuse to close the round, else say whether it has enough updates (it is void otherwise)."""

    def check_report(self, view: TaskView, msp_id: str, number: int, now_ms: int, *, corrects: bool) -> None:
        """Refuse a report."""

    def check_evaluated(self, view: TaskView, now_ms: int) -> None:
        """Refuse to go on while reports of the round are waited for."""

    def improves(self, view: TaskView, loss_micro: int | None) -> bool:
        """Say whether a loss is better than the best of the task before."""

    def check_finish(self, view: TaskView, msp_id: str, now_ms: int) -> None:
        """Refuse to finish the task."""

    def next_step(self, view: TaskView, msp_id: str, now_ms: int, seen_ms: int) -> Step:
        """Say what an institution does next."""
