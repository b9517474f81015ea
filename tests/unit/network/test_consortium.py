"""What `up`, `down` and `status` refuse, and that they leave nothing behind; Fabric's programs are stand-ins here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import befl.network
from befl.cli import main
from befl.gateway import wait
from befl.network import commands, consortium, institution, supervisor, topology
from befl.network.layout import Layout
from befl.rules.errors import BeflError

STAYS = "exec sleep 600"
PORTS = {name: 30_000 + number for number, name in enumerate(topology.PORTS)}


@pytest.fixture
def stand_in(fake_fabric, monkeypatch):
    def use(**options: str) -> None:
        monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric(**options)))

    return use


def test_a_process_that_does_not_stay_up_is_named_with_its_last_words(stand_in, tmp_path):
    stand_in(ca="echo 'the disk is full' >&2; exit 4")
    lines: list[str] = []
    with pytest.raises(BeflError) as caught:
        befl.network.up(tmp_path / "n", befl.network.make(["org1"]), lines.append)
    assert caught.value.code == "BEFL-N-008"
    assert caught.value.message.startswith("org1/ca does not stay up (status 4): the disk is full")
    assert "ca.log" in caught.value.hint
    assert lines[-1] == "stopping what was started"
    assert supervisor.running(tmp_path / "n") == 0


def test_a_process_that_does_not_answer_is_named(stand_in, tmp_path, monkeypatch):
    stand_in(ca=STAYS)
    monkeypatch.setattr("befl.network.institution.READY", 0.3)
    with pytest.raises(BeflError, match=r"BEFL-G-001: waited .* org1/ca healthy"):
        befl.network.up(tmp_path / "n", befl.network.make(["org1"]))
    assert supervisor.running(tmp_path / "n") == 0


def test_interrupting_up_leaves_nothing_running(stand_in, tmp_path):
    stand_in(ca=STAYS)
    program = "import sys, befl.network; befl.network.up(sys.argv[1], befl.network.make(['org1']))"
    directory = tmp_path / "n"
    with subprocess.Popen([sys.executable, "-c", program, str(directory)], stderr=subprocess.PIPE, text=True) as up:
        wait.until(
            lambda: "org1/ca" in supervisor.states(directory) and supervisor.states(directory)["org1/ca"].pid,
            timeout=20,
            what="the CA started",
        )
        up.send_signal(2)
        _, said = up.communicate(timeout=30)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert supervisor.running(directory) == 0


@pytest.mark.parametrize("when", ["while it is started", "before it has its lock"])
def test_interrupting_up_ends_a_supervisor_that_has_no_lock_yet(stand_in, tmp_path, monkeypatch, when):
    stand_in()
    start, running, begun = supervisor.start, supervisor.running, []

    def interrupted_start(directory, owner):
        if when == "while it is started":
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        begun.append(start(directory, owner))
        return begun[0]

    def interrupted_running(directory):
        if begun and when == "before it has its lock":
            monkeypatch.setattr(supervisor, "running", running)
            raise KeyboardInterrupt
        return running(directory)

    monkeypatch.setattr(supervisor, "start", interrupted_start)
    monkeypatch.setattr(supervisor, "running", interrupted_running)
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        befl.network.up(tmp_path / "n", befl.network.make(["org1"]), lines.append, owner=os.getpid())
    assert lines == ["stopping what was started"]
    assert not Path(f"/proc/{begun[0]}").exists()


def test_interrupting_up_while_a_step_begins_ends_the_waiting_of_those_that_have_begun(stand_in, tmp_path, monkeypatch):
    stand_in(ca=STAYS)
    start, began = threading.Thread.start, time.monotonic()

    def interrupted(thread):
        start(thread)
        if thread.name.endswith("_1") and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        befl.network.up(tmp_path / "n", befl.network.make(["org1", "org2"]), owner=os.getpid())
    assert time.monotonic() - began < institution.READY / 2
    assert supervisor.running(tmp_path / "n") == 0


def test_what_up_started_is_stopped_when_nobody_reads_what_it_says(stand_in, tmp_path):
    stand_in(ca=STAYS)

    def closed(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        befl.network.up(tmp_path / "n", befl.network.make(["org1"]), closed, owner=os.getpid())
    assert supervisor.running(tmp_path / "n") == 0


def test_a_taken_port_is_named(stand_in, tmp_path):
    stand_in()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        others = [number for number in range(20_000, 20_001 + len(topology.PORTS)) if number != port]
        wanted = topology.with_ports(topology.make(["org1"]), [others[0], others[1], port, *others[2:]])
        with pytest.raises(BeflError) as caught:
            befl.network.up(tmp_path / "n", wanted)
    assert caught.value.code == "BEFL-N-006"
    assert caught.value.message == f"institutions.org1.ports.orderer: port {port} on 127.0.0.1 is taken"
    assert f"ss -ltnp 'sport = :{port}'" in caught.value.hint
    assert supervisor.running(tmp_path / "n") == 0


def test_no_port_is_free(monkeypatch):
    monkeypatch.setattr(consortium, "_PORTS_TO", consortium._PORTS_FROM + 2)
    with pytest.raises(BeflError, match=r"BEFL-N-006: no free port between 20000 and 20002 on 127\.0\.0\.1"):
        consortium._free_ports(["127.0.0.1"] * 3, set())


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-name.invalid", "x" * 70])
def test_a_host_that_is_none_of_this_machine(stand_in, tmp_path, host):
    """Behind NAT, or mistyped; known at once, with nothing left."""
    stand_in()
    began = time.monotonic()
    with pytest.raises(BeflError, match=r"BEFL-C-004: host: .* is no address of this machine") as caught:
        consortium.init(tmp_path / "n", "north", host)
    assert "ip addr" in caught.value.hint
    assert time.monotonic() - began < 60
    assert not (tmp_path / "n").exists()
    kept = topology.from_table({"befl": 1, "institutions": {"north": {"host": host, "ports": PORTS}}})
    with pytest.raises(BeflError, match="BEFL-C-004"):
        consortium._check_ports(kept.institutions)


def test_free_ports_are_all_different():
    ports = consortium._free_ports(["127.0.0.1"] * 300, {20_000})
    assert len(set(ports)) == 300
    assert all(20_000 < port < 32_000 for port in ports)


def test_a_folder_with_something_else_is_left_alone(stand_in, tmp_path):
    stand_in()
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BeflError, match=r"BEFL-N-010: .* is not empty and no network"):
        befl.network.up(tmp_path)
    with pytest.raises(BeflError, match=r"BEFL-N-010: .* cannot be used"):
        befl.network.up(tmp_path / "thesis.txt")
    with pytest.raises(BeflError, match="BEFL-N-009"):
        befl.network.down(tmp_path, purge=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_where_there_is_no_network(tmp_path):
    for act in (befl.network.down, befl.network.status):
        with pytest.raises(BeflError, match=r"BEFL-N-009: .* holds no network"):
            act(tmp_path)


def test_one_command_at_a_time(tmp_path, stand_in):
    stand_in()
    (tmp_path / "n").mkdir()
    with (
        consortium._locked(Layout(tmp_path / "n")),
        pytest.raises(BeflError, match="BEFL-N-005: another befl command"),
    ):
        befl.network.up(tmp_path / "n")


def test_another_topology_is_refused(tmp_path):
    layout = Layout(tmp_path)
    kept = consortium._topology(layout, topology.make(["a", "b"]))
    assert consortium._topology(layout, None) == kept
    assert consortium._topology(layout, topology.make(["a", "b"])) == kept
    for text, words in {
        "befl=1\n[institutions.a]": "has the institutions a, b, not a",
        "befl=1\n[institutions.a]\nmsp_id='X'\n[institutions.b]": "institutions.a differs",
        "befl=1\n[institutions.a]\n[institutions.b]\n[channel]\nname='other'": r"\[channel\] or \[chaincode\] differs",
    }.items():
        with pytest.raises(BeflError, match=f"BEFL-N-011: .*{words}"):
            consortium._topology(layout, topology.parse(text.encode(), "x"))


def test_joining_is_not_founding(tmp_path):
    layout = Layout(tmp_path)
    table = {"befl": 1, "joins": True, "institutions": {"north": {}}}
    kept = consortium._topology(layout, topology.from_table(table))
    assert topology.parse(layout.topology.read_bytes(), "network.toml") == kept
    with pytest.raises(BeflError, match="BEFL-N-011: founding a channel is one thing"):
        consortium._topology(layout, topology.make(["north"]))


def test_one_institution_acts_at_a_time(tmp_path, stand_in):
    stand_in()
    consortium._topology(Layout(tmp_path), topology.make(["a", "b"]))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        pytest.raises(BeflError, match="BEFL-C-009: it is not said for which institution"),
        consortium.acting(tmp_path),
    ):
        pass
    with consortium.acting(tmp_path, "a") as one, consortium.acting(tmp_path, "b") as other:
        assert (one.institution.name, other.institution.name) == ("a", "b")
        with pytest.raises(BeflError, match="BEFL-N-005"), consortium.acting(tmp_path, "a"):
            pass
        with pytest.raises(BeflError, match="BEFL-N-005"):
            befl.network.up(tmp_path)


def test_status_of_a_network_that_does_not_run(tmp_path):
    consortium._topology(Layout(tmp_path), topology.make(["a"]))
    status = befl.network.status(tmp_path)
    assert (status.running, status.ready, status.memory_bytes) == (False, False, 0)
    assert [process.name for process in status.institutions[0].processes] == ["ca", "orderer", "peer", "chaincode"]
    assert {process.state for process in status.institutions[0].processes} == {"stopped"}
    assert befl.network.down(tmp_path) is False
    befl.network.down(tmp_path, purge=True)
    assert not tmp_path.exists()


def test_a_failed_command_is_named_with_its_error():
    with pytest.raises(BeflError, match="BEFL-N-007: joining: Error: it is late"):
        commands.run(["sh", "-c", "echo noise; echo 'Error: it is late' >&2; exit 1"], what="joining")
    with pytest.raises(BeflError, match="BEFL-N-007: joining: status 1"):
        commands.run(["sh", "-c", "exit 1"], what="joining")
    with pytest.raises(BeflError, match=r"BEFL-N-007: joining: sleep did not end within 0\.1 s"):
        commands.run(["sleep", "60"], timeout=0.1, what="joining")
    with pytest.raises(BeflError, match="BEFL-N-007: joining: peer cannot be started"):
        commands.run(["/nowhere/peer"], what="joining")


def test_a_command_gets_nothing_of_the_users_settings(monkeypatch):
    monkeypatch.setenv("CORE_PEER_ADDRESS", "elsewhere:7051")
    assert "elsewhere" not in commands.run(["env"], what="showing")
    assert "CORE_PEER_ID=x" in commands.run(["env"], env={"CORE_PEER_ID": "x"}, what="showing")


def test_metrics_are_read():
    text = '# HELP a\na_total{channel="x"} 1\na{channel="x"} 2\na{channel="y"} 3.5\nb 4\n'
    assert commands.metric(text, "a", 'channel="y"') == 3.5
    assert commands.metric(text, "a") == 2
    assert commands.metric(text, "b") == 4
    assert commands.metric(text, "c") is None


@pytest.fixture
def run(capsys):
    """A command of `befl network`; returns its exit status, and what it printed and complained of."""

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main.run(["network", *arguments])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return call


def test_the_command_refuses_with_codes(tmp_path, stand_in, run):
    """It could not run: that is status 2, as of every other command."""
    stand_in()
    folder = ["--network", str(tmp_path / "n")]
    for arguments, words in {
        ("status", *folder): "BEFL-N-009",
        ("down", *folder): "BEFL-N-009",
        ("up", *folder, "--institutions", "0"): "BEFL-N-004: --institutions: must be from 1 to 32, not 0",
        ("up", *folder, "--institutions", "9" * 99): "BEFL-N-004",
        ("up", *folder, "--institutions", "a,b,a"): "BEFL-N-004: institutions: a stands twice",
        ("up", *folder, "--institutions", "A"): "BEFL-C-004",
        ("up", *folder, "--topology", str(tmp_path / "absent.toml")): "BEFL-C-006",
    }.items():
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), arguments
        assert words in err, arguments
        assert "More: befl explain BEFL-" in err
        assert "Traceback" not in err
    status, _, err = run("up", *folder, "--institutions", "2", "--topology", str(tmp_path / "x"))
    assert status == 2
    assert "exclude each other" in err


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_purge_asks(tmp_path, monkeypatch, answer, gone):
    consortium._topology(Layout(tmp_path), topology.make(["a"]))
    (tmp_path / "thesis.txt").write_text("mine")
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    arguments = ["network", "down", "--purge", "--network", str(tmp_path)]
    done = CliRunner().invoke(main.root, arguments, input=answer)
    assert f"Shall {tmp_path} be removed" in done.output
    assert tmp_path.exists() != gone
    if not gone:
        assert "Shall" not in CliRunner().invoke(main.root, [*arguments, "--yes"]).output
        assert not tmp_path.exists()


def test_the_command_prints_status_and_stops(tmp_path, run):
    consortium._topology(Layout(tmp_path), topology.make(["a"]))
    status, out, _ = run("status", "--network", str(tmp_path), "--format", "json")
    assert status == 1
    assert json.loads(out)["institutions"][0]["msp_id"] == "AMSP"
    status, out, _ = run("status", "--network", str(tmp_path))
    assert status == 1
    assert ": not running, 0 MB in all\n" in out
    assert "\na (AMSP): ledger height " in out
    assert "\n  ca         stopped" in out
    assert run("down", "--network", str(tmp_path))[:2] == (0, "nothing was running\n")
    status, out, _ = run("down", "--network", str(tmp_path), "--purge", "--format", "json")
    assert (status, json.loads(out)) == (0, {"directory": str(tmp_path), "stopped": False, "removed": True})
    assert not tmp_path.exists()


def test_the_command_finds_fabric(stand_in, run):
    stand_in()
    status, out, _ = run("fabric")
    assert status == 0
    assert out.startswith("Fabric v3.1.1 (BEFL_FABRIC_BIN): ")
