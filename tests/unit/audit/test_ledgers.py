"""Every recorded ledger replays with today's code, to the same models; with another rule it does not."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from fabric_protos.peer import events_pb2

from befl.audit import source
from befl.audit.block import header_bytes, parse
from befl.audit.chain import verify
from befl.audit.checks import CHECKS
from befl.audit.report import Report
from befl.client import replay_files
from befl.rules.aggregation import RULES
from befl.rules.aggregation.fedavg import FedAvg
from befl.rules.errors import BeflError

LEDGERS = sorted((Path(__file__).parents[2] / "ledgers").glob("*.gz"))
NEWEST = LEDGERS[-1]


def told(ledger: Path) -> dict:
    return json.loads(ledger.with_suffix(".json").read_text())


TASKS = [(ledger, name) for ledger in LEDGERS for name in told(ledger)["tasks"]]


@pytest.mark.parametrize(("ledger", "name"), TASKS, ids=[f"{ledger.stem}-{name}" for ledger, name in TASKS])
def test_it_replays(ledger, name):
    known = told(ledger)
    task = known["tasks"][name]
    made = replay_files(task, [ledger])
    assert (made.verdict, made.findings) == ("PASS", ())
    assert made.blocks == known["blocks"]
    assert all(step.recomputed for step in made.lineage.steps)
    assert made.lineage.final == known["models"][task]
    looked = {check.name: check.looked for check in made.checks}
    # a replay of a file compares no peers and no folder
    assert {each for each in CHECKS if not looked[each]} <= {"peers", "folder", "configuration"}
    assert any("MVCC_READ_CONFLICT" in gap.what for gap in made.gaps)


def test_what_the_newest_one_shows():
    tasks = told(NEWEST)["tasks"]
    assert {*RULES.names(), "leaves", "void"} <= set(tasks)
    assert NEWEST.stat().st_size < 300_000
    states = [step.state for step in replay_files(tasks["void"], [NEWEST]).lineage.steps]
    assert states == ["void", "evaluated", "evaluated"]
    sizes = [len(step.updates) for step in replay_files(tasks["leaves"], [NEWEST]).lineage.steps]
    assert sizes == [3, 3, 2]


def test_a_rule_that_does_something_else_fails(monkeypatch):
    """What `fedavg/1` does cannot change: every ledger that used it would say so."""

    class Other(FedAvg):
        def step(self, aggregate, weight, state, share, settings):
            moved, state = super().step(aggregate, weight, state, share, settings)
            return moved + 1, state

    monkeypatch.setitem(RULES._rules, "fedavg/1", Other())
    task = told(NEWEST)["tasks"]["fedavg"]
    made = replay_files(task, [NEWEST])
    assert not made.passed
    assert {finding.check for finding in made.findings} == {"lineage"}
    assert not any(step.recomputed for step in made.lineage.steps)


def test_an_aggregate_that_is_something_else_fails(monkeypatch):
    class Other(FedAvg):
        def aggregate(self, updates, length):
            return super().aggregate(updates, length) + 1

    monkeypatch.setitem(RULES._rules, "fedavg/1", Other())
    made = replay_files(told(NEWEST)["tasks"]["void"], [NEWEST])
    closings = [finding for finding in made.findings if finding.check == "write_set"]
    assert len(closings) == 2 + 3 + 2, "each round of fedavg, of every task, but the void one"
    assert all("aggregate is" in finding.message for finding in closings)


def test_a_block_left_out_and_all_numbered_and_linked_anew():
    """By somebody without an orderer's key, as whoever hands on a recorded ledger is."""
    messages = [events_pb2.BlockAndPrivateData(block=each.raw) for each in source.from_files([NEWEST])][:40]
    del messages[20]
    for number, message in enumerate(messages[20:], 20):
        message.block.header.number = number
        message.block.header.previous_hash = hashlib.sha256(header_bytes(messages[number - 1].block.header)).digest()
    report = Report()
    for _ in verify(map(parse, messages), report):
        pass
    found = {(each.check, each.block) for each in report.findings}
    assert not {"sequence", "previous_hash", "data_hash"} & {check for check, _ in found}
    assert {("orderer", number) for number in range(20, 39)} <= found


@pytest.mark.parametrize("place", range(10))
def test_a_byte_flipped_in_the_file(tmp_path, place):
    """Anywhere: a finding or a coded refusal."""
    data = bytearray(gzip.decompress(NEWEST.read_bytes()))
    data[len(data) * (2 * place + 1) // 20] ^= 1
    changed = tmp_path / "changed.gz"
    changed.write_bytes(gzip.compress(bytes(data), 1))
    try:
        passed = replay_files(told(NEWEST)["tasks"]["fedavg"], [changed]).passed
    except BeflError as error:
        passed = error.code != "BEFL-G-035"
    assert not passed
