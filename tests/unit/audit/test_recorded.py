"""A ledger recorded from a real network (conformance.ledger), with each kind of valid and invalid transaction in it.

``tests/network/test_audit_chain.py`` made these transactions, and the peers of the network marked them; all keys are
gone. The codes that follow from the blocks are those that the peers gave, and whatever is changed is found or refused.
"""

from __future__ import annotations

import functools
from pathlib import Path

from fabric_protos.peer import events_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from befl.audit import source
from befl.audit.block import Block, parse, read
from befl.audit.chain import verify
from befl.audit.report import Report
from befl.rules.errors import BeflError

LEDGER = Path(__file__).parent / "conformance.ledger"


@functools.cache
def recorded() -> tuple[Block, ...]:
    return tuple(source.from_files([LEDGER]))


@functools.cache
def as_bytes() -> tuple[bytes, ...]:
    return tuple(message(block).SerializeToString(deterministic=True) for block in recorded())


def message(block: Block):
    made = events_pb2.BlockAndPrivateData(block=block.raw)
    for transaction in block.transactions:
        if transaction.private_set is not None:
            made.private_data_map[transaction.index].CopyFrom(transaction.private_set)
    return made


def audited(blocks) -> Report:
    report = Report()
    for _ in verify(blocks, report):
        pass
    return report


def refused(number: int, data: bytes) -> str | None:
    """The code with which the audit refuses another block in a place, if it does."""
    try:
        audited([*recorded()[:number], read(data), *recorded()[number + 1 : number + 3]])
    except BeflError as error:
        return error.code
    return None


def test_untouched_it_passes():
    report = audited(recorded())
    assert report.findings == []
    assert report.verdict == "PASS"


def test_the_peers_marked_every_kind():
    report = Report()
    codes = {code for each in verify(recorded(), report) for code in each.flags}
    assert len(codes) >= 10
    assert report.looked["commit_hash"] == len(recorded()) - 1


def test_another_commit_hash_is_found():
    last = message(recorded()[-1])
    last.block.metadata.metadata[4] = recorded()[-2].raw.metadata.metadata[4]
    report = audited([*recorded()[:-1], parse(last)])
    assert [each.check for each in report.findings] == ["commit_hash"]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_byte_flipped_in_a_transaction_is_found(data):
    number = data.draw(st.integers(1, len(recorded()) - 1))
    flipped = message(recorded()[number])
    transaction = bytearray(flipped.block.data.data[0])
    transaction[data.draw(st.integers(0, len(transaction) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    flipped.block.data.data[0] = bytes(transaction)
    blocks = [*recorded()[:number], parse(flipped)]
    assert ("data_hash", number) in {(each.check, each.block) for each in audited(blocks).findings}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_byte_flipped_anywhere_is_a_finding_or_an_error_with_a_code_or_nothing(data):
    """Nothing: where nobody looks, as in the metadata that peers keep for themselves. Never anything else."""
    number = data.draw(st.integers(0, len(recorded()) - 1))
    flipped = bytearray(as_bytes()[number])
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(number, bytes(flipped)) in (None, "BEFL-G-035")
