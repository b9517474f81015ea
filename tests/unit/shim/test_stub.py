"""Each method of the stub is the message that Fabric's peer expects, and each of its answers is understood."""

from __future__ import annotations

import pytest
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim

from befl.contracts import refusals
from befl.contracts.stub import KV, Creator, Stub, composite_range
from befl.rules.errors import BeflError

Message = shim.ChaincodeMessage


def entries(*keys: str) -> list:
    return [
        shim.QueryResultBytes(resultBytes=kv_query_result_pb2.KV(key=key, value=key.encode()).SerializeToString())
        for key in keys
    ]


def run(chaincode, peer, function, *arguments, **more):
    chaincode.functions["f"] = function
    peer.transaction("f", *arguments, **more)


def test_a_transaction_reads_what_the_proposal_says(chaincode, peer):
    seen = []

    def function(stub: Stub) -> bytes:
        seen.extend(
            [
                stub.get_function_and_parameters(),
                stub.get_tx_id(),
                stub.get_channel_id(),
                stub.get_creator(),
                dict(stub.get_transient()),
            ]
        )
        return str(stub.get_tx_timestamp()).encode()

    import time

    at = int(time.time()) + 0.25
    run(chaincode, peer, function, "a", "ü", transient={"vector": b"\x00\xff"}, at=at)
    message, response = peer.completed()
    assert (response.status, response.message) == (200, "")
    assert response.payload == str(int(at * 1000)).encode()
    assert (message.channel_id, message.txid) == ("befl", "t1")
    assert seen == [("f", ["a", "ü"]), "t1", "befl", Creator("AlphaMSP", b"PEM"), {"vector": b"\x00\xff"}]
    assert not message.HasField("chaincode_event")


def test_public_state(chaincode, peer):
    def function(stub: Stub) -> bytes:
        old = stub.get_state("k")
        stub.put_state("k", b"new")
        stub.del_state("gone")
        return old

    run(chaincode, peer, function)
    request = peer.expect(Message.GET_STATE)
    assert shim.GetState.FromString(request.payload) == shim.GetState(key="k")
    assert (request.channel_id, request.txid) == ("befl", "t1")
    peer.answer(b"old")
    assert shim.PutState.FromString(peer.expect(Message.PUT_STATE).payload) == shim.PutState(key="k", value=b"new")
    peer.answer()
    assert shim.DelState.FromString(peer.expect(Message.DEL_STATE).payload) == shim.DelState(key="gone")
    peer.answer()
    assert peer.completed()[1].payload == b"old"


def test_private_data(chaincode, peer):
    def function(stub: Stub) -> bytes:
        value = stub.get_private_data("updates", "k")
        value += stub.get_private_data_hash("updates", "k")
        stub.put_private_data("updates", "k", b"new")
        return value

    run(chaincode, peer, function)
    key = shim.GetState(key="k", collection="updates")
    assert shim.GetState.FromString(peer.expect(Message.GET_STATE).payload) == key
    peer.answer(b"value")
    assert shim.GetState.FromString(peer.expect(Message.GET_PRIVATE_DATA_HASH).payload) == key
    peer.answer(b"hash")
    put = shim.PutState.FromString(peer.expect(Message.PUT_STATE).payload)
    assert put == shim.PutState(key="k", value=b"new", collection="updates")
    peer.answer()
    assert peer.completed()[1].payload == b"valuehash"


def test_a_range_comes_in_batches(chaincode, peer):
    run(
        chaincode,
        peer,
        lambda stub: b",".join(kv.value for kv in stub.get_state_by_partial_composite_key("update", ["t", "1"])),
    )
    request = shim.GetStateByRange.FromString(peer.expect(Message.GET_STATE_BY_RANGE).payload)
    assert (request.startKey, request.endKey) == composite_range("update", ["t", "1"])
    assert (request.collection, request.metadata) == ("", b"")
    peer.answer(shim.QueryResponse(results=entries("a", "b"), has_more=True, id="q").SerializeToString())
    assert shim.QueryStateNext.FromString(peer.expect(Message.QUERY_STATE_NEXT).payload).id == "q"
    peer.answer(shim.QueryResponse(results=entries("c"), has_more=False, id="q").SerializeToString())
    assert peer.completed()[1].payload == b"a,b,c"


def test_a_range_left_early_is_closed(chaincode, peer):
    def function(stub: Stub) -> bytes:
        for entry in stub.get_state_by_partial_composite_key("update", []):
            return entry.value
        return b""

    run(chaincode, peer, function)
    peer.expect(Message.GET_STATE_BY_RANGE)
    peer.answer(shim.QueryResponse(results=entries("a"), has_more=True, id="q").SerializeToString())
    assert shim.QueryStateClose.FromString(peer.expect(Message.QUERY_STATE_CLOSE).payload).id == "q"
    peer.answer(shim.QueryResponse(id="q").SerializeToString())
    assert peer.completed()[1].payload == b"a"


def test_an_iterator_that_outlives_its_transaction_sends_nothing(chaincode, peer):
    kept = []

    def function(stub: Stub) -> bytes:
        kept.append(stub.get_state_by_partial_composite_key("update", []))
        kept.append(stub)
        return next(kept[0]).value

    run(chaincode, peer, function)
    peer.expect(Message.GET_STATE_BY_RANGE)
    peer.answer(shim.QueryResponse(results=entries("a"), has_more=True, id="q").SerializeToString())
    peer.completed()
    kept[0].close()
    with pytest.raises(BeflError, match="BEFL-G-015"):
        kept[1].get_state("k")
    assert peer.quiet()


