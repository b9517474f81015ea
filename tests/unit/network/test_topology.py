"""The topology file: read strictly, written back the same."""

from __future__ import annotations

import pytest

from befl.network import topology
from befl.network.topology import make, parse
from befl.rules.errors import BeflError


def refusal(text: str) -> BeflError:
    with pytest.raises(BeflError) as caught:
        parse(text.encode(), "network.toml")
    return caught.value


def test_names_are_enough():
    made = make(["org1", "long-beach"])
    assert [one.name for one in made.institutions] == ["long-beach", "org1"]
    assert [one.msp_id for one in made.institutions] == ["LongBeachMSP", "Org1MSP"]
    assert made.institution("org1").ports is None
    assert (made.channel.name, made.channel.batch_timeout, made.chaincode.name) == ("befl", "25ms", "befl")


def test_what_is_written_reads_the_same():
    made = topology.with_ports(make(["a", "b"]), range(20_000, 20_100))
    assert parse(topology.dump(made).encode(), "network.toml") == made
    assert made.institution("b").address("ca") == f"127.0.0.1:{20_000 + len(topology.PORTS)}"


def test_given_ports_stay():
    ports = ", ".join(f"{name} = {5000 + number}" for number, name in enumerate(topology.PORTS))
    read = parse(f"befl = 1\n[institutions.a]\nports = {{ {ports} }}\n[institutions.b]".encode(), "network.toml")
    complete = topology.with_ports(read, range(20_000, 20_100))
    assert complete.institution("a").port("ca") == 5000
    assert complete.institution("b").port("ca") == 20_000


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("befl = 1\n[institutions.a]\n[x]", "BEFL-C-002", "x: unknown key"),
        ("befl = 1\n[institutions.a]\nadress = '1'", "BEFL-C-002", "institutions.a.adress: unknown key"),
        ("befl = 1\n[institutions.a]\n[channel]\nblock = 1", "BEFL-C-002", "channel.block: unknown key"),
        ("befl = 1", "BEFL-C-003", "institutions: missing"),
        ("[institutions.a]", "BEFL-C-003", "befl: missing"),
        ("befl = 2\n[institutions.a]", "BEFL-C-004", "befl: must be a whole number from 1 to 1"),
        ("befl = 1\ninstitutions = 4", "BEFL-C-004", "institutions: must be a table"),
        ("befl = 1\n[institutions.A]", "BEFL-C-004", "institutions: key: must be an institution's name"),
        ("befl = 1\n[institutions.'a/../b']", "BEFL-C-004", "institution's name"),
        ('befl = 1\n[institutions.a]\nmsp_id = "A\'B"', "BEFL-C-004", "institutions.a.msp_id: must be an MSP ID"),
        ("befl = 1\n[institutions.a]\nhost = 'a b'", "BEFL-C-004", "institutions.a.host: must be a host name"),
        ("befl = 1\n[institutions.a.ports]\nca = 80", "BEFL-C-004", "institutions.a.ports.ca: must be a whole number"),
        ("befl = 1\n[institutions.a.ports]\nca = 8000", "BEFL-C-003", "institutions.a.ports.ca_operations: missing"),
        ("befl = 1\n[institutions.a]\n[channel]\nbatch_timeout = 50", "BEFL-C-004", "channel.batch_timeout: must be a"),
        ("befl = 1\n[institutions.a]\n[channel]\nbatch_timeout = '9d'", "BEFL-C-004", "from 1ms to 60s, not '9d'"),
        ("befl = 1\n[institutions.a]\n[channel]\nname = 'X'", "BEFL-C-004", "channel.name: must be a channel name"),
        ("befl = = 1", "BEFL-C-005", "network.toml: not valid TOML"),
        ("befl = 1\n[institutions]", "BEFL-N-004", "a consortium has at least one"),
        ("befl = 1\n[institutions.public]", "BEFL-N-004", "institutions.public: public is a reserved name"),
        (
            "befl = 1\n[institutions.a]\nmsp_id = 'X'\n[institutions.b]\nmsp_id = 'X'",
            "BEFL-N-004",
            "institutions.b.msp_id: X is that of a",
        ),
        (
            "befl = 1\n" + "\n".join(f"[institutions.i{number}]" for number in range(33)),
            "BEFL-C-004",
            "institutions: must be a table of at most 32 keys",
        ),
    ],
)
def test_what_is_wrong_is_named(text, code, words):
    error = refusal(text)
    assert error.code == code
    assert words in error.message


def test_one_port_twice_is_refused():
    ports = ", ".join(f"{name} = {5000 + number % 8}" for number, name in enumerate(topology.PORTS))
    error = refusal(f"befl = 1\n[institutions.a]\nports = {{ {ports} }}")
    assert error.code == "BEFL-N-004"
    assert error.message == "institutions.a.ports.chaincode: port 5000 is institutions.a.ports.ca"


def test_a_name_twice_is_refused():
    with pytest.raises(BeflError, match="BEFL-N-004: institutions: a stands twice"):
        make(["a", "a"])


def test_unknown_institution_and_ports_not_chosen():
    made = make(["a"])
    with pytest.raises(BeflError, match="BEFL-C-009: no institution is called 'b'"):
        made.institution("b")
    with pytest.raises(BeflError, match="BEFL-N-004"):
        made.institution("a").port("ca")
