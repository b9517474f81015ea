"""What every process of a consortium holds while agents train round after round.

Fabric's peer and orderer each keep the last 50 MB of blocks in memory (``blkstorage``; a fixed number), to which a task
as small as this one comes in a thousand rounds: they are filled first, by large transactions of another chaincode. The
first half of a run grows heaps to their working size. A process grows when a line through the second half's samples
(the median of the slopes of all pairs; Sen 1968) rises by more than a tenth of what it holds.
"""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from against_go import PYTHON, deployed, rate
from consortium import TASK, agents, configure, names, network

import befl.network
from befl import client
from befl.gateway import Profile, connect, wait

INSTITUTIONS = 3
VALUE_BYTES = 100_000
#: A transaction holds its value twice, as argument and as write; this is more than the 50 MB that are kept.
FILLING = 320


def measure(rounds: int, samples: int, filling: int = FILLING) -> dict[str, list[float]]:
    """Return the resident memory (MB) of each process after each of so many equal parts of a task's rounds."""
    found: dict[str, list[float]] = {}
    orgs = names(INSTITUTIONS)
    with network(INSTITUTIONS) as folder:
        _fill(folder, filling)
        toml = folder / "TASK.toml"
        # one round more, so that no agent has ended the task and its child when the last sample is taken
        toml.write_text(TASK.format(name="memory", institutions=INSTITUTIONS, rounds=rounds + 1, bits=32))
        configs = [_agent(folder, org) for org in orgs]
        with agents(configs) as pids, client.connect(network=folder, identity="org1/issuer") as issuer:
            task = issuer.tasks.publish(toml).task
            for part in range(1, samples + 1):
                _reach(issuer, task, rounds * part // samples)
                for name, pid in _processes(folder, dict(zip(orgs, pids, strict=True))):
                    found.setdefault(name, []).append(_resident(pid))
    return found


def growth(samples: list[float]) -> float:
    """Return by how many per cent of its median the second half of the samples rises from end to end."""
    half = samples[len(samples) // 2 - 1 :]
    slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(enumerate(half), 2)]
    return 100 * statistics.median(slopes) * (len(half) - 1) / statistics.median(half)


def _fill(folder: Path, transactions: int) -> None:
    """Let peers and orderers come to what they keep of the last blocks."""
    value = secrets.token_hex(VALUE_BYTES // 2)
    user = folder / "org1" / "users" / "agent"
    with (
        deployed(folder, "filling", PYTHON),
        connect(Profile.load(folder / "org1" / "connection.json"), user) as gateway,
    ):
        contract = gateway.network("befl").contract("filling")
        rate(lambda number: contract.submit("put", f"key{number}", value), transactions)


def _agent(folder: Path, org: str) -> Path:
    """Write an institution's twenty rows and its agent's configuration."""
    home = folder / org / "agent"
    home.mkdir(exist_ok=True)
    (home / "rows.csv").write_text("x,y\n" + "".join(f"{row},{'no' if row < 10 else 'yes'}\n" for row in range(20)))
    return configure(folder, org, "tabular", "rows.csv")


def _reach(issuer: client.Client, task: str, done: int) -> None:
    wait.until(
        lambda: issuer.tasks.get(task).done >= done, timeout=1_800, interval=0.1, what=f"round {done} of the task"
    )


def _processes(folder: Path, agent_pids: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Name every process of the consortium."""
    status = befl.network.status(folder)
    yield "supervisor", status.supervisor_pid
    for institution in status.institutions:
        for process in institution.processes:
            yield f"{institution.name} {process.name}", process.pid
    for org, pid in agent_pids.items():
        yield f"{org} agent", pid
        for child in _children(pid):
            yield f"{org} trainer", child


def _children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return round(int(line.split()[1]) / 1024, 1)
