"""Privacy schemes: how an update is hidden from the other institutions. One folder or file a scheme, one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from befl.rules.registry import Versions

__all__ = ["SCHEMES", "Scheme"]


@dataclass(frozen=True)
class Scheme:
    """A privacy scheme.

    Parameters
    ----------
    statement : str
        What it protects and from whom; shown with the task, in listings and on the model card.
    """

    statement: str


SCHEMES: Final[Versions[Scheme]] = Versions(
    "privacy scheme",
    {
        "none/1": Scheme(
            "No privacy scheme: every institution of the consortium can read every institution's updates of this task."
        )
    },
)
