"""The supervisor keeps processes running, and leaves none however it ends; here they are small Python programs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from befl.gateway import wait
from befl.network import supervisor
from befl.rules.version import __version__

PATIENCE = 20.0
STAYS = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\nwhile 1: signal.pause()"
)


def describe(directory: Path, name: str, program: str = STAYS, **changes: object) -> None:
    institution, _, process = name.partition("/")
    folder = directory / institution / "services"
    folder.mkdir(parents=True, exist_ok=True)
    log = directory / institution / "logs" / f"{process}.log"
    description = {
        "argv": [sys.executable, "-c", program],
        "env": {},
        "cwd": str(directory),
        "log": str(log),
        **changes,
    }
    supervisor.write_service(folder, process, description)


def pid_of(directory: Path, name: str) -> int:
    state = supervisor.states(directory).get(name)
    return state.pid if state is not None else 0


def kill(directory: Path, name: str) -> int:
    """Kill a process once it is known to run; return the pid it had."""
    until(lambda: pid_of(directory, name), f"{name} running")
    pid = pid_of(directory, name)
    os.kill(pid, signal.SIGKILL)
    return pid


def restarts(directory: Path, name: str) -> int:
    state = supervisor.states(directory).get(name)
    return state.restarts if state is not None else 0


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second when it is reaped between open and read
        return True


def until(check: Callable[[], object], what: str) -> None:
    wait.until(check, timeout=PATIENCE, what=what)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "network"
    folder.mkdir()
    yield folder
    if pid := supervisor.running(folder):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not supervisor.running(folder), "the supervisor ended")


def start(directory: Path, owner: int | None = None) -> int:
    pid = supervisor.start(directory, owner or os.getpid())  # should this session be killed, it ends too
    until(lambda: supervisor.running(directory) == pid, "the supervisor running")
    return pid


def test_what_dies_is_started_again(directory):
    describe(directory, "org1/peer")
    start(directory)
    first = kill(directory, "org1/peer")
    until(lambda: pid_of(directory, "org1/peer") not in (0, first), "the second start")
    state = supervisor.states(directory)["org1/peer"]
    assert (state.state, state.restarts, state.exit_status) == ("running", 1, -signal.SIGKILL)


def test_where_nothing_can_be_written_processes_are_started_again_all_the_same(directory):
    """As on a full disk; ``tests/network/test_disk_full.py`` has a real one."""
    describe(directory, "org1/peer")
    start(directory)
    until(lambda: pid_of(directory, "org1/peer"), "the first start")
    first, log = pid_of(directory, "org1/peer"), directory / "supervisor" / "supervisor.log"
    in_the_way = directory / "supervisor" / "state.tmp"
    in_the_way.mkdir()
    os.kill(first, signal.SIGKILL)
    until(lambda: log.read_text().count("org1/peer: started") == 2, "the second start")
    assert pid_of(directory, "org1/peer") == first
    in_the_way.rmdir()
    until(lambda: pid_of(directory, "org1/peer") not in (0, first), "the state written")


def test_back_off_grows_and_a_program_that_is_absent_ends_nothing_else(directory):
    describe(directory, "org1/broken", "import sys; print('why', flush=True); sys.exit(3)")
    describe(directory, "org1/absent", argv=["/nowhere/program"])
    describe(directory, "org1/peer")
    start(directory)
    until(lambda: restarts(directory, "org1/broken") >= 2, "two more starts")
    assert supervisor.states(directory)["org1/broken"].exit_status == 3
    assert supervisor.states(directory)["org1/absent"].exit_status == 127
    assert supervisor.states(directory)["org1/peer"].restarts == 0
    log = (directory / "supervisor" / "supervisor.log").read_text()
    assert "ended with 3" in log
    assert "again in 0.5 s" in log
    assert "again in 1.0 s" in log
    assert (directory / "org1/logs/broken.log").read_text().startswith("why\nwhy\n")


def test_it_follows_its_descriptions(directory):
    pid = start(directory)
    describe(directory, "org1/peer")
    os.kill(pid, signal.SIGHUP)
    until(lambda: pid_of(directory, "org1/peer"), "a new process")
    first = pid_of(directory, "org1/peer")
    describe(directory, "org1/peer", STAYS + " # anew")
    os.kill(pid, signal.SIGHUP)
    until(lambda: pid_of(directory, "org1/peer") not in (0, first), "the process started anew")
    assert gone(first)
    second = pid_of(directory, "org1/peer")
    (directory / "org1/services/peer.json").unlink()
    os.kill(pid, signal.SIGHUP)
    until(lambda: gone(second), "the process ended")
    until(lambda: supervisor.states(directory) == {}, "nothing supervised")


def test_a_signal_that_comes_before_it_has_looked_is_obeyed_then(directory):
    """Its process id is in the lock file by then, so somebody may send one."""
    describe(directory, "org1/peer")
    program = """
import os, signal, sys
from befl.network import supervisor
def hurried(*arguments, make=supervisor.Supervisor):
    os.kill(os.getpid(), signal.SIGHUP)
    return make(*arguments)
