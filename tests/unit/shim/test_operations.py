"""``python -m befl.shim`` shows health, version and metrics, and logs JSON lines with the transaction."""

from __future__ import annotations

import dataclasses
import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys

import pytest

from befl.gateway.wait import until
from befl.rules.version import __version__
from befl.shim.digest import code_digest

from .conftest import ScriptedPeer


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port, path, context=None):
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


@pytest.fixture
def start(config, tmp_path):
    """Start a server of the given configuration; it has ended when the test has."""
    started = []

    def run(**changes):
        chosen = dataclasses.replace(config, address=f"127.0.0.1:{free()}", code_digest=code_digest(), **changes)
        path = tmp_path / "server.json"
        path.write_text(json.dumps(dataclasses.asdict(chosen)))
        command = [sys.executable, "-m", "befl.shim", "--config", str(path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(chosen.address.rpartition(":")[2])

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def test_health_version_metrics_and_a_log_of_json_lines(start, config, authority):
    port = free()
    process, chaincode = start(operations_address=f"127.0.0.1:{port}", log_format="json")
    until(lambda: get(port, "/healthz")[0] == 200, timeout=20, what="the server healthy")
    version = json.loads(get(port, "/version")[1])
    assert (version["Version"], version["code_digest"]) == (__version__, code_digest())
    assert version["chaincode_id"] == config.chaincode_id
    peer = ScriptedPeer(chaincode, authority, authority.issue("peer"))
    peer.register()
    peer.transaction("TaskContract:Nothing")
    peer.completed()
    text = get(port, "/metrics")[1]
    assert 'befl_chaincode_transactions_total{function="other",outcome="BEFL-T-008"} 1.0' in text
    assert "befl_chaincode_transactions_in_flight 0.0" in text
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    peer.close()
    assert process.returncode == 0, log
    records = [json.loads(line) for line in log.splitlines()]
    [refused] = [record for record in records if record["message"].startswith("refused: BEFL-T-008")]
    assert len(refused["txid"]) > 0
    assert {record["logger"] for record in records} == {"befl.shim"}
    assert get(port, "/healthz")[0] == 0


def test_with_a_client_ca_metrics_are_for_its_certificates_only(start, authority, another_authority, tmp_path):
    (tmp_path / "operators.crt").write_bytes(another_authority.pem)
    operator = another_authority.issue("operator")
    (tmp_path / "operator.crt").write_bytes(operator.certificate)
    (tmp_path / "operator.key").write_bytes(operator.key)
    (tmp_path / "trust.crt").write_bytes(authority.pem)
    anybody, trusted = (ssl.create_default_context(cafile=str(tmp_path / "trust.crt")) for _ in range(2))
    trusted.load_cert_chain(tmp_path / "operator.crt", tmp_path / "operator.key")
    port = free()
    start(operations_address=f"127.0.0.1:{port}", operations_client_ca=str(tmp_path / "operators.crt"))
    until(lambda: get(port, "/healthz", anybody)[0] == 200, timeout=20, what="the server healthy")
    assert get(port, "/metrics", anybody)[0] == 401
    assert get(port, "/metrics", trusted)[0] == 200


@pytest.mark.parametrize(("address", "code"), [("0.0.0.0:9443", "BEFL-C-020"), ("127.0.0.1:x", "BEFL-C-021")])
def test_it_does_not_start_where_strangers_would_read(start, address, code):
    process, _ = start(operations_address=address)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 2
    assert log.startswith(code)
    assert "Traceback" not in log
