"""The folder in which a training process works: empty at first, and gone at the end, however the agent ends."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "befl-train-"


class Workspace:
    """A folder of mode 0700, held with a lock while this process lives.

    An app may write there what it derived from rows. An agent that is killed cannot remove it, but the kernel lets its
    lock go: the next agent of the same user takes the folder for what it is, and removes it.
    """

    path: str
    """Where it is, under the directory for temporary files (``TMPDIR``)."""

    def __init__(self) -> None:
        _sweep()
        held = None
        while held is None:  # a sweep of another process may have come between the first line and the second
            self.path = tempfile.mkdtemp(prefix=_PREFIX)
            held = _hold(self.path)
        self._held = held

    def remove(self) -> None:
        """Remove the folder and what is in it; twice is once."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _hold(path: str | Path) -> int | None:
    """Lock a folder; return its descriptor, or None if somebody else holds it or it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # not removed before it was locked
            return descriptor
    os.close(descriptor)
    return None


@functools.cache
def _sweep() -> None:
    """Remove, once in a process, what killed ones left."""
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        held = _hold(folder)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)
