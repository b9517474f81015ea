"""Read and write sets: what a transaction saw and what it wants to change.

The sets are Fabric's (``kvrwset`` of hyperledger/fabric-protos): reads carry versions, writes carry values, and what
concerns a private collection stands there as hashes. Their canonical form is bytes, so that a replay can be compared
with what was recorded byte by byte.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from befl.rules import canonical


class Version(NamedTuple):
    """Where a value was written last.

    Parameters
    ----------
    block : int
        Number of the block.
    transaction : int
        Index of the transaction in it.
    """

    block: int
    transaction: int


class RangeRead(NamedTuple):
    """What a range showed: checked again at commit, so that no phantom appears in it.

    Parameters
    ----------
    start, end : str
        First key, and the end: exclusive when the range was read to its end, else the last key read, inclusive.
    exhausted : bool
        Whether the range was read to its end.
    reads : tuple of (str, Version)
        The keys found, in order.
    summary : str
        Instead of many reads: the hash that Fabric records, in a form of its own.
    """

    start: str
    end: str
    exhausted: bool
    reads: tuple[tuple[str, Version], ...]
    summary: str = ""


def digest(text: str | bytes) -> str:
    """Return the SHA-256 of a key (UTF-8) or a value in hex, as private collections show it on the ledger."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


@dataclass(slots=True)
class ReadSet:
    """What a transaction read.

    Parameters
    ----------
    public : dict of str to Version or None
        Each key read with its version; None when it was absent.
    ranges : list of RangeRead
        Each range, in the order of reading.
    private : dict of str to dict of str to Version or None
        By collection: the SHA-256 (hex) of each key read, with its version.
    """

    public: dict[str, Version | None] = field(default_factory=dict)
    ranges: list[RangeRead] = field(default_factory=list)
    private: dict[str, dict[str, Version | None]] = field(default_factory=dict)

    def canonical(self) -> bytes:
        """Encode the set; keys in ledger order, ranges in the order of reading."""
        return canonical.dumps(
            {
                "private": {name: _pairs(keys) for name, keys in self.private.items()},
                "public": _pairs(self.public),
                "ranges": [
                    [entry.start, entry.end, entry.exhausted, entry.summary or entry.reads] for entry in self.ranges
                ],
            }
        )


@dataclass(slots=True)
class WriteSet:
    """What a transaction writes.

    Parameters
    ----------
    public : dict of str to bytes or None
        The new value of each key; None deletes it.
    private : dict of str to dict of str to (bytes or None)
        By collection: the new value of each key. On the ledger only hashes of both stand.
    metadata : dict of str to bytes
        The new endorsement policy of each key (``VALIDATION_PARAMETER``); empty takes it away.
    private_metadata : dict of str to dict of str to bytes
        The same by collection.
    purged : dict of str to set of str
        By collection: the SHA-256 (hex) of the deleted keys whose earlier values shall go too.
    hashed : dict of str to dict of str to (str or None)
        By collection: what a recorded transaction wrote of which only the ledger's hashes are at hand, the SHA-256
        (hex) of each key and value; None deletes it.
    """

    public: dict[str, bytes | None] = field(default_factory=dict)
    private: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
    private_metadata: dict[str, dict[str, bytes]] = field(default_factory=dict)
    purged: dict[str, set[str]] = field(default_factory=dict)
    hashed: dict[str, dict[str, str | None]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.public or self.private or self.hashed or self.metadata or self.private_metadata)

    def canonical(self) -> bytes:
        """Encode the set as the ledger shows it: public values in hex, private keys and values as SHA-256."""
        private = {
            name: _pairs(self.hashed.get(name, {}) | _hashes(self.private.get(name, {})))
            for name in self.private | self.hashed
        }
        public = {key: None if value is None else value.hex() for key, value in self.public.items()}
        record: dict[str, Any] = {"private": private, "public": _pairs(public)}
        # left out when empty: so it was before there were such writes, and old records replay to the same bytes
        if self.metadata:
            record["metadata"] = _pairs({key: policy.hex() for key, policy in self.metadata.items()})
        if self.private_metadata:
            record["private_metadata"] = {
                name: _pairs({digest(key): policy.hex() for key, policy in entries.items()})
                for name, entries in self.private_metadata.items()
            }
        if purged := {name: sorted(keys) for name, keys in self.purged.items() if keys}:
            record["purged"] = purged
        return canonical.dumps(record)


def _hashes(entries: dict[str, bytes | None]) -> dict[str, str | None]:
    return {digest(key): None if value is None else digest(value) for key, value in entries.items()}


def _pairs(entries: dict[str, Any]) -> list[Any]:
    """Order by key: by code point, which is the order of UTF-8 bytes and so LevelDB's."""
    return sorted(entries.items())
