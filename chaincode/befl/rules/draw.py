"""``draw/1``: who trains in a task and in a round of it, and in which order agents take turns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

VERSION: Final = "draw/1"


def rank(purpose: str, task: str, number: int, institutions: Iterable[str]) -> list[str]:
    """Order institutions by SHA-256 of purpose, task, number and MSP ID: known to everybody, wished by nobody.

    The task's id is a transaction id, which its issuer could search for; a seed to which the applicants commit first
    belongs to a later version of this rule.
    """

    def place(msp_id: str) -> tuple[bytes, str]:
        return hashlib.sha256("\0".join((purpose, task, str(number), msp_id)).encode()).digest(), msp_id

    return sorted(institutions, key=place)


def draw(task: str, applicants: Iterable[str], most: int) -> list[str]:
    """Choose at most ``most`` trainers; returned in order of their MSP IDs."""
    return sorted(rank("befl/draw/1", task, 0, applicants)[:most])


def draw_round(task: str, number: int, trainers: Iterable[str], size: int) -> list[str]:
    """Choose ``size`` of the task's trainers for one round; returned in order of their MSP IDs."""
    return sorted(rank("befl/round/1", task, number, trainers)[:size])
