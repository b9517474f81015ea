"""The supervisor: one process that keeps the processes of a network running.

``python -m befl.network.supervisor DIR`` runs what the files ``DIR/*/services/*.json`` describe: it starts, restarts
what dies (with back-off), restarts what is described anew, ends what is no longer described. SIGHUP makes it look again
at once; SIGTERM makes it end everything and itself. Each child gets SIGKILL from the kernel when the supervisor dies,
however it dies (``prctl(2)``, PR_SET_PDEATHSIG), so nothing is ever left running. While it lives it holds a lock on
``DIR/supervisor/lock``; ``state.json`` beside it says what runs, ``operations`` where health and metrics are shown: an
address of this machine, kept from start to start. Write another one there, and the next start takes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from befl.gateway import wait
from befl.network.commands import clean_environment, python_environment
from befl.network.layout import SUPERVISOR
from befl.operations.server import OperationsServer
from befl.rules.errors import BeflError
from befl.rules.version import __version__

SIGNALS: Final = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
TICK: Final = 1.0
GRACE: Final = 8.0
"""Seconds that a process has between SIGTERM and SIGKILL."""
BACKOFF_FIRST: Final = 0.25
BACKOFF_MOST: Final = 15.0
SETTLED: Final = 10.0
"""Seconds after which a process counts as having started well, and its back-off begins anew."""
LOG_MOST: Final = 50_000_000
OPERATIONS: Final = "operations"

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Service:
    """What is to run: one of the files ``DIR/<institution>/services/<name>.json``."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    log: str


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the supervisor knows about one process.

    Parameters
    ----------
    name : str
        ``institution/process``.
    state : str
        ``running``, or ``waiting`` for its next start.
    pid : int
        0 when it does not run.
    restarts : int
        How often it was started again after it had ended by itself.
    exit_status : int or None
        Of its last end; negative for a signal.
    """

    name: str
    state: str
    pid: int
    restarts: int
    exit_status: int | None


@dataclass(slots=True)
class _Child:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    wait: float = BACKOFF_FIRST
    restarts: int = 0
    exit_status: int | None = None


def write_service(folder: Path, name: str, description: dict[str, Any]) -> bool:
    """Describe a process to the supervisor; return whether the description is new.

    Parameters
    ----------
    folder : Path
        ``DIR/<institution>/services``.
    name : str
        The process.
    description : dict
        ``argv``, ``env``, ``cwd``, ``log``.
    """
    path = folder / f"{name}.json"
    content = json.dumps(description, indent=2) + "\n"
    if path.exists() and path.read_text() == content:
        return False
    fresh = folder / f".{name}.tmp"
    with open(fresh, "w", opener=_private) as file:
        file.write(content)
    fresh.rename(path)
    return True


def running(directory: Path) -> int:
    """Return the process id of the supervisor of a network folder, or 0 when none runs."""
    try:
        with (directory / SUPERVISOR / "lock").open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except (FileNotFoundError, ValueError):
        return 0
    return 0


def states(directory: Path) -> dict[str, ProcessState]:
    """Return what the supervisor last wrote about its processes, by name; only true while it runs."""
    try:
        content = json.loads((directory / SUPERVISOR / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {entry["name"]: ProcessState(**entry) for entry in content["processes"]}


def operations_address(directory: Path) -> str:
    """Return where the supervisor shows health and metrics; only true while it runs."""
    try:
        return (directory / SUPERVISOR / OPERATIONS).read_text().strip()
    except FileNotFoundError:
        return ""


def start(directory: Path, owner: int | None = None) -> int:
    """Start the supervisor, detached from this process and its terminal; return its process id.

    With ``owner`` it ends when the process of that id ends, however that happens.
    """
    folder = directory / SUPERVISOR
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    with (folder / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "befl.network.supervisor", str(directory), *([str(owner)] if owner else [])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**clean_environment(), **python_environment()},
            start_new_session=True,
        )
    # the supervisor outlives us on purpose; a daemon's handle is not ours to wait for
    process.returncode = 0
    return process.pid


class Supervisor:
    """Keeps the processes of one network folder running; :meth:`run` returns when it is told to end.

    Parameters
    ----------
    directory : Path
        The network folder.
    log : callable
        Gets a line for whatever happens.
    owner : int, optional
        A process id: when that process has ended, so does the supervisor.
    """

    def __init__(self, directory: Path, log: Callable[[str], None], owner: int | None = None) -> None:
        self._directory = directory
        self._log = log
        self._children: dict[str, _Child] = {}
        self._unread: set[str] = set()
        self._written = ""
        self._states: list[ProcessState] = []
        self._metrics: Any = None
        self._ourselves = os.getpid()
        self._owner = select.poll()
        if owner is not None:
            self._owner.register(os.pidfd_open(owner), select.POLLIN)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT (blocked, as ``main`` does) or the owner's end, then end every process."""
        self._look()
        operations = self._show()  # after the first look: what has not been started is not healthy
        while not self._told_to_end():
            self._look()
        self._end(list(self._children))
        self._children.clear()
        self._write_state()
        if operations is not None:
            operations.stop()

    def _look(self) -> None:
        """Bring what runs in line with what is described, and write down how it stands."""
        self._reap()
        self._describe()
        self._start_due()
        self._write_state()

    def _told_to_end(self) -> bool:
        """Wait for a signal or for the next time to look; return whether it is time to end."""
        arrived = signal.sigtimedwait(SIGNALS, self._next())
        if arrived is not None and arrived.si_signo in (signal.SIGTERM, signal.SIGINT):
            return True
        if self._owner.poll(0):
            self._log("the owner has ended")
            return True
        return False

    def _show(self) -> OperationsServer | None:
        """Show health and metrics at the address of the last time, or at a free one; nothing depends on it."""
        path = self._directory / SUPERVISOR / OPERATIONS
        for address in filter(None, (operations_address(self._directory), "127.0.0.1:0")):
            try:
                # its threads have all signals blocked, as this one has
                server = OperationsServer(
                    address, health=self._health, version={"Version": __version__}, registry=self._registry
                )
            except BeflError as error:
                self._log(f"health and metrics: {error}")
                continue
            fresh = path.with_suffix(".tmp")
            fresh.write_text(server.address + "\n")
            fresh.rename(path)
            return server
        path.unlink(missing_ok=True)
        return None

    def _health(self) -> dict[str, str]:
        return {
            state.name: f"ended with {state.exit_status}, waits for its next start"
            for state in self._states
            if state.state != "running"
        }

    def _registry(self) -> Any:
        from befl.operations.metrics import SupervisorMetrics  # noqa: PLC0415  # only when somebody asks

        if self._metrics is None:
            self._metrics = SupervisorMetrics(lambda: self._states)
        return self._metrics.registry

    def _next(self) -> float:
        now = time.monotonic()
        waits = [child.due - now for child in self._children.values() if child.process is None]
        return max(0.0, min([TICK, *waits]))

    def _describe(self) -> None:
        """Compare what is described with what we have."""
        wanted = self._services()
        self._rename(wanted)
        for name in [name for name in self._children if name not in wanted]:
            self._end([name])
            del self._children[name]
        for name, service in wanted.items():
            child = self._children.get(name)
            if child is None:
                self._children[name] = _Child(service)
            elif child.service != service:
                self._log(f"{name}: described anew")
                self._end([name])
                self._children[name] = _Child(service)

    def _rename(self, wanted: Mapping[str, Service]) -> None:
        """Let a process go on whose description has another name now, in place of what had that name."""
        for name in [name for name in self._children if name not in wanted]:
            child = self._children[name]
            for other, service in wanted.items():
                had = self._children.get(other)
                if service == child.service and (had is None or had.service != service):
                    self._log(f"{name}: is {other} now")
                    if had is not None:
                        self._end([other])
                    self._children[other] = self._children.pop(name)
                    break

    def _services(self) -> dict[str, Service]:
        """Read what is described: as it stood at one moment, for a description may be renamed while the next is read.

        A chaincode server whose two names were both seen would be started a second time, on the port that it holds.
        """
        found: dict[str, Service] = {}
        again = self._read_services()
        while found != again:
            found, again = again, self._read_services()
        return found

    def _read_services(self) -> dict[str, Service]:
        found = {}
        for path in sorted(self._directory.glob("*/services/*.json")):
            name = f"{path.parent.parent.name}/{path.stem}"
            try:
                content = json.loads(path.read_text())
            except FileNotFoundError:
                continue
            except ValueError:  # befl renames; an editor may be in the middle of writing it
                if name not in self._unread:
                    self._log(f"{name}: its description cannot be read; what runs goes on")
                    self._unread.add(name)
                if name in self._children:
                    found[name] = self._children[name].service
                continue
            self._unread.discard(name)
            found[name] = Service(tuple(content["argv"]), tuple(content["env"].items()), content["cwd"], content["log"])
        return found

    def _reap(self) -> None:
        for name, child in self._children.items():
            if child.process is None or child.process.poll() is None:
                continue
            lived = time.monotonic() - child.started
            child.exit_status = child.process.returncode
            child.process = None
            child.wait = BACKOFF_FIRST if lived >= SETTLED else min(child.wait * 2, BACKOFF_MOST)
            child.due = time.monotonic() + child.wait
            child.restarts += 1
            self._log(f"{name}: ended with {child.exit_status} after {lived:.1f} s; again in {child.wait:.1f} s")

    def _start_due(self) -> None:
        for name, child in self._children.items():
            if child.process is None and child.due <= time.monotonic():
                child.started = time.monotonic()
                try:
                    child.process = self._spawn(child.service)
                except OSError as error:
                    child.exit_status = 127
                    child.wait = min(child.wait * 2, BACKOFF_MOST)
                    child.due = child.started + child.wait
                    child.restarts += 1
                    self._log(f"{name}: cannot be started: {error}")
                else:
                    self._log(f"{name}: started, pid {child.process.pid}")

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        with _open_log(Path(service.log)) as log:
            return subprocess.Popen(
                service.argv,
                env=dict(service.env),
                cwd=service.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=0o077,  # Fabric CA would make some of its keys readable for all
                # the other threads answer HTTP: they hold no lock that _before_exec would need
                preexec_fn=self._before_exec,  # noqa: PLW1509  # safe for that reason
            )

    def _before_exec(self) -> None:
        """In the child: die with the supervisor, and get signals again."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._ourselves:  # it died before the line above
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _end(self, names: list[str]) -> None:
        """End processes: SIGTERM to all, SIGKILL to those that have not ended in time."""
        found = [(name, self._children[name].process) for name in names]
        alive = [(name, process) for name, process in found if process is not None]
        for _, process in alive:
            process.terminate()
        end = time.monotonic() + GRACE
        for name, process in alive:
            try:
                process.wait(timeout=max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log(f"{name}: does not end, killed")
                process.kill()
                process.wait()
            self._log(f"{name}: ended")

    def _write_state(self) -> None:
        self._states = [
            ProcessState(
                name,
                "running" if child.process is not None else "waiting",
                child.process.pid if child.process is not None else 0,
                child.restarts,
                child.exit_status,
            )
            for name, child in sorted(self._children.items())
        ]
        processes = [dataclasses.asdict(state) for state in self._states]
        content = json.dumps({"v": 1, "pid": self._ourselves, "processes": processes}, indent=2) + "\n"
        if content != self._written:
            path = self._directory / SUPERVISOR / "state.json"
            fresh = path.with_suffix(".tmp")
            with contextlib.suppress(OSError):  # the disk is full: whoever stopped for that is to be started again
                fresh.write_text(content)
                fresh.rename(path)
                self._written = content


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one that has grown large is kept once as ``.1``."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_MOST:
        path.rename(path.with_name(path.name + ".1"))
    return open(path, "ab", opener=_private)


def main(argv: list[str]) -> int:
    """Supervise the network folder that the first argument names, while the process of the second one lives."""
    # Blocked signals stay pending for sigtimedwait: no handler, no race, no sleeping. First of all, because who finds
    # this process in the lock file may send one.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    directory = Path(argv[0])
    (directory / SUPERVISOR).mkdir(mode=0o700, exist_ok=True)
    with open(directory / SUPERVISOR / "lock", "a+", opener=_private) as lock:
        try:  # somebody who only asks (running) holds it for a moment
            wait.until(lambda: _lock(lock), timeout=2, what="the supervisor's lock free")
        except BeflError:
            print(BeflError("BEFL-N-005", f"another supervisor keeps {directory}"), file=sys.stderr)
            return 1
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

        def log(line: str) -> None:
            with contextlib.suppress(OSError):  # the disk is full: what Python keeps of it is written later
                print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, flush=True)

        try:
            Supervisor(directory, log, int(argv[1]) if len(argv) > 1 else None).run()
        except ProcessLookupError:
            log("the owner has ended before we began")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
