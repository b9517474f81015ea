"""``parameters/1``: what the consortium has set for all its tasks, one versioned record.

Version 0 stands for the defaults below, which hold until the consortium sets others. Every round names the version in
force when it opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from befl.rules import canonical
from befl.rules.errors import BeflError
from befl.rules.reader import Duration, Integer, milliseconds, read, setting, to_record
from befl.rules.spec import MOST_INSTITUTIONS, MOST_PARAMETERS, TaskSpec

ROLES: Final = ("issuer", "trainer", "validator", "auditor")


@dataclass(frozen=True)
class Parameters:
    """The parameters of the consortium."""

    least_trainers: int = setting(
        Integer(1, MOST_INSTITUTIONS), "no task may start with fewer trainers than this", default=1
    )
    most_parameters: int = setting(
        Integer(1, MOST_PARAMETERS), "no model may have more parameters than this", default=MOST_PARAMETERS
    )
    most_rounds: int = setting(Integer(1, 10_000), "no task may have more rounds than this", default=10_000)
    most_deadline: str = setting(Duration("1s", "30d"), "no phase of a task may wait longer than this", default="30d")


def read_parameters(value: Any) -> Parameters:
    """Read parameters from their JSON form; raises ``BEFL-C-002`` to ``BEFL-C-004``."""
    return read(Parameters, value)


def from_json(text: str) -> Parameters:
    """Read parameters from canonical JSON; raises also ``BEFL-C-001``."""
    return read_parameters(canonical.loads(text))


def to_json(parameters: Parameters) -> str:
    """Return the canonical JSON of parameters."""
    return canonical.dumps(to_record(parameters)).decode()


def check_task(parameters: Parameters, spec: TaskSpec, length: int) -> None:
    """Refuse a task that the consortium's parameters do not allow.

    Raises
    ------
    BeflError
        ``BEFL-T-011``; the message names the parameter.
    """
    longest = max((spec.rounds.deadline, spec.participants.window), key=milliseconds)
    broken = [
        f"{name} is {limit}, the task has {found}"
        for name, limit, found, fits in (
            (
                "least_trainers",
                parameters.least_trainers,
                spec.participants.least,
                spec.participants.least >= parameters.least_trainers,
            ),
            ("most_parameters", parameters.most_parameters, length, length <= parameters.most_parameters),
            ("most_rounds", parameters.most_rounds, spec.rounds.count, spec.rounds.count <= parameters.most_rounds),
            (
                "most_deadline",
                parameters.most_deadline,
                longest,
                milliseconds(longest) <= milliseconds(parameters.most_deadline),
            ),
        )
        if not fits
    ]
    if broken:
        raise BeflError("BEFL-T-011", f"the consortium's parameters do not allow the task: {'; '.join(broken)}")


def majority(members: int) -> int:
    """Return how many approvals of so many members are more than half."""
    return members // 2 + 1
