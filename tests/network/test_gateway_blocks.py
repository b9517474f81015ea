"""Blocks of a real peer, full, filtered and with private data; checkpoints; a peer that dies in between."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import threading

import pytest
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from befl.gateway import BlockEvents, EventsError, FileCheckpointer, Gateway, InMemoryCheckpointer
from befl.gateway.wait import until

from .conformance import NAME


def script(*steps):
    return json.dumps(steps)


def private_values(block) -> dict[str, bytes]:
    """Key and value of each private write of our chaincode in a ``BlockAndPrivateData``."""
    found = {}
    for entry in block.private_data_map.values():
        for space in entry.ns_pvt_rwset:
            for collection in space.collection_pvt_rwset:
                assert isinstance(collection, rwset_pb2.CollectionPvtReadWriteSet)
                for write in kv_rwset_pb2.KVRWSet.FromString(collection.rwset).writes:
                    found[f"{collection.collection_name}/{write.key}"] = write.value
    return found


def test_the_three_kinds_of_blocks(conformance):
    network = conformance.network()
    steps = script(["put_private", "updates", "seen", "v"], ["event", "named", "hidden payload"])
    with (
        network.block_events(kind="full") as full,
        network.block_events(kind="filtered") as filtered,
        network.block_events(kind="private") as private,
    ):
        done = conformance.contract().submit("Run", steps, transient={"v": b"a private value"})
        block, short, whole = next(full), next(filtered), next(private)
    assert [block.header.number, short.number, whole.block.header.number] == [done.block] * 3
    assert done.txid.encode() in block.data.data[0]
    assert b"a private value" not in block.SerializeToString()
    [transaction] = short.filtered_transactions
    assert (transaction.txid, transaction.tx_validation_code) == (done.txid, 0)
    [action] = transaction.transaction_actions.chaincode_actions
    assert (action.chaincode_event.event_name, action.chaincode_event.payload) == ("named", b"")
    assert whole.block == block
    assert private_values(whole) == {"updates/seen": b"a private value"}


def test_blocks_go_on_behind_a_checkpoint(conformance, tmp_path):
    first = conformance.contract().submit("Run", script(["put", "b1", "v"])).block
    for _ in range(3):
        conformance.submit(["put", "b1", "w"])
    path = tmp_path / "place"
    place = FileCheckpointer(path)
    with conformance.network().block_events(first, kind="filtered", checkpoint=place) as blocks:
        for block in itertools.islice(blocks, 2):
            place.checkpoint_block(block.number)
        assert next(blocks).number == first + 2  # received, not handled
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = FileCheckpointer(path)
    with conformance.network(1).block_events(first, kind="filtered", checkpoint=again) as blocks:
        assert [block.number for block in itertools.islice(blocks, 2)] == [first + 2, first + 3]


def test_events_go_on_behind_a_checkpoint(conformance):
    place = InMemoryCheckpointer()
    with conformance.network().chaincode_events(NAME, checkpoint=place) as events:
        sent = [conformance.contract().submit("Run", script(["event", f"c{n}", ""])).txid for n in range(4)]
        for event in itertools.islice(events, 2):
            place.checkpoint_chaincode_event(event)
    with conformance.network(2).chaincode_events(NAME, checkpoint=place) as events:
        assert [event.txid for event in itertools.islice(events, 2)] == sent[2:]


def test_no_block_is_lost_or_doubled_when_the_peer_is_killed(conformance, consortium):
    got = []
    start = conformance.network(0).height()
    with conformance.network(2).block_events(start, kind="filtered") as blocks:
        follower = threading.Thread(target=lambda: got.extend(itertools.islice(blocks, 12)))
        follower.start()
        for n in range(12):
            if n == 4:
                [peer] = [each for each in consortium.status().institutions[2].processes if each.name == "peer"]
                os.kill(peer.pid, signal.SIGKILL)
            conformance.submit(["put", f"killed{n}", "v"], by=n % 2)
        follower.join(60)
        assert not follower.is_alive()
    assert [block.number for block in got] == list(range(start, start + 12))
    until(lambda: consortium.status().ready, timeout=30, what="the network whole again")


def test_a_request_that_is_not_bound_to_the_connection_is_refused(conformance):
    """Without the hash of the TLS certificate anybody could replay the signed request."""
    bound = conformance.gateways[0]
    with (
        Gateway(bound._channel, bound.identity) as unbound,
        BlockEvents(unbound, "befl", 0) as blocks,
        pytest.raises(EventsError, match="BEFL-G-030"),
    ):
        next(blocks)
