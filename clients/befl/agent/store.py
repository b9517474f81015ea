"""What an agent must remember itself: written whole or not at all, readable by its owner alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError


class Store:
    """The agent's state folder.

    Parameters
    ----------
    folder : Path
        Made when it is missing, mode 0700.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when it cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BeflError("BEFL-C-006", f"{folder}: {error.strerror}") from None
        self._lock: int | None = None

    def lock(self) -> None:
        """Keep every other agent out of the folder until this process ends; raises ``BEFL-C-008``."""
        path = self.folder / "agent.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BeflError("BEFL-C-008", f"{self.folder}: another agent runs with this state folder") from None
        self._lock = descriptor

    def unlock(self) -> None:
        """Let others in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep_update(self, task: str, number: int, weight: int, update: bytes) -> None:
        """Keep an update before it is sent: after a restart the same bytes are sent again."""
        header = canonical.dumps({"digest": _update_digest(weight, update), "weight": weight})
        self._write(self._task(task) / f"update-{number:06d}", header + b"\n" + update)

    def kept_update(self, task: str, number: int) -> tuple[int, bytes] | None:
        """Return weight and bytes of a kept update; None when there is none, or none that is whole."""
        found = self._read(self._task(task) / f"update-{number:06d}")
        if found is None:
            return None
        header, _, update = found.partition(b"\n")
        try:
            facts = canonical.loads(header)
            weight, whole = int(facts["weight"]), facts["digest"] == _update_digest(int(facts["weight"]), update)
        except (BeflError, ValueError, KeyError, TypeError):
            return None
        return (weight, update) if whole else None

    def keep_model(self, task: str, number: int, model: bytes) -> None:
        """Keep the integer model after a round, with what belongs to it, and forget older ones."""
        folder = self._task(task)
        self._write(folder / f"model-{number:06d}", codec.digest(model).encode() + b"\n" + model)
        for path in [*folder.glob("model-*"), *folder.glob("update-*")]:
            if path.name.partition("-")[2] < f"{number:06d}":
                path.unlink(missing_ok=True)

    def kept_model(self, task: str, most: int) -> tuple[int, bytes] | None:
        """Return round and bytes of the newest kept model up to a round; None when there is none that is whole."""
        for path in sorted(self._task(task).glob("model-*"), reverse=True):
            number = path.name.partition("-")[2]
            found = self._read(path)
            if not number.isdigit() or int(number) > most or found is None:
                continue
            digest, _, model = found.partition(b"\n")
            if codec.digest(model).encode() == digest:
                return int(number), model
        return None

    def keep_data(self, task: str, digest: str) -> str:
        """Keep the digest of a task's data at its first use; return the one that is kept."""
        path = self._task(task) / "data"
        found = self._read(path)
        if found is None:
            self._write(path, digest.encode())
            return digest
        return found.decode(errors="replace")

    def approve(self, digest: str, decision: dict[str, Any], archive: bytes | None = None) -> None:
        """Record the operator's approval of an app, and keep its archive."""
        if archive is not None:
            self.keep_app(digest, archive)
        self._keep_approvals({**self.approvals(), digest: decision})

    def withdraw(self, digest: str) -> None:
        """Forget the operator's approval of an app, and its archive."""
        self._keep_approvals({each: decision for each, decision in self.approvals().items() if each != digest})
        self._app(digest).unlink(missing_ok=True)

    def approvals(self) -> dict[str, dict[str, Any]]:
        """Return the approved apps by digest; raises ``BEFL-C-001`` when the file was damaged."""
        found = self._read(self.folder / "approvals.json")
        if found is None:
            return {}
        try:
            approvals: dict[str, dict[str, Any]] | Any = canonical.loads(found.strip())
        except BeflError:
            approvals = None
        if not isinstance(approvals, dict):
            raise BeflError(
                "BEFL-C-001",
                f"{self.folder / 'approvals.json'}: not the file that befl wrote",
                "Remove it and approve the apps again (befl app approve APP --config AGENT.toml).",
            )
        return approvals

    def keep_app(self, digest: str, archive: bytes) -> None:
        """Keep an app's archive."""
        self._write(self._app(digest), archive)

    def app(self, digest: str) -> bytes | None:
        """Return the archive of an app; None when there is none that has this digest."""
        found = self._read(self._app(digest))
        return found if found is not None and codec.digest(found) == digest else None

    def forget(self, task: str) -> None:
        """Remove what was kept to train a task; the final model's folder stays."""
        shutil.rmtree(self._task(task), ignore_errors=True)

    def has_folder(self, task: str) -> bool:
        """Say whether a task's final model is kept; the manifest is written last."""
        return (self.folder / "models" / task / artefact.MANIFEST).is_file()

    def keep_folder(self, task: str, files: dict[str, bytes]) -> Path:
        """Write a final model's folder and return its path."""
        folder = self.folder / "models" / task
        for name, data in files.items():
            self._write(folder / name, data)
        return folder

    def _keep_approvals(self, approvals: dict[str, dict[str, Any]]) -> None:
        self._write(self.folder / "approvals.json", canonical.dumps(approvals) + b"\n")

    def _app(self, digest: str) -> Path:
        return self.folder / "apps" / f"{digest}.befl-app"

    def _task(self, task: str) -> Path:
        return self.folder / "tasks" / task

    @staticmethod
    def _read(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        write_whole(path, data)


def _update_digest(weight: int, update: bytes) -> str:
    """Return the SHA-256 that covers all of a kept update, its weight too."""
    return codec.digest(f"{weight}\n".encode() + update)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Put a file's name before what is refused in it: a key that is unknown, missing or wrong."""
    try:
        yield
    except BeflError as error:
        if error.code not in ("BEFL-C-002", "BEFL-C-003", "BEFL-C-004"):
            raise
        raise BeflError(error.code, f"{path}: {error.message}", error.hint) from None


def read_whole(path: Path) -> bytes:
    """Read a file that a person named; raises ``BEFL-C-006`` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, on disk before this returns.

    Raises
    ------
    BeflError
        ``BEFL-C-006``.
    """
    try:
        if path.exists() and not path.is_file():  # root could put a file in the place of a device
            raise BeflError("BEFL-C-006", f"{path}: is a folder or a device, and no file")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None
