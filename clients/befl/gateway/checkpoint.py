"""Where a follower of events goes on after a restart: behind what it has handled, not behind what it has received."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Final, Protocol

from befl.gateway.events import ChaincodeEvent
from befl.rules.errors import BeflError

_HINT: Final = "Move the file away to begin anew; events are then handled a second time."


class Checkpoint(Protocol):
    """A place among the events of a channel; follows the checkpointers of hyperledger/fabric-gateway.

    ``block`` is the block to go on with, None when nothing was handled yet; ``txid`` the last transaction of that block
    that was handled, or ``""``.
    """

    @property
    def block(self) -> int | None:
        """The block to go on with."""

    @property
    def txid(self) -> str:
        """The last transaction of that block that was handled."""


class InMemoryCheckpointer:
    """A place that lives as long as the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: tuple[int | None, str] = (None, "")

    @property
    def block(self) -> int | None:
        """The block to go on with; None when nothing was handled yet."""
        return self._place[0]

    @property
    def txid(self) -> str:
        """The last transaction of that block that was handled; ``""`` when none was."""
        return self._place[1]

    def checkpoint_block(self, number: int) -> None:
        """Note that a block was handled to its end."""
        self._note(number + 1, "")

    def checkpoint_transaction(self, block: int, txid: str) -> None:
        """Note that a block was handled up to this transaction."""
        self._note(block, txid)

    def checkpoint_chaincode_event(self, event: ChaincodeEvent) -> None:
        """Note that an event was handled."""
        self._note(event.block, event.txid)

    def _note(self, block: int, txid: str) -> None:
        with self._lock:
            self._place = (block, txid)


class FileCheckpointer(InMemoryCheckpointer):
    """A place that is kept in a small file: each note is on the disk, whole, before the call returns.

    Parameters
    ----------
    path : Path
        The file (0600); it is made by the first note. One process uses it at a time.

    Raises
    ------
    BeflError
        ``BEFL-G-032`` when the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            block, txid = raw["block"], raw["txid"]
            if type(block) is not int or block < 0 or not isinstance(txid, str):
                raise ValueError("no place")
        except FileNotFoundError:
            return
        except OSError as error:
            raise BeflError("BEFL-G-032", f"{path} cannot be read ({error.strerror})", _HINT) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise BeflError("BEFL-G-032", f"{path} holds no checkpoint", _HINT) from None
        self._place = (block, txid)

    def _note(self, block: int, txid: str) -> None:
        with self._lock:
            fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            data = json.dumps({"block": block, "txid": txid}).encode() + b"\n"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._place = (block, txid)
