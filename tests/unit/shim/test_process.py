"""``python -m befl.shim`` as the supervisor runs it: starts quickly, serves the contracts, ends in order."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from befl.gateway.wait import until
from befl.shim.digest import code_digest


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def process(config, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chosen = dataclasses.replace(config, address=f"127.0.0.1:{port}", code_digest=code_digest())
    path = tmp_path / "server.json"
    path.write_text(json.dumps(dataclasses.asdict(chosen)))
    command = [sys.executable, "-m", "befl.shim", "--config", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: listening(port) or process.poll() is not None, timeout=20, what="the server to listen")
            yield process, port
        finally:
            process.kill()


def scripted_peer(port, authority):
    from .conftest import ScriptedPeer

    return ScriptedPeer(port, authority, authority.issue("peer"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_befl_and_ends_at_a_signal(process, authority, number):
    server, port = process
    peer = scripted_peer(port, authority)
    peer.register()
    peer.transaction("Nothing:Here")
    assert "BEFL-T-008" in peer.completed()[1].message
    server.send_signal(number)
    _, log = server.communicate(timeout=20)
    assert server.returncode == 0, log
    assert "Traceback" not in log
    assert "listening on" in log
    assert "stopped" in log
    assert peer.ended.result(10) == "OK"
    peer.close()


def test_its_threads_do_not_push_one_another_off_the_core(process, authority):
    server, port = process
    peer = scripted_peer(port, authority)
    peer.register()
    peer.transaction("Nothing:Here")
    peer.completed()
    threads = [int(path.name) for path in Path(f"/proc/{server.pid}/task").iterdir()]
    assert len(threads) > 4
    found = set()
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            found.add(os.sched_getscheduler(thread))
    assert found == {os.SCHED_BATCH}
    peer.close()


def test_signals_that_come_together_do_not_hang_it(process):
    """As Ctrl-C in a terminal and the SIGTERM of whoever started it do."""
    server, _ = process
    end = time.monotonic() + 20  # a handler that takes a lock soon meets the next signal
    while server.poll() is None and time.monotonic() < end:
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGINT)
    server.communicate(timeout=20)
    assert server.returncode == 0


def test_the_server_needs_neither_torch_nor_the_client():
    program = (
        "import sys, befl.shim.__main__, befl.contracts.chaincode\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'rich', 'click')"
        " or name.startswith(('befl.gateway', 'befl.client'))])"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]"
