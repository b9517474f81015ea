"""What the consortium records of itself: parameters, whose versions rounds name; members and agents; page by page."""

from __future__ import annotations

from befl.rules import reader
from befl.rules.parameters import Parameters

from .conftest import ORGS, OUTSIDER


def assign(consortium, **changes) -> None:
    consortium.call("ParameterContract:Assign", *consortium.approved_parameters(**changes), role="operator")


def pages(consortium, function):
    """All pages of one record; no page has more, and only the last one has no bookmark."""
    found, bookmark, last = [], "", False
    while not last:
        page = consortium.ask(function, "1", bookmark)
        [record] = page["records"]
        found.append(record)
        assert page["bookmark"] != bookmark, "it goes on"
        bookmark = page["bookmark"]
        last = not bookmark
    assert consortium.ask(function, "50", "") == {"bookmark": "", "records": found}, "one page has them all too"
    return found


def test_each_round_names_the_version_in_force_when_it_opened(consortium):
    consortium.at("reported")
    assign(consortium, most_rounds=20)
    consortium.commit(consortium.opening())
    assign(consortium, most_rounds=30)
    assert [consortium.round_record(number)["parameters"] for number in (1, 2)] == [0, 1]
    listed = consortium.ask("RoundContract:List", consortium.task, "10", "")["records"]
    assert [record["parameters"] for record in listed] == [0, 1]
    assert consortium.ask("ParameterContract:Get")["current"]["version"] == 2


def test_a_task_that_is_published_later_names_the_later_version_from_its_first_round(consortium):
    assign(consortium, most_rounds=20)
    assign(consortium, most_rounds=30)
    consortium.at("open")
    assert consortium.round_record(1)["parameters"] == 2


def test_all_versions_of_the_parameters_by_pages(consortium):
    assert consortium.ask("ParameterContract:List", "10", "") == {"bookmark": "", "records": []}
    assigned = []
    for most in (20, 30, 40):
        consortium.now += 1_000
        assigned.append(consortium.now)
        assign(consortium, most_rounds=most)
    consortium.approved_parameters(most_rounds=50)  # approvals are of another kind and stand on no page
    expected = [
        {
            "approved_by": list(ORGS),
            "assigned_ms": time,
            "kind": "parameters_version",
            "parameters": reader.to_record(Parameters(most_rounds=most)),
            "v": 1,
            "version": version,
        }
        for version, time, most in zip((1, 2, 3), assigned, (20, 30, 40), strict=True)
    ]
    assert pages(consortium, "ParameterContract:List") == expected
    assert consortium.ask("ParameterContract:Get")["current"] == {**expected[-1], "kind": "parameters"}


def test_members_by_pages(consortium):
    consortium.call("MemberContract:Assign", *consortium.approved_roles("BetaMSP", ["trainer"]), role="operator")
    found = {record["msp_id"]: record for record in pages(consortium, "MemberContract:List")}
    assert list(found) == sorted((*ORGS, OUTSIDER))
    assert {record["kind"] for record in found.values()} == {"member"}
    assert (found["BetaMSP"]["roles"], found["BetaMSP"]["approved_by"]) == (["trainer"], list(ORGS))
    assert (found["AlphaMSP"]["roles"], found["AlphaMSP"]["approved_by"]) == (
        ["auditor", "issuer", "trainer", "validator"],
        [],
    )


def test_agents_by_pages(consortium):
    announced = {"AlphaMSP": ("alpha.example:7443", "ab" * 32), "BetaMSP": ("", "cd" * 32), "GammaMSP": ("gamma:1", "")}
    for msp_id, words in announced.items():
        consortium.call("MemberContract:Announce", "old.example:1", "ef" * 32, by=msp_id)
        consortium.call("MemberContract:Announce", *words, by=msp_id)
    assert pages(consortium, "MemberContract:Agents") == [
        {
            "announced_ms": consortium.now,
            "endpoint": endpoint,
            "key": key,
            "kind": "agent",
            "msp_id": msp_id,
            "v": 1,
        }
        for msp_id, (endpoint, key) in announced.items()
    ]
