"""Ten thousand transactions, and streams of events, leave nothing behind: neither at the client nor at the server."""

from __future__ import annotations

import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from befl.gateway import wait
from befl.rules.errors import BeflError

WARM = 3_000
STREAMS = 300
EVALUATIONS = 9_000
SUBMISSIONS = 1_000
MIB = 1 << 20
GROWTH = 12 * MIB
"""A leak of 1.3 kB a transaction would show; the allocator's own unrest is a few MiB."""

FEW = 8
"""Descriptors that may come and go: a connection that is made anew, a file that is being read."""

POOL = 32
"""Most threads of a chaincode server's pool."""


def resident(pid: int | str = "self") -> int:
    gc.collect()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def others() -> int:
    """Threads of this process that are not of a chaincode server's pool, which grows to its limit when it is needed.

    Nor a dummy: Python keeps one of each thread of gRPC's own that once called it, also when that thread is no more.
    """
    return sum(
        not thread.name.startswith("transaction") and not isinstance(thread, threading._DummyThread)
        for thread in threading.enumerate()
    )


def descriptors(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_transactions(conformance, consortium, record_property):
    """The server process runs befl's own chaincode; the client is this process, and so is a second chaincode server."""
    processes = consortium.status().institutions[0].processes
    [server] = [process.pid for process in processes if process.name == "chaincode"]
    ours = conformance.contract()
    network = conformance.network()
    befl = network.contract("befl")
    script = json.dumps([["get", "leak"], ["range", "leak", [], 1]])

    def question(number: int) -> None:
        if number % 2:
            ours.evaluate("Run", script)
            return
        with pytest.raises(BeflError, match="BEFL-T-"):
            befl.evaluate("TaskContract:Get", f"none-{number}")

    def change(number: int) -> None:
        ours.submit("Run", json.dumps([["put", f"leak{number % 50}", "v" * 100]]))

    def follow(number: int) -> None:
        if number % 2:
            with network.chaincode_events("befl", start_block=0) as events:
                assert next(events).name == "Register"
            return
        with network.block_events(1, kind="filtered") as blocks:
            assert next(blocks).number == 1

    def seen() -> tuple[int, ...]:
        return (resident(), resident(server), others(), threads(server), descriptors(), descriptors(server))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(question, range(WARM)))
        list(pool.map(change, range(100)))
        idle = others() + 2
        list(pool.map(follow, range(STREAMS)))
        wait.until(lambda: others() <= idle, timeout=20, what="the threads of the streams ended")
        before = seen()
        list(pool.map(question, range(EVALUATIONS)))
        list(pool.map(change, range(SUBMISSIONS)))
        list(pool.map(follow, range(STREAMS)))
        wait.until(lambda: others() <= idle, timeout=20, what="the threads of the streams ended")
        after = seen()
    record_property("client_growth_mib", (after[0] - before[0]) / MIB)
    record_property("server_growth_mib", (after[1] - before[1]) / MIB)
    growth = [f"{(late - early) / MIB:.1f} MiB" for early, late in zip(before[:2], after[:2], strict=True)]
    print(f"client and server grew by {growth}, threads and descriptors {before[2:]} -> {after[2:]}")
    assert after[0] - before[0] < GROWTH
    assert after[1] - before[1] < GROWTH
    assert after[3] <= before[3] + POOL
    assert after[4] <= before[4] + FEW
    assert after[5] <= before[5] + FEW
