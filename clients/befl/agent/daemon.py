"""The agent of an institution: one worker a task, woken by the ledger's events."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from befl.agent.config import AgentConfig
from befl.agent.ledger import RECORD, Ledger
from befl.agent.policy import objections
from befl.agent.status import Notes
from befl.agent.store import Store
from befl.agent.worker import Participant, Worker
from befl.operations.logs import for_log
from befl.operations.watch import AgentWatch
from befl.rules import view as views
from befl.rules.errors import BeflError
from befl.rules.modes import MODES
from befl.rules.view import TaskView

log = logging.getLogger("befl.agent")

_DISCOVER_S: Final = 10.0
_END_S: Final = 30.0
_LIVE: Final = ("published", "running")


class Agent:
    """Watches the ledger and works on every task that it may.

    Parameters
    ----------
    config : AgentConfig
        The operator's configuration.
    msp_id : str
        The institution.
    ledger : Ledger
        The institution's ledger.
    participant : callable
        Makes what trains for a task, from configuration, institution and view.
    stopped : threading.Event
        Set from outside when the agent shall end.
    watch : AgentWatch, optional
        Is told what was done and what failed.
    health : str
        Where the agent shows its health; for whoever asks how it is.
    """

    def __init__(
        self,
        config: AgentConfig,
        msp_id: str,
        ledger: Ledger,
        participant: Callable[[AgentConfig, str, TaskView], Participant],
        stopped: threading.Event,
        watch: AgentWatch | None = None,
        health: str = "",
    ) -> None:
        self._config = config
        self._msp_id = msp_id
        self._ledger = ledger
        self._participant = participant
        self._store = Store(config.state_dir)
        self._workers: dict[str, Worker] = {}
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._deciding = threading.Lock()
        self._locked = False
        self._stopped = stopped
        self._watch = watch or AgentWatch()
        self._notes = Notes(self._store, msp_id, health)

    def run(self) -> None:
        """Work until stopped; look for new tasks now and every ten seconds, whatever events come.

        Raises
        ------
        BeflError
            ``BEFL-C-008`` when another agent uses the state folder.
        """
        self._store.lock()
        self._locked = True
        self._notes.begin()
        announcer = threading.Thread(target=self._announce, name="announce", daemon=True)
        try:
            log.info("agent of %s runs", self._msp_id)
            announcer.start()
            while not self._stopped.is_set():
                try:
                    self._discover()
                except BeflError as error:
                    if not self._stopped.is_set():  # else it was broken off
                        log.warning("cannot read the tasks: %s", for_log(error))
                        self._watch.failed(error.code)
                        self._notes.failed(error)
                except Exception as error:
                    self._notes.failed(error)
                    log.exception("a mistake in befl; trying again")
                self._stopped.wait(_DISCOVER_S)
        finally:
            self._finish()
            self._store.unlock()
            log.info("agent of %s has stopped", self._msp_id)

    def follow(self, payloads: Iterable[bytes]) -> None:
        """Wake workers by the payloads of chaincode events; returns when the events end."""
        for payload in payloads:
            try:
                task = str(json.loads(payload)["task"])
            except (ValueError, KeyError, TypeError):
                continue  # not an event of this release: polling finds what it was about
            if not task:
                continue  # about members or parameters
            with self._lock:
                worker = self._workers.get(task)
            if worker is None:
                self._start(task)
            else:
                worker.wake()

    def stop(self) -> None:
        """Break off what the workers do; :meth:`run` returns once ``stopped`` is set."""
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()

    def _announce(self) -> None:
        """Say on the ledger that the agent is there and where, unless it stands there; a refusal stops nothing.

        What may pass is tried again, by reading first: so there is one transaction at most.
        """
        while not self._stopped.is_set():
            try:
                self._announce_once()
            except BeflError as error:
                if self._stopped.is_set():  # it was broken off
                    return
                if not error.retryable:
                    log.warning("has not announced itself: %s", for_log(error))
                    return
                log.debug("cannot announce itself yet: %s", for_log(error))
            except Exception:
                log.exception("a mistake in befl; the agent has not announced itself")
                return
            else:
                return
            self._stopped.wait(_DISCOVER_S)

    def _announce_once(self) -> None:
        endpoint, there = self._config.network.endpoint, self._ledger.member(self._msp_id)["agent"]
        if there is None or endpoint not in ("", there["endpoint"]):
            receipt = self._ledger.announce(endpoint, there["key"] if there else "")
            log.info("announced, block %d", receipt.block, extra={"txid": receipt.txid})

    def _discover(self) -> None:
        states, live = Counter[str](), set[str]()
        for record in self._ledger.tasks():
            if record["v"] != RECORD:  # its state may be anywhere in it: the worker says that it cannot be read
                self._start(record["id"])
                continue
            states[record["state"]] += 1
            if record["state"] in _LIVE:
                live.add(record["id"])
            missed = record["state"] == "finished" and self._msp_id in record["roster"]
            if record["state"] in _LIVE or (missed and not self._store.has_folder(record["id"])):
                self._start(record["id"], record)
            else:
                self._held.pop(record["id"], None)
        with self._lock:
            alive = sum(worker.is_alive() for worker in self._workers.values())
        self._watch.tasks(states, alive)
        self._notes.keep(live)

    def _start(self, task: str, record: dict[str, Any] | None = None) -> None:
        """Start a task's worker, unless it has one or the policy objects; ``record`` is the task's, where known."""
        with self._deciding:  # one at a time: discovery and events may come to the same task
            if self._startable(task) and not self._holds_back(task, record):
                with self._lock:
                    self._begin(task)

    def _startable(self, task: str) -> bool:
        # a worker ends only with its task; before the state folder is locked another agent may be using it
        return self._locked and not self._stopped.is_set() and task not in self._workers

    def _holds_back(self, task: str, record: dict[str, Any] | None) -> bool:
        """Whether the policy objects to applying for a task; every reason is said, and said once.

        Such a task gets no thread: whoever may issue tasks could make an agent hold any number of them. It is looked at
        again at the next discovery, and when something happens to it: its operator may have applied by hand.
        """
        known = self._held.get(task, "")
        try:
            view = views.make(record, [], [], None, [], []) if record else self._ledger.view(task)
            against = self._against(view)
            if against and record and not known:  # the record does not say who has applied
                view = self._ledger.view(task)
                against = self._against(view)
        except Exception:  # noqa: BLE001 - whatever it is, the task's worker meets it too, says so and tries again
            return False
        if not against:
            self._held.pop(task, None)
            return False
        self._held[task] = said = "; ".join(against)
        if said != known:
            log.warning("does not apply: %s", said, extra={"task": task})
            self._notes.task(view, "refuses", "does not apply", against)
        return True

    def _against(self, view: TaskView) -> list[str]:
        """Return the reasons against a task where applying would be next."""
        now_ms = time.time_ns() // 1_000_000
        step = MODES[view.record["rules"]["mode"]].next_step(view, self._msp_id, now_ms, now_ms)
        if step.action != "apply":
            return []
        return objections(self._config.policy, view, frozenset(self._config.data), self._store.approvals())

    def _begin(self, task: str) -> None:
        self._workers[task] = worker = Worker(
            task,
            msp_id=self._msp_id,
            ledger=self._ledger,
            store=self._store,
            policy=self._config.policy,
            aliases=frozenset(self._config.data),
            participant=lambda view: self._participant(self._config, self._msp_id, view),
            watch=self._watch,
            notes=self._notes,
        )
        worker.start()

    def _finish(self) -> None:
        self.stop()
        end = time.monotonic() + _END_S
        for worker in self._workers.values():
            worker.join(timeout=max(0.0, end - time.monotonic()))
