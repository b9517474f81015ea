"""The metrics of befl's own processes: each class holds a registry of its own, and the reference page is made from it.

Names follow Prometheus' conventions; none carries a value that a stranger chooses, so the number of series is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from befl.operations.watch import AgentWatch
from befl.rules.errors import BeflError

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
OTHER: Final = "other"
"""The function of a transaction that the chaincode does not have: a client may call anything."""
TASK_STATES: Final = ("published", "running", "finished", "cancelled")
"""States of a task that are shown also when no task has them; any other state is shown when a task has it."""


LABELS: Final = {
    "befl_chaincode_transactions": ("function", "outcome"),
    "befl_chaincode_transaction_seconds": ("function",),
    "befl_agent_tasks": ("state",),
    "befl_agent_step_seconds": ("action",),
    "befl_agent_failures": ("code",),
    "befl_supervisor_process_up": ("process",),
    "befl_supervisor_process_restarts": ("process",),
}
"""The labels of each metric that has any; the reference page needs them before the first sample."""


class ChaincodeMetrics:
    """Of a chaincode server.

    Parameters
    ----------
    functions : iterable of str
        The transactions that the chaincode has; every other name is counted as ``other``.
    """

    def __init__(self, functions: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._functions = frozenset(functions)
        self._transactions = Counter(
            "befl_chaincode_transactions",
            "Transactions that this server ran, by function and outcome: ok, a code of a refusal, or error.",
            LABELS["befl_chaincode_transactions"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "befl_chaincode_transaction_seconds",
            "How long a transaction ran here, reads from the peer included.",
            LABELS["befl_chaincode_transaction_seconds"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "befl_chaincode_transactions_in_flight", "Transactions that run now.", registry=self.registry
        )

    def observed(self, chaincode: Any) -> Any:
        """Return a chaincode that does the same and is counted.

        Parameters
        ----------
        chaincode : befl.contracts.stub.Chaincode
            What runs the transactions.
        """
        return _Observed(chaincode, self)

    @contextmanager
    def transaction(self, function: str) -> Iterator[None]:
        """Count one transaction, whatever becomes of it."""
        name = function if function in self._functions else OTHER
        began = time.perf_counter()
        outcome = "error"
        self._in_flight.inc()
        try:
            yield
            outcome = "ok"
        except BeflError as error:
            outcome = error.code
            raise
        finally:
            self._in_flight.dec()
            self._transactions.labels(name, outcome).inc()
            self._seconds.labels(name).observe(time.perf_counter() - began)


class _Observed:
    def __init__(self, chaincode: Any, metrics: ChaincodeMetrics) -> None:
        self._chaincode = chaincode
        self._metrics = metrics

    def invoke(self, stub: Any) -> bytes:
        with self._metrics.transaction(stub.get_function_and_parameters()[0]):
            result: bytes = self._chaincode.invoke(stub)
        return result


class AgentMetrics(AgentWatch):
    """Of an agent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tasks = Gauge(
            "befl_agent_tasks",
            "Tasks on the ledger, by state, as the agent last read them.",
            LABELS["befl_agent_tasks"],
            registry=self.registry,
        )
        self._workers = Gauge("befl_agent_workers", "Tasks that the agent works on now.", registry=self.registry)
        self._rounds = Counter(
            "befl_agent_rounds", "Rounds that the agent submitted an update to.", registry=self.registry
        )
        self._steps = Histogram(
            "befl_agent_step_seconds",
            "How long a step took, waiting for its commit included, by action.",
            LABELS["befl_agent_step_seconds"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._failures = Counter(
            "befl_agent_failures",
            "Steps that failed, by code; races with other institutions are not counted.",
            LABELS["befl_agent_failures"],
            registry=self.registry,
        )
        self._success = Gauge(
            "befl_agent_last_success_timestamp_seconds",
            "When the agent last read the ledger or finished a step; Unix time.",
            registry=self.registry,
        )
        self._overdue = Gauge(
            "befl_agent_rounds_past_deadline",
            "Rounds that are still open although their deadline has passed by the agent's clock.",
            registry=self.registry,
        )
        self._past: set[str] = set()

    def tasks(self, states: Mapping[str, int], workers: int) -> None:
        """Take over how many tasks there are in each state, and how many are worked on."""
        for state in {*TASK_STATES, *states}:
            self._tasks.labels(state).set(states.get(state, 0))
        self._workers.set(workers)
        self.succeeded()

    def step(self, action: str, seconds: float) -> None:
        """Count a step that was done."""
        self._steps.labels(action).observe(seconds)
        if action == "submit":
            self._rounds.inc()
        self.succeeded()

    def failed(self, code: str) -> None:
        """Count a step that failed."""
        self._failures.labels(code).inc()

    def deadline(self, task: str, *, passed: bool) -> None:
        """Take over whether the open round of a task is past its deadline."""
        (self._past.add if passed else self._past.discard)(task)
        self._overdue.set(len(self._past))

    def succeeded(self) -> None:
        """Take over that something worked just now."""
        self._success.set_to_current_time()

    @property
    def last_success(self) -> float:
        """When something last worked; Unix time, 0 for never."""
        [family] = self._success.collect()
        return float(family.samples[0].value)


class SupervisorMetrics:
    """Of a supervisor; reads what it knows at each request.

    Parameters
    ----------
    states : callable
        Returns the processes, each with ``name``, ``state`` and ``restarts``.
    """

    def __init__(self, states: Any) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Processes(states))


class _Processes(Collector):
    def __init__(self, states: Any) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(
            "befl_supervisor_process_up",
            "Whether a process runs (1) or waits for its next start (0).",
            None,
            LABELS["befl_supervisor_process_up"],
        )
        restarts = CounterMetricFamily(
            "befl_supervisor_process_restarts",
            "How often a process was started again after it had ended by itself.",
            None,
            LABELS["befl_supervisor_process_restarts"],
        )
        for state in self._states():
            up.add_metric([state.name], 1 if state.state == "running" else 0)
            restarts.add_metric([state.name], state.restarts)
        return [up, restarts]


def families() -> dict[str, list[Metric]]:
    """Return every metric of befl, by process; for the reference page."""
    return {
        "chaincode server": list(ChaincodeMetrics(()).registry.collect()),
        "agent": list(AgentMetrics().registry.collect()),
        "supervisor": list(SupervisorMetrics(list).registry.collect()),
    }
