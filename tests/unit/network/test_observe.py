"""What is said about what was seen: warnings are a pure function of a status; pictures one of a topology."""

from __future__ import annotations

import dataclasses
import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from befl.network import observe, topology
from befl.network.observe import InstitutionStatus, NetworkStatus, ProcessStatus
from befl.rules.errors import BeflError

CODE = "ab" * 32
OTHER = "cd" * 32
HERE = {"expires": "2030-01-01T00:00:00+00:00", "expires_days": 300, "expires_file": "peer/tls/server.crt"}


def process(name: str, **changes) -> ProcessStatus:
    seen = ProcessStatus(name, "running", True, 100, 0, None, 50_000_000, "127.0.0.1:1", "v3.1.1")
    return dataclasses.replace(seen, **changes)


def institution(name: str, **changes) -> InstitutionStatus:
    seen = InstitutionStatus(
        name,
        f"{name.title()}MSP",
        here=True,
        height=7,
        block_hash="11" * 32,
        leader=name == "a",
        led=True,
        sequence=1,
        definition=f"0.1.0-{CODE}",
        code_digest=CODE,
        processes=tuple(process(one) for one in observe.PROCESSES),
        **HERE,
    )
    return dataclasses.replace(seen, **changes)


def network(*institutions: InstitutionStatus, **changes) -> NetworkStatus:
    seen = NetworkStatus(
        directory="/network",
        running=True,
        ready=True,
        supervisor_pid=1,
        supervisor_operations="127.0.0.1:2",
        channel="befl",
        chaincode="befl",
        fabric="v3.1.1 (built)",
        befl="0.1.0",
        code_digest=CODE,
        leader="a",
        led=True,
        common_height=7,
        forked=False,
        warnings=(),
        memory_bytes=0,
        institutions=institutions or (institution("a"), institution("b")),
    )
    return dataclasses.replace(seen, **changes)


def test_all_is_well():
    assert observe.warnings(network()) == []


def test_a_fork_comes_first_and_is_loud():
    found = observe.warnings(
        network(institution("a", expires_days=3), institution("b", block_hash="22" * 32), forked=True)
    )
    assert found[0].startswith("THE LEDGERS DIFFER at height 7: a 1111111111111111, b 2222222222222222.")
    assert "stop the agents" in found[0]
    assert found[1].startswith("SOON: a: certificate")


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (-1, "SOON: a: certificate peer/tls/server.crt has expired (2030-01-01T00:00:00+00:00)"),
        (6, "SOON: a: certificate peer/tls/server.crt expires in 6 days (2030-01-01T00:00:00+00:00)"),
        (7, "a: certificate peer/tls/server.crt expires in 7 days (2030-01-01T00:00:00+00:00)"),
        (29, "a: certificate peer/tls/server.crt expires in 29 days (2030-01-01T00:00:00+00:00)"),
        (30, None),
    ],
)
def test_certificates_are_warned_about_at_30_and_7_days(days, said):
    found = observe.warnings(network(institution("a", expires_days=days), institution("b")))
    assert found == ([said] if said else [])


def test_code_that_was_not_agreed_is_named():
    found = observe.warnings(network(institution("a", code_digest=OTHER), institution("b")))
    assert found == [
        "a: its chaincode server runs code cdcdcdcdcdcdcdcd, the channel agreed on abababababababab",
        "a: its chaincode server runs code cdcdcdcdcdcdcdcd, this installation of befl has abababababababab",
    ]


def test_peers_with_different_definitions_and_no_leader_are_named():
    late = institution("b", definition=f"0.0.9-{CODE}")
    assert observe.warnings(network(institution("a"), late)) == [
        "peers have different chaincode definitions; one of them is behind"
    ]
    assert observe.warnings(network(leader="", led=False)) == ["no orderer leads: nothing can be committed"]
    elsewhere = institution("b", here=False, processes=())
    assert observe.warnings(network(institution("a"), elsewhere, leader="")) == []  # the other one leads


