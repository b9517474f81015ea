"""Explicit tables of versioned rules.

A rule has a version of its own (``fedavg/1``). A task fixes the versions when it is published and keeps them to its
end; changed behaviour is a new version beside the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from befl.rules.errors import BeflError

T = TypeVar("T")


class Versions(Generic[T]):
    """One table of rules of one kind.

    Parameters
    ----------
    kind : str
        What the table lists, for messages.
    rules : mapping of str to T
        ``"<name>/<number>"`` to the rule.
    """

    def __init__(self, kind: str, rules: Mapping[str, T]) -> None:
        self._kind = kind
        self._rules = dict(rules)

    def names(self) -> tuple[str, ...]:
        """Return the names without versions, sorted."""
        return tuple(sorted({version.split("/")[0] for version in self._rules}))

    def newest(self, name: str) -> str:
        """Return the newest version of a name that :meth:`names` lists."""
        numbers = [int(version.split("/")[1]) for version in self._rules if version.split("/")[0] == name]
        return f"{name}/{max(numbers)}"

    def __contains__(self, version: object) -> bool:
        """Say whether this release has a version."""
        return version in self._rules

    def __getitem__(self, version: str) -> T:
        """Return the rule of a version.

        Raises
        ------
        BeflError
            ``BEFL-T-001`` when this release does not have it.
        """
        try:
            return self._rules[version]
        except KeyError:
            raise BeflError(
                "BEFL-T-001",
                f"this release has no {self._kind} {version[:40]!r}",
                f"It has {', '.join(sorted(self._rules))}. A newer release of befl may have it.",
            ) from None
