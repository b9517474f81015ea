"""A column's centre and spread from the sums that the selected trainers' applications carry."""

from __future__ import annotations

import pytest

from befl.contracts.stub import create_composite_key
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError

# as conftest's `sums`: rows 100, 200 and 301 with means 50, 51 and 52, each with variance 9
CENTRE, SPREAD = "51.334442595673876872", "3.091176"


def test_the_sums_stand_in_the_applications_and_the_first_round_pools_them(consortium):
    c = consortium.at("asking")
    assert c.record("task", c.task)["rules"]["statistics"] == "sums/1"
    c.apply(*c.orgs)
    listed = c.ask("TaskContract:Applications", c.task, "10", "")["records"]
    assert {item["msp_id"]: item["statistics"]["age"]["values"] for item in listed} == c.weights
    assert c.view().data.columns["age"].centre == "0", "nothing is pooled before training starts"
    c.commit(c.opening())
    task = c.record("task", c.task)
    assert task["preparation"] == {"age": {"centre": CENTRE, "spread": SPREAD}}
    column = c.view().data.columns["age"]
    assert (column.centre, column.spread, column.statistics) == (CENTRE, SPREAD, "declared")
    assert c.view().spec.data.columns["age"].statistics == "pooled", "the specification stays as it was published"


def test_it_stays_to_the_end_and_comes_with_the_model(consortium):
    c = consortium.at("asking")
    c.apply(*c.orgs)
    for number in (1, 2):
        c.commit(c.opening())
        c.submit(*c.orgs, number=number)
        c.close(number=number)
        c.report(*c.orgs, number=number)
    c.commit(c.finishing())
    task = c.record("task", c.task)
    assert task["preparation"] == {"age": {"centre": CENTRE, "spread": SPREAD}}
    made = artefact.files(task, c.round_record(2), c.models[2])
    assert c.record("model", c.task)["files"] == {name: codec.digest(data) for name, data in made.items()}
    assert canonical.loads(made["preparation.json"])["data"]["columns"]["age"]["centre"] == CENTRE


def test_only_selected_trainers_count(consortium):
    """Who applied and was not drawn has no part in what all prepare their rows by."""
    c = consortium
    everybody = [*c.orgs, c.outsider]
    c.publish(data__columns={"age": {"type": "number", "statistics": "pooled"}}, participants__most=2)
    c.apply(*everybody)
    c.commit(c.opening())
    roster = c.record("task", c.task)["roster"]
    assert len(roster) == 2
    weights = {org: (c.weights.get(org, 400), 50 + everybody.index(org)) for org in roster}
    mean = sum(rows * age for rows, age in weights.values()) / sum(rows for rows, _ in weights.values())
    assert float(c.record("task", c.task)["preparation"]["age"]["centre"]) == pytest.approx(mean, rel=1e-12)


def test_sums_that_were_altered_stop_the_task(consortium):
    """The contract believes no record that it would not have written."""
    c = consortium.at("asking")
    c.apply(*c.orgs)
    c.tamper("application", c.task, "BetaMSP", statistics={})
    before = c.everything()
    with pytest.raises(BeflError, match="BEFL-M-005"):
        c.commit(c.opening())
    assert c.everything() == before


def test_a_task_that_asks_for_nothing_has_nothing(consortium):
    c = consortium.at("open")
    assert c.record("task", c.task)["preparation"] == {}
    assert c.record("application", c.task, "AlphaMSP")["statistics"] == {}
    assert create_composite_key("application", (c.task, "AlphaMSP")) in c.ledger.state()
