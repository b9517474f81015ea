"""The chaincode server: registration, many transactions at once, refusals, peers that come and go, an orderly end."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time

import grpc
import pytest
from fabric_protos.peer import chaincode_shim_pb2 as shim

from befl.gateway.wait import until
from befl.rules.errors import BeflError
from befl.shim.server import ChaincodeServer

Message = shim.ChaincodeMessage


def test_it_registers_under_its_package_id(connect):
    assert connect().register() == "befl_1:abc"


def test_keepalive_is_answered(peer):
    peer.send(Message.KEEPALIVE, channel="")
    peer.expect(Message.KEEPALIVE)


def test_messages_that_mean_nothing_do_no_harm(chaincode, peer):
    chaincode.functions["f"] = lambda stub: b"fine"
    peer.answer(b"for nobody", txid="unknown")
    peer.send(Message.GET_STATE)
    peer.transaction("f")
    assert peer.completed()[1].payload == b"fine"


def test_init_is_refused(peer):
    peer.transaction("f", kind=Message.INIT)
    assert b"no Init" in peer.expect(Message.ERROR).payload


def test_transactions_do_not_wait_for_one_another(chaincode, peer):
    chaincode.functions["read"] = lambda stub: stub.get_state(stub.get_tx_id())
    names = [f"t{number}" for number in range(20)]
    for name in names:
        peer.transaction("read", txid=name)
    asked = [peer.expect(Message.GET_STATE).txid for _ in names]
    assert sorted(asked) == sorted(names)
    for name in reversed(names):
        peer.answer(name.encode(), txid=name)
    answers = [peer.completed() for _ in names]
    assert {message.txid: response.payload.decode() for message, response in answers} == {name: name for name in names}


def test_the_same_txid_on_two_channels_is_two_transactions(chaincode, peer):
    chaincode.functions["read"] = lambda stub: stub.get_state("k")
    for channel in ("one", "two"):
        peer.transaction("read", channel=channel)
        peer.expect(Message.GET_STATE)
    for channel in ("two", "one"):
        peer.answer(channel.encode(), channel=channel)
        message, response = peer.completed()
        assert (message.channel_id, response.payload) == (channel, channel.encode())


def test_a_refusal_is_a_response_with_its_text(chaincode, peer):
    def refuse(stub):
        raise BeflError("BEFL-G-013", "no such thing", "Do another thing.")

    chaincode.functions["f"] = refuse
    peer.transaction("f")
    _, response = peer.completed()
    assert (response.status, response.message) == (500, "BEFL-G-013: no such thing\nDo another thing.")


def test_a_mistake_is_an_internal_error_without_details(chaincode, peer, caplog):
    def fail(stub):
        raise ZeroDivisionError("secret detail")

    chaincode.functions["f"] = fail
    peer.transaction("f")
    _, response = peer.completed()
    assert response.status == 500
    assert response.message.startswith("BEFL-G-009")
    assert "secret" not in response.message
    assert "ZeroDivisionError: secret detail" in caplog.text
    chaincode.functions["f"] = lambda stub: b"still here"
    peer.transaction("f")
    assert peer.completed()[1].payload == b"still here"


@pytest.mark.parametrize(("away", "accepted"), [(-70, False), (-50, True), (3, True), (10, False), (70, False)])
def test_a_timestamp_outside_the_tolerance_is_refused(chaincode, peer, away, accepted):
    """Behind by the tolerance, for a proposal is made before it comes; ahead by a few seconds, for clocks differ."""
    chaincode.functions["f"] = lambda stub: b"in time"
    peer.transaction("f", at=time.time() + away)
    _, response = peer.completed()
    if accepted:
        assert response.payload == b"in time"
    else:
        error = BeflError.parse(response.message)
        assert error is not None
        assert (error.code, error.retryable) == ("BEFL-G-011", True)
        way, tolerated = ("ahead of", 5) if away > 0 else ("behind", 60)
        assert f"s {way} the endorser's clock, {tolerated} s are tolerated" in error.message


def test_a_big_value_passes(chaincode, peer):
    big = bytes(32 << 20)

    def function(stub):
        stub.put_private_data("updates", "k", stub.get_private_data("updates", "k"))
        return b""

    chaincode.functions["f"] = function
    peer.transaction("f")
    peer.expect(Message.GET_STATE)
    peer.answer(big)
    assert shim.PutState.FromString(peer.expect(Message.PUT_STATE).payload).value == big
    peer.answer()
    assert peer.completed()[1].status == 200


def test_a_peer_that_goes_away_releases_its_transactions_and_may_come_back(chaincode, connect):
    ended = threading.Event()

    def function(stub):
        try:
            return stub.get_state("k")
        finally:
            ended.set()

    chaincode.functions["f"] = function
    first = connect()
    first.register()
    first.transaction("f")
    first.expect(Message.GET_STATE)
    first.stream.cancel()
    assert ended.wait(10)
    second = connect()
    second.register()
    second.transaction("f")
    second.expect(Message.GET_STATE)
    second.answer(b"again")
    assert second.completed()[1].payload == b"again"


def test_two_peers_at_once(chaincode, connect):
    chaincode.functions["f"] = lambda stub: stub.get_state("k")
    peers = [connect(), connect()]
    for peer in peers:
        peer.register()
        peer.transaction("f")
        peer.expect(Message.GET_STATE)
    for number, peer in enumerate(peers):
        peer.answer(str(number).encode())
        assert peer.completed()[1].payload == str(number).encode()


def test_stop_lets_a_transaction_finish_and_takes_no_new_one(chaincode, server, peer):
    chaincode.functions["f"] = lambda stub: stub.get_state("k")
    peer.transaction("f")
    peer.expect(Message.GET_STATE)
    stopper = threading.Thread(target=server.stop)
    stopper.start()

    chaincode.functions["ping"] = lambda stub: b"pong"

    def refused() -> bool:
        peer.transaction("ping", txid="late")
        response = peer.completed()[1]
        return response.payload != b"pong" and response.message.startswith("BEFL-G-016")

    until(refused, timeout=5, what="the server refuses new transactions")
    peer.answer(b"done")
    assert peer.completed()[1].payload == b"done"
    stopper.join(10)
    assert not stopper.is_alive()
    assert peer.ended.result(10) == "OK"


def test_a_transaction_that_does_not_end_does_not_keep_the_server(chaincode, server, peer):
    chaincode.functions["f"] = lambda stub: stub.get_state("k")
    peer.transaction("f")
    peer.expect(Message.GET_STATE)
    start = time.monotonic()
    server.stop(grace=0.2)
    assert time.monotonic() - start < 5


def test_a_stranger_is_not_served(server, another_authority, authority):
    stranger = another_authority.issue("peer")
    credentials = grpc.ssl_channel_credentials(authority.pem, stranger.key, stranger.certificate)
    with grpc.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        stream = channel.stream_stream("/protos.Chaincode/Connect")(iter([]), timeout=5)
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_peer_without_a_certificate_is_not_served(server, authority):
    credentials = grpc.ssl_channel_credentials(authority.pem)
    with grpc.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        stream = channel.stream_stream("/protos.Chaincode/Connect")(iter([]), timeout=5)
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_taken_port_is_named(chaincode, config):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BeflError, match="BEFL-G-028") as refused:
            ChaincodeServer(chaincode, dataclasses.replace(config, address=address))
    assert address in str(refused.value)
