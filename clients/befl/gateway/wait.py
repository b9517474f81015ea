"""The one place where befl sleeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(check: Callable[[], T], *, timeout: float, interval: float = 0.05, what: str) -> T:
    """Ask until the answer is true, and return it.

    ``check`` runs at once, then every ``interval`` seconds, and one last time when the time is over, so that a slow
    machine never loses an answer that is there.

    Parameters
    ----------
    check : callable without arguments
        Its first true result ends the waiting; an exception that it raises goes to the caller.
    timeout : float
        Seconds.
    interval : float
        Seconds between two questions.
    what : str
        What is waited for, as the subject of "... did not happen"; for the message.

    Returns
    -------
    object
        The true result of ``check``.

    Raises
    ------
    BeflError
        ``BEFL-G-001`` when ``timeout`` passed.
    """
    end = time.monotonic() + timeout
    while True:
        last = time.monotonic() >= end
        if result := check():
            return result
        if last:
            raise BeflError(
                "BEFL-G-001",
                f"waited {timeout:g} s in vain for: {what}",
                "Look at the log of what was waited for; on a slow machine allow more time.",
            )
        pause(min(interval, max(0.0, end - time.monotonic())))


def pause(seconds: float) -> None:
    """Sleep: for back-off between two attempts, which is not a question that can be asked.

    Parameters
    ----------
    seconds : float
        How long; not negative.
    """
    time.sleep(seconds)  # noqa: TID251  # the one wait helper; everything else calls until()
