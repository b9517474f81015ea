"""The institution's say: every reason against a task is named, and none is invented."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from befl.agent.config import Policy
from befl.agent.policy import objections
from befl.rules.reader import to_record
from befl.rules.view import make

from .memory import APP, spec_of

MSP_IDS = ("Org1MSP", "Org2MSP", "Org3MSP")


def view_of(issuer="Org1MSP", least=3, statistics="declared"):
    spec = to_record(spec_of(least=least, most=128))
    spec["data"]["columns"]["age"]["statistics"] = statistics
    record = {
        "app": {"digest": APP, "name": "tabular"},
        "best": None,
        "done": 0,
        "id": "0" * 16,
        "issuer": issuer,
        "published_ms": 0,
        "roster": [],
        "spec": spec,
        "stale": 0,
        "state": "published",
    }
    return make(record, [], [], None, [], [])


AGREES = Policy(apply="always", issuers=("Org1MSP",), schemes=("none",), least=3)


def test_whoever_agrees_has_no_objection():
    assert objections(AGREES, view_of(), {"heart"}, {APP}) == []


def test_nothing_is_agreed_to_by_default():
    found = objections(Policy(), view_of(), (), ())
    assert found == [
        "policy.schemes does not list 'none'",
        f"app tabular {APP[:16]} is not approved (befl app approve {APP[:16]} --config AGENT.toml)",
        "no file is configured for data 'heart'",
    ]


@given(
    issuer=st.sampled_from(MSP_IDS),
    issuers=st.one_of(st.just("any"), st.lists(st.sampled_from(MSP_IDS), min_size=1, unique=True).map(tuple)),
    schemes=st.sampled_from([(), ("none",)]),
    least=st.integers(1, 128),
    wanted=st.integers(1, 128),
    approved=st.booleans(),
    configured=st.booleans(),
    statistics=st.sampled_from(["declared", "pooled"]),
    allowed=st.booleans(),
)
def test_every_reason_is_named_and_no_other(
    issuer, issuers, schemes, least, wanted, approved, configured, statistics, allowed
):
    policy = Policy(issuers=issuers, schemes=schemes, least=wanted, statistics=allowed)
    view = view_of(issuer, least, statistics)
    found = objections(policy, view, {"heart"} if configured else {"lung"}, {APP} if approved else ())
    reasons = {
        "policy.issuers": issuers != "any" and issuer not in issuers,
        "policy.schemes": not schemes,
        "policy.least": least < wanted,
        "befl app approve": not approved,
        "no file is configured": not configured,
        "asks for count, sum and sum of squares of age; policy.statistics is false": statistics == "pooled"
        and not allowed,
    }
    for words, holds in reasons.items():
        assert any(words in reason for reason in found) == holds
    assert len(found) == sum(reasons.values())


def test_ask_or_always_is_no_objection():
    """Whether the operator is asked is the worker's matter; the policy's reasons are the same."""
    for apply, least in itertools.product(("ask", "always"), (1, 9)):
        policy = Policy(apply=apply, schemes=("none",), least=least)
        assert len(objections(policy, view_of(), {"heart"}, {APP})) == (least > 3)
