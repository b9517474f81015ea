"""A task of a newer release: the agent says what it does not know, leaves the task alone, and works on the others."""

from __future__ import annotations

import json
import logging

import pytest

from befl.contracts.stub import create_composite_key
from befl.gateway.wait import until
from befl.ledger import Version, WriteSet
from befl.rules import canonical

from .test_daemon import Running, finished


def with_rule(kind, version):
    def change(record):
        record["rules"][kind] = version

    return change


def with_mode(record):
    record["rules"]["mode"] = "forest/1"
    record["spec"]["mode"] = "forest"


def with_version(record):
    record["v"] = 2


def with_other_fields(record):
    """What a later version may look like: nothing in it is promised to be where it was."""
    for name in ("spec", "roster", "rules", "state", "round"):
        record[name + "_v2"] = record.pop(name)
    record["v"] = 2


STRANGE = {
    "a newer aggregation": (with_rule("aggregation", "fedavg/2"), "this release has no fedavg/2"),
    "another aggregation": (with_rule("aggregation", "krum/1"), "this release has no krum/1"),
    "a newer draw": (with_rule("draw", "draw/2"), "this release has no draw/2"),
    "a scheme": (with_rule("scheme", "masking/1"), "this release has no masking/1"),
    "metrics": (with_rule("metrics", "binary/9"), "this release has no binary/9"),
    "a kind of rule": (with_rule("incentive", "shapley/1"), "this release has no shapley/1"),
    "a newer mode": (with_rule("mode", "horizontal/2"), "this release has no horizontal/2"),
    "another mode": (with_mode, "this release has no forest/1"),
    "a newer record": (with_version, "the record of task {} has version 2, this release reads 1"),
    "a newer record of another form": (with_other_fields, "the record of task {} has version 2, this release reads 1"),
}


def write(consortium, task, change):
    """Put a task's record into the state as a chaincode of a newer release would have."""
    key = create_composite_key("task", [task])
    record = json.loads(consortium.memory.state()[key])
    change(record)
    version = Version(consortium.memory.height + 1, 0)
    consortium.memory.write(WriteSet(public={key: canonical.dumps(record)}), version, "f" * 64, 1)


def as_a_newer_chaincode_answers(strange, change):
    """What this release's chaincode cannot say of such a record, the newer one can."""

    def answers(function, answer):
        if function not in ("TaskContract:View", "TaskContract:List"):
            return answer
        found = json.loads(answer)
        for record in found["records"] if function == "TaskContract:List" else [found["task"]]:
            if record["id"] == strange:
                change(record)
        return canonical.dumps(found)

    return answers


NEWER, THIS = "newer", "this"
CASES = [(name, NEWER) for name in STRANGE]
# records that the chaincode of this release can still show
CASES += [(name, THIS) for name in ("a newer aggregation", "a newer draw", "a newer mode", "a newer record")]


@pytest.mark.parametrize(("name", "chaincode"), CASES)
def test_a_task_that_the_release_does_not_know(consortium, tmp_path, caplog, monkeypatch, name, chaincode):
    change, words = STRANGE[name]
    monkeypatch.setattr("befl.agent.daemon._DISCOVER_S", 0.05)
    caplog.set_level(logging.INFO)
    strange = consortium.publish()
    words = words.format(strange)
    if chaincode == THIS:
        write(consortium, strange, change)
    agent = Running(consortium, "Org1MSP", tmp_path / "state")
    if chaincode == NEWER:
        agent.caller.answers = as_a_newer_chaincode_answers(strange, change)
    agent.start()
    try:
        before = consortium.publish()
        finished(consortium, before)
        until(lambda: any(words in record.getMessage() for record in caplog.records), timeout=20, what="the reason")
        after = consortium.publish()
        finished(consortium, after)
    finally:
        agent.end()
    about = [each for each in caplog.records if words in each.getMessage()]  # once, and as an error
    assert [(each.levelname, each.getMessage().partition(":")[0]) for each in about] == [("ERROR", "BEFL-T-001")]
    assert "a mistake in befl" not in caplog.text
    done = [function for function in agent.caller.calls if function == "TaskContract:Apply"]
    assert len(done) == 2, "the other two tasks"
    assert len(agent.made) == 2
    left = {key for key in consortium.memory.state() if strange in key}
    assert left == {create_composite_key("task", [strange])}