supervisor.Supervisor = hurried
sys.exit(supervisor.main(sys.argv[1:]))
"""
    with subprocess.Popen([sys.executable, "-c", program, str(directory), str(os.getpid())]) as process:
        try:
            until(lambda: process.poll() is not None or pid_of(directory, "org1/peer"), "the process")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_a_description_that_is_renamed_while_it_is_read_is_one(directory, monkeypatch):
    """As an upgrade ends: the new chaincode server takes the old one's name, and is not started a second time."""
    describe(directory, "org1/chaincode")
    describe(directory, "org1/chaincode-next", STAYS + " # next")
    upcoming, current = (directory / f"org1/services/{name}.json" for name in ("chaincode-next", "chaincode"))
    keeper = supervisor.Supervisor(directory, lambda line: None)
    read_text = Path.read_text

    def read(path: Path) -> str:
        text = read_text(path)
        if path == upcoming:
            upcoming.rename(current)
        return text

    before = keeper._services()
    monkeypatch.setattr(Path, "read_text", read)
    assert keeper._services() == {"org1/chaincode": before["org1/chaincode-next"]}


def test_a_description_that_is_half_written_changes_nothing(directory):
    """Somebody changes it with an editor, which is no reason to end the network."""
    describe(directory, "org1/peer")
    lines: list[str] = []
    keeper, path = supervisor.Supervisor(directory, lines.append), directory / "org1/services/peer.json"
    before, text = keeper._services(), path.read_text()
    path.write_text("")
    assert keeper._services() == {}, "nothing that was known"
    path.write_text(text)
    assert keeper._services() == before
    keeper._children["org1/peer"] = supervisor._Child(before["org1/peer"])
    path.write_text(text[:20])
    assert keeper._services() == before
    assert keeper._services() == before
    assert lines == ["org1/peer: its description cannot be read; what runs goes on"] * 2, "once each time"
    path.write_text(text.replace("signal.pause()", "signal.pause() # anew"))
    assert keeper._services()["org1/peer"] != before["org1/peer"]


def test_its_end_is_theirs(directory):
    for name in ("org1/ca", "org1/peer", "org2/peer"):
        describe(directory, name)
    pid = start(directory)
    until(lambda: len([1 for state in supervisor.states(directory).values() if state.pid]) == 3, "three processes")
    children = [state.pid for state in supervisor.states(directory).values()]
    os.kill(pid, signal.SIGTERM)
    until(lambda: not supervisor.running(directory), "the supervisor ended")
    assert all(gone(child) for child in children)
    assert supervisor.states(directory) == {}


def test_its_sudden_death_is_theirs_too(directory):
    describe(directory, "org1/ca")
    describe(directory, "org1/stubborn", STUBBORN)
    pid = start(directory)
    until((directory / "org1/logs/stubborn.log").exists, "the log")
    until(lambda: "on" in (directory / "org1/logs/stubborn.log").read_text(), "both processes")
    until(lambda: len(supervisor.states(directory)) == 2, "both written down")
    children = [state.pid for state in supervisor.states(directory).values()]
    os.kill(pid, signal.SIGKILL)
    until(lambda: all(gone(child) for child in children), "their end")
    # the kernel ends a process thread by thread: its children may go before the last thread gives the lock back
    until(lambda: not supervisor.running(directory), "the supervisor ended")


def test_what_does_not_end_is_killed(directory):
    describe(directory, "org1/stubborn", STUBBORN)
    impatient = "import sys; from befl.network import supervisor; supervisor.GRACE = 0.2; supervisor.main(sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", impatient, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            until((directory / "org1/logs/stubborn.log").exists, "the log")
            until(lambda: "on" in (directory / "org1/logs/stubborn.log").read_text(), "the process")
            until(lambda: pid_of(directory, "org1/stubborn"), "the process written down")
            child = pid_of(directory, "org1/stubborn")
            process.terminate()
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert gone(child)
    assert "org1/stubborn: does not end, killed" in said


def test_it_ends_with_its_owner(directory):
    describe(directory, "org1/peer")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        start(directory, owner.pid)
        until(lambda: pid_of(directory, "org1/peer"), "the process")
        child = pid_of(directory, "org1/peer")
        owner.kill()
        owner.wait()
    until(lambda: not supervisor.running(directory), "the supervisor ended")
    assert gone(child)


def test_an_owner_that_has_ended_already(directory):
    with subprocess.Popen([sys.executable, "-c", ""]) as owner:
        pass
    supervisor.start(directory, owner.pid)
    until(lambda: "the owner has ended before" in (directory / "supervisor/supervisor.log").read_text(), "its end")
    until(lambda: not supervisor.running(directory), "the supervisor ended")


