"""The simulated consortium: institutions take turns, and time passes only when everybody waits.

What an institution does is decided and done by the agent's own :class:`~befl.agent.worker.Worker`; what is accepted is
decided by the contracts. Everything that makes a real network differ between two runs is missing here: clocks, the
order in which updates arrive, crashes. So the same task, data and id give the same model, and it is the one that a real
network on the same machine makes.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from befl.agent.config import AgentConfig, DataTable, IdentityTable, NetworkTable, Policy
from befl.agent.ledger import Ledger
from befl.agent.participant import AppParticipant, app_of
from befl.agent.store import Store
from befl.agent.worker import Worker, model_files
from befl.ledger import Creator, MemoryLedger, Submitted, befl_ledger, make_creator
from befl.operations.watch import AgentWatch
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError
from befl.rules.names import msp_id_of
from befl.rules.reader import milliseconds
from befl.rules.seeds import initial_seed
from befl.rules.spec import TaskSpec
from befl.training import AppCode, Trainer
from befl.training.data import problem

ISSUER: Final = "SimulationMSP"
_CARD: Final = "card.md"
_BEGIN_MS: Final = 1_700_000_000_000
_TURN_MS: Final = 1


@dataclass(frozen=True)
class Round:
    """A round that has ended.

    Parameters
    ----------
    number : int
        From 1.
    record : dict
        Its record on the ledger.
    metrics : str
        The task's rule of metrics.
    seconds : dict of str to float
        What it took really, by kind of step, all institutions one after another.
    """

    number: int
    record: dict[str, Any]
    metrics: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Simulation:
    """What came out.

    Parameters
    ----------
    task : str
        The task's id.
    record : dict
        The task's record on the ledger.
    rounds : tuple of Round
        Every round, void ones too.
    files : dict of str to bytes
        The model folder, which says that it stands on no ledger.
    digest : str
        SHA-256 of its manifest.
    model : str
        SHA-256 of the integer model.
    blocks : int
        Height of the ledger.
    seconds : float
        What it took from the publication on; importing torch comes before.
    warnings : tuple of str
        What fits and looks wrong, by institution.
    """

    task: str
    record: dict[str, Any]
    rounds: tuple[Round, ...]
    files: dict[str, bytes] = field(repr=False)
    digest: str
    model: str
    blocks: int
    seconds: float
    warnings: tuple[str, ...]


def simulate(
    spec: TaskSpec,
    data: Mapping[str, Path],
    *,
    task: str | None = None,
    app: AppCode | None = None,
    python: str | None = None,
    threads: int = 1,
    progress: Callable[[Round], None] = lambda _: None,
) -> Simulation:
    """Run a task from publication to its final model.

    Parameters
    ----------
    spec : TaskSpec
        The task.
    data : mapping of str to Path
        Each institution's name, as a network would have it (``org1`` becomes ``Org1MSP``), and its file.
    task : str, optional
        The id that the task shall have, 16 hex digits: seeds follow from it. That of a task on a real network, with the
        same institutions and files, gives the same model.
    app : AppCode, optional
        The app's code; the one of that name that comes with befl by default.
    python : str, optional
        Interpreter with torch; this one by default.
    threads : int
        Threads of the training process.
    progress : callable
        Is told each round as it ends.

    Raises
    ------
    BeflError
        Whatever an agent, a rule or an app refuses; the message names the institution. ``BEFL-C-010`` when the
        institutions cannot fill the task.
    """
    names = {msp_id_of(name): path for name, path in sorted(data.items())}
    _check_institutions(spec, names)
    code = app or app_of(spec.app.name)
    with (
        tempfile.TemporaryDirectory(prefix="befl-simulation-") as folder,
        Trainer(code, spec.app.settings, problem(spec.data), python=python, threads=threads) as trainer,
    ):
        trainer.check()
        consortium = _Consortium(spec, names, Path(folder), code, trainer, progress)
        return consortium.run(task)


def _check_institutions(spec: TaskSpec, names: Mapping[str, Path]) -> None:
    invited = spec.participants.institutions
    able = [name for name in names if invited == "any" or name in invited]
    if len(able) < spec.participants.least:
        raise BeflError(
            "BEFL-C-010",
            f"{len(able)} of the {len(names)} institutions of the simulation may take part "
            f"({', '.join(sorted(able)[:8]) or 'none'}); the task starts with {spec.participants.least}",
            "Give data for more institutions (--institutions N with --split), or lower [participants] least.",
        )


class _Clock:
    def __init__(self) -> None:
        self.now_ms = _BEGIN_MS

    def __call__(self) -> int:
        return self.now_ms


class _Identity:
    """A transactor: one identity on the ledger in memory."""

    def __init__(self, memory: MemoryLedger, creator: Creator, txid: str | None = None) -> None:
        self._memory, self._creator, self._txid = memory, creator, txid

    def evaluate(self, function: str, *args: str) -> bytes:
        return self._memory.evaluate(self._creator, function, *args)

    def submit(self, function: str, *args: str, transient: Mapping[str, bytes] | None = None) -> Submitted:
        return self._memory.submit(self._creator, function, *args, transient=transient, txid=self._txid)


class _Seconds(AgentWatch):
    """Adds up what steps took."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def step(self, action: str, seconds: float) -> None:
        self.spent[action] += seconds


