"""How long an auditor takes: everything on the channel checked, every transaction run again, one task followed."""

from __future__ import annotations

import time
from pathlib import Path

from befl import client

REPEATS = 3


def measure(folder: Path, task: str) -> list[float]:
    """Replay a task of a network from org1's peer, and return the seconds of each time; every verdict must be PASS."""
    samples = []
    for _ in range(REPEATS):
        started = time.monotonic()
        with client.connect(network=folder, identity="org1") as auditor:
            assert auditor.audit.replay(task).passed
        samples.append(time.monotonic() - started)
    return samples
