"""Metrics: what institutions count on held-back rows, and what the contract makes of it. One file a rule, one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from befl.rules.metrics.binary import Binary
from befl.rules.metrics.metric import Metric, Shown
from befl.rules.metrics.multiclass import Multiclass
from befl.rules.metrics.regression import Regression
from befl.rules.registry import Versions

if TYPE_CHECKING:
    from befl.rules.spec import DataSpec

__all__ = ["METRICS", "Metric", "Shown", "summary"]

METRICS: Final[Versions[Metric]] = Versions(
    "rule of metrics", {"binary/1": Binary(), "multiclass/1": Multiclass(), "regression/1": Regression()}
)


def summary(rule: Metric, data: DataSpec, reports: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of each institution and of all together, as they stand in a round's record."""
    return {
        "institutions": {msp_id: rule.metrics(counts, data) for msp_id, counts in sorted(reports.items())},
        "pooled": rule.metrics(rule.pool(reports.values()), data),
    }
