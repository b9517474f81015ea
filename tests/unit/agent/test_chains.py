"""An agent stops when the institutions' peers have different chains, and only then."""

from __future__ import annotations

import threading

import pytest

from befl.agent import chains
from befl.agent.chains import ChainWatch, compare
from befl.gateway import PeerAddress
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.gateway.wait import until
from befl.rules.errors import BeflError

CHAIN = [bytes([number]) * 32 for number in range(9)]
OTHER = [CHAIN[0], *(bytes([100 + number]) * 32 for number in range(1, 9))]


class Peer(PeerQuestions):
    """A peer with so many blocks of a chain, or one that does not answer."""

    def __init__(self, hashes, refuses=None):
        self.hashes = hashes
        self.refuses = refuses

    def __enter__(self):
        if self.refuses:
            raise self.refuses
        return self

    def __exit__(self, *_):
        return None

    def members(self):
        return {name: address(name) for name in ("Org1MSP", "Org2MSP", "Org3MSP")} | {"Org4MSP": None}

    def chain(self):
        return len(self.hashes), self.hashes[-1]

    def block_hash(self, height):
        assert height < len(self.hashes)
        return self.hashes[height - 1]


def address(name):
    return PeerAddress(name, f"{name}:7051", b"")


def asking(own, second, third):
    peers = {None: own, address("Org1MSP"): own, address("Org2MSP"): second, address("Org3MSP"): third}
    return peers.__getitem__


@pytest.mark.parametrize("own", [1, 5, 9])
@pytest.mark.parametrize("other", [1, 5, 9])
def test_one_chain_of_different_heights(own, other):
    compare(asking(Peer(CHAIN[:own]), Peer(CHAIN[:other]), Peer(CHAIN)))


@pytest.mark.parametrize("own", [2, 5, 9])
@pytest.mark.parametrize("other", [2, 5, 9])
@pytest.mark.parametrize("refuses", [None, BeflError("BEFL-G-003", "no answer"), AnsweredError("access denied")])
def test_two_chains_are_found_also_when_another_peer_is_silent(own, other, refuses):
    with pytest.raises(BeflError) as caught:
        compare(asking(Peer(CHAIN[:own]), Peer(CHAIN, refuses), Peer(OTHER[:other])))
    at = min(own, other) - 1
    assert caught.value.code == "BEFL-G-036"
    assert caught.value.message == (
        f"block {at} has hash {CHAIN[at].hex()[:16]} at the own peer, {OTHER[at].hex()[:16]} at Org3MSP's"
    )


def test_the_agent_is_stopped_and_told_why():
    stopped = threading.Event()
    watch = ChainWatch(asking(Peer(CHAIN), Peer(CHAIN), Peer(OTHER)), stopped)
    watch.start()
    assert stopped.wait(20)
    with pytest.raises(BeflError, match="BEFL-G-036"):
        watch.end()


@pytest.mark.parametrize("refuses", [BeflError("BEFL-G-003", "no answer"), AnsweredError("access denied")])
def test_a_silent_peer_stops_nothing_and_is_asked_again(monkeypatch, refuses):
    monkeypatch.setattr(chains, "EVERY_S", 0.01)
    stopped, own = threading.Event(), Peer(CHAIN, refuses)
    watch = ChainWatch(asking(own, Peer(CHAIN), Peer(OTHER)), stopped)
    watch.start()
    assert not stopped.wait(0.1)
    own.refuses = None
    until(stopped.is_set, timeout=20, what="the peer asked again")
    with pytest.raises(BeflError, match="BEFL-G-036"):
        watch.end()


def test_it_ends_with_the_agent():
    stopped = threading.Event()
    watch = ChainWatch(asking(Peer(CHAIN), Peer(CHAIN), Peer(CHAIN)), stopped)
    watch.start()
    stopped.set()
    watch.end()
    assert not watch.is_alive()
