"""What happens when transactions meet: in one block, or held back until their phase is over."""

from __future__ import annotations

import itertools

import pytest

from befl.ledger import ValidationCode
from befl.rules import codec

VALID = ValidationCode.VALID
MVCC = ValidationCode.MVCC_READ_CONFLICT
PHANTOM = ValidationCode.PHANTOM_READ_CONFLICT


# --- in parallel -----------------------------------------------------------------------------------------------------


def test_institutions_apply_in_one_block(consortium):
    c = consortium.at("published")
    assert c.ledger.commit([c.applying(org) for org in c.orgs]) == [VALID] * 3
    assert c.view().applicants == c.orgs


def test_institutions_submit_in_one_block(consortium):
    c = consortium.at("open")
    assert c.ledger.commit([c.submitting(org) for org in c.orgs]) == [VALID] * 3
    assert c.view().round.updates == c.orgs


def test_institutions_report_in_one_block(consortium):
    c = consortium.at("closed")
    assert c.ledger.commit([c.reporting(org) for org in c.orgs]) == [VALID] * 3
    assert c.view().round.reports == c.orgs


def test_institutions_decide_about_an_app_in_one_block(consortium):
    c = consortium
    digest = c.add_app("BetaMSP")
    decisions = [
        c.endorse("AppContract:Approve", digest, by="AlphaMSP", role="operator"),
        c.endorse("AppContract:Withdraw", digest, by="BetaMSP", role="operator"),
        c.endorse("AppContract:Approve", digest, by="GammaMSP", role="operator"),
    ]
    assert c.ledger.commit(decisions) == [VALID] * 3
    assert [each["msp_id"] for each in c.ask("AppContract:Get", digest)["approvals"]] == ["AlphaMSP", "GammaMSP"]


def test_an_app_is_added_once(consortium):
    c = consortium
    adding = [
        c.endorse("AppContract:Add", c.added, "forest", by=org, role="issuer", transient={"archive": c.archive})
        for org in c.orgs
    ]
    assert c.ledger.commit(adding) == [VALID, MVCC, MVCC]


@pytest.mark.parametrize(
    ("function", "earlier", "later"),
    [
        ("MemberContract:Announce", ("old.example:1", ""), ("new.example:1", "")),
        ("MemberContract:Approve", ("BetaMSP", '["issuer"]'), ("BetaMSP", '["trainer"]')),
        ("ParameterContract:Approve", ('{"least_trainers":2}',), ('{"least_trainers":3}',)),
    ],
)
def test_what_was_held_back_does_not_replace_what_came_later(consortium, function, earlier, later):
    """An orderer that keeps an institution's word and lets it go after a newer one changes nothing."""
    c = consortium
    role = "trainer" if function.endswith("Announce") else "operator"
    held = c.endorse(function, *earlier, role=role)
    c.call(function, *later, role=role)
    said = c.everything()[:-1]  # but the height
    assert c.ledger.commit(held) == [MVCC]
    assert c.everything()[:-1] == said


def test_institutions_decline_and_apply_in_one_block(consortium):
    c = consortium.at("published")
    declining = c.endorse("TaskContract:Decline", c.task, "no staff", by="BetaMSP")
    assert c.ledger.commit([c.applying("AlphaMSP"), declining, c.applying("GammaMSP")]) == [VALID] * 3


def test_a_departure_held_back_until_training_has_begun(consortium):
    """Who has not left when the roster is drawn is on it, and says so again."""
    c = consortium.at("applied")
    held = c.endorse("TaskContract:Leave", c.task, "no staff", by="BetaMSP")
    c.commit(c.opening())
    assert c.ledger.commit(held) == [MVCC]
    c.depart("BetaMSP")
    assert (c.view().roster, c.view().departed) == (c.orgs, ("BetaMSP",))


def test_of_a_departure_and_an_opening_in_a_block_the_first_counts(consortium):
    c = consortium.at("reported")
    leaving = c.endorse("TaskContract:Leave", c.task, "no staff", by="BetaMSP")
    assert c.ledger.commit([leaving, c.opening()]) == [VALID, PHANTOM]
    c.commit(c.opening())
    assert c.view().roster == ("AlphaMSP", "GammaMSP")


def test_tasks_do_not_meet(make_consortium, consortium):
    c = consortium.at("open")
    first, submitted = c.task, [c.submitting(org) for org in c.orgs]
    c.publish()
    second = [c.applying(org) for org in c.orgs]
    assert c.ledger.commit([one for pair in zip(submitted, second, strict=True) for one in pair]) == [VALID] * 6
    assert c.task != first


