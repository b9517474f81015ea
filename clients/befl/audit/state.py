"""The state that blocks make: for each key its last value, policy and version, in public and by hash.

Follows ``core/ledger/kvledger/txmgmt/validation`` of Fabric 3.1. Keys are bytes throughout: a public key in UTF-8, a
private one as its SHA-256, and a private value is its SHA-256 too.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from befl.ledger import Version

Space = tuple[str, str]
"""A chaincode's namespace and a collection; the collection is empty for public state.

Peers write what a transaction names in a collection without a name into the public state, the hashes as they are, and
look for what it says to have read there by hash in a place that is never written (``validation/tx_ops.go``). That is
what Fabric's validator makes of it; a peer of Fabric 3.1 then ends, as it does at every collection that is not defined
(``gossip/privdata/coordinator.go``), so that only a file can hold such a block.
"""

_EMPTY: Final = hashlib.sha256(b"").digest()
_POLICY: Final = "VALIDATION_PARAMETER"


class Entry(NamedTuple):
    """What stands under a key.

    Parameters
    ----------
    version : Version
        The transaction that wrote it last.
    value : bytes
        The value, or its hash.
    policy : bytes
        Its own endorsement policy, ``SignaturePolicyEnvelope``; mostly empty.
    """

    version: Version
    value: bytes
    policy: bytes


@dataclass(slots=True)
class Write:
    """What a transaction does to a key.

    Parameters
    ----------
    value : bytes or None
        The new value; None leaves it.
    deleted : bool
        Whether the key goes.
    policy : bytes or None
        The new policy, empty to take it away; None leaves it.
    """

    value: bytes | None = None
    deleted: bool = False
    policy: bytes | None = None


@dataclass(frozen=True, slots=True)
class Namespace:
    """One chaincode's part of a read-write set, decoded.

    Parameters
    ----------
    name : str
        The namespace.
    public : KVRWSet
        Reads, ranges, writes.
    collections : mapping of str to CollectionHashedReadWriteSet
        By collection, with the hash of the whole private set.
    hashed : mapping of str to HashedRWSet
        By collection, reads and writes.
    """

    name: str
    public: Any
    collections: Mapping[str, Any]
    hashed: Mapping[str, Any]

    def writes(self) -> Iterator[tuple[Space, bytes, Write]]:
        """Return what it writes, key by key; a key whose value and policy are written comes twice."""
        space = (self.name, "")
        for each in self.public.writes:
            gone = each.is_delete or not each.value
            yield space, each.key.encode(), Write(deleted=True) if gone else Write(bytes(each.value))
        for each in self.public.metadata_writes:
            yield space, each.key.encode(), Write(policy=_policy(each))
        for name, hashed in self.hashed.items():
            space = (self.name, name)
            for each in hashed.hashed_writes:
                gone = each.is_delete or each.value_hash in (b"", _EMPTY)
                yield space, bytes(each.key_hash), Write(deleted=True) if gone else Write(bytes(each.value_hash))
            for each in hashed.metadata_writes:
                yield space, bytes(each.key_hash), Write(policy=_policy(each))


def namespaces(read_write_set: Any) -> Iterator[Namespace]:
    """Decode a ``TxReadWriteSet`` that :mod:`befl.audit.block` could read."""
    for space in read_write_set.ns_rwset:
        collections = {each.collection_name: each for each in space.collection_hashed_rwset}
        hashed = {name: kv_rwset_pb2.HashedRWSet() for name in collections}
        for each in space.collection_hashed_rwset:  # one that is named twice counts twice with peers
            hashed[each.collection_name].MergeFrom(kv_rwset_pb2.HashedRWSet.FromString(each.hashed_rwset))
        yield Namespace(space.namespace, kv_rwset_pb2.KVRWSet.FromString(space.rwset), collections, hashed)


@dataclass(slots=True)
class State:
    """The state of a channel; :meth:`begin` a block, then ask and :meth:`apply` transaction by transaction."""

    _spaces: dict[Space, dict[bytes, Entry]] = field(default_factory=dict)
    _ordered: dict[str, list[bytes]] = field(default_factory=dict)
    _changed: dict[Space, dict[bytes, tuple[Version, bytes | None]]] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin a block: what a transaction read may not be written by an earlier one of the same block."""
        self._changed = {}

    def get(self, space: Space, key: bytes) -> Entry | None:
        """Return what stands under a key."""
        return self._spaces.get(space, {}).get(key)

    def value(self, namespace: str, key: str) -> bytes:
        """Return the public value of a key; empty when there is none."""
        entry = self.get((namespace, ""), key.encode())
        return entry.value if entry else b""

    def conflict(self, part: Namespace, *, private: bool) -> str:
        """Say which key was written since the transaction read it; empty when none was."""
        if not private:
            reads = [((part.name, ""), each.key.encode(), each) for each in part.public.reads]
        else:
            reads = [
                ((part.name, name), bytes(each.key_hash), each)
                for name, hashed in part.hashed.items()
                for each in hashed.hashed_reads
            ]
        for space, key, each in reads:
            nowhere = private and not space[1]
            entry = None if nowhere else self.get(space, key)
            seen = version(each)
            changed = not nowhere and key in self._changed.get(space, {})
            if changed or (entry.version if entry else None) != seen:
                return f"it read {named(space, key)} as {_said(seen)}, and it was written since"
        return ""

    def phantom(self, part: Namespace) -> str:
        """Say which range shows other keys or versions than the transaction read; empty when none does."""
        for query in part.public.range_queries_info:
            entries = list(self._range(part.name, query))
            try:
                found = [kv_read(key.decode(), entry.version) for key, entry in entries]
            except UnicodeDecodeError:  # a hash among the keys: no transaction can say that it read that one
                found = None
            if found is None:
                same = False
            elif query.WhichOneof("reads_info") == "reads_merkle_hashes":
                same = query.reads_merkle_hashes == summary(found, query.reads_merkle_hashes.max_degree)
            else:
                same = list(query.raw_reads.kv_reads) == found
            if not same:
                return (
                    f"it read from {query.start_key!r} to {query.end_key!r} in {part.name}, and that has changed since"
                )
        return ""

    def apply(self, parts: list[Namespace], version: Version) -> None:
        """Write what a valid transaction writes."""
        writes: dict[tuple[Space, bytes], Write] = {}
        for part in parts:
            for space, key, write in part.writes():
                whole = writes.setdefault((space, key), Write())
                whole.deleted |= write.deleted
                whole.value = write.value if write.value is not None else whole.value
                whole.policy = write.policy if write.policy is not None else whole.policy
        for (space, key), write in writes.items():
            entry = self.get(space, key)
            if write.deleted:
                self._put(space, key, None, version)
                continue
            value = write.value if write.value is not None else entry.value if entry else None
            if value is not None:  # a policy for a key that is not there is nothing
                policy = write.policy if write.policy is not None else entry.policy if entry else b""
                self._put(space, key, Entry(version, value, policy), version)

    def written(self) -> bytes:
        """Return what the block wrote as Fabric hashes it into the commit hash (``txmgr/update_batch_bytes.go``)."""
        found = []
        last: Space = ("", "")
        for space, keys in sorted(self._changed.items()):
            for key, (version, value) in sorted(keys.items()):
                kv = b"" if space[0] == last[0] else _field(1, space[0].encode())
                kv += b"" if space == last else _field(2, space[1].encode())
                kv += _field(3, key) + (b"\x20\x01" if value is None else _field(5, value))
                found.append(_field(1, kv + _field(6, b"".join(map(_number, version))), empty=True))
                last = space
        return b"".join(found)

    def _put(self, space: Space, key: bytes, entry: Entry | None, version: Version) -> None:
        keys = self._spaces.setdefault(space, {})
        ordered = self._ordered.setdefault(space[0], [])
        if not space[1] and (key in keys) != (entry is not None):
            place = bisect.bisect_left(ordered, key)
            if entry is None:
                del ordered[place]
            else:
                ordered.insert(place, key)
        if entry is None:
            keys.pop(key, None)
        else:
            keys[key] = entry
        self._changed.setdefault(space, {})[key] = (version, entry.value if entry else None)

    def _range(self, namespace: str, query: Any) -> Iterator[tuple[bytes, Entry]]:
        """Return the keys from the start to before the end; a range not read to its end ends with its last key."""
        ordered = self._ordered.get(namespace, [])
        start, end = query.start_key.encode(), query.end_key.encode()
        upto = bisect.bisect_left(ordered, end) if query.itr_exhausted else bisect.bisect_right(ordered, end)
        for key in ordered[bisect.bisect_left(ordered, start) : upto if end else None]:
            yield key, self._spaces[namespace, ""][key]


