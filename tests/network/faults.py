"""Processes of a consortium that are killed at each step of a task; shared by ``test_faults.py`` and ``tests.soak``.

A step belongs to an institution: it is what its agent is about, as the ledger and the agent's state folder show it. A
kill counts when the institution was at the step just before the signal, and still was, by the ledger, just after it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import befl.network
from befl.client import Client, connect
from befl.gateway import wait
from befl.network import observe, supervisor
from befl.network.layout import Layout
from befl.rules.draw import rank
from befl.rules.errors import BeflError
from befl.rules.view import TaskView

from .conftest import Consortium
from .hospitals import Hospital, hospitals, task_toml, undisturbed

PROCESSES = ("agent", "trainer", "chaincode", "supervisor", "peer", "orderer", "leader", "ca")
"""``trainer`` is the agent's child; ``leader`` is the orderer that leads, ``orderer`` one that follows."""
STEPS = ("apply", "open", "train", "submit", "close", "report", "finish")
IN_TURNS = ("open", "close", "finish")
"""Steps that one institution takes for all: the next does when it fails to."""

_ALIAS = "hearts"
_NAMES = ("org1", "org2", "org3")
_STUCK = 240.0
"""Seconds after which a task that does not reach a step, or its end, counts as stuck."""


@dataclass(frozen=True)
class Cell:
    """A kind of process, and the step at which it is killed."""

    process: str
    step: str


def step_of(view: TaskView, agent: Hospital) -> str:
    """Name the step that an institution's agent is about; nothing when it waits for others to deliver."""
    me, current = agent.msp_id, view.round
    if view.state == "published":
        if me not in view.applicants:
            return "apply"
        return "open" if len(view.applicants) == view.spec.participants.most else ""
    if view.state != "running" or current is None:
        return ""
    if current.state == "open":
        if len(current.updates) == len(current.roster):
            return "close"
        if me in current.updates:
            return ""
        kept = agent.folder / "state" / "tasks" / view.id / f"update-{current.number:06d}"
        return "submit" if kept.exists() else "train"
    if me not in current.reports:
        return "report"
    if len(current.reports) < len(view.roster):
        return ""
    return "finish" if view.done + 1 == view.spec.rounds.count else "open"


