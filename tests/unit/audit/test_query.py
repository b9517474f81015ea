"""Who did what and when: every transaction of made blocks, by what was asked, page after page."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import pytest
from fabric_protos.msp import identities_pb2
from hypothesis import given
from hypothesis import strategies as st

import befl.client
from befl.audit.block import Block, Code, Endorsement, Transaction
from befl.audit.query import Entry, Query, entries, query
from befl.cli.main import run
from befl.client.audit import Audit
from befl.ledger.identities import make_creator
from befl.rules.errors import BeflError

NOON = 1_764_072_000_000  # 2025-11-25T12:00:00Z
TASK, OTHER = "00000000000000a1", "00000000000000b2"


def serialized(msp_id: str, name: str) -> bytes:
    certificate = make_creator(msp_id, "trainer", name=name).certificate
    return identities_pb2.SerializedIdentity(mspid=msp_id, id_bytes=certificate).SerializeToString()


def made(block: int, index: int, **given) -> Transaction:
    about = json.dumps({"round": given.pop("round", 0), "task": given.pop("task", "")}).encode()
    values = {
        "txid": f"{block:02x}{index:02x}" * 16,
        "kind": "endorser",
        "timestamp": NOON + 1000 * block,
        "creator": serialized("Org1MSP", "agent"),
        "chaincode": "befl",
        "function": "RoundContract:Submit",
        "event": ("Submit", about),
        "flag": Code.VALID,
    }
    return Transaction(block, index, **values | given)


def chain(*blocks: tuple[Transaction, ...]) -> list[Block]:
    return [Block(number, b"", b"", b"", None, found, b"") for number, found in enumerate(blocks)]


ISSUER = serialized("Org2MSP", "issuer")
PEERS = tuple(Endorsement(serialized(msp_id, "peer"), b"", b"") for msp_id in ("Org1MSP", "Org2MSP"))
LEDGER = chain(
    (Transaction(0, 0, kind="config", flag=Code.VALID, creator=serialized("Org3MSP", "orderer")),),
    (
        made(1, 0, function="TaskContract:Publish", task=TASK, args=("{}",), creator=ISSUER, endorsements=PEERS),
        made(1, 1, chaincode="_lifecycle", function="CommitChaincodeDefinition", event=None),
    ),
    (
        made(2, 0, task=TASK, round=1),
        made(2, 1, task=TASK, round=1, flag=Code.MVCC_READ_CONFLICT, creator=serialized("Org2MSP", "agent")),
        made(2, 2, task=OTHER, round=3, flag=77),
    ),
    (
        Transaction(3, 0, creator=b"\xff", flag=Code.BAD_PAYLOAD),
        made(3, 1, event=("Submit", b"{")),
        made(3, 2, event=("Submit", b'{"task":1,"round":1}')),
    ),
)


def places(**wanted) -> list[str]:
    return [f"{each.block}:{each.index}" for each in query(LEDGER, Query(**wanted)).entries]


def test_who_did_what_and_when():
    publish, commit = list(entries(LEDGER))[1:3]
    assert publish == Entry(
        block=1,
        index=0,
        time_ms=NOON + 1000,
        msp_id="Org2MSP",
        identity="issuer",
        transaction="TaskContract:Publish",
        task=TASK,
        round=0,
        code="VALID",
        txid="0100" * 16,
        arguments=("{}",),
        endorsers=("Org1MSP", "Org2MSP"),
    )
    assert commit.transaction == "_lifecycle:CommitChaincodeDefinition"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["0:0", "1:0", "1:1", "2:0", "2:1", "2:2", "3:0", "3:1", "3:2"]),
        ({"task": TASK}, ["1:0", "2:0", "2:1"]),
        ({"msp_id": "Org2MSP"}, ["1:0", "2:1"]),
        ({"kind": "submit", "task": TASK}, ["2:0", "2:1"]),
        ({"kind": "RoundContract:Submit", "task": OTHER}, ["2:2"]),
        ({"kind": "config"}, ["0:0"]),
        ({"kind": "Contract"}, []),
        ({"since_ms": NOON + 2000, "until_ms": NOON + 3000}, ["2:0", "2:1", "2:2"]),
        ({"after": "2:1"}, ["2:2", "3:0", "3:1", "3:2"]),
        ({"after": "9:0"}, []),
    ],
)
def test_each_question_has_its_answer(wanted, found):
    assert places(**wanted) == found


def test_invalid_ones_are_there_with_their_code():
    codes = {f"{each.block}:{each.index}": each.code for each in entries(LEDGER)}
    assert (codes["2:0"], codes["2:1"], codes["2:2"]) == ("VALID", "MVCC_READ_CONFLICT", "77")


def test_what_cannot_be_read_is_empty(impossible):
    unreadable, broken, wrong = list(entries(LEDGER))[-3:]
    assert (unreadable.transaction, unreadable.msp_id, unreadable.code) == ("unreadable", "", "BAD_PAYLOAD")
    assert (broken.task, broken.round, wrong.task, wrong.round) == ("", 0, "", 0)
    assert broken.msp_id == "Org1MSP"
    for pem in (b"-", impossible):
        creator = identities_pb2.SerializedIdentity(mspid="Org1MSP", id_bytes=pem).SerializeToString()
        [entry] = entries(chain((made(0, 0, creator=creator),)))
        assert (entry.msp_id, entry.identity) == ("Org1MSP", "")


@given(st.integers(1, 10), st.sampled_from([{}, {"task": TASK}, {"msp_id": "Org1MSP"}, {"kind": "submit"}]))
def test_pages_together_are_the_whole(limit, wanted):
    whole, pages, after = query(LEDGER, Query(**wanted)).entries, [], ""
    while True:
        page = query(LEDGER, Query(**wanted, limit=limit, after=after))
        assert 0 < len(page.entries) <= limit
        pages += page.entries
        after = page.bookmark
        if not after:
            break
    assert tuple(pages) == whole


@pytest.mark.parametrize("wanted", [{"limit": 0}, {"after": "2"}, {"after": "-1:0"}, {"after": "1:0:0"}])
def test_a_question_that_cannot_be(wanted):
    with pytest.raises(BeflError, match="BEFL-C-004"):
        query(LEDGER, Query(**wanted))


@pytest.fixture
def connected(monkeypatch):
    """Commands connect to a peer that has the made blocks."""
    network = SimpleNamespace(height=lambda: len(LEDGER))
    starts = []

    def from_peer(_, first, *, private):
        assert not private, "who did what needs nobody's private data"
        starts.append(first)
        return LEDGER[first:]

    monkeypatch.setattr("befl.audit.source.from_peer", from_peer)

    class Client(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(befl.client, "connect", lambda **_: Client(audit=Audit(network, lambda _: None)))
    return starts


def test_a_table(connected, capsys):
    assert run(["audit", "query", "--task", TASK, "--limit", "2"]) == 0
    head, first, second, more = capsys.readouterr().out.splitlines()
    assert head.split() == ["place", "time", "institution", "identity", "transaction", "task", "round", "code"]
    assert first.split() == [
        "1:0",
        "2025-11-25",
        "12:00:01Z",
        "Org2MSP",
        "issuer",
        "TaskContract:Publish",
        TASK,
        "-",
        "VALID",
    ]
    assert second.startswith("2:0")
    assert more == "There are more: --after 2:0"
    assert run(["audit", "query", "--task", TASK, "--after", "2:0"]) == 0
    assert "MVCC_READ_CONFLICT" in capsys.readouterr().out
    assert connected == [0, 2], "a page begins to read where the last one ended"


def test_json_is_the_page(connected, capsys):
    assert run(["audit", "query", "--kind", "Publish", "--format", "json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["entries"]
    assert (found["msp_id"], found["arguments"], found["endorsers"]) == ("Org2MSP", ["{}"], ["Org1MSP", "Org2MSP"])


def test_csv_has_a_row_a_transaction(connected, capsys):
    assert run(["audit", "query", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [f"{row['block']}:{row['index']}" for row in rows] == places()
    assert rows[1]["endorsers"] == "Org1MSP Org2MSP"


@pytest.mark.parametrize("since", ["2025-11-25T12:00:02Z", "2025-11-25 12:00:02", "2025-11-25T13:00:02+01:00"])
def test_times_are_utc_unless_they_say_otherwise(connected, capsys, since):
    assert run(["audit", "query", "--since", since, "--until", "2025-11-25T12:00:03", "--format", "json"]) == 0
    assert [each["block"] for each in json.loads(capsys.readouterr().out)["entries"]] == [2, 2, 2]


@pytest.mark.parametrize("arguments", [["--since", "noon"], ["--limit", "0"], ["--after", "here"], ["--format", "xml"]])
def test_a_command_that_cannot_be(connected, capsys, arguments):
    assert run(["audit", "query", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err
