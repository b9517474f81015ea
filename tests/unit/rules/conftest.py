"""A task specification and views to change one thing in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.errors import BeflError
from befl.rules.reader import to_record


def _specification(**changes: Any) -> dict[str, Any]:
    """Return a valid specification as JSON gives it; ``rounds__count=3`` sets a key of a table, None takes one out."""
    record: dict[str, Any] = {
        "befl": 1,
        "name": "heart disease",
        "mode": "horizontal",
        "app": {"name": "tabular", "settings": {"model": "logistic", "learning_rate": "0.1", "hidden": [8, 4]}},
        "data": {
            "alias": "heart",
            "label": "disease",
            "columns": {"age": {"type": "number", "centre": "54"}, "sex": {"type": "category", "values": ["0", "1"]}},
        },
        "participants": {"institutions": "any", "least": 2, "most": 4, "window": "60s"},
        "rounds": {"count": 2, "deadline": "30s", "quorum": 2},
        "aggregation": {"rule": "fedavg", "scale_bits": 16, "clip": "8"},
        "privacy": {"scheme": "none"},
    }
    for path, value in changes.items():
        *tables, key = path.split("__")
        place = record
        for table in tables:
            place = place[table]
        if value is None:
            del place[key]
        else:
            place[key] = value
    return record


def _attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, BeflError | None]:
    try:
        return function(*args), None
    except BeflError as error:
        return None, error


@pytest.fixture(scope="session")
def attempt() -> Callable[..., tuple[Any, BeflError | None]]:
    """Call a function that may refuse; return its value and None, or None and the refusal."""
    return _attempt


@pytest.fixture(scope="session")
def specification() -> Callable[..., dict[str, Any]]:
    return _specification


@pytest.fixture(scope="session")
def make_view() -> Callable[..., views.TaskView]:
    """Make a view of a task published at second 1000 (all times in ms); ``current`` is the round's state."""

    def make(
        state: str = "running",
        applicants: tuple[str, ...] = ("A", "B", "C"),
        *,
        departed: tuple[str, ...] = (),
        current: str | None = None,
        number: int = 1,
        done: int = 0,
        updates: tuple[str, ...] = (),
        reports: tuple[str, ...] = (),
        roster: tuple[str, ...] | None = None,
        best: int | None = None,
        stale: int = 0,
        loss_micro: int | None = None,
        deadline_ms: int = 1_130_000,
        report_deadline_ms: int = 1_160_000,
        **changes: Any,
    ) -> views.TaskView:
        task = {
            "id": "00112233445566aa",
            "issuer": "A",
            "state": state,
            "spec": to_record(specs.from_record(_specification(**changes))),
            "published_ms": 1_000_000,
            "roster": [] if state == "published" else list(applicants),
            "done": done,
            "best": None if best is None else {"loss_micro": best, "round": 1},
            "stale": stale,
        }
        round_record = None
        if current is not None:
            round_record = {
                "round": number,
                "roster": list(applicants if roster is None else roster),
                "state": current,
                "opened_ms": 1_100_000,
                "deadline_ms": deadline_ms,
                "closed_ms": 0 if current == "open" else 1_102_000,
                "report_deadline_ms": report_deadline_ms if current in ("closed", "evaluated") else 0,
            }
        return views.make(
            task, list(applicants), list(departed), round_record, list(updates), list(reports), loss_micro
        )

    return make
