"""Chaincode events: none lost, none twice, in order, through every loss of the stream."""

from __future__ import annotations

import itertools
import signal
import threading

import pytest

from befl.gateway import ChaincodeEvent, CommitStatusError, EventsError
from befl.gateway.wait import until

from .conftest import Failure


@pytest.fixture
def network(gateway):
    return gateway.network("befl")


def names(events, count):
    return [event.name for event in itertools.islice(events, count)]


def test_from_a_block(network, fake):
    fake.append(3, "a", "b")
    fake.append(4)
    fake.append(5, "c")
    with network.chaincode_events("befl", start_block=3) as events:
        assert next(events) == ChaincodeEvent(3, "a", "a", b"p")
        assert names(events, 2) == ["b", "c"]
    assert fake.seeks == [3]


def test_from_now_begins_with_the_next_block(network, fake):
    fake.append(4, "old")
    with network.chaincode_events("befl") as events:
        fake.append(5, "new")
        assert names(events, 1) == ["new"]


def test_after_an_event(network, fake):
    fake.append(3, "a", "b")
    fake.append(4, "c")
    with network.chaincode_events("befl", after=ChaincodeEvent(3, "a", "a", b"p")) as events:
        assert names(events, 2) == ["b", "c"]


def test_after_the_last_event_of_its_block(network, fake):
    fake.append(3, "a", "b")
    fake.append(4, "c")
    with network.chaincode_events("befl", after=ChaincodeEvent(3, "b", "b", b"p")) as events:
        assert names(events, 1) == ["c"]


def test_after_a_transaction(network, fake):
    fake.statuses["b"] = (0, 3)
    fake.append(3, "a", "b", "x")
    with network.chaincode_events("befl", after="b") as events:
        assert names(events, 1) == ["x"]


def test_after_a_transaction_without_an_event_nothing_is_lost(network, fake):
    fake.statuses["silent"] = (0, 3)
    fake.append(3, "a")
    with network.chaincode_events("befl", after="silent") as events:
        assert names(events, 1) == ["a"]


def test_after_a_transaction_that_nobody_knows(gateway, network, fake):
    fake.script["CommitStatus"].extend([Failure("PERMISSION_DENIED", "unknown")])
    with pytest.raises(CommitStatusError):
        network.chaincode_events("befl", after="unknown")


def test_two_places_to_begin_are_a_mistake(network):
    with pytest.raises(ValueError, match="not both"):
        network.chaincode_events("befl", start_block=1, after="t")


def test_every_event_once_through_lost_streams(network, fake):
    for block in range(3, 23):
        fake.append(block, *(f"{block}-{number}" for number in range(block % 4)))
    expected = [name for block in range(3, 23) for name, _ in fake.blocks[block]]
    fake.streams_end_after.extend([1, 0, 2, 3, 0, 0, 1])
    with network.chaincode_events("befl", start_block=3) as events:
        assert names(events, len(expected)) == expected
    assert len(fake.seeks) == 8


def test_a_peer_that_goes_and_comes_back(network, fake, service):
    fake.append(3, "a")
    with network.chaincode_events("befl", start_block=3) as events:
        assert names(events, 1) == ["a"]
        service.stop()
        fake.append(4, "b")
        service.start()
        assert names(events, 1) == ["b"]


@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        ("PERMISSION_DENIED", "no", "BEFL-G-030"),
        ("NOT_FOUND", "no", "BEFL-G-030"),
        ("INVALID_ARGUMENT", "no", "BEFL-G-029"),
        ("RESOURCE_EXHAUSTED", "trying to send message larger than max (5 vs. 4)", "BEFL-G-017"),
    ],
)
def test_what_reconnecting_does_not_cure(network, fake, status, words, code):
    fake.script["ChaincodeEvents"].append(Failure(status, words))
    with network.chaincode_events("befl", start_block=3) as events:
        with pytest.raises(EventsError) as caught:
            next(events)
        assert list(events) == []
    assert caught.value.code == code


@pytest.mark.parametrize("who", ["events", "gateway"])
def test_closing_ends_a_waiting_thread(gateway, network, fake, who):
    events = network.chaincode_events("befl", start_block=3)
    rest = []
    waiting = threading.Thread(target=lambda: rest.extend(events))
    waiting.start()
    until(lambda: fake.seeks, timeout=5, what="the stream to open")
    (events if who == "events" else gateway).close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert rest == []
    events.close()


def test_closing_ends_the_pause_before_reconnecting(network, fake):
    fake.script["ChaincodeEvents"].extend([Failure("UNAVAILABLE", "gone")] * 20)
    events = network.chaincode_events("befl", start_block=3)
    waiting = threading.Thread(target=lambda: list(events))
    waiting.start()
    until(lambda: len(fake.seeks) > 3, timeout=5, what="some attempts")
    events.close()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_closed_gateway_has_no_events(gateway, network):
    gateway.close()
    assert list(network.chaincode_events("befl", start_block=3)) == []


def test_what_was_received_before_closing_is_not_given_after(network, fake):
    fake.append(3, "a", "b")
    events = network.chaincode_events("befl", start_block=3)
    next(events)
    events.close()
    assert list(events) == []


def test_ctrl_c_does_not_break_a_stream_off_half_opened(gateway, network, fake, monkeypatch):
    """gRPC would wait for it, when the channel is closed, for ever."""
    opened = []
    follow = gateway.follow

    def interrupted(request):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        opened.append(follow(request))
        return opened[0]

    monkeypatch.setattr(gateway, "follow", interrupted)
    with network.chaincode_events("befl", start_block=3) as events:
        with pytest.raises(KeyboardInterrupt):
            next(events)
        assert len(opened) == 1
        assert opened[0].is_active()
    assert not opened[0].is_active(), "it is closed with the iterator"