class Faults:
    """A consortium of three with its agents, and what is done to it.

    Parameters
    ----------
    consortium : Consortium
        Runs, and is nobody else's.
    agents : list of Hospital
        Run.
    clients : list of Client
        One an institution, to look at the ledger.
    issuer : Client
        Publishes.
    seed : int
        Draws the institution, where the step leaves a choice.
    say : callable
        Gets a line for each kill and each task.
    """

    def __init__(
        self,
        consortium: Consortium,
        agents: list[Hospital],
        clients: list[Client],
        issuer: Client,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self.counts: Counter[Cell] = Counter()
        self.late: Counter[Cell] = Counter()
        self.tasks = self.updates = self.lost = 0
        self.agents = agents
        self._by_msp_id = {agent.msp_id: agent for agent in agents}
        self.consortium = consortium
        self._led = ""
        self._clients = clients
        self._issuer = issuer
        self.chance = random.Random(seed)  # noqa: S311  # no secret: the seed is to give the same again
        self.say = say

    def task(self, rounds: int) -> str:
        """Publish a task that all three institutions must take part in to the end; return its id."""
        self._led = self._leader_now()
        toml = task_toml(self.agents[0].folder.parent, _ALIAS, steps=400, count=rounds, deadline="10m")
        return self._issuer.tasks.publish(toml).task

    def strike(self, task: str, cells: Sequence[Cell]) -> list[Cell]:
        """Kill one after another, each at its step, whenever the task comes to it; return those it came to no more."""
        return [cell for cell in cells if not self._strike(task, cell)]

    def check(self, task: str) -> None:
        """Wait for the task's end, and hold each update and the model against the undisturbed ones."""
        wait.until(lambda: self._ended(task), timeout=_STUCK, interval=0.2, what=f"the end of task {task}")
        client = self._clients[0]
        rounds = [
            client.ledger.round(task, number)["round"] for number in range(1, self.look(task).record["round"] + 1)
        ]
        assert {each["state"] for each in rounds} == {"evaluated"}, "a void round would be another model"
        digest, updates = undisturbed(client, task, self.agents)
        for recorded, made in zip(rounds, updates, strict=True):
            self.lost += sum(recorded["updates"].get(msp_id, {}).get("update") != made[msp_id] for msp_id in made)
            self.updates += len(made)
        self.tasks += 1
        assert self.lost == 0
        assert client.ledger.model(task)["model"] == digest
        self.say(f"task {task[:8]} finished: {len(rounds)} rounds, model {digest[:16]} is the undisturbed one")

    def look(self, task: str) -> TaskView:
        """Ask the first institution whose peer answers."""
        return wait.until(lambda: self._view(task), timeout=_STUCK, what="a peer that answers")

    def processes(self, org: str) -> list[int]:
        """Return the ids of all processes of an institution, its agent and what trains for it too."""
        agent = self.agents[_NAMES.index(org)]
        kept = supervisor.states(self.consortium.directory)
        own = [state.pid for name, state in kept.items() if name.partition("/")[0] == org and state.pid]
        return [*own, agent.process.pid, *agent.children()]

    def restart_everything(self) -> None:
        """Kill all agents and the supervisor, and with it the network; start all again."""
        for agent in self.agents:
            agent.kill()
        self._kill_supervisor()
        befl.network.up(self.consortium.directory, owner=os.getpid())
        for agent in self.agents:
            agent.start()

    def pid(self, name: str) -> int:
        """Return the process id of ``institution/process``; 0 when it does not run."""
        state = supervisor.states(self.consortium.directory).get(name)
        return state.pid if state is not None else 0

    def table(self) -> str:
        """Show how often each kind of process was killed at each step."""
        lines = [f"{'killed at':12}" + "".join(f"{step:>8}" for step in STEPS)]
        lines += [
            f"{process:12}" + "".join(f"{self.counts[Cell(process, step)]:8}" for step in STEPS)
            for process in PROCESSES
        ]
        return "\n".join(lines)

    def _strike(self, task: str, cell: Cell) -> bool:
        """Kill at the next occasion; return False when the task will have none any more."""
        drawn = self.chance.choice(self.agents)
        if cell.process in ("leader", "orderer"):
            # agents apply as fast as one asks who leads: that was asked before the task was published
            leader = self._led if cell.step == "apply" else self._leader_now()
            others = [agent for agent in self.agents if agent.org != leader]
            drawn = self.chance.choice(others)
            if cell.process == "leader":
                drawn = next(agent for agent in self.agents if agent.org == leader)

        def attempt() -> str:
            view = self._view(task)
            if view is None:
                return ""
            if view.state in ("finished", "cancelled") or (cell.step == "apply" and view.state != "published"):
                return "over"
            victim = self._victim(cell, view, drawn)
            if step_of(view, victim) != cell.step or (cell.process == "trainer" and not victim.children()):
                return ""
            return "hit" if self._kill(cell, view, victim) else ""

        what = f"task {task} at the step {cell.step}, to kill {cell.process}"
        return wait.until(attempt, timeout=_STUCK, interval=0.01, what=what) == "hit"

    def _victim(self, cell: Cell, view: TaskView, drawn: Hospital) -> Hospital:
        """Choose the one whose turn it is, where there are turns; a particular orderer is killed whose it may be."""
        if cell.step not in IN_TURNS or cell.process in ("leader", "orderer"):
            return drawn
        turn = rank(f"befl/turn/{cell.step}", view.id, _number(view) + (cell.step == "open"), self._by_msp_id)
        return self._by_msp_id[turn[0]]

    def _kill(self, cell: Cell, view: TaskView, victim: Hospital) -> bool:
        """Kill, see whether it was in time, and let everything run again."""
        began = time.monotonic()
        name = f"{victim.org}/{'orderer' if cell.process == 'leader' else cell.process}"
        pid, hit = 0, True
        match cell.process:
            case "agent":
                victim.kill()
            case "trainer":
                for child in victim.children():
                    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(child, signal.SIGKILL)
            case "supervisor":
                self._kill_supervisor()
            case _:
                pid = wait.until(lambda: self.pid(name), timeout=_STUCK, what=f"{name} running")
                os.kill(pid, signal.SIGKILL)
        if cell.process != "supervisor":  # with it all peers are gone: there is nobody to ask, and nobody to go on
            after = self.look(view.id)
            hit = (step_of(after, victim), _number(after)) == (cell.step, _number(view))
        match cell.process:
            case "agent":
                victim.start()
            case "trainer":
                pass  # the agent starts another when it has use for it
            case "supervisor":
                befl.network.up(self.consortium.directory, owner=os.getpid())
            case _:
                wait.until(lambda: self.pid(name) not in (0, pid), timeout=_STUCK, what=f"{name} started again")
        (self.counts if hit else self.late)[cell] += 1
        took = time.monotonic() - began
        late = "" if hit else ", a moment late"
        self.say(f"  round {_number(view)}, {cell.step}: {cell.process} of {victim.org}{late}; {took:.1f} s")
        return hit

    def _kill_supervisor(self) -> None:
        directory = self.consortium.directory
        pid = wait.until(lambda: supervisor.running(directory), timeout=_STUCK, what="the supervisor running")
        children = [state.pid for state in supervisor.states(directory).values() if state.pid]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # this process started it
        wait.until(lambda: not any(map(_alive, children)), timeout=20, what="the end of all that it kept")

    def _leader_now(self) -> str:
        return wait.until(self._leader, timeout=_STUCK, what="an orderer that leads")

    def _leader(self) -> str:
        """Return whose orderer leads; quicker than the network's status, which asks every process."""
        layout = Layout(self.consortium.directory)
        topology = observe.read_topology(layout)
        seen = [observe.Observer(layout.home(one.name), topology, one) for one in topology.institutions]
        return next((one.institution.name for one in seen if observe._leads(one)[0]), "")

    def _ended(self, task: str) -> bool:
        view = self._view(task)
        return view is not None and view.state == "finished"

    def _view(self, task: str) -> TaskView | None:
        """Ask one institution; the next one the next time when its peer does not answer."""
        try:
            return self._clients[0].tasks.get(task)
        except BeflError:
            self._clients.append(self._clients.pop(0))
            return None


def _number(view: TaskView) -> int:
    return view.round.number if view.round is not None else 0


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def besieged(
    folder: Path,
    seed: int,
    say: Callable[[str], None] | None = None,
    topology: befl.network.Topology | None = None,
) -> Iterator[Faults]:
    """Run a network of its own in a folder, with an agent for each institution; the topology is of the same three."""
    directory = folder / "network"
    status = befl.network.up(directory, topology or befl.network.make(_NAMES), owner=os.getpid())
    try:
        consortium = Consortium(directory, _NAMES, tuple(one.msp_id for one in status.institutions))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(network=directory, identity=org)) for org in _NAMES]
            issuer = stack.enter_context(connect(network=directory, identity="org1", name="issuer"))
            agents = stack.enter_context(hospitals(consortium, folder, _ALIAS))
            for agent in agents:
                agent.start()
            for agent in agents:
                agent.says("runs")
            yield Faults(consortium, agents, clients, issuer, seed, say or _print)
    finally:
        befl.network.down(directory)


def _print(line: str) -> None:
    print(line, flush=True, file=sys.stderr)
