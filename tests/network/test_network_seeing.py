"""What `status`, `logs`, `env`, `topology`, the metrics and `doctor` say about a real network, and about its faults."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import befl.network
from befl import client, contracts
from befl.gateway import Profile, connect, wait
from befl.network import commands, doctor, observe
from befl.network.commands import python_environment
from befl.network.layout import Layout
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.version import __version__
from befl.shim.digest import code_digest

from .down import described, kept_down, pid, ready_again, standing_still, wrong
from .hospitals import task_toml

BEFL = [sys.executable, "-m", "befl.cli.main"]


def befl_(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [*BEFL, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_status_sees_ledgers_certificates_and_code(consortium):
    found = consortium.status()
    assert (found.forked, found.led, found.warnings) == (False, True, ())
    assert found.leader in consortium.institutions
    assert found.common_height == min(one.height for one in found.institutions) > 1
    assert len({one.block_hash for one in found.institutions}) == 1
    assert len(found.institutions[0].block_hash) == 64
    assert {(one.sequence, one.definition) for one in found.institutions} == {(1, f"{__version__}-{code_digest()}")}
    assert {one.code_digest for one in found.institutions} == {found.code_digest} == {code_digest()}
    for one in found.institutions:
        assert {each.name: each.version for each in one.processes} == {
            "ca": "v1.5.21",
            "orderer": found.fabric.split()[0],
            "peer": found.fabric.split()[0],
            "chaincode": __version__,
        }
        assert 300 < one.expires_days < 366
        assert (consortium.directory / one.name / one.expires_file).is_file()
    assert json.loads(
        befl_("network", "status", "--network", str(consortium.directory), "--format", "json")
    ).keys() == {field.name for field in dataclasses.fields(found)}
    text = befl_("network", "status", "--network", str(consortium.directory))
    assert f"common height {found.common_height}, the same block at every peer, leader {found.leader}" in text


def test_the_hash_of_an_older_block_is_the_one_that_the_others_have(consortium):
    """So is a peer asked that is ahead of the others."""
    found, eyes = observe.look(consortium.directory)
    hashes = set()
    for name in consortium.institutions:
        with eyes.peer(name) as peer:
            hashes.add(peer.block_hash(found.common_height - 1))
    assert len(hashes) == 1
    assert hashes.pop().hex() != found.institutions[0].block_hash


def test_one_institution_sees_the_ledgers_of_the_others(consortium, tmp_path):
    """From a folder that holds one institution only, as it is where each has a machine of its own."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("org1", "supervisor"):
        (alone / name).symlink_to(consortium.directory / name)
    text = (consortium.directory / "network.toml").read_text()
    head, _, tables = text.partition("[institutions.org1]")
    (alone / "network.toml").write_text(head + "[institutions.org1]" + tables.partition("[institutions.org2]")[0])
    found = befl.network.status(alone)
    assert [(one.name, one.here) for one in found.institutions] == [
        ("org1", True),
        ("Org2MSP", False),
        ("Org3MSP", False),
    ]
    assert found.ready
    assert len({one.block_hash for one in found.institutions}) == 1
    assert all(one.height for one in found.institutions)
    assert found.led
    assert wrong(alone) == {}


