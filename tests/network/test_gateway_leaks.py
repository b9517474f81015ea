"""Ten thousand transactions leave nothing behind: not at the client, not at the chaincode server."""

from __future__ import annotations

import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from befl.rules.errors import BeflError

WARM = 3_000
EVALUATIONS = 9_000
SUBMISSIONS = 1_000
MIB = 1 << 20
GROWTH = 12 * MIB
"""A leak of 1.3 kB a transaction would show; the allocator's own unrest is a few MiB."""

POOL = 32
"""Most threads of a chaincode server's pool."""


def resident(pid: int | str = "self") -> int:
    gc.collect()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def others() -> int:
    """Threads of this process that are not of a chaincode server's pool, which grows to its limit when it is needed."""
    return sum(not thread.name.startswith("transaction") for thread in threading.enumerate())


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_transactions(conformance, consortium, record_property):
    """The server process runs befl's own chaincode; the client is this process, and so is a second chaincode server."""
    processes = consortium.status().institutions[0].processes
    [server] = [process.pid for process in processes if process.name == "chaincode"]
    ours = conformance.contract()
    befl = conformance.network().contract("befl")
    script = json.dumps([["get", "leak"], ["range", "leak", [], 1]])

    def question(number: int) -> None:
        if number % 2:
            ours.evaluate("Run", script)
            return
        with pytest.raises(BeflError, match="BEFL-T-"):
            befl.evaluate("TaskContract:Get", f"none-{number}")

    def change(number: int) -> None:
        ours.submit("Run", json.dumps([["put", f"leak{number % 50}", "v" * 100]]))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(question, range(WARM)))
        list(pool.map(change, range(100)))
        before = (resident(), resident(server), others(), threads(server))
        list(pool.map(question, range(EVALUATIONS)))
        list(pool.map(change, range(SUBMISSIONS)))
        after = (resident(), resident(server), others(), threads(server))
    record_property("client_growth_mib", (after[0] - before[0]) / MIB)
    record_property("server_growth_mib", (after[1] - before[1]) / MIB)
    growth = [f"{(late - early) / MIB:.1f} MiB" for early, late in zip(before[:2], after[:2], strict=True)]
    print(f"client and server grew by {growth}, threads {before[2:]} -> {after[2:]}")
    assert after[0] - before[0] < GROWTH
    assert after[1] - before[1] < GROWTH
    assert after[2] <= before[2] + 2
    assert after[3] <= before[3] + POOL
