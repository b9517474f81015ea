"""Every transaction of befl's chaincode, run again on the state as it stood, and compared with what was signed.

Fabric calls a transaction valid when nothing that it read has changed since, neither before its block nor within it.
So the state at the beginning of its block is the one it read: there its contract is run, by the ledger in memory, and
must accept it, read and write the same bytes and return the same. Then the state is brought forward by what was
recorded, so that one false transaction is one finding. Transactions that did not count are not run: they changed
nothing, and the state that they read has gone by.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2

from befl.audit.block import Transaction
from befl.audit.report import Report
from befl.audit.state import kv_read, summary, version
from befl.ledger import (
    Creator,
    Endorsed,
    MemoryLedger,
    RangeRead,
    ReadSet,
    Version,
    WriteSet,
    befl_ledger,
    create_composite_key,
    digest,
    transient_names,
)
from befl.rules import canonical
from befl.rules import spec as specs
from befl.rules.errors import BeflError

_DEGREE: Final = 50
"""Of the tree of hashes that Fabric records instead of the reads of a longer range (``query_executor.go``)."""
_NO_RULE: Final = "BEFL-T-001"
_SHOWN: Final = 60
_TASK: Final = create_composite_key("task", ())

PrivateKey = tuple[str, str]
"""Collection, and SHA-256 (hex) of a key."""


class Execution:
    """The state of befl's chaincode, block by block.

    Parameters
    ----------
    report : Report
        Takes the findings.
    chaincode : str
        The chaincode's name on the channel.

    Attributes
    ----------
    ledger : MemoryLedger
        The state after the last block.
    """

    def __init__(self, report: Report, chaincode: str = "befl") -> None:
        self._report = report
        self._chaincode = chaincode
        self.ledger: MemoryLedger = befl_ledger()
        self._written: dict[str, tuple[int, str]] = {}
        self._absent: set[PrivateKey] = set()
        self._purged: dict[PrivateKey, tuple[int, str]] = {}
        self._unread: list[tuple[Transaction, set[PrivateKey], bool]] = []

    def block(self, number: int, transactions: Iterable[Transaction]) -> None:
        """Run the valid transactions of one block, and bring the state forward by what they wrote."""
        written = []
        for transaction in transactions:
            spaces = transaction.read_write_set.ns_rwset if transaction.read_write_set else ()
            if transaction.chaincode == self._chaincode and all(each.namespace != self._chaincode for each in spaces):
                # nothing read, nothing written: no contract does that, and its answer and event are compared too
                self._one(transaction, rwset_pb2.NsReadWriteSet(namespace=self._chaincode))
            for space in spaces:
                if space.namespace == self._chaincode:
                    written.append((transaction, self._one(transaction, space)))
                elif transaction.chaincode == self._chaincode:
                    self._only_reads(transaction, space)
        for transaction, writes in written:
            try:
                place = Version(number, transaction.index)
                self.ledger.write(writes, place, transaction.txid, transaction.timestamp)
            except BeflError as error:
                self._report.find("own_state", number, transaction.txid, error.message)
                continue
            self._note(transaction, writes)

    def end(self) -> None:
        """Say of each transaction that could not be run who purged what it needs; find it when nobody did."""
        for transaction, keys, looked in self._unread:
            if looked and (lacking := keys - self._purged.keys()):
                message = f"{transaction.function} cannot be run again: {self.why(lacking)}"
                self._report.find("complete", transaction.block, transaction.txid, message)
            else:
                what = f"{transaction.function} in transaction {transaction.txid[:16]}, block {transaction.block}"
                self._report.cannot(what, self.why(keys))

    def place(self, key: str) -> tuple[int, str]:
        """Return block and transaction that wrote a public key last; 0 and nothing when none did."""
        return self._written.get(key, (0, ""))

    def why(self, keys: Iterable[PrivateKey]) -> str:
        """Say why private values are not at hand: purged, and by which transaction, or not given by the peer."""
        purged = sorted({self._purged[key] for key in keys if key in self._purged})
        if not purged:
            return "its private values are not there, and nobody purged them; another institution's peer may have them"
        return "; ".join(f"purged by transaction {txid[:16]} in block {block}" for block, txid in purged)

    def _note(self, transaction: Transaction, writes: WriteSet) -> None:
        place = (transaction.block, transaction.txid)
        self._written.update(dict.fromkeys(writes.public, place))
        for collection, entries in writes.private.items():
            self._absent.difference_update((collection, digest(key)) for key in entries)
        for collection, hashes in writes.hashed.items():
            self._absent.update((collection, hashed) for hashed, value in hashes.items() if value is not None)
        for collection, purged in writes.purged.items():
            self._purged.update(dict.fromkeys(((collection, hashed) for hashed in purged), place))

    def _only_reads(self, transaction: Transaction, space: Any) -> None:
        """Refuse writes of befl's transaction elsewhere; Fabric itself has each read the chaincode's definition."""
        found = kv_rwset_pb2.KVRWSet.FromString(space.rwset)
        if self._report.looks("own_state") and (found.writes or found.metadata_writes or space.collection_hashed_rwset):
            what = f"{transaction.function} writes the state of chaincode {space.namespace}"
            self._report.find("own_state", transaction.block, transaction.txid, what)

    def _one(self, transaction: Transaction, space: Any) -> WriteSet:
        """Compare one transaction and return what it wrote."""
        report, block, txid = self._report, transaction.block, transaction.txid
        private = transaction.private if transaction.chaincode == self._chaincode else {}
        reads, writes, odd = _sets(space, private)
        if report.looks("own_state"):
            if transaction.chaincode != self._chaincode and (writes or odd):
                report.find("own_state", block, txid, f"chaincode {transaction.chaincode} writes befl's state")
            for each in odd:
                report.find("own_state", block, txid, f"{transaction.function} {each}, which no contract does")
        if transaction.chaincode == self._chaincode:
            endorsed = self._run(transaction, reads, writes)
            if endorsed is not None:
                self._compare(transaction, endorsed, reads, writes)
        return writes

    def _run(self, transaction: Transaction, reads: ReadSet, writes: WriteSet) -> Endorsed | None:
        """Run the contract; None when that cannot be, or it refuses."""
        names = transient_names(transaction.function)
        missing = {(name, key) for name, keys in reads.private.items() for key in keys} & self._absent
        if names:
            missing |= {(name, key) for name, keys in writes.hashed.items() for key in keys}
        looked = self._report.looks("complete")
        if missing:
            self._unread.append((transaction, missing, looked))
            return None
        if newer := _newer_rules(writes):
            self._lacks_rule(transaction, f"it has no {', '.join(newer)}", looked=looked)
            return None
        values = [value for entries in writes.private.values() for value in entries.values() if value is not None]
        transient = dict(zip(names, values, strict=False)) if len(values) == 1 else {}
        if not self._report.looks("accepted"):
            return None
        try:
            creator = identities_pb2.SerializedIdentity.FromString(transaction.creator)
            return self.ledger.endorse(
                Creator(creator.mspid, creator.id_bytes),
                transaction.function,
                *transaction.args,
                transient=transient,
                timestamp=transaction.timestamp,
                txid=transaction.txid,
            )
        except BeflError as error:
            if error.code == _NO_RULE:
                self._lacks_rule(transaction, error.message, looked=looked)
                return None
            why = f"{transaction.function} is refused: {error.code}: {error.message}"
        except Exception as error:  # noqa: BLE001  # a false record may break a contract anywhere: that is a finding
            why = f"{transaction.function} breaks on the state as it stood: {type(error).__name__}: {error}"
        self._report.find("accepted", transaction.block, transaction.txid, why)
        return None

    def _lacks_rule(self, transaction: Transaction, why: str, *, looked: bool) -> None:
        what = f"{transaction.function} follows a rule that this release of befl does not have"
        if looked:
            self._report.find("complete", transaction.block, transaction.txid, f"{what}: {why}")
        else:
            self._report.cannot(what, why)

    def _compare(self, transaction: Transaction, made: Endorsed, reads: ReadSet, writes: WriteSet) -> None:
        """Hold what the contract did against what was signed."""
        name = transaction.function
        signed = (transaction.response_status, transaction.result, transaction.event)
        if signed != (200, made.result, made.event):
            self._differs("answer", transaction, f"{name} returns or announces something else")
        else:
            self._report.looks("answer")
        summarised = ReadSet(made.reads.public, [_as_recorded(each) for each in made.reads.ranges], made.reads.private)
        for check, recorded, again in (
            ("read_set", reads.canonical(), summarised.canonical()),
            ("write_set", writes.canonical(), made.write_set),
        ):
            if recorded == again:
                self._report.looks(check)
            else:
                self._differs(check, transaction, f"{name}: {_difference(json.loads(recorded), json.loads(again))}")

    def _differs(self, check: str, transaction: Transaction, message: str) -> None:
        if self._report.looks(check):
            self._report.find(check, transaction.block, transaction.txid, message)


def _newer_rules(writes: WriteSet) -> list[str]:
    """Name the rules that a task written here fixes and that this release does not have."""
    for key, value in writes.public.items():
        if value is not None and key.startswith(_TASK):
            with contextlib.suppress(Exception):  # a false record: no rule
                return specs.unknown_rules(canonical.loads(value)["rules"])
    return []


# --- from Fabric's form -------------------------------------------------------------------------------------------


def _sets(space: Any, private: Mapping[str, Any]) -> tuple[ReadSet, WriteSet, list[str]]:
    """Read a namespace's part of a read-write set, with the private writes that came along; and what is odd in it."""
    found = kv_rwset_pb2.KVRWSet.FromString(space.rwset)
    reads = ReadSet(
        {each.key: version(each) for each in found.reads}, [_range(each) for each in found.range_queries_info]
    )
    writes = WriteSet({each.key: None if each.is_delete else each.value for each in found.writes})
    odd = [f"sets the policy of key {shown(each.key)}" for each in found.metadata_writes]
    names = [each.collection_name for each in space.collection_hashed_rwset]
    twice = sorted({name for name in names if names.count(name) > 1})
    odd += [f"names collection {name} more than once" for name in twice]
    for collection in space.collection_hashed_rwset:
        name, hashed = collection.collection_name, kv_rwset_pb2.HashedRWSet.FromString(collection.hashed_rwset)
        odd += [f"sets the policy of a key in collection {name}" for _ in hashed.metadata_writes]
        if hashed.hashed_reads:
            reads.private[name] = {each.key_hash.hex(): version(each) for each in hashed.hashed_reads}
        if not hashed.hashed_writes:
            continue
        plain = {digest(each.key): each for each in private[name].writes} if name in private else {}
        known, unknown = {}, {}
        for each in hashed.hashed_writes:
            key, value = each.key_hash.hex(), None if each.is_delete else each.value_hash.hex()
            if key in plain and value in (None, digest(plain[key].value)):
                known[plain[key].key] = None if value is None else plain[key].value
            else:
                unknown[key] = value
        writes.private |= {name: known} if known else {}
        writes.hashed |= {name: unknown} if unknown else {}
        if purged := {each.key_hash.hex() for each in hashed.hashed_writes if each.is_purge}:
            writes.purged[name] = purged
    return reads, writes, odd


