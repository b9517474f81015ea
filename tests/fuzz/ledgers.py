"""Ledgers of which the fuzzer chooses parts: they are signed and sealed anew, so that what lies behind is reached.

A byte flipped in a block ends at its hash or at a signature. Whoever holds keys of a channel (one member is enough for
an invalid transaction, a majority for a valid one) may put anything where the audit decodes: these bytes are parts.
"""

from __future__ import annotations

import copy
import functools
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2, collection_pb2, proposal_pb2
from fabric_protos.peer.lifecycle import db_pb2
from google.protobuf.message import DecodeError
from tests.contract.played import Recorded, executed
from tests.unit.audit import factory

from befl.audit import query, replay
from befl.audit.block import Block
from befl.audit.lineage import trace
from befl.ledger import create_composite_key
from befl.rules.errors import BeflError

_TASK: Final = "f" * 16
_DEFINED: Final = ("ValidationInfo", "Collections")
_CHAINCODES: Final = ("befl", "_lifecycle", "lscc", "x", "")


def pieces(content: bytes) -> Iterator[bytes]:
    """Return what stands in bytes, each behind its length."""
    while content:
        length = int.from_bytes(content[:3], "big")
        yield content[3 : 3 + length]
        content = content[3 + length :]


def joined(*parts: bytes) -> bytes:
    """Put parts together, as :func:`pieces` takes them apart."""
    return b"".join(len(each).to_bytes(3, "big") + each for each in parts)


# --- a channel: what peers judge ------------------------------------------------------------------------------------


@functools.cache
def _channel() -> tuple[factory.Channel, list[Block]]:
    channel = factory.ledger()
    return channel, channel.blocks()


def audited(content: bytes) -> object:
    """Audit a channel with some more blocks made of parts: verify, run, follow, list.

    The parts: whether and how (a byte each: chaincode, endorsers, which flag), the definition's two values, a key's own
    policy, then of two transactions each read-write set, private data, event, proposal and time; last a commit hash.
    """
    base, blocks = _channel()
    channel = copy.copy(base)
    channel.messages, channel.recipes = list(base.messages), dict(base.recipes)
    parts = [*pieces(content), *[b""] * 15][:15]
    how = [*parts[0], 0, 0, 0]
    chaincode = _CHAINCODES[how[0] % len(_CHAINCODES)]
    endorsers = [each.peer for each in channel.members[: 1 + how[1] % 3]]
    made = []
    defined = {f"namespaces/fields/befl/{name}": part for name, part in zip(_DEFINED, parts[1:3], strict=True) if part}
    if defined:
        made.append([channel.recipe(chaincode="_lifecycle", event_of="_lifecycle", writes=defined)])
    if parts[3]:
        made.append([channel.recipe(writes={"k1": b"1"}, policies={"k1": parts[3]})])
    some = [_transaction(channel, chaincode, endorsers, parts[at : at + 5]) for at in (4, 9)]
    made += [some, [replace(some[0], nonce=b"again" * 5)]]
    for each in made:
        channel.add(*each, flags=[how[2]] * len(each))
    if parts[14]:
        channel.messages[-1].block.metadata.metadata[4] = parts[14]
    ledger = [*blocks, *(factory.parse(message) for message in channel.messages[len(blocks) :])]
    query.query(ledger, query.Query(task=_TASK))
    try:
        return replay.replay(ledger, _TASK)
    except BeflError as error:
        if error.code != "BEFL-T-007":  # it follows all blocks before it says that they have no such task
            raise
        return None


def _transaction(
    channel: factory.Channel, chaincode: str, endorsers: Sequence[Any], parts: Sequence[bytes]
) -> factory.Recipe:
    results, delivered, event, proposal, moment = parts
    try:
        rwset_pb2.TxPvtReadWriteSet.FromString(delivered)
    except DecodeError:  # then the block with it is none either
        delivered = b""
    return channel.recipe(
        chaincode=chaincode,
        endorsers=endorsers,
        results=results,
        delivered=delivered or None,
        event=event,
        proposal=proposal,
        moment=struct.unpack(">qi", moment) if len(moment) == struct.calcsize(">qi") else None,
    )


