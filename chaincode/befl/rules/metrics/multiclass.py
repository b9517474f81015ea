"""``multiclass/1``: metrics of a model of three and more classes, made from counts by class.

Ratios are whole numbers of millionths (``_ppm``), the loss is in millionths of a nat. Macro recall and macro F1 are the
means over the classes that occur among the true ones; a class that is never predicted has an F1 of 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from befl.rules.errors import BeflError
from befl.rules.metrics.metric import PPM, Shown, ratio, read_as
from befl.rules.reader import Integer, Sequence, refuse, setting

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

_ROWS: Final = Integer(0, 2**40)
_BY_CLASS: Final = Sequence(_ROWS, 3, 1_000)


@dataclass(frozen=True)
class Counts:
    """What one institution counted on its held-back rows."""

    rows: int = setting(_ROWS, "rows evaluated")
    loss_micro: int = setting(
        Integer(0, 2**60), "sum over the rows of -ln(probability of the true class), in 1e-6 nats"
    )
    true: tuple[int, ...] = setting(_BY_CLASS, "rows of each class")
    predicted: tuple[int, ...] = setting(_BY_CLASS, "rows for which each class is the most probable")
    hit: tuple[int, ...] = setting(_BY_CLASS, "rows of each class for which it is the most probable")

    def check(self, where: str) -> None:
        """Refuse counts that contradict each other."""
        if len({len(self.true), len(self.predicted), len(self.hit)}) > 1:
            raise refuse(f"{where}.hit", "as long as true and predicted", len(self.hit))
        if self.rows != sum(self.true) or self.rows != sum(self.predicted):
            raise refuse(f"{where}.rows", "the sum of true, and that of predicted", self.rows)
        if self.rows == 0 and self.loss_micro:
            raise refuse(f"{where}.loss_micro", "0 when there are no rows", self.loss_micro)
        for index, hit in enumerate(self.hit):
            if hit > min(self.true[index], self.predicted[index]):
                raise refuse(f"{where}.hit[{index}]", "at most the true and the predicted rows of its class", hit)


class Multiclass:
    """Metrics of three and more classes."""

    shown = (
        Shown("accuracy_ppm", "accuracy"),
        Shown("f1_ppm", "macro F1"),
        Shown("loss_micro", "loss"),
    )

    def read_counts(self, value: Any, data: DataSpec) -> Counts:
        """Read counts from their JSON form; raises ``BEFL-M-005``, the message names the field."""
        counts = read_as(Counts, value)
        if len(counts.true) != len(data.classes):
            raise BeflError(
                "BEFL-M-005", f"counts.true: must be of {len(data.classes)} classes, not {len(counts.true)}"
            )
        return counts

    def pool(self, counts: Iterable[Counts]) -> Counts:
        """Add the counts of several institutions."""
        listed = list(counts)
        return Counts(
            rows=sum(item.rows for item in listed),
            loss_micro=sum(item.loss_micro for item in listed),
            true=tuple(map(sum, zip(*(item.true for item in listed), strict=True))),
            predicted=tuple(map(sum, zip(*(item.predicted for item in listed), strict=True))),
            hit=tuple(map(sum, zip(*(item.hit for item in listed), strict=True))),
        )

    def metrics(self, counts: Counts, data: DataSpec) -> dict[str, int | None]:
        """Make the metrics of counts; a ratio without a denominator is None.

        Returns
        -------
        dict
            ``rows``, ``accuracy_ppm``, ``loss_micro`` (mean), ``recall_ppm`` and ``f1_ppm`` (macro).
        """
        del data
        present = [
            (true, predicted, hit)
            for true, predicted, hit in zip(counts.true, counts.predicted, counts.hit, strict=True)
            if true
        ]
        recall = sum((Fraction(hit, true) for true, _, hit in present), Fraction(0))
        f1 = sum((Fraction(2 * hit, true + predicted) for true, predicted, hit in present), Fraction(0))
        return {
            "rows": counts.rows,
            "accuracy_ppm": ratio(sum(counts.hit) * PPM, counts.rows),
            "loss_micro": ratio(counts.loss_micro, counts.rows),
            "recall_ppm": ratio(recall.numerator * PPM, recall.denominator * len(present)),
            "f1_ppm": ratio(f1.numerator * PPM, f1.denominator * len(present)),
        }

    def note(self, metrics: dict[str, int | None]) -> str:
        """Return nothing: these metrics are exact."""
        del metrics
        return ""
