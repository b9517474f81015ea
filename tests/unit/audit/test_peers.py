"""The comparison of block hashes over all institutions' peers, with peers that answer what the test says."""

from __future__ import annotations

import pytest

from befl.audit.chain import verify
from befl.audit.peers import compare
from befl.audit.report import Report
from befl.gateway import PeerAddress
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.rules.errors import BeflError

from .factory import ledger

HASHES = [bytes([number]) * 32 for number in range(5)]


class Peer(PeerQuestions):
    """A peer with so many blocks of a chain."""

    def __init__(self, hashes, refuses=None):
        self.hashes = hashes
        self.refuses = refuses

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def members(self):
        if self.refuses:
            raise self.refuses
        return {name: address(name) for name in ("Org1MSP", "Org2MSP")} | {"Org3MSP": None}

    def chain(self):
        if self.refuses:
            raise self.refuses
        return len(self.hashes), self.hashes[-1]

    def block_hash(self, height):
        return self.hashes[height - 1]


def address(name):
    return PeerAddress(name, f"{name}:7051", b"")


def compared(own, *others, switched_off=(), hashes=HASHES):
    report = Report(frozenset(switched_off))
    peers = {None: own} | {address(f"Org{number}MSP"): peer for number, peer in enumerate((own, *others), 1)}
    compare(hashes, peers.__getitem__, report)
    return report


@pytest.mark.parametrize("height", [1, 4, 5, 9])
def test_the_same_block_everywhere(height):
    """One peer is behind, or has gone on since."""
    longer = [*HASHES, *(bytes([number]) * 32 for number in range(5, 9))]
    report = compared(Peer(HASHES), Peer(longer[:height]))
    assert (report.findings, report.looked["peers"]) == ([], 2)
    assert report.impossible == [
        ("the blocks at Org3MSP's peer", "the channel's configuration has no anchor peer of it")
    ]


@pytest.mark.parametrize("height", [3, 5, 7])
def test_another_block_of_the_same_height(height):
    forked = [HASHES[0], *(bytes([100 + number]) * 32 for number in range(1, height))]
    [finding] = compared(Peer(HASHES), Peer(forked)).findings
    at = min(height, 5) - 1
    assert (finding.check, finding.block) == ("peers", at)
    assert finding.message == (
        f"block {at} of Org2MSP's peer has hash {forked[at].hex()[:16]}, the one looked at {HASHES[at].hex()[:16]}"
    )
    assert compared(Peer(HASHES), Peer(forked), switched_off=["peers"]).findings == []


@pytest.mark.parametrize("left_out", [2, 8])
def test_a_block_left_out_and_all_numbered_linked_and_signed_anew(left_out):
    """Orderers that all lie together can do it, where nothing later depends on the block: the blocks do not say so."""
    channel = ledger()
    honest = [each.hash for each in channel.blocks()]
    del channel.messages[left_out]
    for number, message in enumerate(channel.messages):
        message.block.header.number = number
    channel.seal(left_out)
    report = Report()
    forged = [each.block.hash for each in verify(channel.blocks(), report)]
    if left_out == 8:
        assert report.verdict == "PASS"  # nothing read what it wrote
    [finding] = compared(Peer(forged), Peer(honest), hashes=forged).findings
    assert (finding.check, finding.block) == ("peers", len(forged) - 1)
    assert compared(Peer(forged), Peer(honest), hashes=forged, switched_off=["peers"]).findings == []


@pytest.mark.parametrize("error", [BeflError("BEFL-G-003", "the peer does not answer"), AnsweredError("access denied")])
def test_a_peer_that_does_not_answer(error):
    report = compared(Peer(HASHES), Peer(HASHES, error))
    assert report.findings == []
    assert ("the blocks at Org2MSP's peer", str(error)) in report.impossible
    report = compared(Peer(HASHES, error))
    [(what, why)] = report.impossible
    assert what == "the blocks at the institutions' peers"
    assert str(error) in why
