"""Final models: list, fetch, verify."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from befl.agent.ledger import Ledger
from befl.agent.store import write_whole
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError
from befl.training.predict import read_folder

_SIMULATED: Final = "Without a network, befl model verify holds its files against its own manifest."


@dataclass(frozen=True)
class FinalModel:
    """The record of a final model, as it stands on the ledger.

    Parameters
    ----------
    task, name, issuer : str
        The task that made it, what it is called, and who published it.
    round, rules, scheme : int, dict of str to str, str
        Its last round, the rules that it kept, and how updates were hidden.
    contributors : dict
        By MSP ID, ``rounds`` and ``weight`` (the sum of training rows).
    metrics : dict of str to int or None
        What it does on all held-back rows together; ratios in millionths.
    model, initial_model : str
        SHA-256 of the integer model, and of the one that training began with.
    digest, files : str, dict of str to str
        SHA-256 of the model folder's manifest, and of each file.
    txid, finished_ms : str, int
        The transaction that registered it, and when, milliseconds since 1970.
    kind, v : str, int
        What kind of record it is, and of which form.
    """

    task: str
    name: str
    issuer: str
    round: int
    rules: dict[str, str]
    scheme: str
    contributors: dict[str, dict[str, int]]
    metrics: dict[str, int | None]
    model: str
    initial_model: str
    digest: str
    files: dict[str, str]
    txid: str
    finished_ms: int
    kind: str
    v: int


@dataclass(frozen=True)
class Verdict:
    """A model folder whose files are as its manifest says, and what is known of the ledger.

    Parameters
    ----------
    task : str
        The task that made it.
    digest : str
        SHA-256 of the manifest.
    model : str
        SHA-256 of the integer model.
    files : dict of str to str
        SHA-256 of each file.
    txid : str
        The transaction that registered it; empty when it was not held against a ledger.
    simulated : bool
        Whether the manifest says that a simulation made it: then it stands on no ledger.
    """

    task: str
    digest: str
    model: str
    files: dict[str, str]
    txid: str = ""
    simulated: bool = False


_FIELDS: Final = tuple(field.name for field in dataclasses.fields(FinalModel))


class Models:
    """The final models of the channel.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self) -> Sequence[FinalModel]:
        """Return the records of all final models."""
        return [FinalModel(**{name: record[name] for name in _FIELDS}) for record in self._ledger.models()]

    def fetch(self, task: str, folder: str | Path) -> Path:
        """Write the model folder of a finished task; every file is held against the ledger first.

        Raises
        ------
        BeflError
            ``BEFL-T-007`` when the task has no final model, ``BEFL-M-007`` when the peer's bytes are not the ledger's,
            ``BEFL-C-012`` when the folder holds something else.
        """
        from befl.agent.worker import model_files  # noqa: PLC0415 - an agent's work, for who takes a model home

        files = model_files(self._ledger, self._ledger.view(task))
        place = Path(folder)
        foreign = sorted({each.name for each in place.iterdir()} - set(files)) if place.exists() else []
        if not foreign and _task_of(place / artefact.MANIFEST) not in ("", task):
            foreign = ["another task's model"]
        if foreign:
            raise BeflError("BEFL-C-012", f"{place}: has {foreign[0]} in it", "Name a new folder.")
        for name, data in files.items():
            write_whole(place / name, data, mode=0o644)
        return place

    def verify(self, folder: str | Path) -> Verdict:
        """Hold a model folder against its manifest, and the manifest against the ledger.

        Raises
        ------
        BeflError
            ``BEFL-M-009``; the message names the file. So too for a simulation's model: it stands on no ledger.
        """
        found = verify_folder(folder)
        if found.simulated:
            raise BeflError("BEFL-M-009", f"{folder}: befl simulate made it, it stands on no ledger", _SIMULATED)
        record = self._ledger.model(found.task)
        if found.digest != record["digest"] or found.model != record["model"]:
            raise BeflError(
                "BEFL-M-009",
                f"{folder}: the manifest has SHA-256 {found.digest[:16]}, the ledger {record['digest'][:16]}",
            )
        return dataclasses.replace(found, txid=record["txid"])


def _task_of(manifest: Path) -> str:
    """Return the task of a model folder; empty when there is no manifest, or none that is whole."""
    try:
        return str(canonical.loads(manifest.read_bytes())["task"])
    except (OSError, BeflError, KeyError, TypeError):
        return ""


def verify_folder(folder: str | Path) -> Verdict:
    """Hold the files of a model folder against its manifest, without any network; there may be none besides.

    Returns
    -------
    Verdict
        Without a transaction: whether the manifest is the ledger's only :meth:`Models.verify` knows.

    Raises
    ------
    BeflError
        ``BEFL-M-009``; the message names the file; ``BEFL-C-006`` when the folder is no model's.
    """
    path = Path(folder)
    manifest, files = read_folder(path)
    more = sorted({each.name for each in path.iterdir()} - {*files, artefact.MANIFEST})
    if more:
        raise BeflError("BEFL-M-009", f"{path / more[0]} is no part of the model: the manifest does not name it")
    digest = codec.digest(canonical.dumps(manifest))
    return Verdict(
        task=manifest["task"],
        digest=digest,
        model=manifest["model"],
        files=manifest["files"] | {artefact.MANIFEST: digest},
        simulated=manifest.get("simulated") is True,
    )
