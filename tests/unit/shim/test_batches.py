"""Many reads and writes at once: only where the peer offers it, and cut by number and by bytes."""

from __future__ import annotations

import pytest
from fabric_protos.peer import chaincode_pb2
from fabric_protos.peer import chaincode_shim_pb2 as shim
from fabric_protos.peer.proposal_response_pb2 import Response as PeerResponse

from befl.contracts.stub import Response, Stub
from befl.rules.errors import BeflError

Message = shim.ChaincodeMessage
Record = shim.WriteRecord
MIB = 1 << 20


@pytest.fixture
def modern(connect):
    """A peer of Fabric 3.1, with small limits."""
    peer = connect()
    peer.expect(Message.REGISTER)
    peer.send(Message.REGISTERED, channel="")
    offered = chaincode_pb2.ChaincodeAdditionalParams(
        use_write_batch=True, max_size_write_batch=3, use_get_multiple_keys=True, max_size_get_multiple_keys=20
    )
    peer.send(Message.READY, offered.SerializeToString(), channel="")
    return peer


def run(chaincode, peer, function):
    chaincode.functions["f"] = function
    peer.transaction("f")


def reads(peer, sizes: list[int], size: int = 1) -> None:
    """Expect batched reads of so many keys; answer each with values of ``size`` bytes."""
    for count in sizes:
        asked = shim.GetStateMultiple.FromString(peer.expect(Message.GET_STATE_MULTIPLE).payload)
        assert len(asked.keys) == count
        values = [key.encode().ljust(size) for key in asked.keys]
        peer.answer(shim.GetStateMultipleResult(values=values).SerializeToString())


def writes(peer) -> list:
    batch = shim.WriteBatchState.FromString(peer.expect(Message.WRITE_BATCH_STATE).payload)
    peer.answer()
    return [(Record.Type.Name(each.type), each.collection, each.key) for each in batch.rec]


def test_reads_are_cut_by_the_peers_limit(chaincode, modern):
    keys = [str(number) for number in range(50)]
    run(chaincode, modern, lambda stub: b",".join(stub.get_multiple_states(keys)))
    reads(modern, [16, 20, 14])
    assert modern.completed()[1].payload == ",".join(keys).encode()


def test_reads_are_cut_by_bytes(chaincode, modern):
    """Sixteen values of 4 MiB fill two batches of 32: from then on eight at a time."""
    run(chaincode, modern, lambda stub: str(len(stub.get_multiple_states(["k"] * 27))).encode())
    reads(modern, [16, 7, 4], size=4 * MIB)
    assert modern.completed()[1].payload == b"27"


def test_an_answer_that_lacks_keys_is_an_error(chaincode, modern):
    """The peer answers an error of its database with nothing (query_executor.go, GetStateMultipleKeys)."""
    run(chaincode, modern, lambda stub: b"".join(stub.get_multiple_states(["a", "b"])))
    modern.expect(Message.GET_STATE_MULTIPLE)
    modern.answer()
    assert modern.completed()[1].message.startswith("BEFL-G-015")


def test_private_values_are_read_one_by_one(chaincode, modern):
    run(chaincode, modern, lambda stub: b",".join(stub.get_multiple_private_data("updates", ["a", "b"])))
    for key in ("a", "b"):
        assert shim.GetState.FromString(modern.expect(Message.GET_STATE).payload).key == key
        modern.answer(key.encode())
    assert modern.completed()[1].payload == b"a,b"


def test_a_peer_that_offers_nothing_gets_every_request(chaincode, peer):
    def function(stub: Stub) -> bytes:
        stub.start_write_batch()
        stub.put_state("a", b"1")
        stub.finish_write_batch()
        return b",".join(stub.get_multiple_states(["a", "b"]))

    run(chaincode, peer, function)
    peer.expect(Message.PUT_STATE)
    peer.answer()
    for value in (b"x", b"y"):
        peer.expect(Message.GET_STATE)
        peer.answer(value)
    assert peer.completed()[1].payload == b"x,y"


