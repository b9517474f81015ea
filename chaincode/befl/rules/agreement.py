"""Which model the reports of a round agree on, and what it does: used to evaluate a round and to foresee it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from befl.rules.metrics import METRICS, summary
from befl.rules.view import TaskView


def agree(view: TaskView, reports: Mapping[str, dict[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """Return the model that most reports name, and the metrics of those that name it.

    The model must have a quorum and more reports than any other; None when there is no such model.

    Parameters
    ----------
    view : TaskView
        The task.
    reports : mapping of str to dict
        Records of reports by MSP ID.
    """
    votes = Counter(item["model"] for item in reports.values()).most_common(2)
    most = votes[0][1] if votes else 0
    if most < view.spec.quorum or most == (votes[1][1] if len(votes) > 1 else 0):
        return None
    model, rule = votes[0][0], METRICS[view.record["rules"]["metrics"]]
    agreed = {
        msp_id: rule.read_counts(item["counts"], view.spec.data)
        for msp_id, item in reports.items()
        if item["model"] == model
    }
    return model, summary(rule, view.spec.data, agreed)