def test_stock_commands_work_in_a_shell_with_env(consortium):
    script = f"""
    set -euo pipefail
    eval "$({" ".join(BEFL)} network env org2 --network '{consortium.directory}')"
    peer channel getinfo --channelID "$CHANNEL_NAME"
    osnadmin channel list --orderer-address "$ORDERER_ADMIN_LISTENADDRESS" --ca-file "$ORDERER_CA" \
        --client-cert "$ORDERER_ADMIN_TLS_SIGN_CERT" --client-key "$ORDERER_ADMIN_TLS_PRIVATE_KEY"
    peer channel fetch newest /dev/null --orderer "$ORDERER_ADDRESS" --channelID "$CHANNEL_NAME" --tls \
        --cafile "$ORDERER_CA" --clientauth --certfile "$CORE_PEER_TLS_CLIENTCERT_FILE" \
        --keyfile "$CORE_PEER_TLS_CLIENTKEY_FILE" 2>/dev/null
    eval "$({" ".join(BEFL)} network env org2 --user agent --network '{consortium.directory}')"
    peer chaincode query --channelID "$CHANNEL_NAME" --name "$CC_NAME" --ctor '{{"Args":["TaskContract:List","5",""]}}'
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Blockchain info: {"height":' in done.stdout
    assert '"name": "befl"' in done.stdout
    assert '"records":' in done.stdout
    missing = subprocess.run(
        [*BEFL, "network", "env", "org2", "--user", "nobody", "--network", str(consortium.directory)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert missing.returncode == 2
    assert "BEFL-C-009: org2 has no identity 'nobody' here" in missing.stderr


def test_logs_and_pictures(consortium):
    folder = ("--network", str(consortium.directory))
    lines = befl_("network", "logs", "org1", *folder, "--lines", "2").splitlines()
    assert {line.partition(" | ")[0] for line in lines} == {f"org1/{name}" for name in observe.PROCESSES}
    assert befl_("network", "logs", "supervisor", *folder, "--lines", "1").startswith("supervisor | ")
    assert befl_("network", "topology", *folder).startswith("graph LR\n")
    assert befl_("network", "topology", *folder, "--format", "dot").startswith("graph befl {\n")
    toml = befl_("network", "topology", *folder, "--format", "toml")
    assert toml.splitlines()[1:] == (consortium.directory / "network.toml").read_text().splitlines()[1:]


def test_following_a_log(consortium, tmp_path):
    """What a program that reads the pipe sees at once: lines are not kept back until there are many."""
    command = [*BEFL, "network", "logs", "org1/chaincode", "--follow", "--lines", "0", "--network"]
    output = tmp_path / "followed"
    with (
        output.open("w") as file,
        connect(Profile.load(consortium.profile("org1")), consortium.user("org1")) as gateway,
    ):
        contract = gateway.network("befl").contract("befl")
        process = subprocess.Popen([*command, str(consortium.directory)], stdout=file, stdin=subprocess.DEVNULL)

        def refused() -> str:
            with pytest.raises(BeflError, match="BEFL-T-008"):
                contract.evaluate("TaskContract:NotThere")
            return output.read_text()

        try:
            text = wait.until(refused, timeout=20, interval=0.3, what="a line of the log")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            finally:
                process.kill()
    assert process.returncode == 130
    assert text.startswith("org1/chaincode | ")
    assert "txid=" in text
    assert "refused: BEFL-T-008" in text


def test_metrics_of_chaincode_server_and_supervisor(consortium):
    eyes = observe.look(consortium.directory)[1].here["org1"]
    with connect(Profile.load(consortium.profile("org1")), consortium.user("org1")) as gateway:
        gateway.network("befl").contract("befl").evaluate("TaskContract:List", "5", "")
    port = eyes.institution.port("chaincode_operations")
    status, text = commands.get("127.0.0.1", port, "/metrics", eyes.operations())
    assert status == 200
    name = 'befl_chaincode_transactions_total{function="TaskContract:List",outcome="ok"}'
    assert float(text.partition(name)[2].split()[0]) >= 1
    agent = consortium.user("org1") / "tls"
    for context in (
        commands.tls_context(eyes.home.tls_ca),
        commands.tls_context(eyes.home.tls_ca, agent / "client.crt", agent / "client.key"),
    ):
        assert commands.get("127.0.0.1", port, "/metrics", context)[0] != 200, "metrics are for operators"
    assert commands.get("127.0.0.1", port, "/healthz", commands.tls_context(eyes.home.tls_ca))[0] == 200


# --- doctor -----------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing(consortium):
    assert wrong(consortium.directory) == {}
    text = befl_("doctor", "--network", str(consortium.directory), "--as", "org2")
    assert "network: private data" in text
    assert "PROBLEM" not in text
    found = json.loads(befl_("doctor", "--network", str(consortium.directory), "--format", "json"))
    assert {one["state"] for one in found if one["area"] == "network"} == {"ok"}


def test_doctor_finds_a_process_that_does_not_answer_and_one_that_died(consortium):
    with standing_still(consortium, "org2/ca"):
        found = wrong(consortium.directory)
    [said] = found["processes"]
    assert said.startswith("org2/ca runs and does not answer at 127.0.0.1:")


def test_doctor_finds_dead_orderers_a_missing_leader_and_a_missing_program(consortium):
    """Two of three orderers cannot be started: their program is gone."""
    with ready_again(consortium), kept_down(consortium, "org2/orderer", "org3/orderer"):
        wait.until(lambda: not consortium.status().led, timeout=30, interval=0.3, what="no leader")
        found = wrong(consortium.directory)
    assert [said.partition(" (")[0] for said in found["processes"]] == ["org2/orderer is dead", "org3/orderer is dead"]
    assert found["Raft leader"] == ["no orderer leads; 1 of the 3 orderers here answer, a majority of all must"]
    assert found["programs"][0] == (
        f"org2/orderer is started from {consortium.directory / 'no' / 'orderer'}, which is not there"
    )
    assert befl_("network", "status", "--network", str(consortium.directory))


def test_doctor_finds_a_peer_that_is_behind(consortium):
    """Org3's peer runs and answers, and takes no blocks from the orderers: a setting that Fabric does not warn of."""

    def no_leader(service):
        service["env"]["CORE_PEER_GOSSIP_ORGLEADER"] = "false"

    def heights() -> list[int]:
        return [one.height for one in consortium.status().institutions]

    with ready_again(consortium):
        before = pid(consortium, "org3/peer")
        with (
            client.connect(network=consortium.directory, identity="org1") as agent,
            described(consortium, no_leader, "org3/peer"),
        ):
            wait.until(lambda: pid(consortium, "org3/peer") != before, timeout=30, what="org3's peer started again")
            start = wait.until(lambda: heights()[2], timeout=30, interval=0.3, what="org3's peer answering")
            blocks = [agent.ledger.announce("", "").block for _ in range(2)]
            wait.until(
                lambda: min(heights()[:2]) > blocks[-1], timeout=30, interval=0.3, what="the blocks at the others"
            )
            behind = f"the peer of org3 is behind: height {start}, others have {blocks[-1] + 1}"
            wait.until(  # the peer that was started again is known to the others after some seconds
                lambda: wrong(consortium.directory) == {"ledger heights": [behind]},
                timeout=60,
                interval=0.5,
                what="doctor finding this alone",
            )
            said = befl_("doctor", "--network", str(consortium.directory), "--as", "org3", status=1)
        wait.until(lambda: heights()[2] > blocks[-1], timeout=60, interval=0.3, what="org3's peer catching up")
    assert behind in " ".join(said.split())