@pytest.mark.parametrize(
    ("stage", "action"), [("published", "applying"), ("open", "submitting"), ("closed", "reporting")]
)
def test_one_institution_delivers_once_in_a_block_too(consortium, stage, action):
    c = consortium.at(stage)
    twice = [getattr(c, action)("BetaMSP"), getattr(c, action)("BetaMSP")]
    assert c.ledger.commit(twice) == [VALID, MVCC]


ENDINGS = [("applied", "opening"), ("updated", "closing"), ("reported", "opening"), ("last", "finishing")]


@pytest.mark.parametrize(("stage", "action"), ENDINGS)
def test_a_phase_ends_once(consortium, stage, action):
    c = consortium.at(stage)
    codes = c.ledger.commit([getattr(c, action)(org) for org in c.orgs])
    assert codes == [VALID, MVCC, MVCC]
    assert len(c.ledger.events(c.ledger.height)) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_of_the_block_wins(consortium, place):
    c = consortium.at("updated")
    order = [*c.orgs[place:], *c.orgs[:place]]
    c.ledger.commit([c.closing(org) for org in order])
    assert c.round_record(1)["closed_by"] == order[0]


@pytest.mark.parametrize(("stage", "action"), ENDINGS)
def test_what_lost_the_race_can_be_endorsed_no_more(consortium, stage, action):
    c = consortium.at(stage)
    endorsed = getattr(c, action)("AlphaMSP")
    c.ledger.commit([endorsed])
    with pytest.raises(Exception, match="BEFL-T-002"):
        getattr(c, action)("BetaMSP")
    assert c.ledger.commit([endorsed]) == [ValidationCode.DUPLICATE_TXID]


# --- held back -------------------------------------------------------------------------------------------------------


def test_an_application_held_back_until_training_has_begun(consortium):
    c = consortium.at("published")
    c.apply("AlphaMSP", "BetaMSP")
    held = c.applying("GammaMSP")
    c.now += 60_000
    c.commit(c.opening())
    before = c.everything()[:3]
    assert c.ledger.commit(held) == [MVCC]
    assert c.everything()[:3] == before


def test_an_update_held_back_until_the_round_is_closed(consortium):
    c = consortium.at("open")
    c.submit("AlphaMSP", "BetaMSP")
    held = c.submitting("GammaMSP")
    c.now += 30_001
    closed = c.close()
    before = c.everything()[:3]
    assert c.ledger.commit(held) == [MVCC]
    assert c.everything()[:3] == before
    assert list(closed["updates"]) == ["AlphaMSP", "BetaMSP"]


def test_an_update_held_back_until_the_round_is_void(consortium):
    c = consortium.at("open")
    held = c.submitting("GammaMSP")
    c.now += 30_001
    assert c.close()["state"] == "void"
    assert c.ledger.commit(held) == [MVCC]
    c.commit(c.opening())
    assert c.ledger.commit(c.submitting("GammaMSP", 2)) == [VALID]


def test_a_report_held_back_until_the_round_is_evaluated(consortium):
    c = consortium.at("closed")
    c.report("AlphaMSP", "BetaMSP")
    held = c.reporting("GammaMSP", model="ee" * 32)
    c.now += 30_001
    c.commit(c.opening())
    assert c.ledger.commit(held) == [MVCC]
    assert c.round_record(1)["dissent"] == {}


def test_a_report_held_back_until_the_task_is_finished(consortium):
    c = consortium.at("reported")
    c.commit(c.opening())
    c.submit(*c.orgs, number=2)
    c.close(number=2)
    c.report("AlphaMSP", "BetaMSP", number=2)
    held = c.reporting("GammaMSP", 2)
    c.now += 30_001
    c.commit(c.finishing())
    assert c.ledger.commit(held) == [MVCC]


def test_an_application_that_comes_while_training_begins(consortium):
    c = consortium.at("published")
    c.apply("AlphaMSP", "BetaMSP")
    c.now += 60_000
    begin, late = c.opening(), c.applying("GammaMSP")
    # the roster was drawn without it: whichever is ordered first, both do not stand
    assert c.ledger.commit([late, begin]) == [VALID, PHANTOM]
    c.commit(c.opening())
    assert c.record("task", c.task)["roster"] == list(c.orgs)


def test_an_application_ordered_after_the_beginning(consortium):
    c = consortium.at("published")
    c.apply("AlphaMSP", "BetaMSP")
    c.now += 60_000
    begin, late = c.opening(), c.applying("GammaMSP")
    assert c.ledger.commit([begin, late]) == [VALID, MVCC]
    assert c.record("task", c.task)["roster"] == ["AlphaMSP", "BetaMSP"]


