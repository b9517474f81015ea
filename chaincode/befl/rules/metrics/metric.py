"""What every rule of metrics offers, and what they share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from befl.rules.errors import BeflError
from befl.rules.reader import read

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

T = TypeVar("T")

PPM: Final = 1_000_000


@dataclass(frozen=True)
class Shown:
    """One metric as it is shown to people.

    Parameters
    ----------
    key : str
        Its name in the metrics: a whole number of millionths.
    heading : str
        What stands above it.
    """

    key: str
    heading: str


class Metric(Protocol):
    """A rule of metrics: institutions count on their held-back rows, the contract adds and divides.

    All metrics are whole numbers; ``rows`` and ``loss_micro`` (smaller is better) are among those of every rule.
    """

    @property
    def shown(self) -> tuple[Shown, ...]:
        """Which metrics tables show, in order."""

    def read_counts(self, value: Any, data: DataSpec) -> Any:
        """Read counts from their JSON form; raises ``BEFL-M-005``, the message names the field."""

    def pool(self, counts: Iterable[Any]) -> Any:
        """Add the counts of several institutions."""

    def metrics(self, counts: Any, data: DataSpec) -> dict[str, int | None]:
        """Make the metrics of counts; a ratio without a denominator is None."""

    def note(self, metrics: dict[str, int | None]) -> str:
        """Return a sentence that belongs below the metrics, or nothing."""


def ratio(numerator: int, denominator: int) -> int | None:
    """Divide and round half up; None without a denominator."""
    return None if denominator == 0 else (2 * numerator + denominator) // (2 * denominator)


def read_as(cls: type[T], value: Any) -> T:
    """Read counts; raises ``BEFL-M-005``."""
    try:
        return read(cls, value, "counts")
    except BeflError as error:
        raise BeflError("BEFL-M-005", error.message, error.hint) from None
