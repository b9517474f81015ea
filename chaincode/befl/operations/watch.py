"""What an agent tells whoever watches it; here nobody does, :class:`befl.operations.metrics.AgentMetrics` counts."""

from __future__ import annotations

from collections.abc import Mapping


class AgentWatch:
    """Takes note of nothing."""

    def tasks(self, states: Mapping[str, int], workers: int) -> None:
        """Take over how many tasks there are in each state, and how many are worked on."""

    def step(self, action: str, seconds: float) -> None:
        """Take note of a step that was done."""

    def failed(self, code: str) -> None:
        """Take note of a step that failed."""

    def deadline(self, task: str, *, passed: bool) -> None:
        """Take over whether the open round of a task is past its deadline."""

    def succeeded(self) -> None:
        """Take note that something worked just now."""