def test_writes_are_cut_by_the_peers_limit_and_sent_at_the_end(chaincode, modern):
    def function(stub: Stub) -> bytes:
        stub.start_write_batch()
        stub.put_state("a", b"1")
        stub.del_state("b")
        stub.set_state_validation_parameter("c", b"p")
        stub.purge_private_data("updates", "d")
        stub.del_private_data("updates", "e")
        return b""

    run(chaincode, modern, function)
    assert writes(modern) == [("PUT_STATE", "", "a"), ("DEL_STATE", "", "b"), ("PUT_STATE_METADATA", "", "c")]
    assert writes(modern) == [("PURGE_PRIVATE_DATA", "updates", "d"), ("DEL_STATE", "updates", "e")]
    assert modern.completed()[1].status == 200


def test_writes_are_cut_by_bytes(chaincode, modern):
    def function(stub: Stub) -> bytes:
        stub.start_write_batch()
        for key in ("a", "b", "c"):
            stub.put_state(key, bytes(15 * MIB))
        return b""

    run(chaincode, modern, function)
    assert [key for _, _, key in writes(modern)] == ["a", "b"]
    assert [key for _, _, key in writes(modern)] == ["c"]
    assert modern.completed()[1].status == 200


def test_a_batch_that_is_refused_names_the_collection(chaincode, modern):
    def function(stub: Stub) -> bytes:
        stub.start_write_batch()
        stub.put_state("a", b"1")
        stub.put_private_data("nowhere", "k", b"1")
        return b""

    run(chaincode, modern, function)
    modern.expect(Message.WRITE_BATCH_STATE)
    modern.error("WRITE_BATCH_STATE failed: collection befl/befl/nowhere could not be found")
    error = BeflError.parse(modern.completed()[1].message)
    assert (error.code, error.message) == ("BEFL-G-014", "there is no collection 'nowhere'")


def test_another_chaincode_is_called_after_what_was_written(chaincode, modern):
    answers: list[Response] = []

    def function(stub: Stub) -> bytes:
        stub.start_write_batch()
        stub.put_state("a", b"1")
        answers.append(stub.invoke_chaincode("other", ["F", b"\xff"], "elsewhere"))
        answers.append(stub.invoke_chaincode("other", ["F"]))
        return b""

    run(chaincode, modern, function)
    assert writes(modern) == [("PUT_STATE", "", "a")]
    spec = chaincode_pb2.ChaincodeSpec.FromString(modern.expect(Message.INVOKE_CHAINCODE).payload)
    assert (spec.chaincode_id.name, list(spec.input.args)) == ("other/elsewhere", [b"F", b"\xff"])
    inner = Message(
        type=Message.COMPLETED, payload=PeerResponse(status=404, message="no", payload=b"p").SerializeToString()
    )
    modern.answer(inner.SerializeToString())
    modern.expect(Message.INVOKE_CHAINCODE)
    modern.answer(Message(type=Message.ERROR, payload=b"broke").SerializeToString())
    assert modern.completed()[1].status == 200
    assert answers == [Response(404, "no", b"p"), Response(500, "broke", b"")]


def test_a_chaincode_that_is_not_there(chaincode, modern):
    run(chaincode, modern, lambda stub: stub.invoke_chaincode("other", []).payload)
    modern.expect(Message.INVOKE_CHAINCODE)
    modern.error("INVOKE_CHAINCODE failed: transaction ID: t: execute failed: chaincode other not found")
    assert modern.completed()[1].message.startswith("BEFL-G-031")


def test_a_channel_that_the_peer_is_not_in(chaincode, modern):
    run(chaincode, modern, lambda stub: stub.invoke_chaincode("other", [], "elsewhere").payload)
    modern.expect(Message.INVOKE_CHAINCODE)
    modern.error("INVOKE_CHAINCODE failed: transaction ID: t: Failed to get policy manager for channel [elsewhere]")
    error = BeflError.parse(modern.completed()[1].message)
    assert (error.code, error.hint) == ("BEFL-G-031", "Check the channel's name.")
    assert error.message == "there is no chaincode 'other' on channel 'elsewhere': the peer is not in that channel"
