"""``binary/1``: metrics of a two-class model, made from counts.

Each institution counts on its own held-back rows; the contract adds and divides. Ratios are whole numbers of millionths
(``_ppm``), the loss is in millionths of a nat. The area under the ROC curve comes from two histograms of the positive
class' probability in 64 equal bins (Mann-Whitney statistic, a tie counts one half); what the bins cannot tell is within
``auc_bound_ppm``, half the share of pairs that fall into one bin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from befl.rules.errors import BeflError
from befl.rules.reader import Integer, Sequence, read, refuse, setting, to_record

BINS: Final = 64
_MOST_ROWS: Final = 2**40
_ROWS: Final = Integer(0, _MOST_ROWS)


@dataclass(frozen=True)
class Counts:
    """What one institution counted on its held-back rows."""

    rows: int = setting(_ROWS, "rows evaluated")
    correct: int = setting(_ROWS, "rows whose more probable class is the true one")
    loss_micro: int = setting(
        Integer(0, 2**60), "sum over the rows of -ln(probability of the true class), in 1e-6 nats"
    )
    negatives: tuple[int, ...] = setting(
        Sequence(_ROWS, BINS, BINS), "rows of the first class by probability of the second, in 64 equal bins"
    )
    positives: tuple[int, ...] = setting(Sequence(_ROWS, BINS, BINS), "rows of the second class, likewise")

    def check(self, where: str) -> None:
        """Refuse counts that contradict each other."""
        if sum(self.negatives) + sum(self.positives) != self.rows:
            raise refuse(f"{where}.rows", "the sum of both histograms", self.rows)
        if self.rows == 0 and self.loss_micro:
            raise refuse(f"{where}.loss_micro", "0 when there are no rows", self.loss_micro)
        if self.correct > self.rows:
            raise refuse(f"{where}.correct", f"at most {self.rows} (rows)", self.correct)


def read_counts(value: Any) -> Counts:
    """Read counts from their JSON form.

    Raises
    ------
    BeflError
        ``BEFL-M-005``; the message names the field.
    """
    try:
        return read(Counts, value, "counts")
    except BeflError as error:
        raise BeflError("BEFL-M-005", error.message, error.hint) from None


def pool(counts: Iterable[Counts]) -> Counts:
    """Add the counts of several institutions."""
    listed = list(counts)
    return Counts(
        rows=sum(item.rows for item in listed),
        correct=sum(item.correct for item in listed),
        loss_micro=sum(item.loss_micro for item in listed),
        negatives=tuple(sum(item.negatives[place] for item in listed) for place in range(BINS)),
        positives=tuple(sum(item.positives[place] for item in listed) for place in range(BINS)),
    )


def metrics(counts: Counts) -> dict[str, int | None]:
    """Make the metrics of counts; a ratio without a denominator is None.

    Returns
    -------
    dict
        ``rows``, ``accuracy_ppm``, ``loss_micro`` (mean), ``auc_ppm``, ``auc_bound_ppm``.
    """
    below = doubled = tied = 0
    for negative, positive in zip(counts.negatives, counts.positives, strict=True):
        doubled += positive * (2 * below + negative)
        tied += positive * negative
        below += negative
    pairs = below * sum(counts.positives)
    return {
        "rows": counts.rows,
        "accuracy_ppm": _ratio(counts.correct * 1_000_000, counts.rows),
        "loss_micro": _ratio(counts.loss_micro, counts.rows),
        "auc_ppm": _ratio(doubled * 1_000_000, 2 * pairs),
        "auc_bound_ppm": _ratio(tied * 1_000_000, 2 * pairs),
    }


def summary(reports: Mapping[str, Counts]) -> dict[str, Any]:
    """Return the metrics of each institution and of all together, as they stand in a round's record."""
    return {
        "institutions": {msp_id: metrics(counts) for msp_id, counts in sorted(reports.items())},
        "pooled": metrics(pool(reports.values())),
    }


def counts_record(counts: Counts) -> dict[str, Any]:
    """Return the JSON form of counts."""
    return to_record(counts)


def _ratio(numerator: int, denominator: int) -> int | None:
    return None if denominator == 0 else (2 * numerator + denominator) // (2 * denominator)