def named(space: Space, key: bytes) -> str:
    """Name a key in words, whatever its bytes are."""
    shown = key.hex() if space[1] else key.decode("utf-8", "backslashreplace")
    return f"{shown!r} of {'/'.join(filter(None, space))}"


def _policy(write: Any) -> bytes:
    return next((bytes(each.value) for each in write.entries if each.name == _POLICY), b"")


def version(read: Any) -> Version | None:
    """Return the version that a ``KVRead`` or ``KVReadHash`` saw; None when the key was absent."""
    return Version(int(read.version.block_num), int(read.version.tx_num)) if read.HasField("version") else None


def _said(version: Version | None) -> str:
    return f"written by transaction {version.transaction} of block {version.block}" if version else "absent"


def kv_read(key: str, place: Version) -> Any:
    """Return the ``KVRead`` of a key that was there."""
    return kv_rwset_pb2.KVRead(key=key, version=kv_rwset_pb2.Version(block_num=place.block, tx_num=place.transaction))


def summary(reads: Sequence[Any], degree: int) -> Any:
    """Return what Fabric records instead of a long range's reads: hashes of a tree (``query_results_helper.go``).

    Parameters
    ----------
    reads : sequence of KVRead
        All of the range.
    degree : int
        The branches of the tree.

    Returns
    -------
    QueryReadsMerkleSummary or None
        None for a range so short that its reads stand there themselves.
    """
    if degree < 2 or len(reads) <= degree:  # Fabric's least; and so many reads stand there themselves
        return None
    levels: dict[int, list[bytes]] = {}

    def add(level: int, digest: bytes) -> None:
        levels.setdefault(level, []).append(digest)
        if len(levels[level]) > degree:
            add(level + 1, hashlib.sha256(b"".join(levels.pop(level))).digest())

    for start in range(0, len(reads), degree + 1):
        data = kv_rwset_pb2.QueryReads(kv_reads=reads[start : start + degree + 1]).SerializeToString()
        add(1, hashlib.sha256(data).digest())
    top = max(levels)
    for level in range(1, top):
        below = levels.pop(level, [])
        if below:
            digest = below[0] if len(below) == 1 else hashlib.sha256(b"".join(below)).digest()
            levels.setdefault(level + 1, []).append(digest)
    if len(levels[top]) > degree:
        levels = {top + 1: [hashlib.sha256(b"".join(levels[top])).digest()]}
        top += 1
    return kv_rwset_pb2.QueryReadsMerkleSummary(max_degree=degree, max_level=top, max_level_hashes=levels[top])


def _field(number: int, data: bytes, *, empty: bool = False) -> bytes:
    """Encode a field of bytes as protobuf does; an empty one is left out."""
    return bytes((number << 3 | 2,)) + varint(len(data)) + data if data or empty else b""


def varint(number: int) -> bytes:
    """Encode a number as protobuf does."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _number(number: int) -> bytes:
    """Encode a number with its length before it, so that the order of bytes is the order of numbers."""
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes((len(data),)) + data
