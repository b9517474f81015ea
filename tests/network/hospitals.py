"""Institutions' agents as processes of their own, with small made-up tables, and the command line as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from befl.client import Client, approve_app
from befl.gateway import wait
from befl.rules import codec
from befl.rules.layout import read_layout
from befl.rules.seeds import rounding_seed, rows_seed, training_seed
from befl.training import Trainer, builtin_apps
from befl.training.data import load, problem, split

BEFL = (sys.executable, "-m", "befl.cli.main")

TASK = """\
befl = 1
name = "made-up hearts"
mode = "horizontal"
[app]
name = "tabular"
[app.settings]
model = "logistic"
steps = {steps}
batch = 16
learning_rate = 0.3
[data]
alias = "{alias}"
label = "disease"
classes = ["no", "yes"]
[data.columns]
age = {{ type = "number", centre = 50, spread = 10 }}
pressure = {{ type = "number", centre = 130, spread = 20 }}
sex = {{ type = "category", values = ["f", "m"] }}
[participants]
least = {least}
most = {most}
window = "2m"
[rounds]
count = {count}
deadline = "{deadline}"
[aggregation]
rule = "fedavg"
bits = {bits}
[privacy]
scheme = "none"
"""

AGENT = """\
befl = 1
[network]
profile = "{profile}"
[identity]
msp_dir = "{user}/msp"
[data.{alias}]
path = "rows.csv"
[policy]
apply = "{apply}"
schemes = ["none"]
least = 1
"""


def task_toml(folder: Path, alias: str, *, steps=20, least=3, most=3, count=2, deadline="60s", bits=32) -> Path:
    """Write a task's file. Which rows a step has is drawn, and with few bits how an update is rounded, too."""
    path = folder / f"{alias}.toml"
    path.write_text(
        TASK.format(alias=alias, steps=steps, least=least, most=most, count=count, deadline=deadline, bits=bits)
    )
    return path


def table(seed: int, rows: int = 90) -> str:
    """A CSV file in which age, pressure and sex say something about the disease."""
    chance = np.random.default_rng(seed)
    lines = ["age,pressure,sex,disease"]
    for _ in range(rows):
        age, pressure, sex = chance.normal(55, 9), chance.normal(135, 18), "fm"[chance.integers(2)]
        risk = (age - 55) / 9 + (pressure - 135) / 30 + (sex == "m") + chance.normal()
        lines.append(f"{age:.1f},{pressure:.0f},{sex},{'yes' if risk > 0.5 else 'no'}")
    return "\n".join(lines) + "\n"


def befl(*arguments: object, status: int = 0, cwd: Path | None = None) -> str:
    """Run a command to its end and return what it printed; with another status than 0, what it complained of."""
    done = subprocess.run(
        [*BEFL, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def befl_json(*arguments: object):
    return json.loads(befl(*arguments, "--format", "json"))


class Hospital:
    """One institution: its agent's folder, and the agent as a process that can be killed and started again."""

    def __init__(self, consortium, org: str, folder: Path, alias: str, *, apply: str = "always") -> None:
        self.org = org
        self.msp_id = consortium.msp_ids[consortium.institutions.index(org)]
        self.folder = folder / org
        self.folder.mkdir(mode=0o700)
        self.rows = self.folder / "rows.csv"
        self.rows.write_text(table(consortium.institutions.index(org)))
        self.config = self.folder / "AGENT.toml"
        self.config.write_text(
            AGENT.format(profile=consortium.profile(org), user=consortium.user(org), alias=alias, apply=apply)
        )
        self.logged = self.folder / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.inside: tuple[str, ...] = ()
        """What the agent's command begins with, so that it runs somewhere else and is the same process."""

    def start(self, environment: dict[str, str] | None = None) -> None:
        command = [*self.inside, *BEFL, "agent", "run", "--config", str(self.config)]
        with self.logged.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    @property
    def log(self) -> str:
        return self.logged.read_text()

    def says(self, words: str, timeout: float = 40) -> None:
        wait.until(lambda: words in self.log, timeout=timeout, what=f"{self.org}'s agent saying {words!r}: {self.log}")

    def children(self) -> list[int]:
        """The agent's own processes: the training of each task."""
        found = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # that thread has ended meanwhile
                found += [int(pid) for pid in (thread / "children").read_text().split()]
        return found

    def kill(self) -> None:
        """Kill -9; whatever trained for it is gone too."""
        children = self.children()
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL
        wait.until(lambda: not any(map(_alive, children)), timeout=5, what=f"the end of {children}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the agent as an operator does, and return its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.process = None
        return status


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def hospitals(consortium, folder: Path, alias: str, *, apply: str = "always") -> Iterator[list[Hospital]]:
    """The agents' folders, apps approved; those that run at the end are killed."""
    made = [Hospital(consortium, org, folder, alias, apply=apply) for org in consortium.institutions]
    for each in made[1:]:
        approve_app("tabular", each.config)
    befl("app", "approve", "tabular", "--config", made[0].config, "--yes")
    try:
        yield made
    finally:
        for each in made:
            if each.process is not None and each.process.poll() is None:
                os.kill(each.process.pid, signal.SIGKILL)
                each.process.wait(10)


def undisturbed(
    client: Client, task: str, members: list[Hospital], absent: Mapping[int, Collection[str]] = MappingProxyType({})
) -> tuple[str, list[dict[str, str]]]:
    """Compute a task again, institution by institution and round by round, from its specification and the rows.

    ``absent`` says whose updates a round lacks. Returns the digest of the last model, and of each round the digests of
    the updates by MSP ID.
    """
    view = client.tasks.get(task)
    spec, length = view.spec, view.record["length"]
    app, rule = builtin_apps()[spec.app.name], spec.aggregation
    most = codec.bound(rule.scale_bits, rule.clip)
    assert app.digest == view.record["app"]["digest"]
    model = codec.read_model(client.ledger.model_bytes(task, 0, view.record["model"]), length)
    layout = read_layout(view.record["layout"])
    rows = {each.msp_id: split(load(each.rows, spec.data), spec.data, rows_seed(task))[0] for each in members}
    updates: list[dict[str, str]] = []
    with Trainer(app, spec.app.settings, problem(spec.data)) as trainer:
        for number in range(1, view.record["round"] + 1):
            start, total, weight, round_updates = (
                codec.to_float(model, rule.scale_bits),
                np.zeros(length, np.int64),
                0,
                {},
            )
            for msp_id, own in rows.items():
                if msp_id in absent.get(number, ()):
                    continue
                made = trainer.train(layout, start, own.x, own.y, training_seed(task, number, msp_id))
                change = made.astype(np.float64) - start.astype(np.float64)
                drawn = rounding_seed(task, number, msp_id)
                update = codec.encode(change, rule.scale_bits, rule.clip, rule.bits, drawn)
                round_updates[msp_id] = codec.digest(codec.update_bytes(update, most, rule.bits))
                total += len(own.y) * update.astype(np.int64)
                weight += len(own.y)
            updates.append(round_updates)
            model = model + (2 * total + weight) // (2 * weight)
    return codec.digest(codec.model_bytes(model)), updates
