"""Aggregation rules: how the updates of a round become one step of the model. One file a rule, one table."""

from __future__ import annotations

from typing import Final

from befl.rules.aggregation.fedadam import FedAdam
from befl.rules.aggregation.fedavg import FedAvg
from befl.rules.aggregation.fedavgm import FedAvgM
from befl.rules.aggregation.fedyogi import FedYogi
from befl.rules.aggregation.rule import Rule
from befl.rules.aggregation.scaffold import Scaffold
from befl.rules.registry import Versions

__all__ = ["RULES", "Rule"]

RULES: Final[Versions[Rule]] = Versions(
    "aggregation rule",
    {
        "fedavg/1": FedAvg(),
        "fedavgm/1": FedAvgM(),
        "fedadam/1": FedAdam(),
        "fedyogi/1": FedYogi(),
        "scaffold/1": Scaffold(),
    },
)