def test_doctor_finds_that_gossip_has_not_formed(consortium):
    """Two of three peers stand still, and the third forgets them."""
    eyes = observe.look(consortium.directory)[1]
    with ready_again(consortium), standing_still(consortium, "org2/peer", "org3/peer"):
        wait.until(
            lambda: doctor._known_peers(eyes.here["org1"]) == 0, timeout=30, interval=0.3, what="forgotten peers"
        )
        found = wrong(consortium.directory)
    assert found["gossip"] == ["gossip has not formed: the peer of org1 knows 0 of 2 other peers"]
    assert [said.partition(" runs")[0] for said in found["processes"]] == ["org2/peer", "org3/peer"]


def describe(consortium, name: str, program: str = "", **env: str) -> None:
    """Let a process start again, with another program or other settings."""
    path = Layout(consortium.directory).home(name).services / "peer.json"
    content = json.loads(path.read_text())
    content["argv"][0] = program or content["argv"][0]
    content["env"] |= {f"CORE_PEER_GOSSIP_PVTDATA_{key}": value for key, value in env.items()}
    path.write_text(json.dumps(content))
    os.kill(consortium.status().supervisor_pid, signal.SIGHUP)


def test_doctor_finds_that_a_peer_lacks_private_data(consortium, tmp_path):
    """An update is written while org3's peer is down; when it comes back it does not pull, as if no peer were there."""
    directory = consortium.directory
    service = Layout(directory).home("org3").services / "peer.json"
    kept, program = service.read_text(), json.loads(service.read_text())["argv"][0]
    eyes = observe.look(directory)[1]
    model = bytes(8)
    spec = specs.from_toml(task_toml(tmp_path, "missing", least=1, most=1).read_bytes())
    with (
        client.connect(network=directory, identity="org1", name="issuer") as issuer,
        client.connect(network=directory, identity="org1") as agent,
        ready_again(consortium),
    ):
        task = issuer.ledger.publish(spec, "a" * 64, (Tensor("w", (1,)),), model).value["task"]
        consortium.level()
        agent.ledger.apply(task, "a" * 64)
        consortium.level()
        agent.ledger.open(task)
        consortium.level()
        lacks = f"the peer of org3 lacks data of collection updates: update of Org1MSP in round 1 of task {task}"
        try:
            describe(consortium, "org3", str(directory / "no" / "peer"))
            for name in ("org1", "org2"):
                wait.until(
                    lambda name=name: doctor._known_peers(eyes.here[name]) == 1,
                    timeout=30,
                    interval=0.3,
                    what=f"org3 forgotten by {name}",
                )
            agent.ledger.submit(task, 1, 5, bytes(4))
            assert f"update of Org1MSP in round 1 of task {task}" not in str(wrong(directory)), (
                "who has it is not named"
            )

            describe(consortium, "org3", program, PULLRETRYTHRESHOLD="0s", RECONCILESLEEPINTERVAL="10m")
            wait.until(
                lambda: len({one.height for one in consortium.status().institutions}) == 1,
                timeout=60,
                interval=0.3,
                what="org3 with all blocks",
            )
            assert wrong(directory)["private data"] == [lacks]
            said = befl_("doctor", "--network", str(directory), "--as", "org3", status=1)
            assert lacks in " ".join(said.split())
            assert "It fetches it when peers that have it can be reached" in said

            describe(consortium, "org3", program, RECONCILESLEEPINTERVAL="1s")
            wait.until(
                lambda: "private data" not in wrong(directory), timeout=60, interval=0.5, what="org3 fetching it itself"
            )
        finally:
            service.write_text(kept)
            os.kill(consortium.status().supervisor_pid, signal.SIGHUP)
            issuer.ledger.cancel(task, "the test is over")


