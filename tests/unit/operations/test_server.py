"""/healthz, /version, /metrics: open as Fabric's are, metrics never to strangers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from contextlib import contextmanager

import pytest

from befl.operations.metrics import AgentMetrics
from befl.operations.server import OperationsServer, Tls, check_address
from befl.rules.errors import BeflError


@contextmanager
def serving(address="127.0.0.1:0", *, wrong=None, tls=None, metrics=None):
    registry = (metrics or AgentMetrics()).registry
    server = OperationsServer(
        address, health=lambda: wrong or {}, version={"Version": "1.2"}, registry=lambda: registry, tls=tls
    )
    try:
        yield server
    finally:
        server.stop()


def get(server, path, context=None):
    host, _, port = server.address.rpartition(":")
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    connection = kind(host.strip("[]"), int(port), timeout=5, **({"context": context} if context else {}))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_health_version_and_metrics():
    metrics = AgentMetrics()
    metrics.step("submit", 0.3)
    with serving(metrics=metrics) as server:
        status, text = get(server, "/healthz")
        assert (status, json.loads(text)["status"]) == (200, "OK")
        assert get(server, "/version") == (200, '{"Version": "1.2"}\n')
        status, text = get(server, "/metrics?ignored")
        assert status == 200
        assert "\nbefl_agent_rounds_total 1.0\n" in text
        assert get(server, "/else")[0] == 404


def test_what_is_wrong_is_said_as_fabric_says_it():
    with serving(wrong={"ledger": "silent"}) as server:
        status, text = get(server, "/healthz")
    assert status == 503
    assert json.loads(text)["failed_checks"] == [{"component": "ledger", "reason": "silent"}]


def test_it_ends_and_may_listen_again_at_the_same_address():
    with serving() as server:
        address = server.address
    with pytest.raises(ConnectionRefusedError):
        get(server, "/healthz")
    with serving(address) as server:
        assert get(server, "/healthz")[0] == 200


def test_an_address_that_is_taken():
    with serving() as server, pytest.raises(BeflError, match=f"BEFL-C-021: {server.address}: Address already in use"):
        serving(server.address).__enter__()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "192.0.2.1:9464", "[::]:9464", "example.org:9464"])
def test_other_machines_get_nothing_without_tls(address):
    with pytest.raises(BeflError, match="BEFL-C-020"):
        serving(address).__enter__()
    assert check_address(address, tls=True)[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "", ":1", "127.0.0.1:x", "127.0.0.1:65536"])
def test_an_address_that_is_none(address):
    with pytest.raises(BeflError, match="BEFL-C-021"):
        check_address(address, tls=False)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_addresses_of_this_machine(address):
    assert check_address(address, tls=False)[1] == 1


@pytest.fixture
def tls(tmp_path, authority, another_authority):
    """A server of one CA, whose metrics are for clients of another one: the operators'."""
    pair, operator, agent = authority.issue("server"), another_authority.issue("operator"), authority.issue("agent")
    for name, data in {
        "server.crt": pair.certificate,
        "server.key": pair.key,
        "ca.crt": authority.pem,
        "operators.crt": another_authority.pem,
        "operator.crt": operator.certificate,
        "operator.key": operator.key,
        "agent.crt": agent.certificate,
        "agent.key": agent.key,
    }.items():
        (tmp_path / name).write_bytes(data)
    return Tls(tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "operators.crt")


def client(folder, name=""):
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    if name:
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def test_with_tls_metrics_are_for_operators(tls, tmp_path):
    with serving(tls=tls) as server:
        assert get(server, "/healthz", client(tmp_path))[0] == 200
        assert get(server, "/version", client(tmp_path))[0] == 200
        assert get(server, "/metrics", client(tmp_path))[0] == 401
        status, text = get(server, "/metrics", client(tmp_path, "operator"))
        assert status == 200
        assert "befl_agent_rounds_total" in text
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):  # a certificate of another CA
            get(server, "/metrics", client(tmp_path, "agent"))


def test_somebody_who_says_nothing_keeps_nobody_waiting(tls, tmp_path):
    with serving(tls=tls) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))), socket.create_connection((host, int(port))) as other:
            other.sendall(b"no TLS at all\r\n\r\n")
            assert get(server, "/healthz", client(tmp_path))[0] == 200


def test_tls_files_that_cannot_be_used(tls, tmp_path):
    (tmp_path / "server.key").write_bytes(b"nothing")
    with pytest.raises(BeflError, match=r"BEFL-C-021: 127\.0\.0\.1:0: TLS files cannot be used"):
        serving(tls=tls).__enter__()
