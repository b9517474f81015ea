"""An institution whose line is cut: a network of its own in the kernel, and a cable to the others that goes down."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

import befl.network
from befl.gateway import Profile, connect, wait
from befl.network.layout import Layout
from befl.rules.errors import BeflError

from .down import described
from .faults import Faults, besieged, step_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SEED = 6


class Line:
    """A network namespace that ends with this process, and a cable (veth) to it.

    ``here`` and ``there`` are addresses at its ends. Both are this machine's own until somebody moves there: so a
    consortium can be founded on them as ever.
    """

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        number = os.getpid() % 250
        self.here, self.there = f"198.18.{number}.1", f"198.18.{number}.2"  # kept for tests of networks (RFC 2544)
        self._end, self._far = f"befl{number}h", f"befl{number}t"
        self._inside = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
        self._ip("link", "add", self._end, "type", "veth", "peer", "name", self._far, "netns", str(holder.pid))
        for address in (self.here, self.there):
            self._ip("address", "add", f"{address}/32", "dev", self._end)
        self._ip("link", "set", self._end, "up")
        self._ip("link", "set", "lo", "up", inside=True)

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs at the far end; it becomes the command, with the same process id."""
        return self._inside

    def move(self) -> None:
        """Give the far end its address."""
        self._ip("address", "delete", f"{self.there}/32", "dev", self._end)
        self._ip("address", "add", f"{self.there}/32", "dev", "lo", inside=True)
        self._ip("route", "add", self.there, "dev", self._end, "src", self.here)
        self.mend()

    def cut(self) -> None:
        """Pull the cable: packets are lost both ways, new connections find no way, and what is inside goes on."""
        self._ip("link", "set", self._far, "down", inside=True)

    def mend(self) -> None:
        """Put it in again."""
        self._ip("link", "set", self._far, "up", inside=True)
        self._ip("route", "replace", self.here, "dev", self._far, "src", self.there, inside=True)

    def _ip(self, *arguments: str, inside: bool = False) -> None:
        command = [*(self._inside if inside else ()), "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture
def line() -> Iterator[Line]:
    if os.geteuid() != 0 or None in map(shutil.which, ("unshare", "nsenter", "ip")):
        pytest.skip("network namespaces can be made by root only")
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo made && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        if holder.stdout.readline() != b"made\n":
            pytest.skip("network namespaces may not be made here")
        try:
            yield Line(holder)
        finally:
            holder.stdin.close()  # the namespace goes, and the cable with it


def topology(line: Line) -> befl.network.Topology:
    """Three institutions, of which the third will be at the far end."""
    made = befl.network.make(["org1", "org2", "org3"])
    hosts = {"org3": line.there}
    return dataclasses.replace(
        made,
        institutions=tuple(dataclasses.replace(one, host=hosts.get(one.name, line.here)) for one in made.institutions),
    )


def height(faults: Faults, org: str) -> int:
    home = Layout(faults.consortium.directory).home(org)
    with connect(Profile.load(home.profile), home.user("agent")) as gateway:
        return gateway.network("befl").height()


def test_an_institution_whose_line_is_cut(line, tmp_path):
    """In the middle of a round: it sees nobody, the others go on as far as they can; mended, the same model."""
    with besieged(tmp_path, SEED, topology=topology(line)) as faults:
        alone = faults.agents[2]
        names = sorted(path.stem for path in Layout(faults.consortium.directory).home("org3").services.glob("*.json"))

        def at_the_far_end(service: dict) -> None:
            service["argv"] = [*line.inside, *service["argv"]]

        alone.kill()
        line.move()
        with described(faults.consortium, at_the_far_end, *(f"org3/{name}" for name in names)):
            alone.inside = line.inside
            alone.start()
            task = faults.task(3)

            def trains() -> bool:
                view = faults.look(task)
                return view.round is not None and view.round.number == 2 and step_of(view, alone) == "train"

            wait.until(trains, timeout=120, interval=0.02, what="org3 training for round 2")
            line.cut()
            said = len(alone.log)
            wait.until(
                lambda: len(faults.look(task).round.updates) == 2, timeout=120, interval=0.5, what="the others' updates"
            )
            with pytest.raises(BeflError) as caught:
                height(faults, "org3")
            assert caught.value.code in {"BEFL-G-002", "BEFL-G-003"}
            # its own peer answers, and finds nobody else to endorse; or it waits for an answer, or for an orderer's
            met = wait.until(
                lambda: re.findall(r"BEFL-G-0(?:02|03|06|16)\b.*", alone.log[said:]),
                timeout=240,
                interval=0.5,
                what="the agent saying that it is alone",
            )
            print(f"the agent that is cut off says: {met[0]}")
            view = faults.look(task)
            assert (view.state, view.round.number, len(view.round.updates)) == ("running", 2, 2)
            assert alone.process.poll() is None
            line.mend()
            faults.check(task)
            wait.until(
                lambda: height(faults, "org3") == height(faults, "org1"), timeout=60, interval=0.5, what="equal heights"
            )
