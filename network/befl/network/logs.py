"""The logs of a network's processes: their last lines, and those to come."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from befl.gateway import wait
from befl.network.layout import SUPERVISOR, Layout
from befl.network.observe import must_be_network
from befl.rules.errors import BeflError

_LOOK_S: Final = 0.2
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log.

    Parameters
    ----------
    source : str
        ``institution/process``, or ``supervisor``.
    text : str
        The line, without colours.
    """

    source: str
    text: str


def sources(directory: Path | str, which: str = "") -> dict[str, Path]:
    """Return the logs of a network folder by source.

    Parameters
    ----------
    directory : Path
        A network folder.
    which : str
        ``ORG``, ``ORG/PROCESS``, ``supervisor``, or empty for all.

    Raises
    ------
    BeflError
        N-009 there is no network, N-040 there is no such log.
    """
    layout = Layout(Path(directory).absolute())
    must_be_network(layout)
    found = {
        f"{path.parent.parent.name}/{path.stem}": path for path in sorted(layout.directory.glob("*/logs/*.log"))
    } | {SUPERVISOR: layout.supervisor / "supervisor.log"}
    chosen = {name: path for name, path in found.items() if not which or name == which or name.startswith(f"{which}/")}
    if not chosen:
        raise BeflError("BEFL-N-040", f"{which!r} is no log of this network", f"There are: {', '.join(found)}.")
    return chosen


def last(paths: dict[str, Path], count: int) -> Iterator[LogLine]:
    """Yield the last lines of each log, one log after the other.

    Parameters
    ----------
    paths : dict
        From :func:`sources`.
    count : int
        How many lines of each; 0 for none.
    """
    for source, path in paths.items():
        if count and path.exists():
            with path.open(errors="replace") as file:
                yield from _lines(source, deque(file, maxlen=count))


def follow(paths: dict[str, Path]) -> Iterator[LogLine]:
    """Yield what is written to the logs after this call; ends only when the caller stops asking.

    A log that is begun anew (it had grown large) is followed in its new file.
    """
    return _follow([_Tail(source, path) for source, path in paths.items()])  # from the call on, not the first next()


def _follow(tails: list[_Tail]) -> Iterator[LogLine]:
    try:
        while True:
            fresh = [line for tail in tails for line in tail.read()]
            yield from fresh
            if not fresh:
                wait.pause(_LOOK_S)
    finally:
        for tail in tails:
            tail.close()


class _Tail:
    """One log from its end."""

    def __init__(self, source: str, path: Path) -> None:
        self._source = source
        self._path = path
        self._rest = b""
        self._file = self._open()
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[LogLine]:
        file = self._file = self._file or self._open()
        if file is None:
            return []
        data = file.read()
        if not data and self._anew(file):
            file.close()
            self._file = None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return list(_lines(self._source, [line.decode(errors="replace") for line in whole]))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes] | None:
        try:
            return self._path.open("rb")
        except FileNotFoundError:
            return None

    def _anew(self, file: IO[bytes]) -> bool:
        """Whether the log was begun anew: what we read is kept under another name."""
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False


def _lines(source: str, lines: Sequence[str] | deque[str]) -> Iterator[LogLine]:
    for line in lines:
        yield LogLine(source, _COLOUR.sub("", line.rstrip("\n")))
