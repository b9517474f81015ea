"""What Ctrl-C must not break off."""

from __future__ import annotations

import _thread
import queue
from collections.abc import Callable


def unbroken(act: Callable[[], object]) -> None:
    """Do something that is done whole or not at all, whenever Ctrl-C comes.

    Ctrl-C breaks off the main thread anywhere; so it is done in a thread of its own, and who is interrupted meanwhile
    goes on, with the interruption, when it is done. Nobody gets a result then: ``act`` puts away itself what it makes.

    Parameters
    ----------
    act : callable without arguments
        What it raises goes to the caller.
    """
    # The interpreter's own primitives only. A condition, and so an event, a future, a pool and the start of a Thread,
    # fails or keeps its lock when Ctrl-C finds it taking or giving that, and the other thread waits for ever.
    mine = _thread.allocate_lock()
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        if not mine.acquire(blocking=False):
            return
        error = None
        try:
            act()
        except BaseException as caught:  # noqa: BLE001  # the caller gets it
            error = caught
        ended.put(error)
        ended.put(error)  # for one whom Ctrl-C finds with the first in hand

    try:
        _thread.start_new_thread(run, ())
        error = ended.get()
    except BaseException:
        if not mine.acquire(blocking=False):  # it has begun
            ended.get()
        raise
    if error is not None:
        raise error