class _Consortium:
    """Ledger, clock and institutions of one simulation."""

    def __init__(
        self,
        spec: TaskSpec,
        names: Mapping[str, Path],
        folder: Path,
        app: AppCode,
        trainer: Trainer,
        progress: Callable[[Round], None],
    ) -> None:
        self._spec = spec
        self._names = names
        self._folder = folder
        self._app = app
        self._trainer = trainer
        self._progress = progress
        self._clock = _Clock()
        self._memory = befl_ledger(clock=self._clock)
        self._watch = _Seconds()
        self._rounds: list[Round] = []
        self._warnings: list[str] = []
        self._idle_ms = 0
        for msp_id in (ISSUER, *names):
            self._memory.submit(make_creator(msp_id, "operator"), "MemberContract:Register")

    def run(self, task: str | None) -> Simulation:
        digest = self._app.digest
        layout, values = self._trainer.init(initial_seed(self._spec))
        started = time.monotonic()
        txid = None if task is None else f"{task:0<64}"
        issuer = Ledger(_Identity(self._memory, make_creator(ISSUER, "issuer"), txid))
        model = codec.model_bytes(codec.to_fixed(values, self._spec.aggregation.scale_bits))
        name = issuer.publish(self._spec, digest, layout, model).value["task"]
        working = {msp_id: self._worker(msp_id, path, name, digest) for msp_id, path in self._names.items()}
        auditor = Ledger(_Identity(self._memory, make_creator(ISSUER, "auditor")))
        while working:
            pauses = {}
            for msp_id, worker in list(working.items()):
                pause = _step(msp_id, worker)
                if pause is None:
                    del working[msp_id]
                else:
                    pauses[msp_id] = pause
            if 0.0 in pauses.values():
                self._note(auditor, name)
                self._clock.now_ms += _TURN_MS
                self._idle_ms = 0
            else:
                self._wait(pauses, working)
        view = auditor.view(name)
        files = _on_no_ledger(model_files(auditor, view))
        return Simulation(
            task=name,
            record=view.record,
            rounds=tuple(self._rounds),
            files=files,
            digest=codec.digest(files[artefact.MANIFEST]),
            model=auditor.model(name)["model"],
            blocks=self._memory.height,
            seconds=time.monotonic() - started,
            warnings=tuple(self._warnings),
        )

    def _worker(self, msp_id: str, path: Path, task: str, digest: str) -> Worker:
        store = Store(self._folder / msp_id)
        store.approve(digest, {"name": self._spec.app.name})
        config = AgentConfig(
            befl=1,
            network=NetworkTable(profile="none"),
            identity=IdentityTable(msp_dir="none"),
            data={self._spec.data.alias: DataTable(path=str(path.resolve()))},
            policy=Policy(apply="always", schemes=(self._spec.privacy.scheme,), least=1, statistics=True),
            state=str(store.folder.resolve()),
        )
        return Worker(
            task,
            msp_id=msp_id,
            ledger=Ledger(_Identity(self._memory, make_creator(msp_id, "trainer"))),
            store=store,
            policy=config.policy,
            aliases=frozenset(config.data),
            participant=lambda view: AppParticipant(
                config,
                msp_id,
                view,
                trainer=self._trainer,
                warn=lambda text: self._warnings.append(f"{msp_id}: {text}"),
            ),
            watch=self._watch,
            clock=self._clock,
        )

    def _note(self, auditor: Ledger, task: str) -> None:
        """Tell of the round before, once it is evaluated or void."""
        current = auditor.view(task).round
        ended = current.number - (current.state in ("open", "closed")) if current else 0
        while len(self._rounds) < ended:
            number = len(self._rounds) + 1
            record, spent = auditor.round(task, number)["round"], dict(self._watch.spent)
            self._rounds.append(Round(number, record, self._spec.rules()["metrics"], spent))
            self._watch.spent.clear()
            self._progress(self._rounds[-1])

    def _wait(self, pauses: Mapping[str, float], working: Mapping[str, Worker]) -> None:
        """Let time pass until the first one looks again; nobody waits for longer than the task's own times."""
        pause_ms = max(1, round(1_000 * min(pauses.values(), default=0)))
        self._clock.now_ms += pause_ms
        self._idle_ms += pause_ms
        most_ms = milliseconds(self._spec.participants.window) + 2 * milliseconds(self._spec.rounds.deadline) + 60_000
        if self._idle_ms > most_ms:
            reasons = "; ".join(f"{msp_id}: {worker.says or 'waits'}" for msp_id, worker in working.items())
            raise BeflError("BEFL-C-010", f"the task does not go on: {reasons}")


def _on_no_ledger(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Say in a model folder that the ledger it was made on is gone: in the manifest, and as the card's last words."""
    head, _, _ = files[_CARD].decode().rpartition("\n\n")
    card = f"{head}\n\nA simulation: this model stands on no ledger.\n".encode()
    manifest = canonical.loads(files[artefact.MANIFEST])
    manifest |= {"files": manifest["files"] | {_CARD: codec.digest(card)}, "simulated": True}
    return {**files, _CARD: card, artefact.MANIFEST: canonical.dumps(manifest)}


def _step(msp_id: str, worker: Worker) -> float | None:
    """Let one institution do one step; a refusal says whose it is."""
    try:
        return worker.step()
    except BeflError as error:
        raise BeflError(error.code, f"{msp_id}: {error.message}", error.hint) from None
