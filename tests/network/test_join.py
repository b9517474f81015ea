"""A fifth institution joins four with the commands of docs/how-to/join-a-consortium.md, trains, and leaves again.

The test types what the page says. Each side runs where the other's folder is hidden (a mount namespace of its own, when
the test may make one), and only public files are carried over.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import befl.network
from befl.client import approve_app, connect
from befl.gateway import wait
from befl.network import commands
from befl.network import consortium as running
from befl.network.layout import Layout

from .hospitals import AGENT, BEFL, table, task_toml

PAGE = Path(__file__).parents[2] / "docs/how-to/join-a-consortium.md"
MEMBERS = ("org1", "org2", "org3", "org4")
PUBLIC = {".json", ".pb"}


@dataclass
class Side:
    """A place where commands are typed, and what of it the other side must not see."""

    folder: Path
    hidden: Path
    environment: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, line: str, institution: str = "") -> str:
        script = f'befl() {{ {" ".join(BEFL)} "$@"; }}\n{line}'
        argv = [*hide(self.hidden), "bash", "-euo", "pipefail", "-c", script]
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**self.environment, **({"BEFL_AS": institution} if institution else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # what the supervisor inherits is a log file, never this pipe
            text=True,
            timeout=120,
            check=False,
        )
        self.seconds[f"{institution or 'north'}: {line}"] = time.monotonic() - began
        assert done.returncode == 0, f"{institution} {line}\n{done.stdout}"
        return done.stdout

    def agent(self, config: Path) -> None:
        with (config.parent / "agent.log").open("ab") as log:
            argv = [*hide(self.hidden), *BEFL, "agent", "run", "--config", str(config)]
            self.agents.append(subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log))

    def stop_agents(self) -> None:
        for process in self.agents:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(30) for process in self.agents] == [0] * len(self.agents)
        self.agents.clear()

    def carry(self, other: Side) -> None:
        """Hand the public files over, as people do."""
        for path in self.folder.iterdir():
            if path.suffix in PUBLIC:
                assert b"PRIVATE" not in path.read_bytes()
                shutil.copyfile(path, other.folder / path.name)


def hide(folder: Path) -> list[str]:
    """Return a prefix under which a folder is empty; nothing where mount namespaces may not be made."""
    prefix = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return []
    return prefix if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0 else []


def blocks() -> dict[str, list[tuple[str, list[str]]]]:
    """Return the page's commands by chapter: who types them, and what."""
    chapters: dict[str, list[tuple[str, list[str]]]] = {}
    for chapter in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = chapter.partition("\n")
        chapters[title] = [
            (found[1], found[2].strip().splitlines()) for found in re.finditer(r"```sh\n# at (.*)\n([^`]*)```", text)
        ]
    return chapters


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    members, newcomer = tmp_path / "members", tmp_path / "newcomer"
    for folder in (members, newcomer):
        folder.mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BEFL_") or "TEST" in name}
    plain |= commands.python_environment()  # relative paths would not be the same elsewhere
    for name in ("BEFL_CACHE", "BEFL_FABRIC_BIN"):
        if name in os.environ:
            plain[name] = os.environ[name]
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
    toml = task_toml(members.folder, "hearts", epochs=5, least=least, most=least, count=1, deadline="60s")
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


@pytest.mark.slow
def test_a_fifth_institution_joins_trains_and_leaves(sides):
    members, north = sides
    chapters = blocks()
    assert list(chapters) == ["Let it in", "Train with it", "Leave"]

    printed = follow(chapters["Let it in"], members, north)
    assert "NorthMSP" in printed
    everything = {**members.seconds, **north.seconds}
    print(f"joining took {sum(everything.values()):.1f} s in {len(everything)} commands")
    with running.acting(members.folder / "network", "org2") as member:
        assert member.committed().members == {"NorthMSP", "Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP"}

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
    north.stop_agents()
    assert train(members, 2) == ("Org1MSP", "Org2MSP")
    members.stop_agents()
    follow(leaving[-1:], members, north)
    assert befl.network.status(north.folder / "north").running is False
    assert "NorthMSP" not in (members.folder / "network/public/channel.json").read_text()
