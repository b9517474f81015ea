"""A ledger in memory with Fabric's semantics: endorse now, order later, check at commit what was read.

One :class:`MemoryLedger` is a channel with one peer and one chaincode. It follows Fabric 3.1 where a contract could
tell the difference:

* Simulation (``txmgr/tx_simulator.go``, ``query_executor.go``): reads come from committed state, never from the
  transaction's own writes; they are recorded with versions; the refusals are those of the peer.
* Validation (``validation/validator.go``): transaction by transaction within a block, first the transaction id, then
  keys (MVCC), then ranges (phantoms), then the hashes of private keys. An invalid transaction stays in its block and
  changes nothing.
* Ranges reach the chaincode in batches of a hundred (``chaincode/chaincode_support.go``); what was fetched counts as
  read.

There are no endorsement policies here and no time tolerance: those are the network's and the shim's. A key's own
policy is kept and stands in the write set, and nobody enforces it. Clients call one chaincode; it can call those that
are named beside it, each with a state of its own.
"""

from __future__ import annotations

import bisect
import enum
import hashlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from befl.contracts import refusals
from befl.contracts.stub import KV, Chaincode, Creator, KeyModification, Response
from befl.ledger.rwset import RangeRead, ReadSet, Version, WriteSet, digest
from befl.rules import canonical
from befl.rules.errors import BeflError

_log: Final = logging.getLogger("befl.ledger")
_BATCH: Final = 100
_OK: Final = 200
_REFUSED: Final = 500


class ValidationCode(enum.Enum):
    """What became of an ordered transaction; the names are Fabric's ``TxValidationCode``."""

    VALID = "VALID"
    MVCC_READ_CONFLICT = "MVCC_READ_CONFLICT"
    PHANTOM_READ_CONFLICT = "PHANTOM_READ_CONFLICT"
    DUPLICATE_TXID = "DUPLICATE_TXID"


@dataclass(frozen=True, slots=True)
class Event:
    """A chaincode event of a valid transaction.

    Parameters
    ----------
    block : int
        Number of the block.
    txid : str
        The transaction.
    name : str
        The event's name.
    payload : bytes
        What the contract gave.
    """

    block: int
    txid: str
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Endorsed:
    """A simulated transaction that waits to be ordered: nothing has changed yet.

    Parameters
    ----------
    txid : str
        64 lower-case hex digits.
    timestamp : int
        The proposal's, in milliseconds since 1970-01-01 UTC.
    creator : Creator
        Who proposed it.
    function : str
        The contract and its function, as in ``TaskContract:Publish``.
    args : tuple of str
        Its arguments.
    result : bytes
        What the chaincode returned.
    reads : ReadSet
        What it saw.
    writes : WriteSet
        What it wants to change, private values included.
    event : tuple of (str, bytes) or None
        Name and payload of its event.
    called : mapping of str to (ReadSet, WriteSet)
        What other chaincodes saw and want to change that it called, by name.
    """

    txid: str
    timestamp: int
    creator: Creator
    function: str
    args: tuple[str, ...]
    result: bytes
    reads: ReadSet
    writes: WriteSet
    event: tuple[str, bytes] | None
    called: Mapping[str, tuple[ReadSet, WriteSet]] = field(default_factory=dict)

    @property
    def read_set(self) -> bytes:
        """The read set in canonical form."""
        return self.reads.canonical()

    @property
    def write_set(self) -> bytes:
        """The write set in canonical form: private keys and values are hashes."""
        return self.writes.canonical()


@dataclass(frozen=True, slots=True)
class Transaction:
    """An ordered transaction, as a replay needs it.

    Parameters
    ----------
    txid, timestamp, creator, function, args, result, event
        As in :class:`Endorsed`.
    read_set, write_set : bytes
        In canonical form.
    code : ValidationCode
        What became of it.
    """

    txid: str
    timestamp: int
    creator: Creator
    function: str
    args: tuple[str, ...]
    result: bytes
    event: tuple[str, bytes] | None
    read_set: bytes
    write_set: bytes
    code: ValidationCode


