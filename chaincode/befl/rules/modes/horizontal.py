"""``horizontal/1``: every institution has rows of the same columns; rounds of FedAvg's shape (McMahan et al., 2017).

A round is open (updates come), then closed with an aggregate or void, then evaluated (reports came). The guards are
used twice: by the contracts to refuse, by :meth:`Horizontal.next_step` to foresee it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from befl.rules.draw import rank
from befl.rules.errors import BeflError
from befl.rules.modes.mode import Action, Step
from befl.rules.reader import milliseconds
from befl.rules.states import NONE, Machine, Transition

if TYPE_CHECKING:
    from befl.rules.view import RoundView, TaskView

_TURN_MS: Final = 1_000

TASK: Final = Machine(
    "task",
    (
        Transition(NONE, "Publish", "published", "a valid specification and initial model, from an issuer"),
        Transition("published", "Apply", "published", "invited, not yet applied"),
        Transition("published", "Decline", "published", "invited, neither applied nor declined"),
        Transition("published", "Leave", "published", "applied"),
        Transition("published", "Open", "running", "`most` have applied, or `least` have and the window is over"),
        Transition("published", "Cancel", "cancelled", "from the institution that published it"),
        Transition("running", "Leave", "running", "on the roster, not yet left"),
        Transition(
            "running",
            "Open",
            "running",
            "the round before is void, or evaluated and not the last; `least` have not left",
        ),
        Transition(
            "running",
            "Finish",
            "finished",
            "the last round is evaluated: the `count`-th, or the `patience`-th in a row without a better loss",
        ),
        Transition("running", "Cancel", "cancelled", "from the institution that published it"),
    ),
)

ROUND: Final = Machine(
    "round",
    (
        Transition(NONE, "Open", "open", "see the task"),
        Transition("open", "Submit", "open", "on the round's roster, once, before the deadline"),
        Transition("open", "Close", "closed", "every update is there, or the deadline is over and a quorum is there"),
        Transition("open", "Close", "void", "the deadline is over and fewer than a quorum are there"),
        Transition("closed", "Report", "closed", "a trainer of the task, once"),
        Transition(
            "closed", "Open", "evaluated", "every report is there, or the deadline is over and a quorum is there"
        ),
        Transition("closed", "Finish", "evaluated", "likewise"),
        Transition("void", "Open", "void", "the next round repeats it"),
    ),
)


class Horizontal:
    """The mode's tables, guards and next step."""

    task_machine = TASK
    round_machine = ROUND

    def check_apply(self, view: TaskView, msp_id: str) -> None:
        """Refuse whoever is not invited (``BEFL-A-003``) or has applied (``BEFL-T-003``)."""
        self._check_invited(view, msp_id, "Apply")

    def check_decline(self, view: TaskView, msp_id: str) -> None:
        """Refuse whoever is not invited (``BEFL-A-003``), has applied or declined (``BEFL-T-003``)."""
        self._check_invited(view, msp_id, "Decline")
        self._check_stays(view, msp_id)

    def check_leave(self, view: TaskView, msp_id: str) -> None:
        """Refuse outsiders (``BEFL-A-002``) and whoever has left (``BEFL-T-003``)."""
        TASK.require(view.id, view.state, "Leave")
        self._check_member(view, msp_id, view.roster or view.applicants)
        self._check_stays(view, msp_id)

    def check_open(self, view: TaskView, msp_id: str, now_ms: int) -> None:
        """Refuse before its time (``BEFL-T-005``) or to outsiders (``BEFL-A-002``)."""
        TASK.require(view.id, view.state, "Open")
        if view.state == "published":
            self._check_member(view, msp_id, view.applicants)
            self._check_begun(view, now_ms)
            wanted = view.spec.participants
            window_ms = view.published_ms + milliseconds(wanted.window)
            if len(view.applicants) < wanted.least or (len(view.applicants) < wanted.most and now_ms < window_ms):
                raise BeflError(
                    "BEFL-T-005",
                    f"task {view.id} has {len(view.applicants)} applicants: it starts with {wanted.most}, "
                    f"or with {wanted.least} when the window ends at {window_ms} ms",
                )
            return
        self._check_member(view, msp_id, view.roster)
        self._check_left(view)
        current = self._round(view)
        ROUND.require(str(current.number), current.state, "Open")
        self._check_begun(view, now_ms)
        if current.state == "void":
            return
        last = self._last(view)
        if last:
            raise BeflError("BEFL-T-002", f"task {view.id} {last}: Open is not possible", "Finish.")
        self.check_evaluated(view, now_ms)

    def check_submit(self, view: TaskView, msp_id: str, number: int, now_ms: int) -> None:
        """Refuse who was not drawn, another round, a second update (``BEFL-T-003``), a late one (``BEFL-T-006``)."""
        current = self._current(view, msp_id, number, "Submit")
        if msp_id not in current.roster:
            raise BeflError("BEFL-A-002", f"{msp_id} was not drawn for round {number} of task {view.id}")
        if msp_id in current.updates:
            raise BeflError("BEFL-T-003", f"{msp_id} has already submitted in round {number} of task {view.id}")
        if now_ms > current.deadline_ms:
            raise BeflError(
                "BEFL-T-006", f"round {number} of task {view.id} took updates until {current.deadline_ms} ms"
            )

    def check_close(self, view: TaskView, msp_id: str, number: int, now_ms: int) -> bool:
        """Refuse while updates are waited for (``BEFL-T-005``); return whether a quorum is there."""
        current = self._current(view, msp_id, number, "Close")
        self._check_begun(view, now_ms)
        missing = sorted(set(current.roster) - set(current.updates))
        if missing and now_ms <= current.deadline_ms:
            raise BeflError(
                "BEFL-T-005",
                f"round {number} of task {view.id} waits for {', '.join(missing)} until {current.deadline_ms} ms",
            )
        enough = len(current.updates) >= view.spec.quorum
        ROUND.require(str(number), current.state, "Close", "closed" if enough else "void")
        return enough

    def check_report(self, view: TaskView, msp_id: str, number: int, now_ms: int, *, corrects: bool) -> None:
        """Refuse outsiders, another round, a second report (``BEFL-T-003``).

        After the deadline of reports an institution may correct its own, once, by one that names another model
        (``corrects``): where no model has a quorum nothing else can go on.
        """
        current = self._current(view, msp_id, number, "Report")
        if msp_id in current.reports and not (corrects and now_ms > current.report_deadline_ms):
            raise BeflError("BEFL-T-003", f"{msp_id} has already reported on round {number} of task {view.id}")

    def check_evaluated(self, view: TaskView, now_ms: int) -> None:
        """Refuse while reports are waited for (``BEFL-T-005``)."""
        current = self._round(view)
        missing = sorted(set(view.roster) - set(current.reports))
        if missing and (now_ms <= current.report_deadline_ms or len(current.reports) < view.spec.quorum):
            raise BeflError(
                "BEFL-T-005",
                f"round {current.number} of task {view.id} waits for the reports of {', '.join(missing)} until "
                f"{current.report_deadline_ms} ms, and for {view.spec.quorum} in any case",
            )

    def improves(self, view: TaskView, loss_micro: int | None) -> bool:
        """Say whether a loss is below the best before by ``improvement`` at least, and below it in any case."""
        if loss_micro is None or view.best_loss_micro is None:
            return loss_micro is not None
        least = max(Decimal(1), Decimal(view.spec.rounds.improvement) * 1_000_000)
        return view.best_loss_micro - loss_micro >= least

    def check_finish(self, view: TaskView, msp_id: str, now_ms: int) -> None:
        """Refuse outsiders, and before the last round is evaluated (``BEFL-T-005``)."""
        TASK.require(view.id, view.state, "Finish")
        self._check_member(view, msp_id, view.roster)
        current = self._round(view)
        ROUND.require(str(current.number), current.state, "Finish")
        self._check_begun(view, now_ms)
        if not self._last(view):
            raise BeflError(
                "BEFL-T-005", f"task {view.id} has closed {view.done + 1} of {view.spec.rounds.count} rounds"
            )
        self.check_evaluated(view, now_ms)

    def next_step(self, view: TaskView, msp_id: str, now_ms: int, seen_ms: int) -> Step:
        """Say what an institution does next.

        Parameters
        ----------
        view : TaskView
            The task as its own peer shows it.
        msp_id : str
            The institution.
        now_ms, seen_ms : int
            Its clock, and since when it has seen exactly this view. Opening, closing and finishing are taken in turns,
            a second apart, so that several institutions do not all do the same work at once.
        """
        if view.state == "published":
            return self._next_published(view, msp_id, now_ms, seen_ms)
        if view.state != "running":
            return Step("end", why=f"the task is {view.state}")
        if msp_id in view.departed:
            return Step("end", why="has declined or left the task")
        if msp_id not in view.roster:
            return Step("end", why="not among the trainers")
        current = self._round(view)
        if current.state == "open":
            return self._next_open(view, current, msp_id, now_ms, seen_ms)
        if current.state == "closed" and msp_id not in current.reports:
            return Step("report", current.number)
        if current.state == "closed" and self._last(view):

            def finish() -> None:
                self.check_finish(view, msp_id, now_ms)

            return self._turn(view, "finish", current.number, finish, (msp_id, now_ms, seen_ms))

        def reopen() -> None:
            self.check_open(view, msp_id, now_ms)

        return self._turn(view, "open", current.number + 1, reopen, (msp_id, now_ms, seen_ms))

    def _next_published(self, view: TaskView, msp_id: str, now_ms: int, seen_ms: int) -> Step:
        if msp_id in view.departed:
            return Step("wait", why="the institution has declined; it can still apply")
        if msp_id not in view.applicants:
            try:
                self.check_apply(view, msp_id)
            except BeflError as error:
                return Step("end", why=error.message)
            return Step("apply")

        def begin() -> None:
            self.check_open(view, msp_id, now_ms)

        return self._turn(view, "open", 1, begin, (msp_id, now_ms, seen_ms))

    def _next_open(self, view: TaskView, current: RoundView, msp_id: str, now_ms: int, seen_ms: int) -> Step:
        if msp_id in current.roster and msp_id not in current.updates and now_ms <= current.deadline_ms:
            return Step("submit", current.number)

        def close() -> None:
            self.check_close(view, msp_id, current.number, now_ms)

        return self._turn(view, "close", current.number, close, (msp_id, now_ms, seen_ms))

    def _turn(
        self, view: TaskView, action: Action, number: int, check: Callable[[], object], me: tuple[str, int, int]
    ) -> Step:
        """Take the action when it is allowed and one's turn has come, else wait."""
        msp_id, now_ms, seen_ms = me
        began, until = _began(view), _deadline(view)
        if now_ms < began:
            return Step("wait", number, until_ms=began, why="the clock here is behind that of whoever began the phase")
        members = [name for name in view.roster or view.applicants if name not in view.departed]
        delay = rank(f"befl/turn/{action}", view.id, number, members).index(msp_id) * _TURN_MS
        try:
            check()
        except BeflError as error:
            return Step("wait", number, until_ms=until + 1 if until >= now_ms else 0, why=error.message)
        start = max(seen_ms, until + 1 if until < now_ms else 0) + delay
        if now_ms < start:
            return Step("wait", number, until_ms=start, why=f"another institution's turn to {action}")
        return Step(action, number)

    def _last(self, view: TaskView) -> str:
        """Say why no round comes after the current one; nothing when one does."""
        rounds, loss = view.spec.rounds, self._round(view).loss_micro
        if view.done + 1 >= rounds.count:
            return "has closed all its rounds"
        stale = 0 if loss is None or self.improves(view, loss) else view.stale + 1
        return f"has had no better loss for {stale} rounds" if 0 < rounds.patience <= stale else ""

    def _current(self, view: TaskView, msp_id: str, number: int, transaction: str) -> RoundView:
        if view.state != "running":
            raise BeflError("BEFL-T-002", f"task {view.id} is {view.state}: {transaction} is not possible")
        self._check_member(view, msp_id, view.roster)
        current = self._round(view)
        if number != current.number:
            raise BeflError("BEFL-T-004", f"task {view.id} is in round {current.number}, not {number}")
        ROUND.require(str(number), current.state, transaction)
        return current

    @staticmethod
    def _check_invited(view: TaskView, msp_id: str, transaction: str) -> None:
        TASK.require(view.id, view.state, transaction)
        invited = view.spec.participants.institutions
        if invited != "any" and msp_id not in invited:
            raise BeflError("BEFL-A-003", f"{msp_id} is not invited to task {view.id}")
        if msp_id in view.applicants:
            raise BeflError("BEFL-T-003", f"{msp_id} has already applied to task {view.id}")

    @staticmethod
    def _check_stays(view: TaskView, msp_id: str) -> None:
        if msp_id in view.departed:
            raise BeflError("BEFL-T-003", f"{msp_id} has already declined or left task {view.id}")

    @staticmethod
    def _check_begun(view: TaskView, now_ms: int) -> None:
        """Refuse to end a phase before it began: who sets a time back would take it from the others' next deadline."""
        if now_ms < _began(view):
            raise BeflError("BEFL-T-005", f"the phase began at {_began(view)} ms, the transaction says {now_ms} ms")

    @staticmethod
    def _check_left(view: TaskView) -> None:
        """Refuse to go on with fewer trainers than the task starts with."""
        gone = sorted(set(view.roster) & set(view.departed))
        stay = len(view.roster) - len(gone)
        if stay < view.spec.participants.least:
            raise BeflError(
                "BEFL-T-012",
                f"{', '.join(gone)} left task {view.id}: {stay} trainers stay, it wants {view.spec.participants.least}",
                f"{view.record['issuer']} can cancel it.",
            )

    @staticmethod
    def _check_member(view: TaskView, msp_id: str, members: tuple[str, ...]) -> None:
        if msp_id not in members:
            raise BeflError("BEFL-A-002", f"{msp_id} does not take part in task {view.id}")

    @staticmethod
    def _round(view: TaskView) -> RoundView:
        if view.round is None:
            raise BeflError("BEFL-T-004", f"task {view.id} has no round yet")
        return view.round


def _began(view: TaskView) -> int:
    """Return when the present phase began."""
    if view.round is None:
        return view.published_ms
    return view.round.opened_ms if view.round.state == "open" else view.round.closed_ms


def _deadline(view: TaskView) -> int:
    """Return when the present phase ends by time."""
    if view.round is None:
        return view.published_ms + milliseconds(view.spec.participants.window)
    if view.round.state == "open":
        return view.round.deadline_ms
    return view.round.report_deadline_ms