def test_doctor_finds_a_wrong_ca(consortium, tmp_path):
    layout = Layout(consortium.directory)
    certificate = layout.home("org1").user("issuer") / "tls" / "client.crt"
    kept = certificate.read_bytes()
    try:
        certificate.write_bytes((layout.home("org2").user("issuer") / "tls" / "client.crt").read_bytes())
        found = wrong(consortium.directory)
    finally:
        certificate.write_bytes(kept)
    assert found["certificates"] == [
        "org1/users/issuer/tls/client.crt is not from the CA of org1: nobody will accept it"
    ]


@pytest.fixture
def other_code(tmp_path):
    """Code of the chaincode in which one constant is another, for a process that finds it first; and its digest."""
    folder = tmp_path / "other" / "befl" / "contracts"
    shutil.copytree(Path(contracts.__path__[0]), folder, ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder / "context.py"
    text = changed.read_text()
    assert "PAGE_MOST: Final = 50" in text
    changed.write_text(text.replace("PAGE_MOST: Final = 50", "PAGE_MOST: Final = 49"))
    found = ":".join([str(tmp_path / "other"), *python_environment().values()])
    digest = subprocess.run(
        [sys.executable, "-c", "from befl.shim.digest import code_digest; print(code_digest())"],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    assert digest != code_digest()

    def change(service):
        service["env"]["PYTHONPATH"] = found

    return change, digest


def test_doctor_finds_a_server_that_refuses_to_run_other_code(consortium, other_code):
    """One constant is another than agreed: the server ends at once, and says what is installed."""
    change, digest = other_code
    with ready_again(consortium), described(consortium, change, "org3/chaincode"):
        refused = wait.until(
            lambda: [
                said for said in wrong(consortium.directory).get("processes", ()) if "dead (it ended with 2)" in said
            ],
            timeout=60,
            interval=0.5,
            what="the server's end",
        )
        log = befl_("network", "logs", "org3/chaincode", "--lines", "20", "--network", str(consortium.directory))
    assert refused[0].startswith("org3/chaincode is dead (it ended with 2), restarted ")
    assert f"BEFL-G-027: the consortium agreed on code {code_digest()[:16]}…, installed here is {digest[:16]}…" in log


def test_doctor_finds_a_server_that_runs_other_code(consortium, other_code, tmp_path):
    """The server is told to run whatever is installed: it serves, and shows what it is."""
    change, digest = other_code

    def unchecked(service):
        change(service)
        config = json.loads(Path(service["argv"][-1]).read_text())
        assert config.pop("code_digest") == code_digest()
        service["argv"][-1] = str(tmp_path / "server.json")
        (tmp_path / "server.json").write_text(json.dumps(config))

    said = (
        f"wrong chaincode digest: the server of org3 runs {digest[:16]}, the channel agreed on "
        f"{code_digest()[:16]} (sequence 1)"
    )
    with ready_again(consortium), described(consortium, unchecked, "org3/chaincode"):
        wait.until(
            lambda: wrong(consortium.directory) == {"chaincode": [said]},
            timeout=60,
            interval=0.5,
            what="doctor finding this alone",
        )
        warnings = consortium.status().warnings
        with connect(Profile.load(consortium.profile("org3")), consortium.user("org3")) as gateway:
            contract = gateway.network("befl").contract("befl")
            with pytest.raises(BeflError, match="from 1 to 49"):  # it is really the other code that answers
                contract.evaluate("TaskContract:List", "100", "")
    assert warnings == (
        f"org3: its chaincode server runs code {digest[:16]}, the channel agreed on {code_digest()[:16]}",
        f"org3: its chaincode server runs code {digest[:16]}, this installation of befl has {code_digest()[:16]}",
    )
