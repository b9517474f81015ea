"""`befl agent status`: for people and for programs, with the health behind its address; 0 when it runs, else 1."""

from __future__ import annotations

import json
import socket

import pytest
from tests.unit.agent.memory import Consortium

from befl.agent.status import Notes
from befl.agent.store import Store
from befl.cli.main import run
from befl.operations.metrics import AgentMetrics
from befl.operations.server import OperationsServer, Tls
from befl.rules.errors import BeflError


@pytest.fixture
def store(agent_toml):
    """The state folder of an agent that runs."""
    made = Store(agent_toml.parent / "state")
    made.lock()
    yield made
    made.unlock()


@pytest.fixture
def status(agent_toml, capsys):
    def call(*options, expect=0):
        try:
            found = run(["agent", "status", "--config", str(agent_toml), *options])
        except SystemExit as end:
            found = end.code
        assert found == expect
        return capsys.readouterr().out

    return call


def serving(*, wrong=None, tls=None, host="127.0.0.1"):
    registry = AgentMetrics().registry
    health = wrong or {}
    return OperationsServer(f"{host}:0", health=lambda: health, version={}, registry=lambda: registry, tls=tls)


def test_one_that_has_never_run(status, agent_toml):
    assert "does not run, and never has" in status(expect=1)
    found = json.loads(status("--format", "json", expect=1))
    assert (found["running"], found["tasks"]) == (False, [])
    assert not (agent_toml.parent / "state").exists()


def test_one_that_runs(status, store):
    consortium = Consortium()
    view = consortium.ledger("Org1MSP").view(consortium.publish())
    other = consortium.ledger("Org1MSP").view(consortium.publish())
    notes = Notes(store, "Org1MSP")
    notes.begin()
    assert "tasks      none that has not ended" in status()
    notes.task(view, "refuses", "does not apply", ["policy.schemes does not list 'none'", "no file"])
    notes.task(other, "waits", f"it starts when the window ends at {view.published_ms + 60_000} ms")
    notes.failed(BeflError("BEFL-G-002", "connection refused"), view.id)
    text = status()
    assert "agent of Org1MSP" in text.splitlines()[0]
    assert text.splitlines()[0].endswith(": runs")
    for words in (
        "health     shown nowhere",
        f"task {view.id}: hearts, of IssuerMSP",
        "state      published, round 0/2, not taking part",
        "refuses    does not apply, since 20",
        "because    policy.schemes does not list 'none'\n  because    no file",
        "BEFL-G-002: connection refused",
        "waits for  applications until 20",
        "because    it starts when the window ends at 20",
    ):
        assert words in text
    found = json.loads(status("--format", "json"))
    assert found["running"] is True
    assert found["tasks"][0]["against"] == ["policy.schemes does not list 'none'", "no file"]
    assert found["tasks"][0]["error"]["code"] == "BEFL-G-002"
    store.unlock()
    text = status(expect=1)
    assert text.splitlines()[0].endswith(": does not run")
    assert "as follows when it last wrote it down" in text
    assert "because    no file" in text


def test_its_health_is_asked(status, store):
    server = serving()
    Notes(store, "Org1MSP", server.address).begin()
    assert f"health     {server.address}: OK" in status()
    assert json.loads(status("--format", "json"))["healthy"] is True
    server.stop()
    found = json.loads(status("--format", "json"))
    assert found["healthy"] is False
    assert found["complaint"].startswith("it does not answer")
    server = serving(wrong={"ledger": "nothing has worked for 99 s"})
    Notes(store, "Org1MSP", server.address).begin()
    assert f"health     {server.address}: ledger: nothing has worked for 99 s" in status()
    server.stop()


def test_what_listens_there_is_something_else(status, store):
    with socket.create_server(("127.0.0.1", 0)) as other:
        Notes(store, "Org1MSP", f"127.0.0.1:{other.getsockname()[1]}").begin()
        other.close()
        assert "it does not answer" in status()


def test_health_with_tls_is_asked_of_this_very_certificate(status, store, agent_toml, authority, another_authority):
    folder = agent_toml.parent
    for name, pair in {"server": authority.issue("server"), "other": another_authority.issue("other")}.items():
        (folder / f"{name}.crt").write_bytes(pair.certificate)
        (folder / f"{name}.key").write_bytes(pair.key)
    (folder / "operators.crt").write_bytes(another_authority.pem)
    tls = '[metrics]\nlisten = "0.0.0.0:1"\ncertificate = "{}.crt"\nkey = "{}.key"\nclient_ca = "operators.crt"\n'
    configuration = agent_toml.read_text()
    agent_toml.write_text(configuration + tls.format("server", "server"))
    files = Tls(folder / "server.crt", folder / "server.key", folder / "operators.crt")
    server = serving(tls=files, host="0.0.0.0")  # noqa: S104  # what is tested
    Notes(store, "Org1MSP", server.address).begin()
    assert f"health     {server.address}: OK" in status()
    agent_toml.write_text(configuration + tls.format("other", "other"))
    assert "it does not answer" in status()
    server.stop()