@dataclass(frozen=True, slots=True)
class Block:
    """One block.

    Parameters
    ----------
    number : int
        From 1 on: block 0 of a channel is its configuration.
    transactions : tuple of Transaction
        Valid and invalid ones, in order.
    """

    number: int
    transactions: tuple[Transaction, ...]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A valid transaction.

    Parameters
    ----------
    result : bytes
        What the chaincode returned.
    txid : str
        The transaction.
    block : int
        Number of its block.
    """

    result: bytes
    txid: str
    block: int


@dataclass(slots=True)
class _State:
    """Committed key-value pairs with versions, and their keys in order."""

    values: dict[str, tuple[bytes, Version]] = field(default_factory=dict)
    policies: dict[str, bytes] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def get(self, key: str) -> bytes:
        entry = self.values.get(key)
        return b"" if entry is None else entry[0]

    def version(self, key: str) -> Version | None:
        entry = self.values.get(key)
        return None if entry is None else entry[1]

    def write(self, key: str, value: bytes | None, version: Version) -> None:
        if value is None:
            self.policies.pop(key, None)
            if self.values.pop(key, None) is not None:
                del self.keys[bisect.bisect_left(self.keys, key)]
            return
        if key not in self.values:
            bisect.insort(self.keys, key)
        self.values[key] = (value, version)

    def give_policy(self, key: str, policy: bytes, version: Version) -> bool:
        """Give a key its own policy, which is a new version of it; a key that is absent gets none."""
        if key not in self.values:
            return False
        self.values[key] = (self.values[key][0], version)
        self.policies[key] = policy
        return True

    def range(self, start: str, end: str, *, include_end: bool = False) -> Iterator[str]:
        first = bisect.bisect_left(self.keys, start)
        if not end:
            return itertools.islice(self.keys, first, None)
        last = (bisect.bisect_right if include_end else bisect.bisect_left)(self.keys, end)
        return itertools.islice(self.keys, first, last)

    def read(self, keys: Iterable[str]) -> tuple[tuple[str, Version], ...]:
        return tuple((key, self.values[key][1]) for key in keys)


_Touched = tuple[str | None, str]
"""Collection (None for the public state) and key (hashed, if private)."""


class _Committed:
    """What is committed: the public state, the private values, and what validation sees of them."""

    def __init__(self, collections: Sequence[str]) -> None:
        self.public = _State()
        self.private = {name: _State() for name in collections}
        self.hashed = {name: _State() for name in collections}  # key: SHA-256 in hex; value: SHA-256
        self.missing: set[tuple[str, str]] = set()
        self.history: dict[str, list[KeyModification]] = {}

    def collection(self, name: str) -> _State:
        if name not in self.private:
            raise refusals.unknown_collection(name)
        return self.private[name]

    def lacks(self, collection: str, key: str) -> bool:
        """Say whether a private key has a value that is not at hand: its hash was written without it, or by a test."""
        version = self.hashed[collection].version(digest(key))
        if version is None:
            return False
        return (collection, key) in self.missing or self.private[collection].version(key) != version

    def check(self, reads: ReadSet, touched: set[_Touched]) -> ValidationCode:
        """Say whether what was read still stands, ``touched`` being what changed earlier in the block."""
        for key, version in reads.public.items():
            if (None, key) in touched or self.public.version(key) != version:
                return ValidationCode.MVCC_READ_CONFLICT
        for entry in reads.ranges:
            keys = self.public.range(entry.start, entry.end, include_end=not entry.exhausted)
            if self.public.read(keys) != entry.reads:
                return ValidationCode.PHANTOM_READ_CONFLICT
        for collection, keys_read in reads.private.items():
            for hashed, version in keys_read.items():
                if (collection, hashed) in touched or self.hashed[collection].version(hashed) != version:
                    return ValidationCode.MVCC_READ_CONFLICT
        return ValidationCode.VALID

    def apply(self, writes: WriteSet, version: Version, txid: str, timestamp: int) -> set[_Touched]:
        """Write, and return what was touched: collection (None for the public state) and key (hashed, if private)."""
        touched: set[_Touched] = set()
        for key, value in writes.public.items():
            self.public.write(key, value, version)
            touched.add((None, key))
            change = KeyModification(txid, value or b"", timestamp, value is None)
            self.history.setdefault(key, []).append(change)
        for key, policy in writes.metadata.items():
            if self.public.give_policy(key, policy, version):
                touched.add((None, key))
        return touched | self._apply_private(writes, version)

    def _apply_private(self, writes: WriteSet, version: Version) -> set[_Touched]:
        touched: set[_Touched] = set()
        for collection, hashes in writes.hashed.items():
            for hashed, found in hashes.items():
                if found is None:  # what was deleted is no more, though only its hash says so
                    private = self.private[collection]
                    for key in [key for key in private.keys if digest(key) == hashed]:
                        private.write(key, None, version)
                self.hashed[collection].write(hashed, None if found is None else bytes.fromhex(found), version)
                touched.add((collection, hashed))
        for collection, entries in writes.private.items():
            for key, value in entries.items():
                hashed, found_value = digest(key), None if value is None else hashlib.sha256(value).digest()
                self.private[collection].write(key, value, version)
                self.hashed[collection].write(hashed, found_value, version)
                touched.add((collection, hashed))
        for collection, policies in writes.private_metadata.items():
            for key, policy in policies.items():
                if self.hashed[collection].give_policy(digest(key), policy, version):
                    self.private[collection].give_policy(key, policy, version)
                    touched.add((collection, digest(key)))
        return touched


class MemoryLedger:
    """A channel in memory that runs one chaincode.

    Parameters
    ----------
    chaincode : Chaincode
        What runs, as on a peer: once a transaction.
    channel : str
        The channel's name.
    collections : sequence of str
        The private data collections of the chaincode definition.
    clock : callable, optional
        Milliseconds since 1970-01-01 UTC, for proposals that name no time; the machine's clock unless given.
    others : mapping of str to Chaincode, optional
        Other chaincodes of the channel, which the one that runs can call by these names.

    Notes
    -----
    Safe to use from several threads: one call runs at a time. Transaction ids follow from the channel, the caller's
    institution and the order of the calls, so the same calls make the same ledger.

    An exception in the chaincode that is no ``BeflError`` is a mistake, and comes out as it is:
    who calls this ledger wants to see where it was made. A peer's client is told ``BEFL-G-009`` and nothing more. To a
    chaincode that calls another one, the other's mistake is that code as on a peer, and the traceback is logged.
    """

    def __init__(
        self,
        chaincode: Chaincode,
        *,
        channel: str = "befl",
        collections: Sequence[str] = ("updates", "models"),
        clock: Callable[[], int] | None = None,
        others: Mapping[str, Chaincode] | None = None,
    ) -> None:
        self._chaincode = chaincode
        self._others = dict(others or {})
        self._channel = channel
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self._lock = threading.RLock()
        self._calls = {"evaluate": 0, "endorse": 0}
        self._committed = _Committed(collections)
        self._spaces = {"": self._committed} | {name: _Committed(collections) for name in self._others}
        self._txids: set[str] = set()
        self._blocks: list[Block] = []

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks so far, the first one (number 1) first."""
        with self._lock:
            return tuple(self._blocks)

    @property
    def height(self) -> int:
        """Number of the last block; 0 when there is none."""
        with self._lock:
            return len(self._blocks)

    def state(self) -> dict[str, bytes]:
        """Return a copy of the public state, in key order."""
        with self._lock:
            public = self._committed.public
            return {key: public.get(key) for key in public.keys}

    def private_state(self, collection: str) -> dict[str, bytes]:
        """Return a copy of a private collection, in key order."""
        with self._lock:
            private = self._committed.collection(collection)
            return {key: private.get(key) for key in private.keys}

    def evaluate(
        self,
        caller: Creator,
        function: str,
        *args: str,
        transient: Mapping[str, bytes] | None = None,
        timestamp: int | None = None,
    ) -> bytes:
        """Run a transaction for its result only.

        Raises
        ------
        BeflError
            The chaincode's or the ledger's refusal.
        """
        return self._simulate("evaluate", caller, function, args, transient, timestamp, None).result

    def endorse(
        self,
        caller: Creator,
        function: str,
        *args: str,
        transient: Mapping[str, bytes] | None = None,
        timestamp: int | None = None,
        txid: str | None = None,
    ) -> Endorsed:
        """Run a transaction and keep what it read and wants to write; nothing changes.

        Raises
        ------
        BeflError
            The chaincode's or the ledger's refusal; ``BEFL-G-021`` for a ``txid`` that was ordered before.
        """
        return self._simulate("endorse", caller, function, args, transient, timestamp, txid)

    def commit(self, endorsed: Endorsed | Iterable[Endorsed]) -> list[ValidationCode]:
        """Order transactions as one block, validate them one after another, and apply the valid ones.

        Returns
        -------
        list of ValidationCode
            One for each, in order. An invalid transaction changes nothing.

        Raises
        ------
        ValueError
            When there is no transaction: an orderer cuts no empty block.
        """
        envelopes = [endorsed] if isinstance(endorsed, Endorsed) else list(endorsed)
        if not envelopes:
            raise ValueError("a block holds at least one transaction")
        with self._lock:
            number = len(self._blocks) + 1
            # Fabric: whatever an earlier transaction of the block touched is in conflict, even when nothing changed
            touched: dict[str, set[_Touched]] = {name: set() for name in self._spaces}
            transactions = []
            for index, envelope in enumerate(envelopes):
                code = self._validate(envelope, touched)
                self._txids.add(envelope.txid)
                if code is ValidationCode.VALID:
                    version = Version(number, index)
                    for name, (_, writes) in _by_chaincode(envelope):
                        space = self._spaces[name]
                        touched[name] |= space.apply(writes, version, envelope.txid, envelope.timestamp)
                transactions.append(
                    Transaction(
                        envelope.txid,
                        envelope.timestamp,
                        envelope.creator,
                        envelope.function,
                        envelope.args,
                        envelope.result,
                        envelope.event,
                        envelope.read_set,
                        envelope.write_set,
                        code,
                    )
                )
            self._blocks.append(Block(number, tuple(transactions)))
            return [transaction.code for transaction in transactions]

    def submit(
        self,
        caller: Creator,
        function: str,
        *args: str,
        transient: Mapping[str, bytes] | None = None,
        timestamp: int | None = None,
        txid: str | None = None,
    ) -> Submitted:
        """Endorse a transaction and commit it in a block of its own.

        Raises
        ------
        BeflError
            The refusal of :meth:`endorse`.
        """
        with self._lock:
            endorsed = self.endorse(caller, function, *args, transient=transient, timestamp=timestamp, txid=txid)
            self.commit_valid(endorsed)
            return Submitted(endorsed.result, endorsed.txid, len(self._blocks))

    def commit_valid(self, endorsed: Endorsed) -> None:
        """Commit one transaction in a block of its own, and refuse to go on when it is invalid.

        Raises
        ------
        BeflError
            ``BEFL-G-020`` after a conflict, ``BEFL-G-021`` for a transaction id that was ordered before.
        """
        (code,) = self.commit(endorsed)
        if code is ValidationCode.DUPLICATE_TXID:
            raise _duplicate(endorsed.txid)
        if code is not ValidationCode.VALID:
            raise BeflError(
                "BEFL-G-020",
                f"{endorsed.function}: transaction {endorsed.txid} is invalid: {code.value}",
                "Read the state again, and submit again if it is still wanted.",
            )

    def write(self, writes: WriteSet, version: Version, txid: str, timestamp: int) -> None:
        """Write into the state what a valid transaction of a real channel wrote, at its place there.

        It stands in no block of this ledger: a replay brings the state forward by what was recorded, and endorses
        each transaction on it to compare. A private value of which only the hash is written is missing from then on:
        to read it is ``BEFL-G-010``.

        Raises
        ------
        BeflError
            ``BEFL-G-014`` for a collection that the chaincode definition does not name; nothing is written then.
        """
        with self._lock:
            for collection in writes.private | writes.hashed | writes.private_metadata:
                self._committed.collection(collection)
            self._committed.apply(writes, version, txid, timestamp)

    def events(self, since_block: int = 0) -> list[Event]:
        """Return the events of valid transactions, in order, from block ``since_block`` on."""
        return [
            Event(block.number, transaction.txid, *transaction.event)
            for block in self.blocks[max(since_block - 1, 0) :]
            for transaction in block.transactions
            if transaction.code is ValidationCode.VALID and transaction.event is not None
        ]

    @contextmanager
    def private_data_missing(self, collection: str, key: str) -> Iterator[None]:
        """Act inside the block as a peer that gossip has not brought this private value yet.

        Reading the value is then ``BEFL-G-010``; its hash can be read, as on a real peer.
        """
        with self._lock:
            self._committed.missing.add((collection, key))
        try:
            yield
        finally:
            with self._lock:
                self._committed.missing.discard((collection, key))

    def _simulate(
        self,
        kind: str,
        caller: Creator,
        function: str,
        args: tuple[str, ...],
        transient: Mapping[str, bytes] | None,
        timestamp: int | None,
        txid: str | None,
    ) -> Endorsed:
        with self._lock:
            self._calls[kind] += 1
            if txid is None:
                seed = [kind, self._channel, self._calls[kind], caller.msp_id, function]
                txid = hashlib.sha256(canonical.dumps(seed)).hexdigest()
            elif txid in self._txids:
                raise _duplicate(txid)
            simulation = _Simulation()
            stub = _MemoryStub(
                self._committed,
                self._channel,
                txid,
                caller,
                function,
                args,
                transient or {},
                self._clock() if timestamp is None else timestamp,
                self._call,
                simulation,
            )
            result = self._chaincode.invoke(stub)
            stub.finish_write_batch()
            stub.close()
            return Endorsed(
                txid,
                stub.get_tx_timestamp(),
                caller,
                function,
                args,
                result,
                stub.reads,
                stub.writes,
                stub.event,
                {name: sets for name, sets in simulation.sets.items() if name},
            )

    def _call(self, caller: _MemoryStub, name: str, args: list[bytes]) -> Response:
        """Run another chaincode in a transaction; what it wrote before it refused stays written, as on a peer."""
        chaincode = self._others.get(name)
        if chaincode is None:
            raise refusals.unknown_chaincode(name)
        stub = caller.calling(name, self._spaces[name])  # refuses one that waits for an answer already
        try:
            stub.give(args)
            result = chaincode.invoke(stub)
            stub.finish_write_batch()
        except BeflError as error:
            return Response(_REFUSED, str(error), b"")
        except Exception:  # noqa: BLE001  # as on a peer, where the other chaincode is another program
            _log.exception("mistake in the called chaincode %s", name)
            return Response(_REFUSED, str(refusals.mistake(stub.get_tx_id())), b"")
        finally:
            stub.end_call()
        return Response(_OK, "", result)

    def _validate(self, envelope: Endorsed, touched: Mapping[str, set[_Touched]]) -> ValidationCode:
        if envelope.txid in self._txids:
            return ValidationCode.DUPLICATE_TXID
        found = (self._spaces[name].check(reads, touched[name]) for name, (reads, _) in _by_chaincode(envelope))
        return next((code for code in found if code is not ValidationCode.VALID), ValidationCode.VALID)


