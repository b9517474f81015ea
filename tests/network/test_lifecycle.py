"""The chaincode is upgraded while a task runs: each institution types what the page says, agents go on, rules stay."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import befl.network
from befl.client import Client, connect
from befl.gateway import wait
from befl.network import consortium as running
from befl.network import supervisor
from befl.rules import version
from befl.rules.errors import BeflError

from .conftest import Consortium
from .hospitals import BEFL, befl_json, hospitals, task_toml, undisturbed

ROOTS = ("chaincode", "clients", "network")
NAMES = ("org1", "org2", "org3")
PAGE = Path(__file__).parents[2] / "docs/how-to/upgrade-chaincode.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Consortium]:
    """A network of its own: other tests rely on the first definition."""
    directory = tmp_path / "network"
    status = befl.network.up(directory, befl.network.make(NAMES), owner=os.getpid())
    yield Consortium(directory, NAMES, tuple(one.msp_id for one in status.institutions))
    befl.network.down(directory)


SECOND_FEDAVG = '''\
"""The mean as in fedavg/1, and a step twice as long."""

from befl.rules.aggregation.fedavg import FedAvg


class FedAvg2(FedAvg):
    def step(self, aggregate, weight, state, share, settings):
        return super().step(2 * aggregate, weight, state, share, settings)
'''


def next_release(folder: Path) -> dict[str, str]:
    """Make a copy of befl in which new tasks get another version of a rule; return the environment that finds it."""
    source = Path(version.__file__).parents[3]
    for root in ROOTS:
        shutil.copytree(source / root, folder / root, ignore=shutil.ignore_patterns("__pycache__"))
    rules = folder / "chaincode/befl/rules"
    path = rules / "version.py"
    path.write_text(path.read_text().replace(version.__version__, "0.1.1"))
    (rules / "aggregation/fedavg2.py").write_text(SECOND_FEDAVG)
    path = rules / "aggregation/__init__.py"
    one = '"fedavg/1": FedAvg(),'
    assert one in path.read_text()
    text = path.read_text().replace(one, f'{one}\n        "fedavg/2": FedAvg2(),')
    path.write_text(text.replace("\nRULES:", "\nfrom befl.rules.aggregation.fedavg2 import FedAvg2\n\nRULES:"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / root) for root in ROOTS)}


def round_of(client: Client, task: str) -> int:
    return int(client.tasks.get(task).record.get("round") or 0)


def closed(client: Client, task: str, number: int) -> bool:
    """Whether no update can come to a round any more."""
    return round_of(client, task) >= number and client.ledger.round(task, number)["round"]["state"] != "open"


@pytest.mark.timeout(600)
def test_an_upgrade_while_a_task_runs(own, tmp_path):
    release = next_release(tmp_path / "release")

    def command(*arguments: str, org: str, status: int = 0) -> str:
        done = subprocess.run(
            [*BEFL, *arguments],
            env={**release, "BEFL_NETWORK": str(own.directory), "BEFL_AS": org},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == status, f"{arguments} {org}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def page(number: int, org: str, *more: str) -> str:
        """Type the commands of one block of the page."""
        block = BLOCKS[number]
        assert block.startswith("# at every institution\n")
        return "\n".join(command(*line.split()[1:], *more, org=org) for line in block.splitlines()[1:])

    before = own.status()
    old = {one.name: one.processes[-1].pid for one in before.institutions}
    with (
        hospitals(own, tmp_path, "hearts") as agents,
        connect(network=own.directory, identity="org1", name="issuer") as client,
    ):
        toml = task_toml(tmp_path, "hearts", steps=200, count=80, least=2, deadline="12s")
        task = client.tasks.publish(toml).task
        for each in agents:
            each.start()
        wait.until(lambda: round_of(client, task) >= 2, timeout=90, what="the second round")
        assert client.tasks.get(task).record["rules"]["aggregation"] == "fedavg/1"

        # approving alone is not for other code, and one approval is no majority
        assert "BEFL-N-020" in command("chaincode", "approve", org="org1", status=2)
        assert "BEFL-N-019" in command("chaincode", "upgrade", "--timeout", "1", org="org1", status=2)
        assert "BEFL-N-019" in command("chaincode", "commit", org="org1", status=2)
        side_by_side = supervisor.states(own.directory)
        assert side_by_side["org1/chaincode"].pid == old["org1"]
        assert side_by_side["org1/chaincode-next"].pid not in (0, old["org1"])

        # a majority goes on without the third, which is away for now
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            said = list(pool.map(lambda org: page(0, org, "--grace", "2"), NAMES[:2]))
        assert all("the own peer serves sequence 2" in each for each in said), said
        assert any("a majority approves it; waiting 2 s for Org3MSP" in each for each in said), said
        with running.acting(own.directory, "org1") as member:
            assert member.committed().approvals == {"Org1MSP": True, "Org2MSP": True, "Org3MSP": False}
        without = round_of(client, task) + 1
        wait.until(lambda: closed(client, task, without), timeout=90, interval=0.5, what="a round without the third")
        assert supervisor.states(own.directory)["org3/chaincode"].pid == old["org3"]
        assert "the own peer serves sequence 2" in page(0, "org3")
        agents[0].stop()
        agents[0].start(release)  # its operator starts the agent again with the new release
        at = client.tasks.get(task)
        assert at.state == "running", "the task was to be running all the while"
        wait.until(lambda: client.tasks.get(task).state == "finished", timeout=240, interval=0.5, what="the task's end")
        assert client.tasks.get(task).record["rules"]["aggregation"] == "fedavg/1"
        assert at.record["round"] < 80
        trained = {number: set(client.ledger.round(task, number)["round"]["updates"]) for number in range(1, 81)}
        assert trained[without] == {"Org1MSP", "Org2MSP"}
        assert trained[80] == set(own.msp_ids)
        digest, _ = undisturbed(client, task, agents, {one: {*own.msp_ids} - them for one, them in trained.items()})
        assert client.ledger.model(task)["model"] == digest  # every step was that of fedavg/1

        # a new task gets the newest version, which the old release does not have
        [later] = re.findall(r"published task ([0-9a-f]{16})", command("task", "publish", "hearts.toml", org="org1"))
        assert re.search(r"rules .*\bfedavg/2\b", command("task", "show", later, org="org1"))
        with pytest.raises(BeflError, match=f"BEFL-T-001: this release has no fedavg/2, which task {later} fixes"):
            client.tasks.get(later)

    with running.acting(own.directory, "org2") as member:
        committed = member.committed()
    assert (committed.sequence, committed.version[:6]) == (2, "0.1.1-")
    assert committed.approvals == dict.fromkeys(own.msp_ids, True)
    states = supervisor.states(own.directory)
    for org in NAMES:
        assert f"{org}/chaincode-next" not in states
        assert states[f"{org}/chaincode"].pid not in (0, old[org])
        assert states[f"{org}/chaincode"].restarts == 0
    after = {one.name: one.processes[-1] for one in own.status().institutions}
    assert all(process.healthy for process in after.values())
    assert all(after[one.name].address != one.processes[-1].address for one in before.institutions)
    listed = befl_json("task", "list", "--network", own.directory, "--as", "org3")
    assert {one["id"]: one["state"] for one in listed}[task] == "finished"
    said = page(1, "org1")
    assert "nothing to change" in said
    assert committed.version[:22] in said, "status shows what runs"