@pytest.mark.parametrize("late_first", [True, False])
def test_an_update_that_comes_while_the_round_closes(consortium, late_first):
    c = consortium.at("open")
    c.submit("AlphaMSP", "BetaMSP")
    late = c.submitting("GammaMSP")
    c.now += 30_001
    close = c.closing()
    order = [late, close] if late_first else [close, late]
    assert c.ledger.commit(order) == [VALID, MVCC]
    if late_first:  # endorsed in time, so it counts
        c.close()
    assert len(c.round_record(1)["updates"]) == (3 if late_first else 2)


@pytest.mark.parametrize("late_first", [True, False])
def test_a_report_that_comes_while_the_next_round_opens(consortium, late_first):
    c = consortium.at("closed")
    c.report("AlphaMSP", "BetaMSP")
    late = c.reporting("GammaMSP")
    c.now += 30_001
    following = c.opening()
    order = [late, following] if late_first else [following, late]
    assert c.ledger.commit(order) == [VALID, MVCC]
    if late_first:
        c.commit(c.opening())
    assert len(c.round_record(1)["metrics"]["institutions"]) == (3 if late_first else 2)


# --- cancelling ------------------------------------------------------------------------------------------------------

RACES = {
    "apply": ("published", lambda c: [c.applying(org) for org in c.orgs], True),
    "open": ("applied", lambda c: [c.opening()], False),
    "submit": ("open", lambda c: [c.submitting(org) for org in c.orgs], True),
    "close": ("updated", lambda c: [c.closing()], True),
    "report": ("closed", lambda c: [c.reporting(org) for org in c.orgs], True),
    "evaluate": ("reported", lambda c: [c.opening()], False),
    "finish": ("last", lambda c: [c.finishing()], False),
}


@pytest.mark.parametrize("what", RACES)
def test_cancelled_first_nothing_else_happens(consortium, what):
    stage, others, _ = RACES[what]
    c = consortium.at(stage)
    held = others(c)
    c.commit(c.cancelling())
    before = c.everything()[:3]
    assert c.ledger.commit(held) == [MVCC] * len(held)
    assert c.everything()[:3] == before
    assert c.view().state == "cancelled"


@pytest.mark.parametrize("what", RACES)
def test_cancelled_last_only_a_change_of_the_task_is_in_its_way(consortium, what):
    stage, others, both = RACES[what]
    c = consortium.at(stage)
    held = others(c)
    codes = c.ledger.commit([*held, c.cancelling()])
    assert codes == [VALID] * len(held) + [VALID if both else MVCC]
    if what == "finish":
        assert c.view().state == "finished"


def test_a_cancelled_task_keeps_its_records(consortium):
    c = consortium.at("closed")
    before = c.ledger.state()
    c.commit(c.cancelling("the ethics board\nhas second thoughts"))
    after = c.ledger.state()
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert len(changed) == 1
    record = c.record("task", c.task)
    assert (record["state"], record["reason"]) == ("cancelled", "the ethics board\nhas second thoughts")
    assert record["cancelled_ms"] == c.now


# --- the same on every endorser --------------------------------------------------------------------------------------


def test_two_endorsers_write_the_same_bytes(make_consortium):
    def endorsed(c):
        whole = []
        for block in c.ledger.blocks:
            whole += [(one.txid, one.read_set, one.write_set, one.result, one.event) for one in block.transactions]
        return whole

    assert endorsed(make_consortium().at("finished")) == endorsed(make_consortium().at("finished"))


def test_the_order_of_the_updates_does_not_show_in_the_aggregate(make_consortium):
    aggregates = set()
    for order in itertools.permutations(make_consortium.orgs):
        c = make_consortium().at("open")
        c.submit(*order)
        aggregates.add(c.close()["aggregate"])
    assert len(aggregates) == 1


def test_a_dissenter_cannot_bring_its_model_in_by_finishing(consortium):
    c = consortium.at("reported")
    c.commit(c.opening())
    c.submit(*c.orgs, number=2)
    c.close(number=2)
    c.report("AlphaMSP", "BetaMSP", number=2)
    forged = b"\1" * 8 * c.length
    c.commit(c.reporting("GammaMSP", 2, codec.digest(forged)))
    with pytest.raises(Exception, match="BEFL-M-007"):
        c.call("TaskContract:Finish", c.task, by="GammaMSP", transient={"model": forged})
    c.commit(c.finishing("GammaMSP"))
    assert c.round_record(2)["dissent"] == {"GammaMSP": codec.digest(forged)}
