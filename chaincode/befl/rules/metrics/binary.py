"""``binary/1``: metrics of a two-class model, made from counts.

Each institution counts on its own held-back rows; the contract adds and divides. Ratios are whole numbers of millionths
(``_ppm``), the loss is in millionths of a nat. The area under the ROC curve comes from two histograms of the positive
class' probability in 64 equal bins (Mann-Whitney statistic, a tie counts one half); what the bins cannot tell is within
``auc_bound_ppm``, half the share of pairs that fall into one bin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from befl.rules.metrics.metric import PPM, Shown, ratio, read_as
from befl.rules.reader import Integer, Sequence, refuse, setting

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

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


class Binary:
    """Metrics of two classes."""

    shown = (
        Shown("accuracy_ppm", "accuracy"),
        Shown("auc_ppm", "AUC"),
        Shown("loss_micro", "loss"),
    )

    def read_counts(self, value: Any, data: DataSpec) -> Counts:
        """Read counts from their JSON form; raises ``BEFL-M-005``, the message names the field."""
        del data
        return read_as(Counts, value)

    def pool(self, counts: Iterable[Counts]) -> Counts:
        """Add the counts of several institutions."""
        listed = list(counts)
        return Counts(
            rows=sum(item.rows for item in listed),
            correct=sum(item.correct for item in listed),
            loss_micro=sum(item.loss_micro for item in listed),
            negatives=tuple(sum(item.negatives[place] for item in listed) for place in range(BINS)),
            positives=tuple(sum(item.positives[place] for item in listed) for place in range(BINS)),
        )

    def metrics(self, counts: Counts, data: DataSpec) -> dict[str, int | None]:
        """Make the metrics of counts; a ratio without a denominator is None.

        Returns
        -------
        dict
            ``rows``, ``accuracy_ppm``, ``loss_micro`` (mean), ``auc_ppm``, ``auc_bound_ppm``.
        """
        del data
        below = doubled = tied = 0
        for negative, positive in zip(counts.negatives, counts.positives, strict=True):
            doubled += positive * (2 * below + negative)
            tied += positive * negative
            below += negative
        pairs = below * sum(counts.positives)
        return {
            "rows": counts.rows,
            "accuracy_ppm": ratio(counts.correct * PPM, counts.rows),
            "loss_micro": ratio(counts.loss_micro, counts.rows),
            "auc_ppm": ratio(doubled * PPM, 2 * pairs),
            "auc_bound_ppm": ratio(tied * PPM, 2 * pairs),
        }

    def note(self, metrics: dict[str, int | None]) -> str:
        """Say within which bound the AUC is exact; shown too wide rather than too narrow."""
        bound = metrics["auc_bound_ppm"]
        if bound is None:
            return ""
        thousandths = -(-bound // 1_000)
        within = f"{thousandths // 1_000}.{thousandths % 1_000:03d}"
        return f"The AUC is made from histograms: all together it is exact within {within}."
