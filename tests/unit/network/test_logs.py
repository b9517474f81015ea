"""Logs of a network: the last lines of each, those to come, and a log that is begun anew."""

from __future__ import annotations

import pytest

from befl.network import logs, topology
from befl.rules.errors import BeflError


@pytest.fixture
def network(tmp_path):
    (tmp_path / "network.toml").write_text(topology.dump(topology.make(["org1", "org2"])))
    for name in ("org1", "org2"):
        (tmp_path / name / "logs").mkdir(parents=True)
        for process in ("orderer", "peer"):
            (tmp_path / name / "logs" / f"{process}.log").write_text("".join(f"{name} {n}\n" for n in range(5)))
    (tmp_path / "supervisor").mkdir()
    (tmp_path / "supervisor/supervisor.log").write_text("started\n")
    return tmp_path


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("", ["org1/orderer", "org1/peer", "org2/orderer", "org2/peer", "supervisor"]),
        ("org2", ["org2/orderer", "org2/peer"]),
        ("org1/peer", ["org1/peer"]),
        ("supervisor", ["supervisor"]),
    ],
)
def test_which_logs(network, which, names):
    assert list(logs.sources(network, which)) == names


def test_a_log_that_is_not_there(network):
    with pytest.raises(BeflError, match=r"BEFL-N-040: 'org3' is no log of this network\nThere are: org1/orderer"):
        logs.sources(network, "org3")
    with pytest.raises(BeflError, match="BEFL-N-009"):
        logs.sources(network / "org1")


def test_last_lines_without_colours(network):
    (network / "org1/logs/peer.log").write_text("first\n\x1b[31msecond\x1b[0m\nthird")
    found = logs.last(logs.sources(network, "org1/peer"), 2)
    assert [(line.source, line.text) for line in found] == [("org1/peer", "second"), ("org1/peer", "third")]
    assert list(logs.last(logs.sources(network), 0)) == []
    assert len(list(logs.last(logs.sources(network), 3))) == 13


def test_what_is_written_later_is_followed_into_a_new_file(network):
    path = network / "org1/logs/peer.log"
    lines = logs.follow(logs.sources(network, "org1"))
    with path.open("a") as log:
        log.write("one\ntw")
    assert next(lines) == logs.LogLine("org1/peer", "one")
    with path.open("a") as log:
        log.write("o\n")
    assert next(lines) == logs.LogLine("org1/peer", "two")
    path.rename(path.with_name("peer.log.1"))
    path.write_text("anew\n")
    assert next(lines) == logs.LogLine("org1/peer", "anew")
