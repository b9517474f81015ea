"""The chain of models: one round's step, held against the round's record."""

from __future__ import annotations

import numpy as np
import pytest

from befl.rules import chain, codec
from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.reader import to_record

LENGTH = 3
UPDATES = {"AMSP": (np.array([10, -20, 30], np.int32), 1), "BMSP": (np.array([40, 50, -60], np.int32), 3)}


@pytest.fixture(params=RULES.names())
def view(request, specification):
    spec = specs.from_record(specification(aggregation__rule=request.param))
    record = {
        "best": None,
        "done": 0,
        "id": "ab" * 8,
        "length": LENGTH,
        "preparation": {},
        "published_ms": 0,
        "roster": ["AMSP", "BMSP"],
        "rules": spec.rules(),
        "spec": to_record(spec),
        "stale": 0,
        "state": "running",
    }
    return views.make(record, [], [], None, [], [])


def read(msp_id):
    return codec.update_bytes(UPDATES[msp_id][0])


def hashed(vector):
    return codec.digest(codec.model_bytes(vector))


def closed(view, link, **changes):
    """The record of an honest round that starts at a link."""
    rule = RULES[view.record["rules"]["aggregation"]]
    aggregate = rule.aggregate(UPDATES.values(), LENGTH)
    moved, _ = rule.step(aggregate, 4, link.state, (2, 2), view.spec.aggregation)
    record = {
        "aggregate": hashed(aggregate),
        "left": [],
        "model": hashed(link.model + moved),
        "round": 1,
        "start": hashed(link.model),
        "state": "evaluated",
        "trainers": 2,
        "updates": {name: {"update": codec.digest(read(name)), "weight": item[1]} for name, item in UPDATES.items()},
        "weight": 4,
    }
    return record | changes


@pytest.fixture
def link(view):
    return chain.start(view, np.array([100, 200, -300], np.int64))


def test_a_step(view, link):
    record = closed(view, link)
    after = chain.follow(view, record, link, read)
    assert hashed(after.model) == record["model"]
    assert not np.array_equal(after.model, link.model)
    assert np.array_equal(after.control, link.control), "nobody's control variate is kept"
    del record["model"]  # closed, and not evaluated yet
    assert np.array_equal(chain.follow(view, record, link, read).model, after.model)


def test_what_it_carries_can_be_written_down(view, link):
    after = chain.follow(view, closed(view, link), link, read, "AMSP")
    again = link.read(after.to_bytes())
    assert all(
        map(np.array_equal, (again.model, again.state, again.control), (after.model, after.state, after.control))
    )
    if len(after.control):
        assert not np.array_equal(after.control, link.control)


def test_a_void_round_moves_nothing(view, link):
    record = {"left": ["CMSP"], "round": 1, "start": hashed(link.model), "state": "void"}
    assert np.array_equal(chain.follow(view, record, link, read).model, link.model)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("start", "the model before round 1"),
        ("aggregate", "the aggregate of round 1"),
        ("model", "the model after round 1"),
    ],
)
def test_what_the_record_says_otherwise_is_refused(view, link, field, words):
    with pytest.raises(BeflError, match="BEFL-M-007") as caught:
        chain.follow(view, closed(view, link, **{field: "0" * 64}), link, read)
    assert words in caught.value.message


def test_rules_that_a_release_lacks_are_named(view):
    assert specs.unknown_rules(view.record["rules"]) == []
    later = view.record["rules"] | {"aggregation": "fedavg/9", "draw": "draw/2", "payment": "stake/1"}
    assert specs.unknown_rules(later) == ["draw/2", "fedavg/9", "stake/1"]
