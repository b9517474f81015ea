"""Every command of these how-to pages is typed, and does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import befl.network
from befl.network import commands
from befl.rules.errors import CODES

from .hospitals import AGENT, BEFL, table, task_toml

PAGES = Path(__file__).parents[2] / "docs/how-to"
TYPED = (
    "apps.md",
    "identities.md",
    "decide-together.md",
    "monitor.md",
    "who-did-what.md",
    "troubleshoot.md",
    "fabric-programs.md",
)
SAYS = {
    "befl simulate first/TASK.toml --app first/app": r"2 institutions, 10 rounds",
    "befl app pack first/app --output": r"[0-9a-f]{64}",
    "befl app show mine.befl-app": r"def module\(settings",
    "befl task publish first/TASK.toml": r"added its app [0-9a-f]{16} to the ledger",
    "befl app add first/app": r"added, block \d+",
    'befl app show "$APP" --as org1': r"nn\.Tanh\(\)",
    "befl app approve": r"approved",
    "befl app withdraw mine": r"withdrew the approval of",
    "befl task decline": r"declined task [0-9a-f]{16}",
    "befl task apply": r"applied to task",
    "befl task leave": r"declined +Org2MSP \(no power\)",
    "befl network status": r"the same block at every peer, leader org[12]",
    "befl network logs --lines 5": r"org2/orderer \| ",
    "befl network logs org1/peer --lines 100": r"org1/peer \| ",
    "befl network logs supervisor": r"supervisor \| .*org1/orderer: started",
    'peer channel getinfo --channelID "$CHANNEL_NAME"': r'Blockchain info: {"height":',
    "befl network topology --format mermaid": r"graph LR",
    "befl network topology --format dot": r"graph befl {",
    "healthz": r'"status": "OK"',
    "CHAINCODE_OPERATIONS_ADDRESS/metrics": r"befl_chaincode_transactions_total",
    "PEER_OPERATIONS_ADDRESS/metrics": r"gossip_membership_total_peers_known",
    "supervisor/operations": r'befl_supervisor_process_up{process="org1/peer"} 1\.0',
    "befl identity list": r"agent",
    "befl identity enroll": r"is enrolled as client with role auditor",
    "befl identity renew": r"renewed",
    "befl identity revoke inspector": r"inspector is revoked",
    "befl identity revoke admin": r"admin is revoked as it was, and goes on with new keys",
    "befl member list": r"Org2MSP +auditor,issuer,trainer,validator",
    "befl member assign": r"assigned, approved by Org1MSP, Org2MSP",
    "befl parameters show": r"# version 0 \(the defaults\)",
    "befl parameters list": r"# version 1, since 20.{17}Z, approved by Org1MSP, Org2MSP\nleast_trainers = 2\n",
    "befl parameters assign": r"version 1 is in force, approved by Org1MSP, Org2MSP",
    "befl audit query --as org1/examiner\n": r"^0:0 .* config .*VALID",
    "--kind Register": r"Org2MSP +admin +MemberContract:Register .*VALID",
    "--limit 2": r"There are more: --after \d+:\d+",
    "transactions.csv": r"^block,index,time_ms,msp_id,identity,transaction",
    "befl doctor": r"installation: Python",
    "befl doctor --as org1": r"network: certificates",
    "befl doctor --config agent/AGENT.toml": r"agent: ledger",
    "--task TASK.toml": r"90 rows fit TASK\.toml",
    "befl explain BEFL-N-006": r"port is taken",
    "befl config show": r"^network +\S+/network +environment BEFL_NETWORK",
    "befl network fabric": r"^Fabric v?3\.",
    "befl network down": r"^stopped",
    "befl network up": r"ready",
}
"""What a command prints, by what stands in it."""


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network of two, and an agent's folder, where the commands are typed."""
    folder = tmp_path_factory.mktemp("pages")
    network = folder / "network"
    befl.network.up(network, befl.network.make(["org1", "org2"]), owner=os.getpid())
    task_toml(folder, "hearts").rename(folder / "TASK.toml")
    agent = folder / "agent"
    agent.mkdir()
    (agent / "rows.csv").write_text(table(1))
    org1 = network / "org1"
    text = AGENT.format(profile=org1 / "connection.json", user=org1 / "users" / "agent", alias="hearts", apply="ask")
    (agent / "AGENT.toml").write_text(text)
    try:
        yield folder
    finally:
        befl.network.down(network)


NUMBERED = [(page, number) for page in TYPED for number in range(len(blocks(page)))]


@pytest.mark.parametrize(("page", "number"), NUMBERED)
def test_each_block_of_commands(place, page, number):
    block = blocks(page)[number]
    script = f'befl() {{ {" ".join(BEFL)} "$@"; }}\npython() {{ {sys.executable} "$@"; }}\n{block}'
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BEFL_") or "TEST" in name}
    kept = {name: os.environ[name] for name in ("BEFL_CACHE", "BEFL_FABRIC_BIN") if name in os.environ}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env={**plain, **kept, **commands.python_environment(), "BEFL_NETWORK": str(place / "network")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    known = [said for part, said in SAYS.items() if part in block]
    assert known, "the test knows what each block prints"
    for said in known:
        assert re.search(said, done.stdout, re.MULTILINE), f"{said}\n{done.stdout}"


def test_pages_name_codes_that_there_are():
    for page in TYPED:
        assert set(re.findall(r"BEFL-[A-Z]-\d{3}", (PAGES / page).read_text())) <= set(CODES)