def _range(query: Any) -> RangeRead:
    reads = tuple((each.key, version(each) or Version(0, 0)) for each in query.raw_reads.kv_reads)
    tree = query.reads_merkle_hashes
    return RangeRead(query.start_key, query.end_key, query.itr_exhausted, reads, _told(tree) if tree.max_level else "")


def _told(tree: Any) -> str:
    return f"{tree.max_degree} {tree.max_level} {' '.join(each.hex() for each in tree.max_level_hashes)}"


def _as_recorded(entry: RangeRead) -> RangeRead:
    """Return a range as Fabric records it: the reads, or of many a tree of hashes."""
    tree = summary([kv_read(*read) for read in entry.reads], _DEGREE)
    return entry if tree is None else RangeRead(entry.start, entry.end, entry.exhausted, (), _told(tree))


# --- in words -----------------------------------------------------------------------------------------------------


def shown(key: str) -> str:
    """Show a key as people read it: the parts of a composite one with strokes between them."""
    return "/".join(key.strip("\0").split("\0"))


def _difference(recorded: Mapping[str, Any], again: Mapping[str, Any]) -> str:
    """Name the first thing in which two sets in canonical form differ."""
    for part in sorted({*recorded, *again}):
        old, new = recorded.get(part, []), again.get(part, [])
        if part in ("public", "metadata"):
            old, new = dict(old), dict(new)
            for key in sorted({*old, *new}):
                if old.get(key, "") != new.get(key, ""):
                    return f"{shown(key)}: {_values(old.get(key, ''), new.get(key, ''))}"
        elif old != new:
            what = {"ranges": "the ranges read", "purged": "what is purged"}.get(part, "hashes of private data")
            return f"{what} differ: recorded {_short(old)}, its contract makes {_short(new)}"
    return "the encoding differs"


def _values(old: Any, new: Any) -> str:
    """Say how a key's two values differ, by fields where both are records."""
    try:
        one, two = json.loads(bytes.fromhex(old)), json.loads(bytes.fromhex(new))
        fields = [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]
        listed = (f"{name} is {_short(one.get(name))}, by its contract {_short(two.get(name))}" for name in fields)
        return "; ".join(listed)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return f"recorded {_short(old)}, by its contract {_short(new)}"


def _short(value: Any) -> str:
    text = "absent" if value == "" else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
