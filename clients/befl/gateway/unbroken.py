"""What Ctrl-C must not break off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def unbroken(act: Callable[[], object]) -> None:
    """Do something that is done whole or not at all, whenever Ctrl-C comes.

    Ctrl-C breaks off the main thread anywhere; so it is done in a thread of its own, and who is interrupted meanwhile
    goes on, with the interruption, when it is done. Nobody gets a result then: ``act`` puts away itself what it makes.

    Parameters
    ----------
    act : callable without arguments
        What it raises goes to the caller.
    """
    with ThreadPoolExecutor(1) as pool:
        # The thread runs before there is anything to do: one that Ctrl-C finds starting is not among those that the
        # pool waits for.
        pool.submit(int).result()
        pool.submit(act).result()
