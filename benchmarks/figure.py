"""One measured figure, and what it is held against."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Final

#: What befl promises: each is met or missed in every run that measures it.
BARS: Final[dict[str, tuple[str, float]]] = {
    "network_up_4orgs_s": ("<=", 12),
    "join_s": ("<=", 30),
    "round_10k_s": ("<=", 0.5),
    "round_1m_s": ("<=", 3),
    "growth_3_to_8_orgs": ("<=", 1),
    "submit_ratio_to_go": (">=", 0.95),
    "evaluate_ratio_to_go": (">=", 0.95),
    "ledger_tax": ("<=", 1.1),
    "replay_50_rounds_s": ("<=", 30),
    "simulate_hospitals_s": ("<=", 5),
    "memory_growth_per_cent": ("<=", 10),
    "heart by hospital FedAvg": (">=", 0.785),
    "a9a halves FedAvg": (">=", 0.897),
    "mnist Dirichlet(0.5) FedAvgM, 40 rounds, points behind": ("<=", 2),
}


@dataclass
class Figure:
    """One measured figure.

    Parameters
    ----------
    name : str
        What :data:`BARS` and the documents call it.
    value : float
        The median of the samples, unless its maker says otherwise.
    unit : str
        ``s``, ``1/s``, ``MB``, ``%``; empty for a ratio.
    samples : list of float
        All that was measured, in order; or in a mapping, by process.
    baseline, baseline_command : str
        The figure that it is held against, and what was run for that one.
    ratio : float, optional
        To the baseline.
    steps : dict
        Parts of the value, each a median of its own.
    """

    name: str
    value: float
    unit: str
    samples: Any
    baseline: str = ""
    baseline_command: str = ""
    ratio: float | None = None
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def bar(self) -> str:
        """What it shall be; empty when nothing is promised."""
        kind, bound = BARS.get(self.name, ("", 0))
        return f"{kind} {bound:g}" if kind else ""

    @property
    def met(self) -> bool | None:
        """Whether it is; None when nothing is promised."""
        kind, bound = BARS.get(self.name, ("", 0.0))
        if not kind:
            return None
        return self.value <= bound if kind == "<=" else self.value >= bound

    def to_json(self) -> dict[str, Any]:
        """Return what ``build/bench.json`` holds."""
        return {**asdict(self), "bar": self.bar, "met": self.met}


def median(name: str, samples: list[float], unit: str, steps: dict[str, list[float]] | None = None) -> Figure:
    """Make a figure of samples."""
    split = {key: round(statistics.median(values), 4) for key, values in (steps or {}).items()}
    return Figure(name, round(statistics.median(samples), 4), unit, [round(each, 4) for each in samples], steps=split)


def table(figures: list[Figure]) -> str:
    """Return figures with their bars, a line each; those that promise nothing come last."""
    lines = [f"{'figure':<28}{'value':>12}  {'bar':<9} "]
    for figure in sorted(figures, key=lambda each: not each.bar):
        said = {True: "met", False: "NOT MET", None: ""}[figure.met]
        value = f"{figure.value:g} {figure.unit}".strip()
        lines.append(f"{figure.name:<28}{value:>12}  {figure.bar:<9} {said}".rstrip())
    return "\n".join(lines)
