"""`befl doctor` finds each fault and names it: every check sees the facts of its fault, every gatherer a real one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
import socket
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from befl.gateway.ask import AnsweredError
from befl.network import certificates, doctor, fabric, topology
from befl.network.certificates import Certificate
from befl.network.doctor import Disk, Facts, Installation, Missing
from befl.network.layout import Home
from befl.operations.server import OperationsServer, Tls
from befl.rules.errors import BeflError
from befl.shim import stream

from .test_observe import CODE, OTHER, institution, network, process

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
ROOM = Disk("/network", 50_000_000_000)
GOOD_CORE = dict.fromkeys(doctor.CORE_KEYS, "true")


def certificate(**changes) -> Certificate:
    good = Certificate("peer/tls/server.crt", "CN=peer", NOW - dt.timedelta(1), NOW + dt.timedelta(300), signed=True)
    return dataclasses.replace(good, **changes)


def facts(**changes) -> Facts:
    good = Facts(
        status=network(),
        later={"a": 7, "b": 7},
        taken={},
        gone={},
        certificates={"a": (certificate(),), "b": (certificate(),)},
        clocks={"a": 0.0},
        tolerance_s=60,
        known_peers={"a": 1, "b": 1},
        missing=(),
        disk=ROOM,
        now=NOW,
    )
    return dataclasses.replace(good, **changes)


def here(**changes) -> Installation:
    good = Installation((3, 11, 9), {"numpy": "2.0"}, "2.4", "Fabric v3.1.1", None, False, GOOD_CORE, "core.yaml", ROOM)
    return dataclasses.replace(good, **changes)


def judged(found) -> dict[str, list[str]]:
    """What is not ok, by check."""
    by: dict[str, list[str]] = {}
    checks = doctor.NETWORK if isinstance(found, Facts) else doctor.INSTALLATION
    for finding in [finding for check in checks for finding in check(found)]:
        if finding.state != "ok":
            assert finding.advice, "it says what to do"
            by.setdefault(finding.check, []).append(f"{finding.state}: {finding.found}")
    return by


def test_nothing_is_wrong():
    assert judged(facts()) == {}
    assert judged(here()) == {}


def seen(*institutions, **changes) -> Facts:
    return facts(status=network(*institutions, **changes))


def with_process(name: str, **changes) -> Facts:
    one = institution("a")
    processes = tuple(process(each.name, **changes) if each.name == name else each for each in one.processes)
    return seen(dataclasses.replace(one, processes=processes), institution("b"))


FAULTS = {
    "port taken": (facts(taken={"a.ports.peer": 7051}), "ports", "problem: port 7051 (a.ports.peer) is taken"),
    "binary missing": (facts(gone={"a/peer": "/f/peer"}), "programs", "problem: a/peer is started from /f/peer, which"),
    "process dead": (
        with_process("peer", state="waiting", healthy=False, exit_status=-9, restarts=2),
        "processes",
        "problem: a/peer is dead (it ended with -9), restarted 2 times",
    ),
    "process silent": (with_process("ca", healthy=False), "processes", "problem: a/ca runs and does not answer"),
    "process restarts": (with_process("ca", restarts=3, exit_status=1), "processes", "warning: a/ca was restarted 3"),
    "peer behind": (
        facts(status=network(institution("a"), institution("b", height=5)), later={"a": 8, "b": 6}),
        "ledger heights",
        "problem: the peer of b is behind: height 6, others have 7",
    ),
    "no leader": (
        seen(leader="", led=False),
        "Raft leader",
        "problem: no orderer leads; 2 of the 2 orderers",
    ),
    "certificate expired": (
        facts(certificates={"a": (certificate(ends=NOW),)}),
        "certificates",
        "problem: a/peer/tls/server.crt has expired on 2030-01-01 00:00",
    ),
    "certificate not yet": (
        facts(certificates={"a": (certificate(begins=NOW + dt.timedelta(1)),)}),
        "certificates",
        "problem: a/peer/tls/server.crt is valid only from 2030-01-02 00:00",
    ),
    "certificate soon": (
        facts(certificates={"a": (certificate(ends=NOW + dt.timedelta(29)),)}),
        "certificates",
        "warning: a/peer/tls/server.crt expires in 29 days",
    ),
    "wrong CA": (
        facts(certificates={"a": (certificate(signed=False),)}),
        "certificates",
        "problem: a/peer/tls/server.crt is not from the CA of a",
    ),
    "no certificate": (
        facts(certificates={"a": (certificate(problem="no PEM"),)}),
        "certificates",
        "problem: a/peer/tls/server.crt cannot be read: no PEM",
    ),
    "clock off": (facts(clocks={"a": -61.0}), "clocks", "problem: the clock of a is 61 s behind this machine's"),
    "clock off, within the tolerance": (
        facts(clocks={"a": -6.0}),
        "clocks",
        "problem: the clock of a is 6 s behind this machine's; whoever is more than 5 s ahead is refused",
    ),
    "clock off, and a short tolerance": (
        facts(clocks={"a": 4.0}, tolerance_s=3),
        "clocks",
        "problem: the clock of a is 4 s ahead of this machine's; whoever is more than 3 s ahead is refused",
    ),
    "clock going off": (facts(clocks={"a": 5.0}), "clocks", "warning: the clock of a is 5 s ahead of this machine's"),
    "clock going off, whatever the tolerance": (
        facts(clocks={"a": -2.0}, tolerance_s=900),
        "clocks",
        "warning: the clock of a is 2 s behind this machine's",
    ),
    "disk full": (facts(disk=Disk("/n", 1_000_000)), "disk", "problem: disk full or nearly: 0.0 GB free at /n"),
    "disk low": (facts(disk=Disk("/n", 4_000_000_000)), "disk", "warning: disk is low: 4.0 GB free at /n"),
    "gossip not formed": (
        facts(known_peers={"a": 1, "b": 0}),
        "gossip",
        "problem: gossip has not formed: the peer of b knows 0 of 1 other peers",
    ),
    "wrong chaincode digest": (
        seen(institution("a"), institution("b", code_digest=OTHER)),
        "chaincode",
        "problem: wrong chaincode digest: the server of b runs cdcdcdcdcdcdcdcd, the channel agreed on abab",
    ),
    "installation of another version": (
        seen(code_digest=OTHER),
        "chaincode",
        "warning: this installation of befl has chaincode cdcdcdcdcdcdcdcd, the server of a runs abababababababab",
    ),
    "data of a collection missing": (
        facts(missing=(Missing("b", "updates", "update of AMSP in round 2 of task t1"),)),
        "private data",
        "problem: the peer of b lacks data of collection updates: update of AMSP in round 2 of task t1",
    ),
    "fork": (
        seen(institution("a"), institution("b", block_hash="22" * 32), forked=True),
        "block hashes",
        "problem: THE LEDGERS DIFFER at height 7",
    ),
    "not running": (
        seen(institution("a", processes=()), institution("b", processes=()), running=False, leader=""),
        "supervisor",
        "problem: the network does not run",
    ),
    "Python too old": (here(python=(3, 10, 2)), "Python", "problem: Python 3.10.2 is too old"),
    "package missing": (
        here(packages={"numpy": None, "grpcio": "1"}),
        "Python packages",
        "problem: not installed: numpy",
    ),
    "not installed": (here(packages={}), "Python packages", "warning: befl runs from a source folder"),
    "no torch": (here(torch=None), "torch", "warning: torch is not installed"),
    "Fabric too old": (
        here(
            programs="", programs_problem=BeflError("BEFL-N-003", "peer (PATH) is v2.5.9; befl needs 3.0", "Unset it.")
        ),
        "Fabric's programs",
        "problem: BEFL-N-003: peer (PATH) is v2.5.9",
    ),
    "Fabric not built": (here(built_later=True), "Fabric's programs", "warning: not built yet"),
    "core.yaml without a key": (
        here(core={key: "true" for key in doctor.CORE_KEYS if key != "chaincode.system"}),
        "core.yaml",
        "problem: core.yaml lacks chaincode.system (without it the peer has no _lifecycle",
    ),
    "core.yaml without discovery": (
        here(core=GOOD_CORE | {"peer.discovery.enabled": "false"}),
        "core.yaml",
        "problem: core.yaml lacks peer.discovery.enabled is false",
    ),
    "cache disk full": (here(disk=Disk("/c", 0)), "disk", "problem: disk full or nearly: 0.0 GB free at /c"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(fault):
    found, check, said = FAULTS[fault]
    wrong = judged(found)
    assert list(wrong) == [check], "and nothing else is called wrong"
    assert wrong[check][0].startswith(said)


def test_one_that_catches_up_is_not_behind():
    assert judged(facts(status=network(institution("a"), institution("b", height=5)), later={"a": 8, "b": 7})) == {}


def test_an_elected_leader_peer_needs_no_org_leader():
    core = GOOD_CORE | {"peer.gossip.orgLeader": "false", "peer.gossip.useLeaderElection": "true"}
    assert judged(here(core=core)) == {}


# --- gathering --------------------------------------------------------------------------------------------------


def test_programs_that_are_missing_or_too_old(monkeypatch, fake_fabric, tmp_path):
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric("v2.5.9")))
    [finding] = doctor.check_programs(doctor.installation())
    assert (finding.state, finding.found[:10]) == ("problem", "BEFL-N-003")
    assert "v2.5.9; befl needs 3.0 or newer" in finding.found
    shutil.rmtree(tmp_path / "release")
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric("v3.1.1", without="orderer")))
    [finding] = doctor.check_programs(doctor.installation())
    assert finding.found.endswith("has no orderer")


def test_programs_that_are_not_built_are_not_built_by_asking(monkeypatch, tmp_path):
    monkeypatch.delenv("BEFL_FABRIC_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BEFL_CACHE", str(tmp_path / "cache"))
    [finding] = doctor.check_programs(doctor.installation())
    assert (finding.state, finding.found[:13]) == ("warning", "not built yet")


def test_this_installation(monkeypatch, fake_fabric):
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric()))
    found = doctor.installation()
    assert found.python == sys.version_info[:3]
    assert found.programs.startswith("Fabric v3.1.1 (BEFL_FABRIC_BIN)")
    [finding] = doctor.check_core(found)  # the stand-in's file is empty
    assert finding.state == "problem"
    assert finding.found.count("(without it") == len(doctor.CORE_KEYS)


def test_the_outline_of_core_yaml():
    text = (
        "# comment\npeer:\n    id: jdoe # who\n    discovery:\n        enabled: true\n    gossip:\n"
        '        bootstrap: "127.0.0.1:7051"\n        pvtData:\n            pullRetryThreshold: 60s\n\n'
        "chaincode:\n    system:\n        _lifecycle: enable\n    - item: 1\n"
    )
    assert doctor.outline(text) == {
        "peer": "",
        "peer.id": "jdoe",
        "peer.discovery": "",
        "peer.discovery.enabled": "true",
        "peer.gossip": "",
        "peer.gossip.bootstrap": "127.0.0.1:7051",
        "peer.gossip.pvtData": "",
        "peer.gossip.pvtData.pullRetryThreshold": "60s",
        "chaincode": "",
        "chaincode.system": "",
        "chaincode.system._lifecycle": "enable",
    }


def test_room_of_a_folder_that_is_not_there_yet(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or SimpleNamespace(free=5))
    assert doctor.disk(tmp_path / "not" / "yet") == Disk(str(tmp_path / "not/yet"), 5)
    assert asked == [tmp_path]


@pytest.fixture
def stopped(tmp_path) -> Path:
    folder = tmp_path / "network"
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        first = probe.getsockname()[1]
    ports = [first, *(port for port in range(20_000, 20_030) if port != first)]
    (folder / "network.toml").write_text(topology.dump(topology.with_ports(topology.make(["alone"]), ports)))
    return folder


def test_a_port_that_somebody_else_holds(stopped):
    port = topology.parse((stopped / "network.toml").read_bytes(), "x").institution("alone").port("ca")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        found = [one.found for one in doctor.examine_network(stopped) if one.state == "problem"]
    assert f"port {port} (alone.ports.ca) is taken by another process" in found
    assert "the network does not run" in found
    assert not any("is taken" in one.found for one in doctor.examine_network(stopped))


def test_a_program_that_has_gone(stopped):
    services = stopped / "alone" / "services"
    services.mkdir(parents=True)
    (services / "peer.json").write_text(json.dumps({"argv": [str(stopped / "peer"), "node"]}))
    (services / "orderer.json").write_text(json.dumps({"argv": [sys.executable]}))
    (services / "broken.json").write_text("{")
    [finding] = [one for one in doctor.examine_network(stopped) if one.check == "programs"]
    assert finding.found == f"alone/peer is started from {stopped / 'peer'}, which is not there"


def test_an_institution_that_is_not_there(stopped):
    with pytest.raises(BeflError, match="BEFL-C-009"):
        doctor.examine_network(stopped, "org9")


def test_only_one_institution_is_looked_at():
    both = facts(
        taken={"a.ports.peer": 1, "b.ports.peer": 2}, gone={"a/ca": "x", "b/ca": "y"}, missing=(Missing("b", "u", "w"),)
    )
    found = doctor._only(both, "a")
    assert (list(found.taken), list(found.gone), found.missing) == (["a.ports.peer"], ["a/ca"], ())
    assert list(found.certificates) == ["a"]
    assert [len(one.processes) for one in found.status.institutions] == [4, 0]


def test_certificates_of_a_folder(tmp_path, authority, another_authority):
    home = Home(tmp_path / "org1")
    ours, theirs = authority.issue("peer"), another_authority.issue("peer")
    for path, pem in {
        home.ca / "ca-cert.pem": authority.pem,
        home.tls_ca: authority.pem,
        home.peer / "msp/signcerts/cert.pem": ours.certificate,
        home.peer / "tls/server.crt": theirs.certificate,
        home.user("agent") / "msp/signcerts/cert.pem": authority.issue("agent", days=-1).certificate,
        home.user("agent") / "tls/client.crt": b"no certificate",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pem)
    found = {one.file: one for one in certificates.certificates(home)}
    assert found["peer/msp/signcerts/cert.pem"].signed
    assert not found["peer/tls/server.crt"].signed
    assert found["users/agent/tls/client.crt"].problem
    assert certificates.soonest(list(found.values())).file == "users/agent/msp/signcerts/cert.pem"
    wrong = judged(facts(certificates={"org1": tuple(found.values())}, now=dt.datetime.now(dt.UTC)))["certificates"]
    assert any("org1/users/agent/msp/signcerts/cert.pem has expired on" in line for line in wrong)
    assert any("org1/peer/tls/server.crt is not from the CA of org1" in line for line in wrong)
    assert any("org1/users/agent/tls/client.crt cannot be read" in line for line in wrong)


def test_clocks_that_differ_by_what_everybody_has():
    assert "clocks" not in judged(facts(clocks={"a": 1.9, "b": -1.9}))
    assert doctor.AHEAD_S * 1_000 == stream._AHEAD_MS  # what the shim refuses


@pytest.mark.parametrize("away", [0, 120, -120])
def test_a_clock_that_is_off(monkeypatch, tmp_path, authority, away):
    pair = authority.issue("server")
    for name, data in {"crt": pair.certificate, "key": pair.key, "ca": authority.pem}.items():
        (tmp_path / name).write_bytes(data)
    tls = Tls(tmp_path / "crt", tmp_path / "key", tmp_path / "ca")
    server = OperationsServer("127.0.0.1:0", health=dict, version={}, registry=lambda: None, tls=tls)
    then = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=away)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda self, timestamp=None: then)
    host, _, port = server.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    try:
        assert doctor.clock(host, int(port), context) == pytest.approx(away, abs=2)
    finally:
        server.stop()
    assert doctor.clock(host, int(port), context) is None  # nobody answers


ANSWERS = {
    ("TaskContract:List", "50", ""): {
        "records": [
            {"id": "t1", "state": "finished", "published_ms": 1},
            {"id": "t2", "state": "running", "published_ms": 2},
            {"id": "t3", "state": "published", "published_ms": 3},
        ]
    },
    ("ModelContract:Get", "t1"): {"round": 5},
    ("TaskContract:View", "t2"): {"round": {"round": 3}, "updates": ["AMSP", "BMSP"]},
}


def test_private_values_that_a_peer_lacks():
    lacking = {("ModelContract:Bytes", "t1", "5"), ("RoundContract:Update", "t2", "3", "BMSP")}
    asked = []

    def ask(*call: str) -> bytes:
        asked.append(call)
        if call in lacking:
            raise AnsweredError(f"chaincode response 500, {BeflError('BEFL-G-010', 'not here yet')}")
        return json.dumps(ANSWERS.get(call, "bytes")).encode()

    assert doctor.missing("b", ask) == [
        Missing("b", "models", "model of task t1 after round 5"),
        Missing("b", "updates", "update of BMSP in round 3 of task t2"),
    ]
    assert ("RoundContract:Update", "t2", "3", "AMSP") in asked
    lacking.clear()
    assert doctor.missing("b", ask) == []


def test_a_peer_with_another_chaincode_lacks_nothing_that_we_know_of():
    def ask(*call: str) -> bytes:
        raise AnsweredError("no such function")

    assert doctor.missing("b", ask) == []
    assert fabric.OLDEST == (3, 0)
    assert CODE != OTHER
