"""What is not to be broken off is not, at whatever point of the main thread Ctrl-C comes."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import pytest

from befl.gateway.unbroken import unbroken


def interrupted_at(number: int) -> tuple[bool, list[str]]:
    """Interrupt at the so manieth point at which Python looks for signals; say whether it came, and what was done."""
    done: list[str] = []
    left = itertools.count(-number)

    def interrupt(_frame: object, event: str, _what: object) -> None:
        if event in ("call", "c_return") and next(left) == 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    def act() -> None:
        done.append("begun")
        time.sleep(0.002)  # noqa: TID251  # it takes a moment, in which the other thread would go on
        done.append("ended")

    try:
        sys.setprofile(interrupt)
        unbroken(act)
        came = False
    except KeyboardInterrupt:
        came = True
    finally:
        sys.setprofile(None)
    return came, done


def sweep() -> None:
    """Interrupt at every point, one after another, and hold that it was done whole or not at all, then and later."""
    found = []
    for number in itertools.count():
        came, done = interrupted_at(number)
        found.append((done, done.copy()))
        if not came:
            break
    time.sleep(0.1)  # noqa: TID251  # for whatever would be done after all
    assert number > 3
    assert all(now == then for now, then in found)
    assert all(now in ([], ["begun", "ended"]) for now, _ in found)
    assert not found[0][0]
    assert found[-1][0]


def test_it_is_done_whole_or_not_at_all():
    """In a process of its own: what is done wrong here hangs, in this thread or when Python ends."""
    ran = subprocess.run(
        [sys.executable, "-c", "from tests.unit.gateway.test_unbroken import sweep; sweep()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_what_it_raises_goes_to_the_caller():
    with pytest.raises(ZeroDivisionError):
        unbroken(lambda: 1 / 0)
