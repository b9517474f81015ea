"""The agent's side of a training process."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import os
import pwd
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from befl.rules.errors import BeflError
from befl.rules.layout import Tensor, length, read_layout
from befl.rules.spec import MOST_PARAMETERS
from befl.training import wire
from befl.training.app import AppCode
from befl.training.problem import Problem
from befl.training.workspace import Workspace

_LOG: Final = logging.getLogger(__name__)
_CHILD: Final = Path(__file__).with_name("child.py")
_CONFINE: Final = Path(__file__).with_name("confine.py")
_LOG_LINES: Final = 50
_LOG_LINE_BYTES: Final = 1_000
_REAP_SECONDS: Final = 10
_FIRST_TO_GO: Final = "1000"
_LOOK_SECONDS: Final = 1.0
_PIECE: Final = 1 << 20
_ITEM: Final = np.dtype(np.float32).itemsize
_SLACK: Final = 2**20
"""What is wrong by a little is read, so that the app's author is told what is wrong with it."""
_ONNX_SLACK: Final = 64 * 2**20
"""What the ONNX form may have beside the model's values."""

_Started = queue.SimpleQueue[subprocess.Popen[bytes] | OSError]

_CODES: Final = {
    "load": ("BEFL-M-101", "Look at the file with befl app show; it may need a package that this interpreter lacks."),
    "settings": ("BEFL-M-106", "The issuer corrects [app.settings] and publishes the task again."),
    "raised": ("BEFL-M-102", "`befl agent run --verbose` logs what the app wrote."),
    "result": ("BEFL-M-103", ""),
    "export": (
        "BEFL-M-112",
        "befl's loop brings export; it needs onnx where the app runs: pip install 'befl[train,onnx]'.",
    ),
}