def _wide(chaincode: str, collection: str) -> tuple[bytes, bytes]:
    """Return a read-write set with one of each kind of thing, and private data for it."""
    public = kv_rwset_pb2.KVRWSet(
        reads=[kv_rwset_pb2.KVRead(key="k1", version=factory.version((3, 0))), kv_rwset_pb2.KVRead(key="absent")],
        writes=[
            kv_rwset_pb2.KVWrite(key=create_composite_key("task", (_TASK,)), value=b'{"rules":{},"spec":{}}'),
            kv_rwset_pb2.KVWrite(key="k2", is_delete=True),
        ],
    )
    public.metadata_writes.add(key="k1").entries.add(name="VALIDATION_PARAMETER", value=b"\xff")
    summed = public.range_queries_info.add(start_key="", end_key="", itr_exhausted=True)
    summed.reads_merkle_hashes.max_degree, summed.reads_merkle_hashes.max_level = 2, 1
    summed.reads_merkle_hashes.max_level_hashes.append(bytes(32))
    writes = kv_rwset_pb2.KVRWSet(
        writes=[kv_rwset_pb2.KVWrite(key="p", value=b"v"), kv_rwset_pb2.KVWrite(key="p9", value=b"v")]
    ).SerializeToString()
    hashed = kv_rwset_pb2.HashedRWSet()
    hashed.hashed_reads.add(key_hash=bytes(32), version=factory.version((2, 0)))
    hashed.hashed_writes.add(key_hash=factory.digest(b"p"), value_hash=factory.digest(b"v"))
    hashed.hashed_writes.add(key_hash=factory.digest(b"p2"), is_delete=True, is_purge=True)
    hashed.metadata_writes.add(key_hash=factory.digest(b"p"))
    sets = rwset_pb2.TxReadWriteSet()
    sets.ns_rwset.add(namespace="_lifecycle", rwset=b"")
    space = sets.ns_rwset.add(namespace=chaincode, rwset=public.SerializeToString())
    space.collection_hashed_rwset.add(
        collection_name=collection, hashed_rwset=hashed.SerializeToString(), pvt_rwset_hash=factory.digest(writes)
    )
    delivered = rwset_pb2.TxPvtReadWriteSet()
    delivered.ns_pvt_rwset.add(namespace=chaincode).collection_pvt_rwset.add(collection_name=collection, rwset=writes)
    return sets.SerializeToString(), delivered.SerializeToString()


def _narrow(**given: Any) -> bytes:
    """Return a read-write set that the channel takes as valid."""
    return factory.read_write_set(factory.Recipe(factory.Institution("A").client, [], b"n", **given))


def _called(function: str, *args: str) -> bytes:
    spec = chaincode_pb2.ChaincodeInvocationSpec()
    spec.chaincode_spec.input.args.extend(word.encode() for word in (function, *args))
    return bytes(proposal_pb2.ChaincodeProposalPayload(input=spec.SerializeToString()).SerializeToString())


def _announced(chaincode: str, payload: bytes) -> bytes:
    return bytes(
        chaincode_event_pb2.ChaincodeEvent(
            chaincode_id=chaincode, event_name="Submit", payload=payload
        ).SerializeToString()
    )


def audited_seeds() -> list[bytes]:
    """Return parts that the audit takes far."""
    defined = factory.definition()
    info, collections = (defined[f"namespaces/fields/befl/{name}"] for name in _DEFINED)
    more = collection_pb2.CollectionConfigPackage.FromString(db_pb2.StateData.FromString(collections).Bytes)
    more.config[0].static_collection_config.block_to_live = 3
    expiring = db_pb2.StateData(Bytes=more.SerializeToString()).SerializeToString()
    policy = factory.any_of("Org1MSP", "peer").value
    moment = struct.pack(">qi", 1_767_268_800, 0)
    event = _announced("befl", json.dumps({"kind": "Submit", "round": 1, "task": _TASK}).encode())
    submit, publish = _called("RoundContract:Submit", _TASK, "1"), _called("TaskContract:Publish", "{}")
    wide, delivered = _wide("befl", "updates")
    task = _narrow(writes={create_composite_key("task", (_TASK,)): b'{"rules":{"scheme":"none/9"}}'})
    reads = _narrow(reads={"k1": (3, 0)}, ranges=[("k", "l", {"k1": (3, 0), "k2": (2, 0)})])
    other, elsewhere = _wide("other", "own")
    unnamed, _ = _wide("befl", "")
    private = _narrow(private={"p": b"v"}, private_reads={"p2": (2, 0)})
    secret = factory.private_set(
        factory.Recipe(factory.Institution("A").client, [], b"n", private={"p": b"v"})
    ).SerializeToString()
    nothing = [b"", b"", b""]
    first, second = [wide, delivered, event, submit, moment], [reads, b"", event, publish, moment]
    return [
        joined(b"\0\2\0", info, collections, policy, *first, *second),
        joined(b"\0\2\0", *nothing, task, b"", event, publish, moment, private, secret, event, submit, moment),
        joined(b"\0\1\0", info, expiring, b"\xff", *second, *first),
        joined(b"\0\0\12", *nothing, unnamed, b"", event, publish, moment, *first),
        joined(b"\1\2\0", *nothing, other, elsewhere, b"", publish, moment, wide, delivered, b"", b"\xff", moment),
        joined(b"\0\2\0", b"\xff", b"\xff", b"", *second, b"\xff", b"", b"\xff", b"", b""),
        joined(
            b"\0\2\0",
            *nothing,
            *second,
            _narrow(writes={"x": b"1"}),
            b"",
            b"",
            b"",
            struct.pack(">qi", -1, -1),
            b"\x0a\x01h",
        ),
    ]


