"""The transactions as typed calls: pages are joined, bytes are held against digests, refusals keep their codes."""

from __future__ import annotations

import pytest

from befl.rules import codec
from befl.rules.errors import BeflError

from .memory import APP, LAYOUT, counted, initial, spec_of

MODEL = codec.model_bytes(initial())


def test_a_task_and_its_receipt(consortium):
    issuer = consortium.ledger("IssuerMSP", "issuer")
    receipt = issuer.publish(spec_of(least=2, most=2), APP, LAYOUT, MODEL)
    assert receipt.value == {"task": receipt.txid[:16]}
    assert receipt.block == consortium.memory.height
    view = issuer.view(receipt.value["task"])
    assert (view.state, view.spec, view.record["issuer"]) == ("published", spec_of(least=2, most=2), "IssuerMSP")
    assert issuer.model_bytes(view.id, 0, view.record["model"]) == MODEL


def test_pages_are_joined(consortium):
    tasks = [consortium.publish() for _ in range(205)]
    caller = consortium.ledger("Org1MSP")
    assert sorted(record["id"] for record in caller.tasks()) == sorted(tasks)
    assert caller._transactor.calls.count("TaskContract:List") == 5


def test_a_model_before_there_is_one(consortium):
    ledger, task = consortium.ledger("Org1MSP"), consortium.publish()
    with pytest.raises(BeflError, match="BEFL-T-007"):
        ledger.model(task)
    with pytest.raises(BeflError, match="BEFL-T-007"):
        ledger.model_bytes(task, 1, "0" * 64)
    assert list(ledger.models()) == []


def test_unknown_ids(consortium):
    ledger = consortium.ledger("Org1MSP")
    for task in ("0" * 16, "nonsense"):
        for ask in (
            ledger.view,
            ledger.model,
            lambda each: ledger.round(each, 1),
            lambda each: list(ledger.rounds(each)),
        ):
            if task == "0" * 16 and ask is not ledger.view:
                continue
            with pytest.raises(BeflError, match="BEFL-T-007"):
                ask(task)


def test_refusals_change_nothing(consortium):
    """Wrong role, not invited, twice, outsider, too early: the code comes back, the ledger stays as it was."""
    task = consortium.publish(least=2, most=2)
    one, outsider = consortium.ledger("Org1MSP"), consortium.ledger("Org9MSP")
    one.apply(task, APP)
    before = consortium.memory.state()
    refused = {
        "BEFL-A-001": lambda: consortium.ledger("Org2MSP", "issuer").apply(task, APP),
        "BEFL-T-003": lambda: one.apply(task, APP),
        "BEFL-T-009": lambda: consortium.ledger("Org2MSP").apply(task, "b" * 64),
        "BEFL-T-005": lambda: one.open(task),
        "BEFL-A-002": lambda: outsider.open(task),
        "BEFL-A-004": lambda: consortium.ledger("Org2MSP", "issuer").cancel(task, "not mine"),
        "BEFL-T-002": lambda: one.report(task, 1, "0" * 64, counted("Org1MSP", initial())),
    }
    for code, act in refused.items():
        with pytest.raises(BeflError) as caught:
            act()
        assert caught.value.code == code
    assert consortium.memory.state() == before
