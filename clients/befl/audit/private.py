"""Private data that came with the blocks, against the hashes that stand in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from google.protobuf.message import DecodeError

from befl.audit.block import Block, Code, Transaction
from befl.audit.definition import IMPLICIT
from befl.audit.report import Report
from befl.audit.state import Namespace, namespaces


@dataclass(slots=True)
class Delivered:
    """Checks each block's private data; what is missing must have been purged by the :meth:`end`.

    Parameters
    ----------
    report : Report
        Filled on the way.
    """

    report: Report
    _missing: dict[tuple[str, str, bytes], list[tuple[int, str]]] = field(default_factory=dict)

    def take(self, block: Block, flags: tuple[int, ...]) -> None:
        """Check what came with a block."""
        for transaction, flag in zip(block.transactions, flags, strict=True):
            if transaction.read_write_set is None:
                continue
            parts = {part.name: part for part in namespaces(transaction.read_write_set)}
            given = _given(transaction.private_set)
            for place in given:
                part = parts.get(place[0])
                if self.report.looks("private_data") and (part is None or place[1] not in part.hashed):
                    self._find(transaction, f"{place[1]} of {place[0]} is not named in the transaction")
            if flag == Code.VALID:
                for part in parts.values():
                    for name in part.hashed:
                        self._collection(transaction, part, name, given.get((part.name, name)))

    def end(self) -> None:
        """Find what was in a transaction, did not come with its block, and was never purged."""
        for (_, collection, _), places in self._missing.items():
            for block, txid in places:
                message = f"a value of {collection} that the block names is missing, and nobody purged it"
                self.report.find("private_data", block, txid, message)

    def _collection(self, transaction: Transaction, part: Namespace, name: str, data: bytes | None) -> None:
        """Check one collection of a valid transaction; the peer leaves out what was purged later."""
        hashed = part.hashed[name]
        for write in hashed.hashed_writes:
            if write.is_purge:
                self._missing.pop((part.name, name, bytes(write.key_hash)), None)
        if data is None:
            if hashed.hashed_writes and not name.startswith(IMPLICIT):
                self.report.cannot(
                    f"private data of transaction {transaction.txid} in {name}", "the peer did not give it"
                )
            return
        if not self.report.looks("private_data"):
            return
        if hashlib.sha256(data).digest() == part.collections[name].pvt_rwset_hash:
            return
        wanted = {bytes(write.key_hash): write for write in hashed.hashed_writes}
        found = _writes(data)
        if found is None or any(not _same(write, wanted.get(key)) for key, write in found.items()):
            self._find(transaction, f"what came of {name} is not what the hashes in the block name")
            return
        for key, write in wanted.items():
            if key not in found and not write.is_purge:
                self._missing.setdefault((part.name, name, key), []).append((transaction.block, transaction.txid))

    def _find(self, transaction: Transaction, message: str) -> None:
        self.report.find("private_data", transaction.block, transaction.txid, message)


def _given(private_set: Any) -> Mapping[tuple[str, str], bytes]:
    spaces = private_set.ns_pvt_rwset if private_set is not None else ()
    return {
        (space.namespace, each.collection_name): bytes(each.rwset)
        for space in spaces
        for each in space.collection_pvt_rwset
    }


def _writes(data: bytes) -> dict[bytes, Any] | None:
    try:
        writes = kv_rwset_pb2.KVRWSet.FromString(data).writes
    except DecodeError:
        return None
    return {hashlib.sha256(write.key.encode()).digest(): write for write in writes}


def _same(write: Any, wanted: Any) -> bool:
    if wanted is None or write.is_delete != wanted.is_delete:
        return False
    return bool(write.is_delete or hashlib.sha256(write.value).digest() == wanted.value_hash)