# --- a task: what contracts wrote -----------------------------------------------------------------------------------

_PLACES: Final = ("write", "private", "args", "result", "event", "reads", "creator", "function")


@functools.cache
def _played() -> Recorded:
    made = Recorded()
    made.at("finished")
    return made


def replayed(content: bytes) -> object:
    """Run and follow a task that was played, with parts of its transactions replaced.

    Each replacement is two parts: which transaction, what of it and which one of those (a byte each); and the bytes.
    """
    made = _played()
    blocks = {number: list(some) for number, some in made.blocks.items()}
    every = [(number, at) for number, some in blocks.items() for at in range(len(some))]
    parts = list(pieces(content))
    for where, part in zip(parts[::2], parts[1::2], strict=False):
        which, what, one = [*where, 0, 0, 0][:3]
        number, at = every[which % len(every)]
        blocks[number][at] = _replaced(blocks[number][at], _PLACES[what % len(_PLACES)], one, part)
    execution, report = executed(blocks)
    return trace(execution, report, made.task), report.verdict


def _replaced(transaction: Any, what: str, one: int, part: bytes) -> Any:
    if what in ("creator", "result"):
        return replace(transaction, **{what: part})
    if what == "event":
        return replace(transaction, event=("Submit", part))
    if what in ("args", "function"):
        words = part.decode("utf-8", "replace")
        return replace(transaction, **{what: tuple(words.split("\0")) if what == "args" else words})
    if what == "private":
        if not transaction.private:
            return replace(transaction, private={})
        name = sorted(transaction.private)[one % len(transaction.private)]
        found = kv_rwset_pb2.KVRWSet.FromString(transaction.private[name].SerializeToString())
        for each in found.writes:
            each.value = part
        return replace(transaction, private={**transaction.private, name: found} if part else {})
    sets = rwset_pb2.TxReadWriteSet.FromString(transaction.read_write_set.SerializeToString())
    space = sets.ns_rwset[-1]
    public = kv_rwset_pb2.KVRWSet.FromString(space.rwset)
    if what == "reads":
        try:
            public = kv_rwset_pb2.KVRWSet.FromString(part)
        except DecodeError:  # a block's reader would have refused it
            return transaction
    elif public.writes:
        public.writes[one % len(public.writes)].value = part
    space.rwset = public.SerializeToString()
    return replace(transaction, read_write_set=sets)


def replayed_seeds() -> list[bytes]:
    """Return replacements of each kind; the first one replaces nothing."""
    last = sum(map(len, _played().blocks.values())) - 1
    cases = [
        *((bytes((last, 0, one)), part) for one in range(3) for part in (b"{}", b"[" * 2_000, b"7", b"\xff")),
        *((bytes((which, 0, 0)), b'{"id":7}') for which in range(0, last, 3)),
        *((bytes((last - 1, what, 0)), b"x") for what in range(len(_PLACES))),
        *((bytes((which, 1, 0)), b"") for which in range(last)),
        (bytes((last, 4, 0)), b"{}"),
    ]
    return [b"", *(joined(*case) for case in cases)]
