"""Final models: list, fetch, verify."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from befl.agent.ledger import Ledger
from befl.agent.store import write_whole
from befl.agent.worker import model_files
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError


@dataclass(frozen=True)
class Verdict:
    """A model folder that was held against its manifest and the ledger, file by file.

    Parameters
    ----------
    task : str
        The task that made it.
    digest : str
        SHA-256 of the manifest, as the ledger has it.
    model : str
        SHA-256 of the integer model.
    files : dict of str to str
        SHA-256 of each file.
    txid : str
        The transaction that registered it.
    """

    task: str
    digest: str
    model: str
    files: dict[str, str]
    txid: str


class Models:
    """The final models of the channel.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self) -> list[dict[str, Any]]:
        """Return the records of all final models."""
        return list(self._ledger.models())

    def fetch(self, task: str, folder: str | Path) -> Path:
        """Write the model folder of a finished task; every file is held against the ledger first.

        Raises
        ------
        BeflError
            ``BEFL-T-007`` when the task has no final model, ``BEFL-M-007`` when the peer's bytes are not the ledger's.
        """
        files = model_files(self._ledger, self._ledger.view(task))
        for name, data in files.items():
            write_whole(Path(folder) / name, data, mode=0o644)
        return Path(folder)

    def verify(self, folder: str | Path) -> Verdict:
        """Hold a model folder against its manifest, and the manifest against the ledger.

        Raises
        ------
        BeflError
            ``BEFL-M-009``; the message names the file.
        """
        manifest = verify_folder(folder)
        record = self._ledger.model(manifest["task"])
        digest = codec.digest(canonical.dumps(manifest))
        if digest != record["digest"] or manifest["model"] != record["model"]:
            raise BeflError(
                "BEFL-M-009", f"{folder}: the manifest has SHA-256 {digest[:16]}, the ledger {record['digest'][:16]}"
            )
        return Verdict(record["task"], digest, record["model"], record["files"], record["txid"])


def verify_folder(folder: str | Path) -> dict[str, Any]:
    """Hold the files of a model folder against its manifest, without any network.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    BeflError
        ``BEFL-M-009``; the message names the file.
    """
    path = Path(folder)
    try:
        manifest: dict[str, Any] = canonical.loads((path / artefact.MANIFEST).read_bytes())
        files = dict(manifest["files"])
        if not isinstance(manifest["task"], str) or not isinstance(manifest["model"], str):
            raise TypeError  # as a missing one: below
        for name, digest in files.items():
            if Path(name).name != name or codec.digest((path / name).read_bytes()) != digest:
                raise BeflError("BEFL-M-009", f"{path / name} has another SHA-256 than the manifest says")
    except OSError as error:
        raise BeflError("BEFL-M-009", f"{error.filename}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError):
        raise BeflError("BEFL-M-009", f"{path / artefact.MANIFEST} is no manifest of befl") from None
    except BeflError as error:
        raise BeflError("BEFL-M-009", error.message) from None
    return manifest
