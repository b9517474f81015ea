"""What a ledger in memory committed, in Fabric's form: blocks as an auditor reads them, as far as execution looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2

from befl.audit.block import Transaction
from befl.audit.execution import Execution
from befl.audit.lineage import Lineage, trace
from befl.audit.report import Report
from befl.ledger import Endorsed, ReadSet, ValidationCode, WriteSet, split_composite_key
from befl.rules import canonical

from .conftest import Consortium

Blocks = dict[int, list[Transaction]]


class Recorded(Consortium):
    """A consortium whose ledger keeps what it committed; the numbers of its blocks are those of the ledger."""

    def __init__(self) -> None:
        self.blocks: Blocks = {}
        super().__init__()

    def register(self, *orgs: str) -> None:
        commit = self.ledger.commit

        def recording(endorsed):
            envelopes = [endorsed] if isinstance(endorsed, Endorsed) else list(endorsed)
            codes = commit(envelopes)
            number = self.ledger.height
            valid = [(at, each) for at, each in enumerate(envelopes) if codes[at] is ValidationCode.VALID]
            self.blocks[number] = [transaction(number, at, each) for at, each in valid]
            return codes

        self.ledger.commit = recording
        super().register(*orgs)


def transaction(block: int, index: int, made: Endorsed) -> Transaction:
    space, private = fabric(made.reads, made.writes)
    lifecycle = rwset_pb2.NsReadWriteSet(
        namespace="_lifecycle",
        rwset=kv_rwset_pb2.KVRWSet(
            reads=[kv_rwset_pb2.KVRead(key="namespaces/fields/befl/Sequence")]
        ).SerializeToString(),
    )
    return Transaction(
        block,
        index,
        txid=made.txid,
        kind="endorser",
        channel="befl",
        timestamp=made.timestamp,
        creator=identities_pb2.SerializedIdentity(
            mspid=made.creator.msp_id, id_bytes=made.creator.certificate
        ).SerializeToString(),
        chaincode="befl",
        function=made.function,
        args=made.args,
        read_write_set=rwset_pb2.TxReadWriteSet(ns_rwset=[lifecycle, space]),
        response_status=200,
        result=made.result,
        event=made.event,
        private=private,
    )


def fabric(reads: ReadSet, writes: WriteSet) -> tuple[Any, dict[str, Any]]:
    """Return a namespace's read-write set, and the private writes by collection."""
    public = kv_rwset_pb2.KVRWSet(
        reads=[kv_rwset_pb2.KVRead(key=key, version=version(at)) for key, at in sorted(reads.public.items())],
        range_queries_info=[
            kv_rwset_pb2.RangeQueryInfo(
                start_key=each.start,
                end_key=each.end,
                itr_exhausted=each.exhausted,
                raw_reads=kv_rwset_pb2.QueryReads(
                    kv_reads=[kv_rwset_pb2.KVRead(key=key, version=version(at)) for key, at in each.reads]
                ),
            )
            for each in reads.ranges
        ],
        writes=[write(key, value) for key, value in sorted(writes.public.items())],
    )
    collections, private = [], {}
    for name in sorted({*reads.private, *writes.private}):
        hashed = kv_rwset_pb2.HashedRWSet(
            hashed_reads=[
                kv_rwset_pb2.KVReadHash(key_hash=bytes.fromhex(key), version=version(at))
                for key, at in sorted(reads.private.get(name, {}).items())
            ],
            hashed_writes=[
                kv_rwset_pb2.KVWriteHash(
                    key_hash=sha256(key.encode()).digest(),
                    is_delete=value is None,
                    value_hash=b"" if value is None else sha256(value).digest(),
                    is_purge=sha256(key.encode()).hexdigest() in writes.purged.get(name, ()),
                )
                for key, value in writes.private.get(name, {}).items()
            ],
        )
        collections.append(
            rwset_pb2.CollectionHashedReadWriteSet(collection_name=name, hashed_rwset=hashed.SerializeToString())
        )
        if name in writes.private:
            private[name] = kv_rwset_pb2.KVRWSet(writes=[write(*each) for each in sorted(writes.private[name].items())])
    space = rwset_pb2.NsReadWriteSet(
        namespace="befl", rwset=public.SerializeToString(), collection_hashed_rwset=collections
    )
    return space, private


def version(at: tuple[int, int] | None) -> Any:
    return None if at is None else kv_rwset_pb2.Version(block_num=at[0], tx_num=at[1])


def write(key: str, value: bytes | None) -> Any:
    return kv_rwset_pb2.KVWrite(key=key, is_delete=value is None, value=value or b"")


def executed(blocks: Blocks, report: Report | None = None) -> tuple[Execution, Report]:
    """Run blocks again."""
    found = Report() if report is None else report
    execution = Execution(found)
    for number, transactions in blocks.items():
        execution.block(number, transactions)
    execution.end()
    return execution, found


def traced(consortium: Recorded, report: Report | None = None, folder: Any = None) -> tuple[Lineage, Report]:
    """Run blocks again and follow the consortium's task."""
    execution, found = executed(consortium.blocks, report)
    return trace(execution, found, consortium.task, folder), found


def changed(blocks: Blocks, function: str, change: Callable[[Transaction], Transaction], place: int = 0) -> None:
    """Put another transaction in the place of the ``place``-th call of a function."""
    found = [(number, at) for number in blocks for at, one in enumerate(blocks[number]) if one.function == function]
    number, at = found[place]
    blocks[number][at] = change(blocks[number][at])


def edited(made: Transaction, edit: Callable[[Any], object], namespace: str = "befl") -> Transaction:
    """Return a transaction with another public part of its read-write set."""
    sets = rwset_pb2.TxReadWriteSet.FromString(made.read_write_set.SerializeToString())
    [space] = [each for each in sets.ns_rwset if each.namespace == namespace]
    public = kv_rwset_pb2.KVRWSet.FromString(space.rwset)
    edit(public)
    space.rwset = public.SerializeToString()
    return replace(made, read_write_set=sets)


def record_changed(made: Transaction, kind: str, **fields: Any) -> Transaction:
    """Return a transaction that writes other fields to its record of a kind."""

    def edit(public: Any) -> None:
        for each in public.writes:
            if split_composite_key(each.key)[0] == kind:
                each.value = canonical.dumps(canonical.loads(each.value) | fields)

    return edited(made, edit)
