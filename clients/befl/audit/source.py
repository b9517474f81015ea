"""Where blocks come from: a peer, or the file of a recorded ledger.

A recorded ledger is a gzip file. In it, after one line that names format and version, stands each block as the peer
delivered it (``protos.BlockAndPrivateData``), with its length before it: four bytes, big-endian. The same blocks
always make the same file.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fabric_protos.peer import events_pb2

from befl.audit.block import Block, parse, read
from befl.gateway import EventsError, Network
from befl.gateway.events import TOO_LARGE
from befl.rules.errors import BeflError

MAGIC: Final = b"befl ledger 1\n"
MOST_BYTES: Final = 100 * 1024 * 1024
"""The most that a block with its private data may have: as much as a peer can deliver in a message.

While a block is read, its bytes stand in up to eight forms at once: a file of a few kilobytes can take 800 MB, no more.
"""

_LENGTH: Final = 4
_HINT: Final = "A ledger is recorded with befl audit export."


def from_peer(network: Network, first: int = 0, *, private: bool = True) -> Iterator[Block]:
    """Read the blocks that the peer has now.

    A block whose private data are more than one message holds comes without them: the peer cannot deliver it otherwise.

    Parameters
    ----------
    network : Network
        The channel, at the institution's own peer.
    first : int
        Number of the first block to read.
    private : bool
        Whether with the private data that the peer gives its reader.

    Raises
    ------
    EventsError
        When the peer ends the stream of blocks, for example because the identity may not read it.
    """
    height = network.height()
    number, whole = first, private
    while number < height:
        try:
            with network.block_events(number, kind="private" if whole else "full") as messages:
                for message in messages:
                    yield parse(message if whole else events_pb2.BlockAndPrivateData(block=message))
                    number += 1
                    if number == height or whole != private:
                        break
                else:
                    return  # the gateway was closed
            whole = private
        except EventsError as error:
            if error.code != TOO_LARGE or not whole:
                raise
            whole = False


def from_files(paths: Iterable[Path]) -> Iterator[Block]:
    """Read recorded ledgers, one after another, block by block.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when a file cannot be read, ``BEFL-G-035`` when it is no recorded ledger or is damaged.
    """
    for path in paths:
        try:
            with gzip.open(path) as file:
                yield from _blocks(file, path)
        except gzip.BadGzipFile:
            raise BeflError("BEFL-G-035", f"{path}: not a gzip file, or a damaged one", _HINT) from None
        except OSError as error:
            raise BeflError("BEFL-C-006", f"{path} cannot be read ({error.strerror})") from None
        except (EOFError, zlib.error) as error:
            raise BeflError("BEFL-G-035", f"{path} is damaged: {error}", _HINT) from None


def write_file(path: Path, blocks: Iterable[Block]) -> None:
    """Record blocks in a new file that only its owner can read, for private data is in it.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when there is such a file, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as plain, gzip.GzipFile("", "wb", 9, plain, mtime=0) as file:
                file.write(MAGIC)
                for block in blocks:
                    data = _message(block).SerializeToString(deterministic=True)
                    file.write(len(data).to_bytes(_LENGTH, "big"))
                    file.write(data)
        except BaseException:
            path.unlink(missing_ok=True)  # what is cut short would read like a whole ledger
            raise
    except OSError as error:
        hint = "A recorded ledger is never written over: name a new file." if isinstance(error, FileExistsError) else ""
        raise BeflError("BEFL-C-006", f"{path} cannot be written ({error.strerror})", hint) from None


def _message(block: Block) -> events_pb2.BlockAndPrivateData:
    message = events_pb2.BlockAndPrivateData(block=block.raw)
    for transaction in block.transactions:
        if transaction.private_set is not None:
            message.private_data_map[transaction.index].CopyFrom(transaction.private_set)
    return message


def _blocks(file: gzip.GzipFile, path: Path) -> Iterator[Block]:
    if file.read(len(MAGIC)) != MAGIC:
        raise BeflError("BEFL-G-035", f"{path} does not begin with {MAGIC.decode().strip()!r}", _HINT)
    while head := file.read(_LENGTH):
        length = int.from_bytes(head, "big")
        if len(head) < _LENGTH or length > MOST_BYTES:
            raise BeflError("BEFL-G-035", f"{path} is damaged: a block's length cannot be", _HINT)
        data = file.read(length)
        if len(data) < length:
            raise BeflError("BEFL-G-035", f"{path} ends within a block", _HINT)
        yield read(data)
