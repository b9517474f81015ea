"""What a check found: the rows of ``befl doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Parameters
    ----------
    area : str
        ``installation``, ``network``, ``agent`` or ``data``.
    check : str
        What was checked, in a few words that stay the same.
    state : str
        ``ok``, ``warning`` or ``problem``.
    found : str
        What is the case.
    advice : str
        What to do; empty when nothing is to be done.
    """

    area: str
    check: str
    state: State
    found: str
    advice: str = ""


def problems(findings: list[Finding]) -> list[Finding]:
    """Return the findings because of which something does not work."""
    return [finding for finding in findings if finding.state == "problem"]
