"""What an agent shows of itself: metrics that agree with the ledger, and logs without rows or keys."""

from __future__ import annotations

import http.client
import io
import json
import logging
import socket
import threading
import time

import pytest

from befl.agent import start
from befl.agent.config import MetricsTable
from befl.agent.daemon import Agent
from befl.gateway import wait
from befl.operations import logs
from befl.operations.metrics import AgentMetrics
from befl.rules.errors import BeflError
from befl.rules.version import __version__

from .memory import Institution, Participant, config


def value(metrics: AgentMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_metrics_of_a_whole_task_agree_with_the_ledger(consortium, tmp_path):
    task = consortium.publish(count=2)
    institution = Institution(consortium, "Org1MSP", tmp_path)
    institution.watch = metrics = AgentMetrics()
    institution.worker(task).run()
    ledger = consortium.ledger("Org1MSP")
    assert ledger.view(task).state == "finished"
    rounds = list(ledger.rounds(task))
    assert value(metrics, "befl_agent_rounds_total") == len(rounds) == 2
    for action in ("submit", "close", "report"):
        assert value(metrics, "befl_agent_step_seconds_count", action=action) == 2
    assert value(metrics, "befl_agent_step_seconds_count", action="finish") == 1
    assert value(metrics, "befl_agent_rounds_past_deadline") == 0
    assert metrics.last_success > 0


def test_failures_by_code_and_a_round_past_its_deadline(consortium, tmp_path):
    task = consortium.publish(count=1, deadline="1s")
    institution = Institution(consortium, "Org1MSP", tmp_path)
    institution.watch = metrics = AgentMetrics()
    seen = []
    deadline = metrics.deadline

    def watch(name, *, passed):
        deadline(name, passed=passed)
        seen.append((passed, value(metrics, "befl_agent_rounds_past_deadline")))

    metrics.deadline = watch

    class Slow(Participant):
        def train(self, view, model, number, correction):
            if view.round.number == 1:
                late = view.round.deadline_ms / 1_000 + 0.2
                wait.until(lambda: time.time() > late, timeout=10, what="the deadline passed")
                raise BeflError("BEFL-M-102", "planted-secret")
            return super().train(view, model, number, correction)

    institution.make = lambda: Slow("Org1MSP")
    worker = institution.worker(task)
    worker.start()
    wait.until(lambda: (True, 1.0) in seen, timeout=20, what="a round past its deadline")
    worker.stop()
    worker.join(10)
    assert value(metrics, "befl_agent_failures_total", code="BEFL-M-102") == 1


def test_tasks_by_state(consortium, tmp_path):
    tasks = [consortium.publish(), consortium.publish(count=1)]
    consortium.ledger("IssuerMSP", "issuer").cancel(tasks[0], "a test")
    metrics = AgentMetrics()
    stopped = threading.Event()
    agent = Agent(
        config(tmp_path), "Org1MSP", consortium.ledger("Org1MSP"), lambda *_: Participant("Org1MSP"), stopped, metrics
    )
    thread = threading.Thread(target=agent.run)
    thread.start()
    wait.until(lambda: metrics.last_success, timeout=10, what="a look at the ledger")
    stopped.set()
    agent.stop()
    thread.join(10)
    assert value(metrics, "befl_agent_tasks", state="cancelled") == 1
    assert value(metrics, "befl_agent_tasks", state="published") == 1


def ask(address: str, path: str) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_follows_what_works(tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    chosen = config(tmp_path)
    object.__setattr__(chosen, "metrics", MetricsTable(listen=address))
    with start._watched(chosen) as (metrics, shown):
        assert shown == address
        assert ask(address, "/healthz")[0] == 200  # it has just begun
        assert json.loads(ask(address, "/version")[1])["Version"] == __version__
        monkeypatch.setattr(start, "_SILENT_S", -1.0)
        status, text = ask(address, "/healthz")
        assert status == 503
        assert json.loads(text)["failed_checks"][0]["component"] == "ledger"
        monkeypatch.setattr(start, "_SILENT_S", 60.0)
        metrics.step("submit", 1.0)
        assert ask(address, "/healthz")[0] == 200
        assert "befl_agent_rounds_total 1.0" in ask(address, "/metrics")[1]


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (MetricsTable(listen="0.0.0.0:9464"), "BEFL-C-020"),
        (MetricsTable(listen="0.0.0.0:9464", certificate="a", key="b"), "BEFL-C-003"),
        (MetricsTable(listen="127.0.0.1:0", certificate="a", key="b", client_ca="c"), "BEFL-C-021"),
    ],
)
def test_metrics_are_never_open_to_strangers(tmp_path, table, code):
    chosen = config(tmp_path)
    object.__setattr__(chosen, "metrics", table)
    with pytest.raises(BeflError, match=code), start._watched(chosen):
        pass


@pytest.fixture
def log():
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("json", logging.DEBUG, stream)
    logging.getLogger("befl").setLevel(logging.INFO)
    yield stream
    logging.getLogger("befl").setLevel(logging.NOTSET)
    root.handlers[:], root.level = kept[0], kept[1]


def test_logs_name_task_round_and_transaction_and_hold_no_row_and_no_key(consortium, tmp_path, log):
    task = consortium.publish(count=1)
    institution = Institution(consortium, "Org1MSP", tmp_path)
    troubles = [
        BeflError("BEFL-C-107", "heart.csv: row 7, column age: 'planted-secret' is not a number"),
        BeflError("BEFL-M-102", "app: ValueError: planted-secret"),
        OSError("-----BEGIN PRIVATE KEY-----\nplanted-secret\n-----END PRIVATE KEY-----"),
    ]

    def make():
        if troubles:
            raise troubles.pop(0)
        return Participant("Org1MSP")

    institution.make = make
    institution.worker(task).run()
    assert consortium.ledger("Org1MSP").view(task).state == "finished"
    assert troubles == []
    text = log.getvalue()
    assert "planted" not in text
    records = [json.loads(line) for line in text.splitlines()]
    steps = {record["message"].partition(",")[0]: record for record in records if "txid" in record}
    assert list(steps) == ["apply", "open", "submit", "close", "report", "finish"]
    assert {record["task"] for record in records} == {task}
    assert steps["submit"]["round"] == 1
    assert len(steps["submit"]["txid"]) == 64
    assert any("row 7, column age" in record["message"] for record in records)