class Trainer:
    """One app in a child process, kept for the length of a task.

    The process starts in the background when the trainer is made, so that importing torch costs no waiting; when it
    died or was killed, the next call starts another. It gets no environment of the agent's, an empty working folder, no
    descriptor but its pipes, and dies with the agent. What it may reach besides is
    cut off by ``confine.py``. Calls are for one thread at a time.

    Parameters
    ----------
    app : AppCode
        What runs. Nobody is asked here: the caller has compared the digest with the operator's approval.
    settings : mapping
        The task's ``[app.settings]``.
    problem : Problem
        What is learned: the rows' shape, and what is predicted.
    python : str or None
        Interpreter with numpy and what the app imports, as a path or a name in PATH; this one by default.
    threads : int
        Threads for numerical libraries. More are faster and may change the last bits of an update.
    timeout : float
        Seconds that one call may take, the start included.
    memory : int
        MiB that the process, and each that it starts, may allocate; 0 for no limit.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU when there is one; what an app makes of it is its own matter.
    user : str
        The system's user as whom the app runs; empty for the caller's own.
    confined : bool
        Whether the kernel keeps the app from files, sockets and other processes, as far as it can.
    log : callable or None
        Gets each line that the app writes; by default this module's logger, level info.
    """

    def __init__(
        self,
        app: AppCode,
        settings: Mapping[str, Any],
        problem: Problem,
        *,
        python: str | None = None,
        threads: int = 1,
        timeout: float = 600.0,
        memory: int = 0,
        device: str = "cpu",
        user: str = "",
        confined: bool = True,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._app = app
        self._settings = dict(settings)
        self._problem = problem
        self._device = device
        # a path is meant from here, and the process starts in a folder of its own; a link is not followed
        self._python = str(Path(python).absolute()) if python and "/" in python else python or sys.executable
        self._threads = threads
        self._timeout = timeout
        self._memory = memory
        self._user = user
        self._confined = confined
        self._log = log or (lambda line: _LOG.info("app %s: %s", app.name, line))
        self._process: _Process | None = None
        self._sent: tuple[object, object] | None = None
        self._loaded = False
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, None when there is none."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Kill the child and remove its folder; a later call starts anew."""
        if self._process is not None:
            self._process.close()
        self._process, self._sent, self._loaded = None, None, False

    def interrupt(self) -> None:
        """Kill the child, from any thread; the call that waits for its answer raises ``BEFL-M-105``."""
        process = self._process
        if process is not None:
            process.kill()

    def check(self) -> None:
        """Wait until the app is loaded and has accepted its settings.

        Raises
        ------
        BeflError
            ``BEFL-M-101`` the app cannot be loaded, ``BEFL-M-106`` it refuses its settings, ``BEFL-M-104`` out of time,
            ``BEFL-M-105`` the process died. All other calls raise these too.
        """
        if self._process is None:
            self._start()
        if not self._loaded:
            self._receive(0)
            self._loaded = True

    def init(self, seed: int) -> tuple[tuple[Tensor, ...], NDArray[np.float32]]:
        """Make the initial model.

        Parameters
        ----------
        seed : int
            From 0, below 2^63.

        Returns
        -------
        layout : tuple of Tensor
            Names and shapes.
        vector : ndarray of float32, shape (n,)
            The tensors one after another, C order.

        Raises
        ------
        BeflError
            As :meth:`train`; ``BEFL-M-006`` when the tensors cannot be a model's.
        """
        made = self._call({"op": "init", "seed": seed}, {}, _ITEM * MOST_PARAMETERS)
        layout = read_layout([{"name": name, "shape": list(array.shape)} for name, array in made.items()])
        return layout, self._vector(layout, made, "init")

    def train(
        self,
        layout: tuple[Tensor, ...],
        vector: NDArray[np.float32],
        x: NDArray[np.float32],
        y: NDArray[Any],
        seed: int,
        correction: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Train one round and return the new parameters.

        Parameters
        ----------
        layout : tuple of Tensor
            As :meth:`init` returned it.
        vector : ndarray of float32, shape (n,)
            The round's model.
        x : ndarray of float32, shape (rows, *shape)
            Rows to train on; read-only arrays (:class:`befl.training.data.Table`) travel to the child once.
        y : ndarray of int64 or float32, shape (rows,)
            Their classes, or prepared numbers.
        seed : int
            The round's seed, ``befl.rules.seeds.training_seed``.
        correction : ndarray of float32, shape (n,), optional
            What SCAFFOLD adds to the way of a round, in the model's units.

        Returns
        -------
        ndarray of float32, shape (n,)

        Raises
        ------
        BeflError
            ``BEFL-M-102`` the app raised, ``BEFL-M-103`` it returned something else than such a model, ``BEFL-M-107``
            values that are not finite; and as :meth:`check`.
        """
        self._send_data(x, y)
        arrays = _tensors(layout, vector)
        if correction is not None:
            arrays |= {f" {name}": array for name, array in _tensors(layout, correction).items()}
        made = self._call({"op": "train", "seed": seed}, arrays, _ITEM * length(layout))
        return self._vector(layout, made, "train")

    def predict(
        self, layout: tuple[Tensor, ...], vector: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the probability of each class, or the prepared number.

        Returns
        -------
        ndarray of float32, shape (rows, outputs)

        Raises
        ------
        BeflError
            As :meth:`train`; ``BEFL-M-103`` also for probabilities outside 0..1 and rows that do not sum to 1.
        """
        if len(x) == 0:
            return np.zeros((0, self._problem.outputs), np.float32)
        most = _ITEM * len(x) * self._problem.outputs
        made = self._call({"op": "predict"}, {**_tensors(layout, vector), " x": x}, most)
        found = made["predictions"]
        if found.shape != (len(x), self._problem.outputs):
            raise self._wrong(f"predict: shape {found.shape}, not {(len(x), self._problem.outputs)}")
        self._finite(found, "predict")
        if self._problem.kind == "number":
            return found
        if found.min() < 0 or abs(found.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3:
            raise self._wrong("predict: what it returned are not probabilities that sum to 1 in each row")
        return found

    def export(self, layout: tuple[Tensor, ...], vector: NDArray[np.float32]) -> bytes:
        """Return the model in the ONNX form: prepared rows ``x`` in, what :meth:`predict` returns out.

        Raises
        ------
        BeflError
            ``BEFL-M-112`` the app cannot write it; ``BEFL-M-103`` it returned something else than bytes; and as
            :meth:`check`.
        """
        most = _ITEM * length(layout) + _ONNX_SLACK
        return self._call({"op": "export"}, _tensors(layout, vector), most)["onnx"].tobytes()

    def _start(self) -> None:
        self._process = _Process(
            self._python, self._threads, self._memory, self._log, self._user, confined=self._confined
        )
        problem = {**dataclasses.asdict(self._problem), "device": self._device}
        header = {"op": "load", "name": self._app.name, "settings": self._settings, "problem": problem}
        try:
            self._send(header, {name: np.frombuffer(content, np.uint8) for name, content in self._app.files.items()})
        except BaseException:  # Ctrl-C: whoever was making this trainer has none to close
            self.close()
            raise

    def _send_data(self, x: NDArray[np.float32], y: NDArray[Any]) -> None:
        self.check()
        if self._sent is not None and self._sent[0] is x and self._sent[1] is y:
            return
        self._call({"op": "data"}, {"x": x, "y": y}, 0)
        writeable = x.flags.writeable or y.flags.writeable
        self._sent = None if writeable else (x, y)

    def _call(self, header: dict[str, Any], arrays: wire.Arrays, most: int) -> wire.Arrays:
        """Ask, and take an answer whose arrays have ``most`` bytes: an app could send more than it ever held."""
        self.check()
        self._send(header, arrays)
        return self._receive(most)

    def _send(self, header: dict[str, Any], arrays: wire.Arrays) -> None:
        process = self._require()
        try:
            process.write(wire.pack(header, arrays), self._timeout)
        except _OutOfTimeError:
            raise self._out_of_time() from None
        except OSError:
            # A child that died while it was written to has said why on its log; reading finds the end and tells.
            return

    def _receive(self, most: int) -> wire.Arrays:
        process = self._require()
        try:
            answer, arrays = process.read(self._timeout, 2 * most + _SLACK)
        except _OutOfTimeError:
            raise self._out_of_time() from None
        except (EOFError, OSError, ValueError) as error:
            raise self._died(error) from None
        if answer.get("ok") is True:
            return arrays
        code, hint = _CODES.get(str(answer.get("kind")), _CODES["result"])
        if code in ("BEFL-M-101", "BEFL-M-106"):
            self.close()  # the next call loads anew and says the same again
        raise BeflError(code, f'app "{self._app.name}": {answer.get("text")}', hint)

    def _require(self) -> _Process:
        if self._process is None:
            self._start()
        if self._process is None:  # pragma: no cover - _start makes one or raises
            raise BeflError("BEFL-M-105", f'app "{self._app.name}": no process')
        return self._process

    def _vector(self, layout: tuple[Tensor, ...], made: wire.Arrays, what: str) -> NDArray[np.float32]:
        wanted = {tensor.name: tensor.shape for tensor in layout}
        found = {name: array.shape for name, array in made.items()}
        if found != wanted:
            name = next(name for name in [*wanted, *found] if found.get(name) != wanted.get(name))
            raise self._wrong(
                f'{what}: tensor "{name}" has shape {found.get(name, "(absent)")}, '
                f"the model's layout has {wanted.get(name, '(absent)')}"
            )
        vector = np.concatenate([made[tensor.name].reshape(-1) for tensor in layout])
        self._finite(vector, what)
        return vector

    def _finite(self, values: NDArray[np.float32], what: str) -> None:
        wrong = int(values.size - np.isfinite(values).sum())
        if wrong:
            raise BeflError(
                "BEFL-M-107",
                f'app "{self._app.name}": {what}: {wrong} of {values.size} values are not finite numbers',
                "Training has diverged: a smaller learning rate, or another centre and spread of a column, helps.",
            )

    def _wrong(self, text: str) -> BeflError:
        return BeflError("BEFL-M-103", f'app "{self._app.name}": {text}')

    def _out_of_time(self) -> BeflError:
        self.close()
        return BeflError(
            "BEFL-M-104",
            f'app "{self._app.name}": no answer within {self._timeout:g} s; its process was killed',
            "Fewer epochs or steps, or more time.",
        )

    def _died(self, error: Exception) -> BeflError:
        process = self._require()
        if isinstance(error, EOFError | OSError):
            status, last = process.ended()
        else:
            status, last = f"answered what cannot be read ({type(error).__name__})", ""
        self.close()
        return BeflError(
            "BEFL-M-105",
            f'app "{self._app.name}": the training process {status}' + (f"; its last words: {last}" if last else ""),
            "It needs an interpreter with numpy (and torch: pip install 'befl[train]') and memory ([training] memory).",
        )


class _OutOfTimeError(Exception):
    """A call took too long."""


class _Process:
    """The child, its pipes, its folder and its log."""

    def __init__(
        self,
        python: str,
        threads: int,
        memory: int,
        log: Callable[[str], None],
        user: str = "",
        *,
        confined: bool = True,
    ) -> None:
        self._folder = Workspace()
        self._lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self._line_sink = log
        started: _Started = queue.SimpleQueue()
        script = [str(_CONFINE), str(_CHILD)] if confined else [str(_CHILD)]
        command = [python, "-s", "-B", "-P", *script, str(os.getpid()), str(threads), str(memory)]
        environment = _environment(threads, self._folder.path)
        # For Linux a process' parent is the thread that made it: so this thread lives as long as the child.
        self._keeper = threading.Thread(
            target=self._keep,
            args=(command, environment, self._account(user), started),
            name="befl-trainer",
            daemon=True,
        )
        self._made: list[subprocess.Popen[bytes]] = []
        self._given_up = threading.Event()
        try:
            self._keeper.start()
            child = started.get()
        except BaseException:  # Ctrl-C: whoever was making this process has none to close
            self._give_up()
            raise
        if isinstance(child, OSError):
            self._folder.remove()
            raise BeflError(
                "BEFL-M-101",
                f"interpreter {python}" + (f" as user {user}" if user else "") + f": {child.strerror}",
                "Name a Python that has torch: --python, or [training] python in AGENT.toml.",
            )
        self._child = child
        self._pipes: tuple[IO[bytes], ...] = tuple(
            pipe for pipe in (self._child.stdin, self._child.stdout) if pipe is not None
        )
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
        self.pid = self._child.pid

    def _keep(
        self,
        command: list[str],
        environment: dict[str, str],
        account: dict[str, Any],
        started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError],
    ) -> None:
        """Start the child, pass its log on, reap it."""
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=self._folder.path,
                env=environment,
                close_fds=True,
                start_new_session=True,
                **account,
            )
        except OSError as error:
            started.put(error)
            return
        self._made.append(child)
        with contextlib.suppress(OSError):  # where memory runs out, before the agent, its peer and its orderer
            Path(f"/proc/{child.pid}/oom_score_adj").write_text(_FIRST_TO_GO)
        started.put(child)
        if self._given_up.is_set():
            _discard(child)
        if child.stderr is not None:
            with child.stderr as errors:
                self._read_log(errors.fileno())
        child.wait()

    def _give_up(self) -> None:
        """End the child: here when it is there already, else in the keeper, which looks when it is there."""
        self._given_up.set()
        for child in self._made:
            _discard(child)
        self._folder.remove()

    def _account(self, user: str) -> dict[str, Any]:
        """Give the working folder to the user as whom the child runs; return what Popen needs to become that user."""
        if not user:
            return {}
        try:
            entry = pwd.getpwnam(user)
            os.chown(self._folder.path, entry.pw_uid, entry.pw_gid)
        except (KeyError, OSError) as error:
            self._folder.remove()
            why = "there is no such user" if isinstance(error, KeyError) else error.strerror
            raise BeflError(
                "BEFL-M-101",
                f"the training process cannot run as {user}: {why}",
                "[training] user wants an agent that runs as root, and a user that the system knows.",
            ) from None
        groups = os.getgrouplist(user, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, "umask": 0o077}

    def _read_log(self, descriptor: int) -> None:
        rest = b""
        while piece := os.read(descriptor, 4096):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._log_line(line)
            if len(rest) > _LOG_LINE_BYTES:
                self._log_line(rest)
                rest = b""
        if rest:
            self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        text = line[:_LOG_LINE_BYTES].decode(errors="replace").rstrip()
        if text:
            self._lines.append(text)
            self._line_sink(text)

    def write(self, pieces: list[bytes | memoryview], timeout: float) -> None:
        """Write a frame; the child may be slow to take it."""
        descriptor, deadline = self._pipes[0].fileno(), time.monotonic() + timeout
        for piece in pieces:
            view = memoryview(piece)
            while view:
                try:
                    view = view[os.write(descriptor, view[:_PIECE]) :]
                except BlockingIOError:
                    self._wait(descriptor, select.POLLOUT, deadline)

    def read(self, timeout: float, most: int) -> tuple[dict[str, Any], wire.Arrays]:
        """Read a frame whose body has ``most`` bytes at most."""
        descriptor, deadline = self._pipes[1].fileno(), time.monotonic() + timeout

        def exactly(count: int) -> bytearray:
            data = bytearray()
            while len(data) < count:
                self._wait(descriptor, select.POLLIN, deadline)
                piece = os.read(descriptor, min(count - len(data), _PIECE))
                if not piece:
                    raise EOFError
                data += piece
            return data

        return wire.receive(exactly, most)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        """Wait until a pipe is ready or broken, or the child has ended and one that it started keeps the pipe open."""
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _OutOfTimeError
            ended = self._child.poll() is not None
            if poll.poll(min(left, _LOOK_SECONDS) * 1000):
                return
            if ended:
                raise EOFError

    def ended(self) -> tuple[str, str]:
        """Say how the child ended, and the last line of its log."""
        try:
            status = self._child.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            return "closed its pipe and was killed", self._last()
        self._keeper.join(1)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return how, self._last()

    def kill(self) -> None:
        """Kill the child and all it started, unless it has ended; its pipes stay, for another thread may read them."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the child and all it started; remove its folder."""
        self._kill()
        for pipe in self._pipes:
            pipe.close()
        self._keeper.join(_REAP_SECONDS)
        self._folder.remove()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(_REAP_SECONDS)

    def _last(self) -> str:
        return self._lines[-1][:300] if self._lines else ""


def _discard(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _tensors(layout: tuple[Tensor, ...], vector: NDArray[np.float32]) -> wire.Arrays:
    """Cut a vector into the tensors of its layout."""
    if vector.dtype != np.float32 or vector.shape != (length(layout),):
        raise ValueError(f"a vector of {vector.dtype} {vector.shape} for a layout of {length(layout)}")
    tensors: wire.Arrays = {}
    offset = 0
    for tensor in layout:
        tensors[tensor.name] = vector[offset : offset + tensor.size].reshape(tensor.shape)
        offset += tensor.size
    return tensors


def _environment(threads: int, folder: str) -> dict[str, str]:
    """Make the child's whole environment: nothing of the agent's, and what makes results repeatable."""
    count = str(threads)
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
