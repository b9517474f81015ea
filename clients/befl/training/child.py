"""The child process in which a training app runs: started by path, without befl, keys or environment.

It reads frames (see ``wire.py``) from what was its standard input and answers on what was its standard output; the
app finds an empty standard input, and what it prints goes to standard error, which the agent keeps as the app's log.
The process ends when its parent does. It is no prison: the app has the rights of the operating system's user.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_PR_SET_PDEATHSIG = 1


class _RefusalError(Exception):
    """What goes back in place of a result."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the app's files from memory, before anything that is installed."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {name.removesuffix(".py"): source for name, source in files.items() if name.endswith(".py")}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Find a file of the app."""
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname in self.files else None

    def exec_module(self, module: Any) -> None:
        """Run a file of the app."""
        code = compile(self.files[module.__name__], f"{module.__name__}.py", "exec")
        exec(code, vars(module))  # noqa: S102 - the approved app, which is what this process is for


class _Session:
    """The app and what it was given."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.app: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.problem: dict[str, Any] = {}
        self.x: Any = None
        self.y: Any = None

    def load(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Run the app's file and let it check its settings; torch comes first where the app mentions it."""
        files = {name: array.tobytes() for name, array in arrays.items()}
        self.settings, self.problem = header["settings"], header["problem"]
        sys.meta_path.insert(0, _Finder(files))
        try:
            if any(b"torch" in source for source in files.values()):
                _import_torch(self.threads)
            self.app = vars(importlib.import_module("app"))
            missing = [name for name in ("init", "train", "predict") if not callable(self.app.get(name))]
        except BaseException as error:  # noqa: BLE001 - whatever the app's file does, SystemExit included
            raise _RefusalError("load", _last_line(error)) from None
        if missing:
            raise _RefusalError("load", f"the app has no function {', '.join(missing)}")
        if callable(self.app.get("check")):
            try:
                self.app["check"](*self._asked())
            except BaseException as error:  # noqa: BLE001 - as above
                raise _RefusalError(
                    "settings", str(error) if isinstance(error, ValueError) else _last_line(error)
                ) from None
        return {}

    def data(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Keep the rows to train on."""
        del header
        self.x, self.y = arrays["x"], arrays["y"]
        return {}

    def init(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Make the initial model."""
        del arrays
        return self._call("init", header["seed"], *self._asked(), header["seed"])

    def train(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Train one round; the app gets copies, so that one round cannot leak into the next through its arguments."""
        copies = {name: array.copy() for name, array in arrays.items()}
        model = {name: array for name, array in copies.items() if not name.startswith(" ")}
        correction = {name[1:]: array for name, array in copies.items() if name.startswith(" ")}
        more: dict[str, Any] = {}
        if correction:
            if "correction" not in inspect.signature(self.app["train"]).parameters:
                raise _RefusalError("settings", "its train takes no correction, which the rule scaffold gives")
            more["correction"] = correction
        rows = self.x.copy(), self.y.copy()
        return self._call("train", header["seed"], model, *rows, *self._asked(), header["seed"], **more)

    def predict(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Predict rows; the last array is the rows, the others are the model."""
        del header
        *model, (_, x) = arrays.items()
        return self._call("predict", 0, {name: array.copy() for name, array in model}, x.copy(), *self._asked())

    def export(self, header: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the model in the ONNX form, as the app writes it."""
        del header
        if not callable(self.app.get("export")):
            raise _RefusalError("export", "the app has no function export")
        try:
            made = self._run("export", 0, {name: array.copy() for name, array in arrays.items()}, *self._asked())
        except _RefusalError as refusal:
            raise _RefusalError("export", str(refusal)) from None
        if not isinstance(made, bytes):
            raise _RefusalError("result", f"export returned {type(made).__name__}, not bytes")
        return {"onnx": np.frombuffer(made, np.uint8)}

    def _asked(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return copies of settings and problem."""
        return dict(self.settings), dict(self.problem)

    def _run(self, name: str, seed: int, *arguments: Any, **more: Any) -> Any:
        _settle(seed)
        try:
            return self.app[name](*arguments, **more)
        except BaseException as error:  # noqa: BLE001 - whatever the app does
            traceback.print_exc()
            raise _RefusalError("raised", f"{name}: {_last_line(error)}") from None

    def _call(self, name: str, seed: int, *arguments: Any, **more: Any) -> dict[str, Any]:
        result = self._run(name, seed, *arguments, **more)
        if name == "predict":
            result = {"predictions": result}
        if not isinstance(result, dict):
            raise _RefusalError("result", f"{name} returned {type(result).__name__}, not a dict of arrays")
        return {str(key): _array(value, f"{name}: {key}") for key, value in result.items()}


def _array(value: Any, what: str) -> Any:
    """Return a float32 array, of whatever the app returned that is one."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise _RefusalError("result", f"{what} is {kind}, not an array of float32")
    with np.errstate(over="ignore"):  # the agent refuses what is not finite
        return value.astype(np.float32)


def _import_torch(threads: int) -> None:
    import torch  # noqa: PLC0415 - only for apps that want it

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature


def _settle(seed: int) -> None:
    """Start every source of chance anew, so that the same call gives the same bytes."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - apps may use the global generator
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _last_line(error: BaseException) -> str:
    """Return the error and the app's own line in which it was raised."""
    text = traceback.format_exception_only(error)[-1].strip()[:500]
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename != __file__), None)
    return f"{text} (line {line})" if line and frames[-1].filename != __file__ else text


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit_memory(size: int) -> None:
    """Bound what this process, and each that it starts, may allocate; libraries that are only read do not count."""
    if size:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _take_over() -> tuple[Callable[[int], bytes | bytearray], int]:
    """Take the protocol's descriptors away from 0 and 1, so that nothing the app does by habit reaches them."""
    commands, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)

    def read(count: int) -> bytearray:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = commands.readinto(view)
            if not got:
                os._exit(0)  # the agent has closed its end
            view = view[got:]
        return data

    return read, answers


def _wire() -> Any:
    """Load the file beside this one without befl being installed for this interpreter."""
    spec = importlib.util.spec_from_file_location("befl_wire", Path(__file__).with_name("wire.py"))
    if spec is None or spec.loader is None:
        raise ImportError("wire.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Serve until the agent closes its end: ``child.py PARENT_PID THREADS MEMORY``, the last in MiB, 0 for no limit."""
    _die_with(int(sys.argv[1]))
    _limit_memory(int(sys.argv[3]) * 2**20)
    session = _Session(int(sys.argv[2]))
    wire = _wire()
    read, answers = _take_over()
    operations = {name: getattr(session, name) for name in ("load", "data", "init", "train", "predict", "export")}
    while True:
        header, arrays = wire.receive(read)
        made: dict[str, Any] = {}
        try:
            made = operations[header["op"]](header, arrays)
            answer: dict[str, Any] = {"ok": True}
        except _RefusalError as refusal:
            answer = {"ok": False, "kind": refusal.kind, "text": str(refusal)}
        sys.stdout.flush()
        for piece in wire.pack(answer, made):
            view = memoryview(piece)
            while view:
                view = view[os.write(answers, view) :]


if __name__ == "__main__":
    main()