def test_nothing_is_said_of_what_is_not_known():
    stopped = institution("a", height=0, block_hash="", sequence=0, definition="", code_digest="", leader=False)
    assert observe.warnings(network(stopped, running=False, ready=False, leader="", led=False, common_height=0)) == []


THREE = topology.with_ports(topology.make(["long-beach", "north", "south"]), range(20_000, 20_100))


def test_a_picture_for_markdown():
    drawn = observe.topology_mermaid(THREE)
    assert drawn.startswith("graph LR\n")
    assert '  subgraph i0["long-beach (LongBeachMSP)"]' in drawn
    assert f'    i1_peer["peer<br/>{THREE.institution("north").address("peer")}"]' in drawn
    assert drawn.count("|Raft|") == drawn.count("|gossip|") == 3
    assert (
        len(re.findall(r"^  subgraph ", drawn, re.MULTILINE)) == len(re.findall(r"^  end$", drawn, re.MULTILINE)) == 3
    )


def test_a_picture_for_graphviz():
    drawn = observe.topology_dot(THREE)
    assert drawn.startswith("graph befl {\n")
    assert drawn.count("{") == drawn.count("}") == 4
    assert f'"south/orderer" [label="orderer\\n{THREE.institution("south").address("orderer")}"];' in drawn
    assert '  "long-beach/peer" -- "south/peer" [label="gossip"];' in drawn
    assert "127.0.0.1" in observe.topology_dot(topology.make(["alone"]))  # before ports are chosen


def test_a_folder_that_is_no_network(tmp_path):
    with pytest.raises(BeflError, match="BEFL-N-009"):
        observe.status(tmp_path)


def test_a_network_that_does_not_run(tmp_path):
    (tmp_path / "network.toml").write_text(topology.dump(THREE))
    found = observe.status(tmp_path)
    assert (found.running, found.ready, found.leader, found.common_height, found.forked) == (False, False, "", 0, False)
    assert [one.name for one in found.institutions] == ["long-beach", "north", "south"]
    assert {entry.state for one in found.institutions for entry in one.processes} == {"stopped"}
    assert found.warnings == ()


class Chains:
    """Peers by name, each with its own chain; what :class:`observe.Eyes` opens."""

    def __init__(self, **chains):
        self.chains = chains

    @contextmanager
    def peer(self, name):
        yield SimpleNamespace(block_hash=self.chains[name])


def one_chain(height):
    return b"same %d" % height


def another(height):
    return b"same %d" % height if height < 400 else b"other %d" % height


def looked_at(eyes, heights, here):
    return [(institution(name, height=at, here=name in here), eyes.chains[name](at)) for name, at in heights.items()]


@pytest.mark.parametrize("says", [1, 300, 499])
def test_a_peer_that_says_it_is_behind_does_not_hide_a_fork(says):
    """Whoever shows two chains has a peer too, which may answer any height: at that height all may be the same."""
    eyes = Chains(a=one_chain, b=another, c=one_chain)
    seen = looked_at(eyes, {"a": 500, "b": 500, "c": says}, here="a")
    assert [observe._differs(eyes, seen, entry) for entry in seen] == [False, True, False]


@pytest.mark.parametrize(
    "heights", [{"a": 500, "b": 480, "c": 1}, {"a": 480, "b": 500, "c": 0}, {"a": 0, "b": 9, "c": 9}]
)
def test_peers_that_are_behind_are_no_fork(heights):
    eyes = Chains(a=one_chain, b=one_chain, c=one_chain)
    seen = looked_at(eyes, heights, here="ab")
    assert not any(observe._differs(eyes, seen, entry) for entry in seen)


def test_a_fork_between_two_is_a_fork_of_the_network(tmp_path, monkeypatch):
    (tmp_path / "network.toml").write_text(topology.dump(THREE))
    monkeypatch.setattr(observe, "_differs", lambda eyes, seen, entry: entry[0].name == "south")
    found = observe.status(tmp_path)
    assert found.forked
    above = observe.warnings(network(forked=True, common_height=1))[0]
    assert above.startswith("THE LEDGERS DIFFER above height 1. Somebody shows a false ledger: stop the agents")
