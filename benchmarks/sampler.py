"""What a Python process does with its processor time, seen by a thread of its own.

What another thread has used since the last look goes to what that thread is doing now. Run as a program this module
does so for another one: ``python sampler.py OUTPUT -m MODULE ARGUMENT...``.
"""

from __future__ import annotations

import json
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.02


class Sampler:
    """Adds up the processor seconds of this process's Python threads, by befl's own function that each is in."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._used: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._output: Path | None = None

    def start(self, output: Path | None = None) -> None:
        """Begin; with an output the sums are written there every second."""
        self._output = output
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        written = time.monotonic()
        while not self._stopped.wait(INTERVAL):
            self._look()
            if self._output is not None and time.monotonic() > written + 1:
                new = self._output.with_suffix(".new")
                new.write_text(json.dumps(self.found))
                new.replace(self._output)
                written = time.monotonic()

    def _look(self) -> None:
        frames = sys._current_frames()  # the only way to see other threads
        for thread in threading.enumerate():
            if thread is self._thread or thread.ident not in frames:
                continue
            used = _thread_seconds(thread.native_id)
            spent = used - self._used.get(thread.native_id or 0, used)
            self._used[thread.native_id or 0] = used
            if spent > 0:
                self.found[_where(frames[thread.ident])] += spent


def _thread_seconds(number: int | None) -> float:
    """Return the processor seconds of a thread of this process; 0 when it has ended."""
    try:
        return int(Path(f"/proc/self/task/{number}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def _where(frame: FrameType | None) -> str:
    """Name the innermost function of befl in a stack; without one, the package that the thread is in."""
    module = inner = frame.f_globals.get("__name__", "") if frame is not None else ""
    while frame is not None and not module.startswith("befl."):
        frame = frame.f_back
        module = frame.f_globals.get("__name__", "") if frame is not None else ""
    if frame is None:
        return f"({inner.partition('.')[0]})"
    return f"{module.removeprefix('befl.')}.{frame.f_code.co_qualname}"


def main() -> None:
    """Run a module as a program, sampled."""
    output, module, arguments = Path(sys.argv[1]), sys.argv[3], sys.argv[4:]
    del sys.path[0]  # the benchmarks
    # before the thread begins, which must not take a signal that the module waits for
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    Sampler().start(output)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
