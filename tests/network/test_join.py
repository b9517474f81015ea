"""A fifth institution joins four with the commands of docs/how-to/join-a-consortium.md, trains, and leaves again.

The test types what the page says. Each side runs where the other's folder is hidden (a mount namespace of its own, when
the test may make one), and only public files are carried over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import befl.network
from befl.audit.chain import verify
from befl.audit.report import Report
from befl.audit.source import from_peer
from befl.client import approve_app, connect
from befl.gateway import Profile, wait
from befl.gateway import connect as open_gateway
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.network import channel
from befl.network import consortium as running
from befl.network.layout import Layout
from befl.network.topology import parse
from befl.rules.errors import BeflError

from .hospitals import AGENT, table, task_toml
from .sides import Side, blocks, hide, plain_environment

PAGE = Path(__file__).parents[2] / "docs/how-to/join-a-consortium.md"
MEMBERS = ("org1", "org2", "org3", "org4")


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    members, newcomer = tmp_path / "members", tmp_path / "newcomer"
    for folder in (members, newcomer):
        folder.mkdir()
    hide(newcomer)  # or the test is skipped: unhidden it would not show that each side has its own folder only
    plain = plain_environment()
    befl.network.up(members / "network", befl.network.make(MEMBERS), owner=os.getpid())
    one = Side(members, newcomer, {**plain, "BEFL_NETWORK": str(members / "network")})
    other = Side(newcomer, members, {**plain, "BEFL_NETWORK": str(newcomer / "north"), "HOST": "127.0.0.1"})
    try:
        yield one, other
    finally:
        for process in (*one.agents, *other.agents):
            process.kill()
            process.wait()
        for folder in (members / "network", newcomer / "north"):
            if Layout(folder).topology.exists():
                befl.network.down(folder)


def follow(chapter: list[tuple[str, list[str]]], members: Side, north: Side) -> str:
    """Type a chapter's commands, each where it belongs; return what they printed."""
    printed = []
    for who, lines in chapter:
        for line in lines:
            if line.startswith("befl agent run"):
                north.agent(north.folder / line.split()[-1])
            elif who == "north":
                printed.append(north.type(line))
            else:
                who_types = MEMBERS if who == "every member" else MEMBERS[:1]
                printed += [members.type(line, institution) for institution in who_types]
        typed, other = (north, members) if who == "north" else (members, north)
        typed.carry(other)
    return "\n".join(printed)


def train(members: Side, least: int) -> tuple[str, ...]:
    """Publish a task and let it run to its end; return who trained."""
    toml = task_toml(members.folder, "hearts", steps=5, least=least, most=least, count=1, deadline="60s")
    with connect(network=members.folder / "network", identity="org1", name="issuer") as client:
        task = client.tasks.publish(toml).task
        wait.until(lambda: client.tasks.get(task).state == "finished", timeout=90, interval=0.5, what="the task's end")
        return tuple(sorted(client.ledger.round(task, 1)["round"]["updates"]))


def members_agents(members: Side) -> None:
    for number, name in enumerate(MEMBERS[:2]):
        folder = members.folder / f"agent-{name}"
        folder.mkdir(mode=0o700)
        home = members.folder / "network" / name
        (folder / "rows.csv").write_text(table(number))
        config = folder / "AGENT.toml"
        config.write_text(
            AGENT.format(profile=home / "connection.json", user=home / "users/agent", alias="hearts", apply="always")
        )
        approve_app("tabular", config)
        members.agent(config)


def consenters(members: Side) -> set[str]:
    """The orderers that the channel's configuration has."""
    with running.acting(members.folder / "network", "org2") as member:
        now = channel.current(member)
    consensus = now["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"]["value"]
    return {f"{one['host']}:{one['port']}" for one in consensus["metadata"]["consenters"]}


def ask_as_north(members: Side, user: Path) -> bytes:
    """Ask a member's peer itself with north's identity."""
    [peer] = Profile.load(members.folder / "network/org3/connection.json").peers
    with PeerQuestions(peer, user, "NorthMSP", "befl") as questions:
        return questions.ask("befl", "MemberContract:Get", "NorthMSP")


