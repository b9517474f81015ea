"""What others wrote is shown to an operator and moves nothing on the terminal: no line that they forged, no colour."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest

import befl.client
import befl.client.prediction
import befl.network
from befl.audit.query import Entry, Page
from befl.cli import acting
from befl.cli.common import harmless, moment, visible
from befl.cli.main import run
from befl.network import logs
from befl.network.observe import NetworkStatus
from befl.training.predict import Predictions

EVIL = "befl:\x1b[2J\x9b2JX\r\nFORGED \u202erow"
SEEN = r"befl:\x1b[2J\x9b2JX\r\nFORGED \u202erow"


@pytest.mark.parametrize("milliseconds", [-(2**62), 2**62, 10**16, -(10**14)])
def test_a_time_that_no_calendar_has(milliseconds):
    """The header's time is the submitter's to choose."""
    assert moment(milliseconds) == f"{milliseconds} ms"
    assert moment(0) == "1970-01-01 00:00:00Z"


@pytest.fixture
def asked(monkeypatch):
    """An auditor whose peer has recorded one odd transaction."""
    entry = made(Entry, identity=EVIL, transaction=EVIL, time_ms=2**62, block=3, index=1)

    class Client(contextlib.nullcontext):
        audit = SimpleNamespace(query=lambda **_: Page((entry,), ""))

    monkeypatch.setattr(befl.client, "connect", lambda **_: Client())


def made(kind, **values):
    """An instance with these values, and empty ones of the fields' types elsewhere."""
    empty = {"int": 0, "bool": False, "float": 0.0}
    rest = {
        field.name: () if "tuple" in str(field.type) else empty.get(str(field.type), "")
        for field in dataclasses.fields(kind)
    }
    return kind(**{**rest, **values})


def test_audit_query_as_a_table(asked, capsys):
    assert run(["audit", "query"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 2
    assert said.count(SEEN) == 2
    assert f"{2**62} ms" in said


def test_audit_query_as_csv(asked, capsys):
    assert run(["audit", "query", "--format", "csv"]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    found = dict(zip(header, row, strict=True))
    assert (found["transaction"], found["time_ms"]) == (SEEN, str(2**62))


def test_network_status(monkeypatch, capsys, tmp_path):
    found = made(NetworkStatus, ready=True, leader=EVIL, warnings=(EVIL,), channel="befl")
    monkeypatch.setattr(befl.network, "status", lambda _: found)
    assert run(["network", "status", "--network", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(SEEN) == 2


def test_network_logs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(logs, "sources", lambda *_: {})
    monkeypatch.setattr(logs, "last", lambda *_: [logs.LogLine("org1/peer", f"a\t{EVIL}")])
    assert run(["network", "logs", "--network", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"org1/peer | a\t{SEEN}\n"


def test_predictions(monkeypatch, capsys):
    """Classes are named by who published the task."""
    found = Predictions(classes=("no", EVIL), probabilities=np.array([[0.25, 0.75]]), numbers=np.empty(0))
    monkeypatch.setattr(befl.client.prediction, "load_model", lambda _: SimpleNamespace(predict=lambda *_, **__: found))
    assert run(["predict", "model", "rows.csv"]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 2
    assert said.count(SEEN) == 2


def test_progress(capsys):
    acting.progress(f"waits for {EVIL}")
    assert not re.search("[\x1b\x9b\r\u202e]", capsys.readouterr().err)


def test_what_can_be_printed_stays():
    assert visible("Zürich\t東京 ok\n") == "Zürich\t東京 ok\n"
    assert harmless({"a": [("x\ny", 1)], EVIL: None}) == {"a": [(r"x\ny", 1)], SEEN: None}