def test_a_page(chaincode, peer):
    pages = []

    def function(stub: Stub) -> bytes:
        pages.append(stub.get_state_by_partial_composite_key_with_pagination("task", [], 2, "mark"))
        return b""

    run(chaincode, peer, function)
    request = shim.GetStateByRange.FromString(peer.expect(Message.GET_STATE_BY_RANGE).payload)
    assert shim.QueryMetadata.FromString(request.metadata) == shim.QueryMetadata(pageSize=2, bookmark="mark")
    metadata = shim.QueryResponseMetadata(fetched_records_count=2, bookmark="next").SerializeToString()
    peer.answer(shim.QueryResponse(results=entries("a", "b"), metadata=metadata, id="q").SerializeToString())
    peer.completed()
    assert pages == [([KV("a", b"a"), KV("b", b"b")], "next")]


def test_the_last_event_counts(chaincode, peer):
    def function(stub: Stub) -> bytes:
        stub.set_event("first", b"1")
        stub.set_event("second", b"2")
        return b""

    run(chaincode, peer, function)
    event = peer.completed()[0].chaincode_event
    assert (event.event_name, event.payload) == ("second", b"2")


PEER_SAYS = {
    "missing": (
        "GET_STATE failed: transaction ID: t1: private data matching public hash version is not available. Public",
        "BEFL-G-010",
        True,
    ),
    "collection": (
        "collection [updates] not defined in the collection config for",
        "BEFL-G-014",
        False,
    ),
    "no collections": (
        "collection config not defined for chaincode [befl], pass the collection configuration",
        "BEFL-G-014",
        False,
    ),
    "criteria": ("collection befl/befl/updates could not be found", "BEFL-G-014", False),
    "reader": (
        "tx creator does not have read access permission on privatedata in chaincodeName:befl collectionName: updates",
        "BEFL-G-019",
        False,
    ),
    "other": ("GET_STATE failed: transaction ID: t1: no ledger context", "BEFL-G-015", False),
}


@pytest.mark.parametrize("case", PEER_SAYS)
def test_an_error_of_the_peer_on_private_data_has_a_code(chaincode, peer, case):
    text, code, retryable = PEER_SAYS[case]
    run(chaincode, peer, lambda stub: stub.get_private_data("updates", "k"))
    peer.expect(Message.GET_STATE)
    peer.error(text)
    _, response = peer.completed()
    assert response.status == 500
    error = BeflError.parse(response.message)
    assert error is not None
    assert (error.code, error.retryable) == (code, retryable)


def test_pages_and_writes_exclude_one_another(chaincode, peer):
    run(chaincode, peer, lambda stub: stub.put_state("k", b"v"))
    peer.expect(Message.PUT_STATE)
    peer.error("txid [t1]: unsuppored transaction. Transaction has already performed a paginated query. Writes are")
    assert "BEFL-G-012: the transaction has made a paginated query" in peer.completed()[1].message
    run(chaincode, peer, lambda stub: stub.get_state_by_partial_composite_key_with_pagination("task", [], 1, ""))
    peer.expect(Message.GET_STATE_BY_RANGE)
    peer.error("txid [t1]: unsuppored transaction. Paginated queries are supported only in a read-only transaction")
    assert "BEFL-G-012: the transaction has written" in peer.completed()[1].message


REFUSED_HERE = {
    "empty key": (lambda stub: stub.put_state("", b"v"), "BEFL-G-013"),
    "empty value": (lambda stub: stub.put_state("k", b""), "BEFL-G-013"),
    "empty private value": (lambda stub: stub.put_private_data("updates", "k", b""), "BEFL-G-013"),
    "too large": (lambda stub: stub.put_private_data("models", "k", bytes(refusals.MAX_VALUE + 1)), "BEFL-G-017"),
    "delete nothing": (lambda stub: stub.del_state(""), "BEFL-G-013"),
    "nameless event": (lambda stub: stub.set_event("", b""), "BEFL-G-013"),
    "empty page": (
        lambda stub: stub.get_state_by_partial_composite_key_with_pagination("task", [], 0, ""),
        "BEFL-G-013",
    ),
    "no collection": (lambda stub: stub.get_private_data("", "k"), "BEFL-G-014"),
    "surrogate in a key": (lambda stub: stub.get_state("\ud800"), "BEFL-G-018"),
    "surrogate in many keys": (lambda stub: stub.get_multiple_states(["\ud800"]), "BEFL-G-018"),
    "surrogate in a written key": (lambda stub: stub.put_state("\ud800", b"v"), "BEFL-G-018"),
    "surrogate in a deleted key": (lambda stub: stub.del_state("\ud800"), "BEFL-G-018"),
    "surrogate in a collection": (lambda stub: stub.get_private_data("\ud800", "k"), "BEFL-G-018"),
    "surrogate in a private key": (lambda stub: stub.put_private_data("updates", "\ud800", b"v"), "BEFL-G-018"),
    "surrogate in an event": (lambda stub: stub.set_event("\ud800", b""), "BEFL-G-018"),
    "surrogate in a bookmark": (
        lambda stub: stub.get_state_by_range_with_pagination("", "", 1, "\ud800"),
        "BEFL-G-018",
    ),
    "surrogate in an argument": (lambda stub: stub.invoke_chaincode("other", ["\ud800"]), "BEFL-G-018"),
    "surrogate in a range": (lambda stub: stub.get_state_by_partial_composite_key("\ud800", []), "BEFL-G-018"),
}


@pytest.mark.parametrize("case", REFUSED_HERE)
def test_what_no_peer_is_asked(chaincode, peer, case):
    function, code = REFUSED_HERE[case]
    run(chaincode, peer, function)
    assert peer.completed()[1].message.startswith(code)
    assert peer.quiet(0.05)


def test_an_argument_that_is_no_text(chaincode, peer):
    peer.transaction("f", b"\xff")
    assert peer.completed()[1].message.startswith("BEFL-G-018")