def test_there_is_one_supervisor_a_folder(directory):
    pid = start(directory)
    second = subprocess.run(
        [sys.executable, "-m", "befl.network.supervisor", str(directory)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert second.stderr.startswith("BEFL-N-005: another supervisor keeps ")
    assert supervisor.running(directory) == pid


def test_what_it_writes_is_private(directory):
    describe(
        directory, "org1/peer", "import pathlib; pathlib.Path('made').write_text(''); import signal; signal.pause()"
    )
    start(directory)
    until((directory / "made").exists, "the process's file")
    for path in ("made", "org1/services/peer.json", "org1/logs/peer.log", "supervisor/lock"):
        assert (directory / path).stat().st_mode & 0o077 == 0, path


def test_a_large_log_is_kept_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "LOG_MOST", 3)
    for text in (b"first", b"second", b"third"):
        with supervisor._open_log(tmp_path / "logs" / "peer.log") as log:
            log.write(text)
    assert (tmp_path / "logs" / "peer.log").read_bytes() == b"third"
    assert (tmp_path / "logs" / "peer.log.1").read_bytes() == b"second"


def test_nothing_runs_where_nothing_was_started(tmp_path):
    assert supervisor.running(tmp_path) == 0
    assert supervisor.states(tmp_path) == {}
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / "supervisor").mkdir()
    (tmp_path / "supervisor" / "state.json").write_text("{")
    assert supervisor.states(tmp_path) == {}


def ask(directory: Path, path: str) -> tuple[int, str]:
    host, _, port = supervisor.operations_address(directory).rpartition(":")
    if not port:
        return 0, "not there yet"
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionError:  # the address of a supervisor that has ended, or has not begun
        return 0, "nobody listens"
    finally:
        connection.close()


def test_health_and_metrics_say_what_runs_and_what_does_not(directory):
    describe(directory, "org1/peer")
    start(directory)
    until(lambda: ask(directory, "/healthz")[0] == 200, "the supervisor healthy")
    assert json.loads(ask(directory, "/version")[1]) == {"Version": __version__}
    kill(directory, "org1/peer")
    until(lambda: restarts(directory, "org1/peer") == 1, "the peer started again")
    text = ask(directory, "/metrics")[1]
    assert 'befl_supervisor_process_restarts_total{process="org1/peer"} 1.0' in text
    until(lambda: ask(directory, "/healthz")[0] == 200, "the supervisor healthy again")
    describe(directory, "org1/broken", argv=["/nowhere/program"])
    until(lambda: ask(directory, "/healthz")[0] == 503, "the supervisor unhealthy")
    failed = json.loads(ask(directory, "/healthz")[1])["failed_checks"]
    assert failed == [{"component": "org1/broken", "reason": "ended with 127, waits for its next start"}]
    assert 'befl_supervisor_process_up{process="org1/broken"} 0.0' in ask(directory, "/metrics")[1]


def test_what_has_not_been_started_is_not_healthy(directory, monkeypatch):
    """Nobody is told that all is well before the first look, however long it takes."""
    describe(directory, "org1/broken", argv=["/nowhere/program"])
    keeper, seen = supervisor.Supervisor(directory, lambda line: None), []
    monkeypatch.setattr(keeper, "_show", lambda: seen.append(keeper._health()))
    monkeypatch.setattr(keeper, "_told_to_end", lambda: True)
    (directory / "supervisor").mkdir(mode=0o700)
    keeper.run()
    assert seen == [{"org1/broken": "ended with 127, waits for its next start"}]


def test_metrics_stay_at_their_address_when_it_is_free(directory):
    first = start(directory)
    until(lambda: supervisor.operations_address(directory), "an address")
    address = supervisor.operations_address(directory)
    os.kill(first, signal.SIGTERM)
    until(lambda: not supervisor.running(directory), "the supervisor ended")
    second = start(directory)
    until(lambda: ask(directory, "/healthz")[0] == 200, "the supervisor healthy")
    assert supervisor.operations_address(directory) == address
    os.kill(second, signal.SIGTERM)
    until(lambda: not supervisor.running(directory), "the supervisor ended")
    host, _, port = address.rpartition(":")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((host, int(port)))
        squatter.listen()
        start(directory)
        until(lambda: supervisor.operations_address(directory) != address, "another address")
        assert ask(directory, "/healthz")[0] == 200


def test_the_address_is_there_as_a_whole_or_as_it_was(directory, monkeypatch):
    (directory / "supervisor").mkdir(mode=0o700)
    (directory / "supervisor/operations").write_text("127.0.0.1:0\n")
    seen, write_text = [], Path.write_text

    def slow(path: Path, text: str) -> int:
        path.open("w").close()
        seen.append(supervisor.operations_address(directory))
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", slow)
    server = supervisor.Supervisor(directory, lambda line: None)._show()
    server.stop()
    assert seen == ["127.0.0.1:0"]
    assert supervisor.operations_address(directory) == server.address


def test_an_address_that_strangers_reach_is_not_taken(directory):
    (directory / "supervisor").mkdir(mode=0o700)
    (directory / "supervisor/operations").write_text("0.0.0.0:9464\n")
    start(directory)
    until(lambda: supervisor.operations_address(directory).startswith("127.0.0.1:"), "an address of this machine")
    assert "BEFL-C-020" in (directory / "supervisor/supervisor.log").read_text()
