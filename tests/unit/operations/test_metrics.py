"""What is counted, under which names, and that a stranger cannot make series without end."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import generate_latest

from befl.network.supervisor import ProcessState
from befl.operations.metrics import AgentMetrics, ChaincodeMetrics, SupervisorMetrics, families
from befl.rules.errors import BeflError


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


class Stub:
    def __init__(self, function):
        self._function = function

    def get_function_and_parameters(self):
        return self._function, []


class Chaincode:
    def __init__(self, does):
        self.invoke = lambda stub: does()


def raises(error):
    raise error


def test_transactions_by_function_and_outcome():
    metrics = ChaincodeMetrics(["TaskContract:Get"])
    assert metrics.observed(Chaincode(lambda: b"ok")).invoke(Stub("TaskContract:Get")) == b"ok"
    for error in (BeflError("BEFL-T-007", "no task"), ZeroDivisionError()):
        with pytest.raises(type(error)):
            metrics.observed(Chaincode(lambda error=error: raises(error))).invoke(Stub("TaskContract:Get"))
    name = "befl_chaincode_transactions_total"
    for outcome in ("ok", "BEFL-T-007", "error"):
        assert value(metrics, name, function="TaskContract:Get", outcome=outcome) == 1
    assert value(metrics, "befl_chaincode_transaction_seconds_count", function="TaskContract:Get") == 3
    assert value(metrics, "befl_chaincode_transactions_in_flight") == 0


def test_names_that_a_client_makes_up_are_one_series():
    metrics = ChaincodeMetrics(["TaskContract:Get"])
    for number in range(100):
        metrics.observed(Chaincode(lambda: b"")).invoke(Stub(f"Made:Up{number}"))
    assert value(metrics, "befl_chaincode_transactions_total", function="other", outcome="ok") == 100
    assert b"Made" not in generate_latest(metrics.registry)


def test_transactions_that_run_now():
    metrics = ChaincodeMetrics([])
    entered, leave = threading.Event(), threading.Event()

    def wait():
        entered.set()
        leave.wait(10)
        return b""

    chaincode = metrics.observed(Chaincode(wait))
    thread = threading.Thread(target=chaincode.invoke, args=(Stub("x"),))
    thread.start()
    assert entered.wait(10)
    assert value(metrics, "befl_chaincode_transactions_in_flight") == 1
    leave.set()
    thread.join(10)
    assert value(metrics, "befl_chaincode_transactions_in_flight") == 0


def test_an_agent_counts_what_it_does():
    metrics = AgentMetrics()
    assert metrics.last_success == 0
    metrics.tasks({"running": 2}, 1)
    metrics.step("submit", 1.5)
    metrics.step("report", 0.5)
    metrics.failed("BEFL-M-102")
    metrics.deadline("t1", passed=True)
    metrics.deadline("t2", passed=True)
    metrics.deadline("t1", passed=False)
    assert value(metrics, "befl_agent_tasks", state="running") == 2
    assert value(metrics, "befl_agent_tasks", state="finished") == 0
    assert value(metrics, "befl_agent_workers") == 1
    assert value(metrics, "befl_agent_rounds_total") == 1
    assert value(metrics, "befl_agent_step_seconds_sum", action="submit") == 1.5
    assert value(metrics, "befl_agent_failures_total", code="BEFL-M-102") == 1
    assert value(metrics, "befl_agent_rounds_past_deadline") == 1
    assert metrics.last_success > 1_700_000_000


def test_the_supervisor_shows_what_it_knows_at_each_request():
    states = [ProcessState("org1/peer", "running", 5, 0, None)]
    metrics = SupervisorMetrics(lambda: states)
    assert value(metrics, "befl_supervisor_process_up", process="org1/peer") == 1
    states[:] = [ProcessState("org1/peer", "waiting", 0, 3, 1)]
    assert value(metrics, "befl_supervisor_process_up", process="org1/peer") == 0
    assert value(metrics, "befl_supervisor_process_restarts_total", process="org1/peer") == 3


def test_every_metric_says_what_it_is():
    found = [metric for group in families().values() for metric in group]
    assert len(found) >= 12
    assert all(metric.name.startswith("befl_") and metric.documentation.endswith(".") for metric in found)
