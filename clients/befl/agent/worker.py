"""One task at one institution: read the view, ask for the next step, do it, read again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from befl.agent.chain import link_after
from befl.agent.config import Policy
from befl.agent.ledger import Ledger, Receipt
from befl.agent.policy import objections
from befl.agent.status import Notes
from befl.agent.store import Store
from befl.operations.logs import APP_WORDS, for_log
from befl.operations.watch import AgentWatch
from befl.rules import artefact, codec
from befl.rules.aggregation import RULES
from befl.rules.chain import Link, begin
from befl.rules.errors import CODES, BeflError
from befl.rules.modes import MODES
from befl.rules.modes.mode import Step
from befl.rules.view import RoundView, TaskView

log = logging.getLogger("befl.agent")

_POLL_S: Final = 5.0
_BACKOFF_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
#: Refusals that mean: another institution was faster, or an endorser is a block behind. Read again and decide anew.
RACES: Final = frozenset({"BEFL-T-002", "BEFL-T-003", "BEFL-T-004", "BEFL-T-005", "BEFL-T-012", "BEFL-G-020"})


class Participant(Protocol):
    """What trains and evaluates for one task; made when it is first needed, closed with the worker."""

    def statistics(self, view: TaskView) -> dict[str, Any]:
        """Return the sums that the task asks for, by column."""

    def train(
        self, view: TaskView, model: NDArray[np.int64], number: int, correction: NDArray[np.float32] | None
    ) -> tuple[int, NDArray[np.int32]]:
        """Return weight and update of a round that starts from ``model``.

        ``correction``, shape (length,), is what all local steps together are corrected by; None when by nothing.
        """

    def evaluate(self, view: TaskView, model: NDArray[np.int64]) -> Any:
        """Count on the held-back rows."""

    def interrupt(self) -> None:
        """Make a call that is under way in another thread fail soon; the agent is about to stop."""

    def close(self) -> None:
        """End the training process."""


class Worker(threading.Thread):
    """A thread that sees one task to its end.

    Parameters
    ----------
    task : str
        The task's id.
    msp_id : str
        The institution.
    ledger, store : Ledger, Store
        What it reads and what it remembers.
    policy : Policy
        What the operator agreed to.
    aliases : frozenset of str
        Data that there are files for.
    participant : callable
        Makes the :class:`Participant` of a task.
    watch : AgentWatch, optional
        Is told what was done and what failed.
    notes : Notes, optional
        Is told what it does now, and why not.
    clock : callable
        The time, milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        task: str,
        *,
        msp_id: str,
        ledger: Ledger,
        store: Store,
        policy: Policy,
        aliases: frozenset[str],
        participant: Callable[[TaskView], Participant],
        watch: AgentWatch | None = None,
        notes: Notes | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__(name=f"task-{task}", daemon=True)
        self.task = task
        self._msp_id = msp_id
        self._ledger = ledger
        self._store = store
        self._policy = policy
        self._aliases = aliases
        self._make = participant
        self._watch = watch or AgentWatch()
        self._notes = notes
        self._clock = clock
        self._participant: Participant | None = None
        self._wake = threading.Event()
        self._stop_asked = threading.Event()
        self._seen: tuple[TaskView | None, int] = (None, 0)
        self._said = ""

    @property
    def says(self) -> str:
        """Why it does nothing at present; empty while it does something."""
        return self._said

    def wake(self) -> None:
        """Look at the task again now."""
        self._wake.set()

    def stop(self) -> None:
        """End soon: training that is under way is broken off, for after a restart the same bytes come out."""
        self._stop_asked.set()
        self._wake.set()
        participant = self._participant
        if participant is not None:
            participant.interrupt()

    def run(self) -> None:
        """Work until the task has ended or :meth:`stop` is called; no failure ends it."""
        failures = 0
        try:
            while True:
                self._wake.clear()
                if self._stop_asked.is_set():  # asked after clearing, or a stop just before it would be slept through
                    return
                try:
                    pause_s = self.step()
                    failures = 0
                except BeflError as error:
                    pause_s = self._after(error, failures)
                    failures = 0 if error.code in RACES else failures + 1
                except Exception as error:
                    log.exception("a mistake in befl; trying again", extra={"task": self.task})
                    self._watch.failed("mistake")
                    self._note_failure(error)
                    pause_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
                    failures += 1
                if pause_s is None:
                    return
                self._wake.wait(pause_s)
        finally:
            if self._participant is not None:
                self._participant.close()

    def step(self) -> float | None:
        """Do one step; return how many seconds to wait before the next, None when the task has ended.

        Whoever calls this does not start the thread: a simulation walks through its institutions in turn.
        """
        view = self._ledger.view(self.task)
        now_ms = self._clock()
        if view != self._seen[0]:
            self._seen = (view, now_ms)
        current = view.round
        overdue = current is not None and current.state == "open" and now_ms > current.deadline_ms
        self._watch.deadline(self.task, passed=overdue)
        step = MODES[view.record["rules"]["mode"]].next_step(view, self._msp_id, now_ms, self._seen[1])
        if step.action == "end":
            self._end(view, step)
            self._note(view, "ended", step.why)
            return None
        if step.action == "wait":
            self._note(view, "waits", step.why)
            self._say(logging.DEBUG, f"waits: {step.why}")
            return min((step.until_ms - now_ms) / 1_000, _POLL_S) if step.until_ms else _POLL_S
        against = objections(self._policy, view, self._aliases, self._store.approvals())
        if step.action == "apply" and self._policy.apply == "ask" and not against:
            config = " --config AGENT.toml" if view.spec.data.pooled else ""
            against = [f'the operator decides (policy.apply = "ask"): befl task apply {self.task}{config}']
        if against and step.action in ("apply", "submit", "report"):  # the app runs
            self._note(view, "refuses", f"does not {step.action}", against)
            self._say(logging.WARNING, f"does not {step.action}: {'; '.join(against)}")
            return _POLL_S
        self._note(view, step.action)
        started = time.monotonic()
        action, number = step.action, step.round
        try:
            receipt = self._act(view, step)
        except BeflError as error:
            if error.code != "BEFL-M-008" or against or current is None:
                raise
            action, number = "report", current.number
            receipt = self._correct(view, current, now_ms, error)
        self._said = ""
        seconds = time.monotonic() - started
        self._watch.step(action, seconds)
        about = {"task": self.task, "round": number, "txid": receipt.txid}
        log.info("%s, block %d, %.2f s", action, receipt.block, seconds, extra=about)
        return 0.0

    def _act(self, view: TaskView, step: Step) -> Receipt:
        ledger, task, number = self._ledger, self.task, step.round
        match step.action:
            case "apply":
                # who has no rows that fit does not apply: the others would wait for it in each round
                return ledger.apply(task, view.record["app"]["digest"], self._of(view).statistics(view))
            case "open":
                return ledger.open(task)
            case "submit":
                weight, update = self._update(view, number)
                return ledger.submit(task, number, weight, update)
            case "close":
                return ledger.close(task, number)
            case "report":
                return self._report(view, number)
            case _:  # finish: "wait" and "end" have returned before
                return ledger.finish(task, codec.model_bytes(self._link(view, number).model))

    def _report(self, view: TaskView, number: int) -> Receipt:
        model = self._link(view, number).model
        counts = self._of(view).evaluate(view, model)
        return self._ledger.report(self.task, number, codec.digest(codec.model_bytes(model)), counts)

    def _correct(self, view: TaskView, current: RoundView, now_ms: int, error: BeflError) -> Receipt:
        """Correct the own report when no model has a quorum and the updates give another one; else raise ``error``.

        So it is where the state folder was damaged when the report was made, and the operator has emptied it since.
        """
        reported = self._ledger.round(self.task, current.number)["reports"].get(self._msp_id)
        if reported is None or "corrects" in reported or now_ms <= current.report_deadline_ms:
            raise error
        made = codec.digest(codec.model_bytes(self._link(view, current.number).model))
        if made == reported["model"]:
            raise error
        log.warning(
            "reports model %s in place of %s: no model had a quorum",
            made[:16],
            reported["model"][:16],
            extra={"task": self.task, "round": current.number},
        )
        return self._report(view, current.number)

    def _link(self, view: TaskView, number: int) -> Link:
        return link_after(self._ledger, self._store, view, number, self._msp_id)

    def _update(self, view: TaskView, number: int) -> tuple[int, bytes]:
        """Return the update of a round: the stored one after a restart, else a new one, stored before it leaves."""
        kept = self._store.kept_update(view.id, number)
        if kept is not None:
            return kept
        rule = RULES[view.record["rules"]["aggregation"]]
        link = begin(rule, self._link(view, number - 1), view.round.record["left"] if view.round else ())
        correction = rule.correction(link.control, link.state)
        settings = view.spec.aggregation
        seen = None if correction is None else codec.to_float(correction, settings.scale_bits)
        weight, update = self._of(view).train(view, link.model, number, seen)
        data = codec.update_bytes(update, codec.bound(settings.scale_bits, settings.clip), settings.bits)
        self._store.keep_update(view.id, number, weight, data)
        return weight, data

    def _of(self, view: TaskView) -> Participant:
        if self._participant is None:
            self._participant = self._make(view)
        return self._participant

    def _end(self, view: TaskView, step: Step) -> None:
        """Keep the final model of a task that the institution took part in."""
        if view.state == "finished" and self._msp_id in view.roster and view.round is not None:
            folder = fetch_model(self._ledger, self._store, view)
            log.info("finished, model in %s", folder, extra={"task": self.task})
        else:
            self._say(logging.INFO, f"ends: {step.why}")
        self._store.forget(self.task)

    def _after(self, error: BeflError, failures: int) -> float:
        """Say a failure once and return how long to wait."""
        if error.code in RACES:
            return 0.05
        if self._stop_asked.is_set():  # what was broken off is no failure
            return 0.0
        level = logging.INFO if CODES[error.code].retryable else logging.ERROR
        self._watch.failed(error.code)
        self._note_failure(error)
        self._say(level, for_log(error))
        if error.code in APP_WORDS:
            log.debug("%s", str(error).replace("\n", " "), extra={"task": self.task})
        return _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]

    def _note(self, view: TaskView, does: str, why: str = "", against: Sequence[str] = ()) -> None:
        if self._notes is not None:
            self._notes.task(view, does, why, against)

    def _note_failure(self, error: Exception) -> None:
        if self._notes is not None:
            self._notes.failed(error, self.task)

    def _say(self, level: int, text: str) -> None:
        if text != self._said:
            log.log(level, "%s", text, extra={"task": self.task})
            self._said = text


def fetch_model(ledger: Ledger, store: Store, view: TaskView) -> str:
    """Write a finished task's model folder into the store and return its path.

    Raises
    ------
    BeflError
        ``BEFL-M-007`` when the bytes at the peer, or the files made of them, differ from the ledger's record.
    """
    return str(store.keep_folder(view.id, model_files(ledger, view)))


def model_files(ledger: Ledger, view: TaskView) -> dict[str, bytes]:
    """Make the files of a finished task's model and hold them against the ledger; raises ``BEFL-M-007``."""
    registered = ledger.model(view.id)
    number = registered["round"]
    data = ledger.model_bytes(view.id, number, registered["model"])
    last = ledger.round(view.id, number)["round"]
    made = artefact.files(view.record, last, codec.read_model(data, view.record["length"]))
    for name, content in made.items():
        if registered["files"].get(name) != codec.digest(content):
            raise BeflError("BEFL-M-007", f"{name} of task {view.id} comes out otherwise than the ledger has it")
    return made