@pytest.mark.slow
def test_a_fifth_institution_joins_trains_and_leaves(sides):
    members, north = sides
    chapters = blocks(PAGE)
    assert list(chapters) == ["Let it in", "Train with it", "Leave"]

    printed = follow(chapters["Let it in"], members, north)
    assert "NorthMSP" in printed
    # what north read out is what each member was shown before it signed: both groups, and the orderer
    exported = re.search(r"NorthMSP is in north\.json.*\n((?:  .*\n)+)", printed)
    assert exported
    ca, tls_ca, orderer = (line.split()[-1] for line in exported[1].splitlines())
    newcomer = f"\n  CA SHA-256 {ca}\n  TLS CA SHA-256 {tls_ca}\n"
    shown = 2 + len(MEMBERS)  # proposed, signed by each, submitted
    assert printed.count(f"added: group Channel/Application/NorthMSP{newcomer}") == shown
    assert printed.count(f"added: group Channel/Orderer/NorthMSP{newcomer}") == shown
    assert len(re.findall(rf"\n  orderer added: 127\.0\.0\.1:\d+, SHA-256 {orderer}\n", printed)) == shown
    assert "ATTENTION" not in printed
    everything = {**members.seconds, **north.seconds}
    print(f"joining took {sum(everything.values()):.1f} s in {len(everything)} commands")
    with running.acting(members.folder / "network", "org2") as member:
        assert member.committed().members == {"NorthMSP", "Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP"}
    norths = parse((north.folder / "north/network.toml").read_bytes(), "north").institutions[0].address("orderer")
    assert len(consenters(members)) == 5
    assert norths in consenters(members)
    own, lent = north.folder / "north/north/users/agent", north.folder / "lent"
    lent.mkdir()
    (lent / "msp").symlink_to(own / "msp")
    (lent / "tls").symlink_to(members.folder / "network/org3/users/agent/tls")
    for user in (own, lent):
        assert b"NorthMSP" in ask_as_north(members, user)

    # asked again, nothing is changed
    for side, institution, line in (
        (members, "org3", "befl channel sign add-north.pb"),
        (members, "org2", "befl channel submit add-north.pb"),
        (members, "org2", "befl channel propose --add north.json --output again.pb"),
        (members, "org1", "befl chaincode commit"),
        (north, "", "befl chaincode install"),
        (north, "", "befl chaincode approve"),
    ):
        assert "nothing to change" in side.type(line, institution), line
    assert not (members.folder / "again.pb").exists()

    [toml] = re.findall(r"```toml\n([^`]*)```", PAGE.read_text())
    (north.folder / "agent").mkdir(mode=0o700)
    (north.folder / "agent/AGENT.toml").write_text(toml)
    (north.folder / "agent/rows.csv").write_text(table(9))
    chapter = [
        (who, [line for line in lines if not line.startswith("mkdir")]) for who, lines in chapters["Train with it"]
    ]
    follow(chapter, members, north)
    members_agents(members)
    assert train(members, 3) == ("NorthMSP", "Org1MSP", "Org2MSP")

    # each side has only its own
    for side in (members, north):
        for path in side.folder.rglob("*"):
            if path.is_file() and path.suffix in {".json", ".toml", ".yaml", ".log", ".txt"}:
                assert str(side.hidden) not in path.read_text(errors="replace"), path
    assert (north.folder / "north").stat().st_mode & 0o077 == 0

    leaving = chapters["Leave"]
    follow(leaving[:-1], members, north)
    with running.acting(members.folder / "network", "org4") as member:
        assert member.committed().members == {"Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP"}
    assert len(consenters(members)) == 4
    assert norths not in consenters(members)
    north.stop_agents()
    assert train(members, 2) == ("Org1MSP", "Org2MSP")
    members.stop_agents()
    with pytest.raises(BeflError, match="BEFL-G-003"):  # its certificates are nobody's any more
        ask_as_north(members, own)
    with pytest.raises(AnsweredError, match=r"access denied|creator"):  # and with a connection that a member lends it
        ask_as_north(members, lent)
    [kept] = [one.height for one in befl.network.status(north.folder / "north").institutions if one.here]
    follow(leaving[-1:], members, north)
    assert befl.network.status(north.folder / "north").running is False
    assert "NorthMSP" not in (members.folder / "network/public/channel.json").read_text()

    # an auditor follows who was in the consortium when, block by block
    report = Report()
    home = members.folder / "network/org1"
    with open_gateway(Profile.load(home / "connection.json"), home / "users/agent") as gateway:
        members_then = [each.configuration.msp_ids for each in verify(from_peer(gateway.network("befl")), report)]
    assert report.findings == []
    assert len(members_then[0]) == len(members_then[-1]) == 4
    [came, *_, went] = [number for number, then in enumerate(members_then) if "NorthMSP" in then]
    assert came < kept <= went + 2, "north's peer may have the block that took it out, and has none after it"
    assert len(members_then) > kept + 10