def _by_chaincode(envelope: Endorsed) -> list[tuple[str, tuple[ReadSet, WriteSet]]]:
    """Return what a transaction read and wants to write, its own chaincode (named "") first."""
    return [("", (envelope.reads, envelope.writes)), *sorted(envelope.called.items(), key=lambda entry: entry[0])]


@dataclass(slots=True)
class _Simulation:
    """What the chaincodes of one transaction share: a peer keeps one simulator for all of them."""

    sets: dict[str, tuple[ReadSet, WriteSet]] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    paged: bool = False
    private_range: bool = False

    def has_written(self) -> bool:
        return any(writes for _, writes in self.sets.values())


class _MemoryStub:
    """The stub of one simulation: reads committed state, collects reads and writes."""

    def __init__(
        self,
        committed: _Committed,
        channel: str,
        txid: str,
        creator: Creator,
        function: str,
        args: Sequence[str],
        transient: Mapping[str, bytes],
        timestamp: int,
        call: Callable[[_MemoryStub, str, list[bytes]], Response],
        simulation: _Simulation,
        name: str = "",
    ) -> None:
        self._committed = committed
        self._channel = channel
        self._txid = txid
        self._creator = creator
        self._function = function
        self._args = list(args)
        self._transient = dict(transient)
        self._timestamp = timestamp
        self._call = call
        self._simulation = simulation
        self._batch: list[Callable[[], None]] | None = None
        self._ranges: list[_Range] = []
        self.reads, self.writes = simulation.sets.setdefault(name, (ReadSet(), WriteSet()))
        self.event: tuple[str, bytes] | None = None

    def calling(self, name: str, committed: _Committed) -> _MemoryStub:
        """Return the stub of another chaincode that is called: the same proposal, a state and arguments of its own."""
        if name in self._simulation.running:  # in the peer's words: it has the transaction in hand once a chaincode
            raise BeflError(
                "BEFL-G-015",
                f"INVOKE_CHAINCODE failed: transaction ID: {self._txid}: execute failed: error sending: "
                f"txid: {self._txid}({self._channel}) exists",
                "The peer's log says more.",
            )
        self._simulation.running.append(name)
        return _MemoryStub(
            committed,
            self._channel,
            self._txid,
            self._creator,
            "",
            (),
            self._transient,
            self._timestamp,
            self._call,
            self._simulation,
            name,
        )

    def give(self, args: Sequence[bytes]) -> None:
        """Give the stub of a called chaincode its function and arguments; refuses what is not UTF-8."""
        self._function, *self._args = [refusals.argument(each) for each in args] or [""]

    def end_call(self) -> None:
        """End what :meth:`calling` began."""
        self._simulation.running.pop()
        self.close()

    def close(self) -> None:
        """Put down what the ranges showed, once it is known how far each was read."""
        self.reads.ranges.extend(entry.seen() for entry in self._ranges)

    def get_function_and_parameters(self) -> tuple[str, list[str]]:
        return self._function, list(self._args)

    def get_tx_id(self) -> str:
        return self._txid

    def get_channel_id(self) -> str:
        return self._channel

    def get_tx_timestamp(self) -> int:
        return self._timestamp

    def get_creator(self) -> Creator:
        return self._creator

    def get_transient(self) -> Mapping[str, bytes]:
        return self._transient

    def get_state(self, key: str) -> bytes:
        refusals.check_text(key)
        public = self._committed.public
        self.reads.public.setdefault(key, public.version(key))
        return public.get(key)

    def put_state(self, key: str, value: bytes) -> None:
        refusals.check_key(key)
        refusals.check_value(key, value)
        self._write(lambda: self.writes.public.update({key: bytes(value)}))

    def del_state(self, key: str) -> None:
        refusals.check_key(key)
        self._write(lambda: self.writes.public.update({key: None}))

    def get_multiple_states(self, keys: Sequence[str]) -> list[bytes]:
        return [self.get_state(key) for key in keys]

    def get_state_by_range(self, start_key: str, end_key: str) -> Iterator[KV]:
        return self._iterate(*refusals.simple_range(start_key, end_key))

    def get_state_by_range_with_pagination(
        self, start_key: str, end_key: str, page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        refusals.check_page_size(page_size)
        return self._page(*refusals.simple_range(start_key, end_key), page_size, bookmark)

    def get_history_for_key(self, key: str) -> Iterator[KeyModification]:
        refusals.check_key(key)
        return iter(self._committed.history.get(key, [])[::-1])

    def get_state_validation_parameter(self, key: str) -> bytes:
        self.get_state(key)  # the policy is of the key's version: reading it reads the key
        return self._committed.public.policies.get(key, b"")

    def set_state_validation_parameter(self, key: str, policy: bytes) -> None:
        refusals.check_key(key)
        self._write(lambda: self.writes.metadata.update({key: bytes(policy)}))

    def start_write_batch(self) -> None:
        if self._batch is None:
            self._batch = []

    def finish_write_batch(self) -> None:
        batch, self._batch = self._batch, None
        for write in batch or ():
            write()

    def get_state_by_partial_composite_key(self, object_type: str, attributes: Sequence[str]) -> Iterator[KV]:
        return self._iterate(*refusals.composite_range(object_type, attributes))

    def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        refusals.check_page_size(page_size)
        return self._page(*refusals.composite_range(object_type, attributes), page_size, bookmark)

    def get_private_data(self, collection: str, key: str) -> bytes:
        private = self._private(collection, key)
        if self._committed.lacks(collection, key):
            raise refusals.private_value_missing(collection, key)
        self._read_hashed(collection, key)
        return private.get(key)

    def get_private_data_hash(self, collection: str, key: str) -> bytes:
        self._private(collection, key)
        self._read_hashed(collection, key)
        return self._committed.hashed[collection].get(digest(key))

    def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        refusals.check_collection(collection)
        refusals.check_key(key)
        refusals.check_value(key, value)
        self._write_private(collection, key, bytes(value))

    def get_multiple_private_data(self, collection: str, keys: Sequence[str]) -> list[bytes]:
        return [self.get_private_data(collection, key) for key in keys]

    def del_private_data(self, collection: str, key: str) -> None:
        refusals.check_collection(collection)
        refusals.check_key(key)
        self._write_private(collection, key, None)

    def purge_private_data(self, collection: str, key: str) -> None:
        refusals.check_collection(collection)
        refusals.check_key(key)
        self._write_private(collection, key, None, purge=True)

    def get_private_data_by_range(self, collection: str, start_key: str, end_key: str) -> Iterator[KV]:
        refusals.check_collection(collection)
        return self._iterate_private(collection, *refusals.simple_range(start_key, end_key))

    def get_private_data_by_partial_composite_key(
        self, collection: str, object_type: str, attributes: Sequence[str]
    ) -> Iterator[KV]:
        refusals.check_collection(collection)
        return self._iterate_private(collection, *refusals.composite_range(object_type, attributes))

    def get_private_data_validation_parameter(self, collection: str, key: str) -> bytes:
        self._private(collection, key)
        self._read_hashed(collection, key)
        return self._committed.hashed[collection].policies.get(digest(key), b"")

    def set_private_data_validation_parameter(self, collection: str, key: str, policy: bytes) -> None:
        refusals.check_collection(collection)
        refusals.check_key(key)

        def write() -> None:
            self.writes.private_metadata.setdefault(collection, {})[key] = bytes(policy)

        self._write(write, collection)

    def invoke_chaincode(self, chaincode_name: str, args: Sequence[str | bytes], channel: str = "") -> Response:
        refusals.check_text(chaincode_name, channel, *(argument for argument in args if isinstance(argument, str)))
        if self._batch is not None:  # what it reads and checks comes after what was written
            self.finish_write_batch()
            self.start_write_batch()
        if channel not in ("", self._channel):
            raise refusals.unknown_channel(chaincode_name, channel)
        given = [argument.encode() if isinstance(argument, str) else argument for argument in args]
        return self._call(self, chaincode_name, given)

    def set_event(self, name: str, payload: bytes) -> None:
        refusals.check_event_name(name)
        self.event = (name, bytes(payload))

    def _private(self, collection: str, key: str) -> _State:
        """Return what is committed of a collection in which a key is to be read."""
        refusals.check_collection(collection)
        refusals.check_text(key)
        return self._committed.collection(collection)

    def _write(self, write: Callable[[], None], collection: str | None = None) -> None:
        """Make a write, or keep it for the end of the batch: a peer sees it, and may refuse it, only then."""
        if self._batch is not None:
            self._batch.append(lambda: self._write(write, collection))
            return
        if collection is not None:
            self._committed.collection(collection)
        if self._simulation.private_range:
            raise refusals.write_after_private_range()
        if self._simulation.paged:
            raise refusals.write_after_page()
        write()

    def _write_private(self, collection: str, key: str, value: bytes | None, *, purge: bool = False) -> None:
        def write() -> None:
            self.writes.private.setdefault(collection, {})[key] = value
            purged = self.writes.purged.setdefault(collection, set())
            (purged.add if purge else purged.discard)(digest(key))

        self._write(write, collection)

    def _iterate(self, start: str, end: str) -> Iterator[KV]:
        entry = _Range(self._committed.public, start, end)
        self._ranges.append(entry)
        return iter(entry)

    def _iterate_private(self, collection: str, start: str, end: str) -> Iterator[KV]:
        private = self._committed.collection(collection)
        if self._simulation.has_written():
            raise refusals.private_range_after_write()
        self._simulation.private_range = True
        keys = [key for key in private.range(start, end) if not self._committed.lacks(collection, key)]
        return iter([KV(key, private.get(key)) for key in keys])

    def _page(self, start: str, end: str, page_size: int, bookmark: str) -> tuple[list[KV], str]:
        refusals.check_text(bookmark)
        if self._simulation.has_written():
            raise refusals.page_after_write()
        self._simulation.paged = True
        public = self._committed.public
        keys = list(itertools.islice(public.range(bookmark or start, end), page_size + 1))
        page = [KV(key, public.get(key)) for key in keys[:page_size]]
        # Fabric notes a page as if the range ended with it: ordered as a transaction, it is a phantom conflict
        self.reads.ranges.append(RangeRead(bookmark or start, end, exhausted=True, reads=public.read(keys[:page_size])))
        return page, keys[page_size] if len(keys) > page_size else ""

    def _read_hashed(self, collection: str, key: str) -> None:
        hashed = digest(key)
        version = self._committed.hashed[collection].version(hashed)
        self.reads.private.setdefault(collection, {}).setdefault(hashed, version)


class _Range:
    """One range, fetched in batches; what was fetched is what was read."""

    def __init__(self, state: _State, start: str, end: str) -> None:
        self._state = state
        self._start, self._end = start, end
        self._keys = list(state.range(start, end))
        # a peer fills a batch and looks one entry further, to know whether there is more
        self._asked = 1 + _BATCH

    def __iter__(self) -> Iterator[KV]:
        for index, key in enumerate(self._keys):
            if index == self._asked - 1:
                self._asked += _BATCH
            yield KV(key, self._state.get(key))

    def seen(self) -> RangeRead:
        exhausted = len(self._keys) < self._asked
        reads = self._state.read(self._keys[: self._asked])
        return RangeRead(self._start, self._end if exhausted else reads[-1][0], exhausted, reads)


def _duplicate(txid: str) -> BeflError:
    return BeflError("BEFL-G-021", f"transaction {txid} was ordered before", "Ask for its commit status.")
