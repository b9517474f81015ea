"""A whole task, and every transaction where it is possible: what it writes, answers and announces."""

from __future__ import annotations

import itertools
import string

import numpy as np
import pytest

from befl.contracts.chaincode import CONTRACTS
from befl.contracts.context import PAGE_MOST
from befl.contracts.stub import create_composite_key, split_composite_key
from befl.ledger import make_creator
from befl.rules import artefact, canonical, codec
from befl.rules import view as views
from befl.rules.draw import rank
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS, summary

ANYBODY = make_creator("DeltaMSP")

# transaction: stage, arguments, options of the call, keys written, round in the event
HAPPY = {
    "TaskContract:Publish": (
        "empty",
        lambda c: (c.specification(), c.app, c.layout),
        lambda c: {"role": "issuer", "transient": c.model()},
        {"task"},
        0,
    ),
    "TaskContract:Apply": (
        "published",
        lambda c: (c.task, c.app, "{}"),
        lambda c: {"by": "BetaMSP"},
        {"application"},
        0,
    ),
    "TaskContract:Decline": ("published", lambda c: (c.task, "no staff"), lambda c: {}, {"departure"}, 0),
    "TaskContract:Leave": ("closed", lambda c: (c.task, "no staff"), lambda c: {}, {"departure"}, 1),
    "TaskContract:Open": ("applied", lambda c: (c.task,), lambda c: {"by": "GammaMSP"}, {"task", "round"}, 1),
    "TaskContract:Finish": (
        "last",
        lambda c: (c.task,),
        lambda c: {"transient": c.model(2)},
        {"task", "round", "model"},
        2,
    ),
    "TaskContract:Cancel": ("closed", lambda c: (c.task, "enough"), lambda c: {"role": "issuer"}, {"task"}, 0),
    "RoundContract:Submit": (
        "open",
        lambda c: (c.task, "1", "100", codec.digest(codec.update_bytes(c.update("AlphaMSP")))),
        lambda c: {"transient": {"update": codec.update_bytes(c.update("AlphaMSP"))}},
        {"update"},
        1,
    ),
    "RoundContract:Close": ("updated", lambda c: (c.task, "1"), lambda c: {}, {"round"}, 1),
    "RoundContract:Report": (
        "closed",
        lambda c: (c.task, "1", "cd" * 32, canonical.dumps(c.counts()).decode()),
        lambda c: {},
        {"report"},
        1,
    ),
    "TaskContract:View": ("published", lambda c: (c.task,), lambda c: {"role": None}, set(), None),
    "TaskContract:List": ("published", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "TaskContract:Applications": ("applied", lambda c: (c.task, "10", ""), lambda c: {"role": None}, set(), None),
    "TaskContract:Departures": ("closed", lambda c: (c.task, "10", ""), lambda c: {"role": None}, set(), None),
    "RoundContract:Get": ("updated", lambda c: (c.task, "1"), lambda c: {"role": None}, set(), None),
    "RoundContract:List": ("open", lambda c: (c.task, "10", ""), lambda c: {"role": None}, set(), None),
    "RoundContract:Update": ("updated", lambda c: (c.task, "1", "BetaMSP"), lambda c: {"role": None}, set(), None),
    "ModelContract:Get": ("finished", lambda c: (c.task,), lambda c: {"role": None}, set(), None),
    "ModelContract:List": ("finished", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "AppContract:Add": (
        "empty",
        lambda c: (c.added, "forest"),
        lambda c: {"role": "issuer", "transient": {"archive": c.archive}},
        {"app"},
        0,
    ),
    "AppContract:Approve": ("empty", lambda c: (c.app,), lambda c: {"role": "operator"}, {"app_approval"}, 0),
    "AppContract:Withdraw": (
        "empty",
        lambda c: (c.add_app("AlphaMSP"),),
        lambda c: {"role": "operator"},
        {"app_approval"},
        0,
    ),
    "AppContract:Get": ("empty", lambda c: (c.add_app(),), lambda c: {"role": None}, set(), None),
    "AppContract:List": ("empty", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "AppContract:Approvals": ("empty", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "AppContract:Bytes": ("empty", lambda c: (c.add_app(),), lambda c: {"role": None}, set(), None),
    "MemberContract:Register": ("empty", lambda c: (), lambda c: {"by": "OmegaMSP", "role": "operator"}, {"member"}, 0),
    "MemberContract:Leave": ("empty", lambda c: (), lambda c: {"by": "BetaMSP", "role": "operator"}, {"member"}, 0),
    "MemberContract:Approve": (
        "empty",
        lambda c: ("BetaMSP", '["trainer"]'),
        lambda c: {"role": "operator"},
        {"approval"},
        0,
    ),
    "MemberContract:Assign": (
        "empty",
        lambda c: c.approved_roles("BetaMSP", ["trainer"]),
        lambda c: {"role": "operator"},
        {"approval", "member"},
        0,
    ),
    "MemberContract:Announce": ("empty", lambda c: ("alpha.example:7443", "ab" * 32), lambda c: {}, {"agent"}, 0),
    "MemberContract:Get": ("empty", lambda c: ("AlphaMSP",), lambda c: {"role": None}, set(), None),
    "MemberContract:List": ("empty", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "MemberContract:Agents": ("empty", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "ParameterContract:Approve": (
        "empty",
        lambda c: ('{"most_rounds":20}',),
        lambda c: {"role": "operator"},
        {"approval"},
        0,
    ),
    "ParameterContract:Assign": (
        "empty",
        lambda c: c.approved_parameters(most_rounds=20),
        lambda c: {"role": "operator"},
        {"approval", "parameters", "parameters_version"},
        0,
    ),
    "ParameterContract:Get": ("empty", lambda c: (), lambda c: {"role": None}, set(), None),
    "ParameterContract:List": ("empty", lambda c: ("10", ""), lambda c: {"role": None}, set(), None),
    "ModelContract:Bytes": ("finished", lambda c: (c.task, "2"), lambda c: {"role": None}, set(), None),
}


def test_the_table_has_every_transaction():
    assert set(HAPPY) == {f"{contract}:{name}" for contract, table in CONTRACTS.items() for name in table}


@pytest.mark.parametrize("name", HAPPY)
def test_what_a_transaction_writes_and_announces(consortium, name):
    stage, arguments, options, kinds, number = HAPPY[name]
    consortium.at(stage)
    endorsed = consortium.endorse(name, *arguments(consortium), **options(consortium))
    written = {split_composite_key(key)[0] for key in endorsed.writes.public}
    assert written == kinds
    assert endorsed.result
    contract, _, function = name.partition(":")
    assert bool(CONTRACTS[contract][function].role) == bool(kinds)
    if not kinds:
        assert endorsed.event is None
        assert not endorsed.writes
        return
    consortium.ledger.commit_valid(endorsed)
    (event,) = consortium.ledger.events(consortium.ledger.height)
    task = canonical.loads(endorsed.result).get("task", "")
    assert event.name == function
    assert canonical.loads(event.payload) == {
        "round": number,
        "task": task,
        "transaction": function,
        "txid": endorsed.txid,
    }


@pytest.mark.parametrize("name", [name for name, row in HAPPY.items() if row[3]])
def test_what_travels_transiently_is_in_no_block(consortium, name):
    stage, arguments, options, _, _ = HAPPY[name]
    consortium.at(stage)
    transient = options(consortium).get("transient", {})
    contract, _, function = name.partition(":")
    assert tuple(transient) == CONTRACTS[contract][function].transient
    endorsed = consortium.endorse(name, *arguments(consortium), **options(consortium))
    for data in transient.values():
        assert data not in endorsed.write_set
        assert data.hex().encode() not in endorsed.write_set
        assert not any(data in value for value in endorsed.writes.public.values() if value)


@pytest.mark.parametrize("role", ["trainer|issuer", "issuer|trainer|auditor", "operator||issuer|trainer|"])
def test_one_certificate_may_have_several_roles(consortium, role):
    published = consortium.call(
        "TaskContract:Publish",
        consortium.specification(),
        consortium.app,
        consortium.layout,
        role=role,
        transient=consortium.model(),
    )
    consortium.call("TaskContract:Apply", canonical.loads(published.result)["task"], consortium.app, "{}", role=role)


def test_a_whole_task(consortium):
    c = consortium.at("finished")
    task = c.record("task", c.task)
    assert (task["state"], task["round"], task["done"], task["roster"]) == ("finished", 2, 2, list(c.orgs))
    assert task["contributors"] == {org: {"rounds": 2, "weight": 2 * weight} for org, weight in c.weights.items()}
    assert task["rules"]["aggregation"] == "fedavg/1"
    assert task["model"] == codec.digest(codec.model_bytes(c.models[0]))
    # the sums once more, by Python's integers
    total = sum(c.weights.values())
    before = c.models[0].tolist()
    for number in (1, 2):
        exact = [sum(int(c.update(org, number)[place]) * c.weights[org] for org in c.orgs) for place in range(c.length)]
        aggregate = codec.digest(codec.model_bytes(np.array(exact, dtype=np.int64)))
        found = c.round_record(number)
        assert (found["aggregate"], found["weight"], found["state"]) == (aggregate, total, "evaluated")
        before = [value + (2 * sum_ + total) // (2 * total) for value, sum_ in zip(before, exact, strict=True)]
        assert found["model"] == codec.digest(codec.model_bytes(np.array(before, dtype=np.int64)))
        assert found["dissent"] == {}
        rule = METRICS["binary/1"]
        reports = {org: rule.read_counts(c.counts(org), None) for org in c.orgs}
        assert found["metrics"] == summary(rule, None, reports)
    assert c.round_record(1)["start"] == task["model"]
    assert c.round_record(2)["start"] == c.round_record(1)["model"]


def test_a_task_says_who_may_fetch(consortium):
    """Trainers and issuer, where the task says so; the initial model goes to whoever may apply."""
    c = consortium
    c.publish(participants__fetch="trainers")
    c.apply(*c.orgs)
    c.commit(c.opening())
    c.submit(*c.orgs)
    c.close()
    c.report(*c.orgs)
    c._last()
    c.commit(c.finishing())
    calls = [("ModelContract:Bytes", c.task, "2"), ("RoundContract:Update", c.task, "1", c.orgs[0])]
    for call in calls:
        assert all(c.ledger.evaluate(make_creator(org), *call) for org in c.orgs)
        with pytest.raises(BeflError, match="BEFL-A-008"):
            c.ledger.evaluate(ANYBODY, *call)
    assert c.ledger.evaluate(ANYBODY, "ModelContract:Bytes", c.task, "0") == c.model(0)["model"]


def test_the_registered_model(consortium):
    c = consortium.at("finished")
    record = c.ask("ModelContract:Get", c.task)
    data = c.ledger.evaluate(ANYBODY, "ModelContract:Bytes", c.task, "2")
    assert codec.digest(data) == record["model"] == c.round_record(2)["model"]
    made = artefact.files(c.record("task", c.task), c.round_record(2), codec.read_model(data, c.length))
    assert record["files"] == {name: codec.digest(content) for name, content in made.items()}
    assert record["digest"] == codec.digest(made[artefact.MANIFEST])
    assert record["contributors"] == c.record("task", c.task)["contributors"]
    assert record["metrics"] == c.round_record(2)["metrics"]["pooled"]
    assert c.ledger.evaluate(ANYBODY, "ModelContract:Bytes", c.task, "0") == c.model(0)["model"]
    finish = c.ledger.blocks[-1].transactions[0]
    assert canonical.loads(finish.result) == {"digest": record["digest"], "task": c.task}
    assert record["txid"] == finish.txid


def test_the_updates_lie_in_the_private_collection(consortium):
    c = consortium.at("updated")
    for org in c.orgs:
        data = c.ledger.evaluate(ANYBODY, "RoundContract:Update", c.task, "1", org)
        assert data == codec.update_bytes(c.update(org))
        record = c.record("update", c.task, "000001", org)
        assert (record["update"], record["weight"], record["msp_id"]) == (codec.digest(data), c.weights[org], org)
        assert record["submitted_ms"] == c.now
    assert len(c.ledger.private_state("updates")) == 3


def test_a_task_fixes_what_was_published(consortium):
    c = consortium.at("published")
    task = c.record("task", c.task)
    assert canonical.dumps(task["spec"]).decode() == c.specification()
    assert (task["issuer"], task["published_ms"], task["length"]) == ("AlphaMSP", c.start, 5)
    assert c.task == c.ledger.blocks[-1].transactions[0].txid[:16]


def test_times_are_the_transactions(consortium):
    c = consortium
    c.publish()
    c.now += 5
    c.apply(*c.orgs)
    c.now += 7
    c.commit(c.opening("BetaMSP"))
    found = c.round_record(1)
    assert (found["opened_ms"], found["deadline_ms"], found["opened_by"]) == (c.start + 12, c.start + 30_012, "BetaMSP")
    c.submit(*c.orgs)
    c.now += 11
    c.close("GammaMSP")
    found = c.round_record(1)
    assert (found["closed_ms"], found["report_deadline_ms"]) == (c.start + 23, c.start + 30_023)
    assert found["closed_by"] == "GammaMSP"


@pytest.mark.parametrize(
    "stage", ["published", "applied", "open", "updated", "closed", "reported", "last", "finished", "cancelled", "void"]
)
def test_the_view_is_the_records(consortium, stage):
    c = consortium.at(stage)
    state = [(split_composite_key(key), canonical.loads(value)) for key, value in c.ledger.state().items()]
    shown = c.ask("TaskContract:View", c.task)
    assert shown["task"] == c.record("task", c.task)
    number = shown["task"]["round"]
    assert shown["round"] == (c.round_record(number) if number else None)

    def of(kind: str, *prefix: str) -> list[str]:
        return [r["msp_id"] for (found, names), r in state if found == kind and names[:-1] == [c.task, *prefix]]

    wanted = {"applicants": of("application")}
    wanted |= {f"{kind}s": of(kind, f"{number:06d}") for kind in ("update", "report")}
    assert {key: shown[key] for key in wanted} == wanted
    assert views.to_record(views.from_record(shown)) == shown


@pytest.mark.parametrize("stage", ["finished", "cancelled", "void"])
def test_every_record_is_canonical_and_says_what_it_is(consortium, stage):
    c = consortium.at(stage)
    kinds = set()
    for key, value in c.ledger.state().items():
        record = canonical.loads(value)  # refuses floats
        kind, names = split_composite_key(key)
        assert (record["kind"], record["v"]) == (kind, 1)
        assert names[0] == record.get("task", record.get("id", record.get("msp_id")))
        kinds.add(kind)
    if stage == "finished":
        assert kinds == {"member", "task", "application", "round", "update", "report", "model"}


def test_a_void_round_is_repeated_from_the_same_model(consortium):
    c = consortium.at("reported")
    c.commit(c.opening())
    c.submit("AlphaMSP", number=2)
    c.now += 30_001
    assert c.close("BetaMSP", number=2)["state"] == "void"
    void = c.round_record(2)
    assert "aggregate" not in void
    assert list(void["updates"]) == ["AlphaMSP"]
    c.commit(c.opening("GammaMSP"))
    again = c.round_record(3)
    assert again["start"] == void["start"] == c.round_record(1)["model"]
    assert c.record("task", c.task)["done"] == 1
    assert c.round_record(2) == void
    c.submit(*c.orgs, number=3)
    c.close(number=3)
    c.report(*c.orgs, number=3)
    c.commit(c.finishing(number=3))
    task = c.record("task", c.task)
    assert (task["done"], task["round"]) == (2, 3)
    # what was delivered in the void round counts for nobody
    assert task["contributors"]["AlphaMSP"] == {"rounds": 2, "weight": 200}


def test_a_quorum_is_enough_when_the_deadline_is_over(consortium):
    c = consortium.at("open")
    c.submit("AlphaMSP", "GammaMSP")
    c.now += 30_001
    assert c.close("BetaMSP")["state"] == "closed"
    assert c.round_record(1)["weight"] == 401
    c.report("BetaMSP", "GammaMSP")
    c.now += 30_001
    c.commit(c.opening("AlphaMSP"))
    found = c.round_record(1)
    assert list(found["metrics"]["institutions"]) == ["BetaMSP", "GammaMSP"]
    assert c.record("task", c.task)["contributors"] == {
        "AlphaMSP": {"rounds": 1, "weight": 100},
        "GammaMSP": {"rounds": 1, "weight": 301},
    }


def test_whoever_reports_another_model_stands_in_the_record_and_its_counts_do_not_count(consortium):
    c = consortium.at("closed")
    c.report("AlphaMSP", "BetaMSP")
    c.commit(c.reporting("GammaMSP", model="ee" * 32))
    c.commit(c.opening("GammaMSP"))
    found = c.round_record(1)
    assert found["dissent"] == {"GammaMSP": "ee" * 32}
    assert found["model"] == codec.digest(codec.model_bytes(c.models[1]))
    assert list(found["metrics"]["institutions"]) == ["AlphaMSP", "BetaMSP"]
    assert found["metrics"]["pooled"]["rows"] == 30
    assert c.round_record(2)["start"] == found["model"]


def test_more_applicants_than_places_are_drawn(consortium):
    c = consortium
    applicants = ["AlphaMSP", "BetaMSP", "DeltaMSP", "EpsilonMSP", "GammaMSP"]
    c.register("EpsilonMSP")
    rosters = set()
    for _ in range(6):
        c.publish(participants__least=2, participants__most=2)
        # with two the task may start, but nobody has opened it yet
        c.apply(*applicants)
        c.commit(c.opening("AlphaMSP"))
        roster = c.record("task", c.task)["roster"]
        assert len(roster) == 2
        assert roster == sorted(roster)
        rosters.add(tuple(roster))
        (left, *_) = (org for org in applicants if org not in roster)
        assert c.view().roster == tuple(roster)
        with pytest.raises(Exception, match="BEFL-A-002"):
            c.opening(left)
    assert len(rosters) > 1


def test_with_fewer_than_most_the_task_starts_when_the_window_is_over(consortium):
    c = consortium.at("published")
    c.apply("AlphaMSP", "BetaMSP")
    c.now = c.start + 60_000
    c.commit(c.opening("BetaMSP"))
    assert c.record("task", c.task)["roster"] == ["AlphaMSP", "BetaMSP"]


# --- some of the trainers a round ------------------------------------------------------------------------------------


def test_each_round_has_a_roster_of_its_own_and_all_evaluate(consortium):
    c = consortium
    c.publish(rounds__fraction=50, rounds__count=4)
    c.apply(*c.orgs)
    c.commit(c.opening())
    rosters = []
    for number in range(1, 5):
        roster = c.round_record(number)["roster"]
        assert roster == sorted(rank("befl/round/1", c.task, number, c.orgs)[:2])  # half of three, rounded up
        assert c.view().round.roster == tuple(roster)
        assert c.view().roster == c.orgs
        c.submit(*roster, number=number)
        (left,) = set(c.orgs) - set(roster)
        assert c.close(left, number=number)["state"] == "closed"  # before the deadline: nobody else is waited for
        assert list(c.round_record(number)["updates"]) == roster
        c.report(*c.orgs, number=number)
        if number < 4:
            c.commit(c.opening())
        rosters.append(tuple(roster))
    c.commit(c.finishing(number=4))
    assert len(set(rosters)) > 1
    assert len(c.round_record(4)["metrics"]["institutions"]) == 3
    task = c.record("task", c.task)
    assert sum(item["rounds"] for item in task["contributors"].values()) == 8
    found = c.ask("RoundContract:Get", c.task, "1")
    assert (list(found["updates"]), list(found["reports"])) == (list(rosters[0]), list(c.orgs))


@pytest.mark.parametrize(("fraction", "quorum", "size"), [(100, 2, 3), (67, 2, 3), (66, 1, 2), (33, 1, 1), (1, 2, 2)])
def test_a_round_has_its_fraction_and_a_quorum_at_least(consortium, fraction, quorum, size):
    c = consortium
    c.publish(rounds__fraction=fraction, rounds__quorum=quorum)
    c.apply(*c.orgs)
    c.commit(c.opening())
    assert len(c.round_record(1)["roster"]) == size


def test_a_void_round_is_repeated_with_a_new_draw(consortium):
    c = consortium
    c.publish(rounds__fraction=1, rounds__quorum=1)
    c.apply(*c.orgs)
    c.commit(c.opening())
    drawn = set()
    for number in range(1, 10):
        drawn.update(c.round_record(number)["roster"])
        c.now += 30_001
        assert c.close(number=number)["state"] == "void"
        c.commit(c.opening())
    assert drawn == set(c.orgs)


def test_a_round_says_who_has_left_since_the_one_before(consortium):
    c = consortium.at("reported")
    c.depart("BetaMSP")
    c.commit(c.opening())
    first, second = c.round_record(1), c.round_record(2)
    assert (first["trainers"], first["left"], first["roster"]) == (3, [], list(c.orgs))
    assert (second["trainers"], second["left"], second["roster"]) == (2, ["BetaMSP"], ["AlphaMSP", "GammaMSP"])


# --- the end before the last round -----------------------------------------------------------------------------------


def rounds_with(c, losses):
    """Go through a round for each loss, up to its reports."""
    for number, loss in enumerate(losses, start=1):
        c.loss = loss
        c.submit(*c.orgs, number=number)
        c.close(number=number)
        c.report(*c.orgs, number=number)
        if number < len(losses):
            c.commit(c.opening())


def test_patience_ends_a_task_and_the_best_round_stands_in_its_record(consortium):
    c = consortium
    c.publish(rounds__count=9, rounds__patience=2, rounds__improvement="0.0001")
    c.apply(*c.orgs)
    c.commit(c.opening())
    rounds_with(c, [1_000, 700, 601, 650])  # neither of the last two is 100 below the best
    view = c.view()
    assert (view.best_loss_micro, view.stale, view.round.loss_micro) == (700, 1, 650)
    with pytest.raises(BeflError, match=r"BEFL-T-002: .*has had no better loss for 2 rounds"):
        c.opening()
    c.commit(c.finishing(number=4))
    task = c.record("task", c.task)
    assert (task["state"], task["done"], task["best"], task["stale"]) == (
        "finished",
        4,
        {"loss_micro": 700, "round": 2},
        2,
    )
    # the final model is that of the last round, not of the best
    assert c.ask("ModelContract:Get", c.task)["round"] == 4
    assert c.ask("ModelContract:Get", c.task)["model"] == c.round_record(4)["model"]


def test_a_better_loss_begins_patience_anew(consortium):
    c = consortium
    c.publish(rounds__count=9, rounds__patience=2)
    c.apply(*c.orgs)
    c.commit(c.opening())
    rounds_with(c, [1_000, 1_000, 999, 1_500])
    with pytest.raises(BeflError, match=r"BEFL-T-005: .*has closed 4 of 9 rounds"):
        c.finishing(number=4)
    c.commit(c.opening())
    task = c.record("task", c.task)
    assert (task["best"], task["stale"]) == ({"loss_micro": 999, "round": 3}, 1)


def test_the_best_round_is_kept_without_patience_too(consortium):
    c = consortium.at("finished")
    assert (c.record("task", c.task)["best"], c.record("task", c.task)["stale"]) == (
        {"loss_micro": 1_000, "round": 1},
        1,
    )
    assert c.view().round.loss_micro is None  # nobody asked


def test_dissent_and_no_rows_are_no_better_loss(consortium):
    """Whose model differs does not count, and a round whose counts have no rows is not better than any."""
    c = consortium
    c.publish(rounds__count=9, rounds__patience=1)
    c.apply(*c.orgs)
    c.commit(c.opening())
    c.submit(*c.orgs)
    c.close()
    c.loss = 800
    c.report("AlphaMSP", "BetaMSP")
    c.loss = 1
    c.commit(c.reporting("GammaMSP", model="ee" * 32))
    assert c.view().round.loss_micro == 800
    c.commit(c.opening())
    assert c.record("task", c.task)["best"] == {"loss_micro": 800, "round": 1}
    c.submit(*c.orgs, number=2)
    c.close(number=2)
    c.rows = 0
    c.report(*c.orgs, number=2)
    assert c.view().round.loss_micro is None
    c.commit(c.opening())
    assert (c.record("task", c.task)["best"]["round"], c.record("task", c.task)["stale"]) == (1, 1)


# --- listing ---------------------------------------------------------------------------------------------------------


def pages(c, function: str, *arguments: str, size: int) -> list[list[dict]]:
    found, bookmark = [], ""
    while True:
        page = c.ask(function, *arguments, str(size), bookmark)
        found.append(page["records"])
        bookmark = page["bookmark"]
        if not bookmark:
            return found


def test_listing_goes_page_by_page(consortium):
    c = consortium
    tasks = sorted(c.publish() for _ in range(5))
    assert [[record["id"] for record in page] for page in pages(c, "TaskContract:List", size=2)] == [
        tasks[:2],
        tasks[2:4],
        tasks[4:],
    ]
    assert pages(c, "TaskContract:List", size=50)[0] == [c.record("task", task) for task in tasks]
    c.task = tasks[2]
    c.apply("GammaMSP", "AlphaMSP", "BetaMSP")
    found = pages(c, "TaskContract:Applications", c.task, size=2)
    assert [[record["msp_id"] for record in page] for page in found] == [["AlphaMSP", "BetaMSP"], ["GammaMSP"]]
    assert pages(c, "TaskContract:Applications", tasks[0], size=2) == [[]]


def test_a_page_of_the_largest_tasks_fits_into_a_message(consortium):
    """Above 100 MB a peer ends the stream of its chaincode server, and whatever is being endorsed there.

    As large as one issuer alone can make a record: as many pooled columns and tensors as a specification and a layout
    hold, whose centres and spreads its own application says.
    """
    c = consortium
    names = list(map("".join, itertools.islice(itertools.product(string.ascii_letters, repeat=3), 5_000)))
    pooled = names[:3_800]
    columns = dict.fromkeys(names, "number") | {name: {"statistics": "pooled", "type": "number"} for name in pooled}
    spec = canonical.loads(c.specification(participants__least=1, participants__most=1, rounds__quorum=0))
    spec["data"] = {"alias": "a", "columns": columns, "label": "y"}
    spec = canonical.dumps(spec).decode()
    tensors = [{"name": f"t{at:04}".ljust(200, "x"), "shape": [1] * 7 + [5_999]} for at in range(1_000)]
    c.layout = canonical.dumps(tensors).decode()
    transient = {"model": codec.model_bytes(np.zeros(1_000 * 5_999, np.int64))}
    made = c.call("TaskContract:Publish", spec, c.app, c.layout, role="issuer", transient=transient)
    c.task = canonical.loads(made.result)["task"]
    values, mean = 3 * 10**6 + 1, -999_999_333_333
    sums = {"values": values, "total": values * mean + 1, "squares": values * mean**2 + 10**20}
    applied = canonical.dumps(dict.fromkeys(pooled, sums)).decode()
    c.call("TaskContract:Apply", c.task, c.app, applied)
    c.commit(c.opening())
    largest = len(c.ledger.state()[create_composite_key("task", (c.task,))])
    assert largest > 1_000_000
    assert PAGE_MOST * largest < 60 * 2**20


def test_rounds_are_listed_by_number(consortium):
    c = consortium.at("open")
    for _ in range(11):
        c.now += 30_001
        c.close(number=c.view().round.number)
        c.commit(c.opening())
    found = pages(c, "RoundContract:List", c.task, size=5)
    assert [record["round"] for page in found for record in page] == list(range(1, 13))
    assert [len(page) for page in found] == [5, 5, 2]


def test_models_are_listed(consortium):
    c = consortium.at("finished")
    assert pages(c, "ModelContract:List", size=1) == [[c.ask("ModelContract:Get", c.task)]]


def test_a_round_with_all_that_belongs_to_it(consortium):
    c = consortium.at("reported")
    found = c.ask("RoundContract:Get", c.task, "1")
    assert found["round"] == c.round_record(1)
    for kind in ("update", "report"):
        assert found[f"{kind}s"] == {org: c.record(kind, c.task, "000001", org) for org in c.orgs}


@pytest.mark.parametrize("kind", ["task", "application", "round"])
def test_a_bookmark_leads_to_no_other_kind_of_record(consortium, kind):
    c = consortium.at("open")
    bookmark = create_composite_key(kind, (c.task,))
    queries = {
        "task": ("TaskContract:List",),
        "application": ("TaskContract:Applications", c.task),
        "round": ("RoundContract:List", c.task),
    }
    for other, query in queries.items():
        if other == kind:
            assert c.ask(*query, "5", bookmark)["records"]
        else:
            with pytest.raises(Exception, match="BEFL-T-008: bookmark"):
                c.ask(*query, "5", bookmark)


def test_an_app_that_was_added_and_approved(consortium):
    c = consortium
    digest = c.add_app("BetaMSP", "AlphaMSP")
    found = c.ask("AppContract:Get", digest)
    assert found["app"] == c.record("app", digest)
    assert found["app"]["msp_id"] == "AlphaMSP"
    assert (found["app"]["name"], found["app"]["bytes"], found["app"]["added_ms"]) == ("forest", 21, c.start)
    assert [each["msp_id"] for each in found["approvals"]] == ["AlphaMSP", "BetaMSP"]
    assert c.ask("AppContract:List", "5", "")["records"] == [found["app"]]
    assert c.ask("AppContract:Approvals", "5", "")["records"] == found["approvals"]
    assert c.ledger.evaluate(ANYBODY, "AppContract:Bytes", digest) == c.archive
    assert list(c.ledger.private_state("models")) == [create_composite_key("app", (digest,))]
    c.call("AppContract:Withdraw", digest, by="BetaMSP", role="operator")
    assert [each["msp_id"] for each in c.ask("AppContract:Get", digest)["approvals"]] == ["AlphaMSP"]
    c.call("AppContract:Approve", digest, by="BetaMSP", role="operator")


def test_an_app_of_a_release_is_approved_without_being_added(consortium):
    c = consortium
    c.call("AppContract:Approve", c.app, by="BetaMSP", role="operator")
    found = c.ask("AppContract:Get", c.app)
    assert found["app"] is None
    assert [each["msp_id"] for each in found["approvals"]] == ["BetaMSP"]


def test_who_declines_is_seen_and_may_apply_after_all(consortium):
    c = consortium.at("published")
    c.depart("BetaMSP", function="Decline")
    assert c.view().departed == ("BetaMSP",)
    (record,) = c.ask("TaskContract:Departures", c.task, "5", "")["records"]
    assert (record["msp_id"], record["round"], record["reason"]) == ("BetaMSP", 0, "no staff")
    c.apply("BetaMSP")
    assert (c.view().applicants, c.view().departed) == (("BetaMSP",), ())


def test_who_leaves_before_the_start_has_not_applied(consortium):
    c = consortium.at("applied")
    c.depart("BetaMSP")
    assert (c.view().applicants, c.view().departed) == (("AlphaMSP", "GammaMSP"), ("BetaMSP",))
    c.now += 60_000
    c.commit(c.opening())
    assert c.view().roster == ("AlphaMSP", "GammaMSP")


def test_who_leaves_is_on_the_roster_of_later_rounds_no_more(consortium):
    c = consortium.at("reported")
    before = c.ask("RoundContract:Get", c.task, "1")
    c.depart("GammaMSP")
    assert c.view().roster == c.orgs  # of the round that is there
    c.commit(c.opening())
    assert c.view().roster == ("AlphaMSP", "BetaMSP")
    after = c.ask("RoundContract:Get", c.task, "1")
    assert (after["updates"], after["reports"]) == (before["updates"], before["reports"])
    c.submit("AlphaMSP", "BetaMSP", number=2)
    c.close(number=2)
    c.report("AlphaMSP", "BetaMSP", number=2)
    c.commit(c.finishing())
    assert set(c.record("task", c.task)["contributors"]) == set(c.orgs)


def test_who_leaves_in_an_open_round_may_deliver_or_not(consortium):
    c = consortium.at("open")
    c.submit("AlphaMSP", "BetaMSP")
    c.depart("BetaMSP", "GammaMSP")
    c.now += 30_001
    assert set(c.close()["updates"]) == {"AlphaMSP", "BetaMSP"}
