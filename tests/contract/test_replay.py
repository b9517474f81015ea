"""The replay of befl's transactions: what was played is run again, and whatever is changed in it is found."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2

from befl.audit.checks import CHECKS
from befl.audit.execution import _as_recorded
from befl.audit.report import Report
from befl.audit.state import kv_read
from befl.ledger import RangeRead, Version, create_composite_key, make_creator, split_composite_key
from befl.rules import artefact, codec
from befl.rules.aggregation import RULES
from befl.rules.aggregation.fedavg import FedAvg
from befl.rules.errors import BeflError

from .conftest import ARCHIVE, ORGS, OUTSIDER
from .played import Recorded, changed, edited, executed, record_changed, traced

TASK_CHECKS = tuple(CHECKS)[tuple(CHECKS).index("own_state") :]
"""The checks of this half; those of the chain come before."""


def played(stage="finished"):
    return Recorded().at(stage)


def everything():
    """Every transaction that changes the ledger, once at least."""
    made = Recorded()
    made.add_app(*ORGS)
    made.call("AppContract:Withdraw", made.added, by=ORGS[1], role="operator")
    made.call("MemberContract:Assign", *made.approved_roles("BetaMSP", ["trainer"]), by=ORGS[0], role="operator")
    made.call("ParameterContract:Assign", *made.approved_parameters(most_rounds=20), by=ORGS[0], role="operator")
    made.call("MemberContract:Announce", "alpha.example:7443", "ab" * 32)
    made.call("MemberContract:Leave", by=OUTSIDER, role="operator")
    made.at("asking")
    made.depart("GammaMSP", function="Decline")
    made.apply("AlphaMSP", "BetaMSP", "GammaMSP")
    made.depart("GammaMSP")
    made.commit(made.cancelling())
    made.models = {0: made.models[0]}
    return made.at("finished")


def test_all_that_was_played_replays():
    made = everything()
    lineage, report = traced(made)
    count = sum(map(len, made.blocks.values()))
    assert report.findings == []
    assert report.impossible == []
    assert [report.looked[name] for name in ("accepted", "answer", "read_set", "write_set")] == [count] * 4
    assert (report.looked["lineage"], report.looked["model"]) == (2, 1)
    assert [(step.round, step.state, step.recomputed) for step in lineage.steps] == [
        (1, "evaluated", True),
        (2, "evaluated", True),
    ]
    assert lineage.final == made.record("model", made.task)["model"] == lineage.steps[-1].model
    assert lineage.initial == codec.digest(codec.model_bytes(made.models[0]))


@pytest.mark.parametrize("stage", ["published", "open", "closed", "void", "cancelled"])
def test_a_task_that_has_not_finished(stage):
    lineage, report = traced(played(stage))
    assert report.findings == []
    [(what, why)] = report.impossible
    assert what == "the final model"
    assert f"it is {lineage.state}" in why


def test_no_such_task():
    made = played("empty")
    with pytest.raises(BeflError, match="BEFL-T-007"):
        traced(made)


def test_only_one_round_is_said_to_be_recomputed_when_the_next_is_open():
    made = played("reported")
    made.commit(made.opening())
    lineage, report = traced(made)
    assert [step.recomputed for step in lineage.steps] == [True, False]
    assert report.findings == []


# --- forgeries: each is found by one check, and by no other ---------------------------------------------------------


def another_result(made):
    changed(made.blocks, "TaskContract:Apply", lambda one: replace(one, result=one.result + b" "))


def another_event(made):
    changed(made.blocks, "RoundContract:Submit", lambda one: replace(one, event=("Close", one.event[1])))


def an_event_left_out(made):
    changed(made.blocks, "RoundContract:Report", lambda one: replace(one, event=None))


def a_read_left_out(made):
    """Without the read of the round's record, what was held back would count."""
    changed(made.blocks, "RoundContract:Submit", lambda one: edited(one, lambda public: public.reads.pop()))


def a_range_left_out(made):
    changed(made.blocks, "TaskContract:Open", lambda one: edited(one, lambda public: public.range_queries_info.pop()))


def a_dissent_that_there_was_not(made):
    dissent = {"BetaMSP": "0" * 64}
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "round", dissent=dissent))


def another_contributor(made):
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "task", contributors={}))


def a_key_more(made):
    def edit(public):
        public.writes.add(key=create_composite_key("note", ("x",)), value=b"1")

    changed(made.blocks, "TaskContract:Apply", lambda one: edited(one, edit))


def a_record_deleted(made):
    def edit(public):
        public.writes[-1].is_delete = True
        public.writes[-1].value = b""

    changed(made.blocks, "TaskContract:Finish", lambda one: edited(one, edit))


def somebody_elses_name(made):
    """Delta has not applied: what was endorsed for Alpha stands under its name."""
    creator = make_creator(OUTSIDER, "trainer")
    raw = identities_pb2.SerializedIdentity(mspid=OUTSIDER, id_bytes=creator.certificate).SerializeToString()
    changed(made.blocks, "RoundContract:Report", lambda one: replace(one, creator=raw), place=5)


def a_certificate_that_is_none(made):
    raw = identities_pb2.SerializedIdentity(mspid="AlphaMSP", id_bytes=b"no certificate").SerializeToString()
    changed(made.blocks, "RoundContract:Report", lambda one: replace(one, creator=raw), place=5)


def too_late(made):
    late = made.now + 10**9
    changed(made.blocks, "RoundContract:Submit", lambda one: replace(one, timestamp=late), place=5)


def no_such_function(made):
    changed(made.blocks, "RoundContract:Report", lambda one: replace(one, function="RoundContract:Guess"), place=5)


def another_chaincodes_write(made):
    changed(made.blocks, "RoundContract:Report", lambda one: replace(one, chaincode="other"), place=5)


def a_write_to_another_chaincode(made):
    def edit(public):
        public.writes.add(key="k", value=b"v")

    changed(made.blocks, "TaskContract:Apply", lambda one: edited(one, edit, "_lifecycle"))


def a_key_with_a_policy_of_its_own(made):
    def edit(public):
        public.metadata_writes.add(key="k")

    changed(made.blocks, "TaskContract:Apply", lambda one: edited(one, edit))


def a_private_key_with_a_policy_of_its_own(made):
    def change(one):
        sets = rwset_pb2.TxReadWriteSet.FromString(one.read_write_set.SerializeToString())
        [collection] = sets.ns_rwset[1].collection_hashed_rwset
        hashed = kv_rwset_pb2.HashedRWSet.FromString(collection.hashed_rwset)
        hashed.metadata_writes.add(key_hash=b"k")
        collection.hashed_rwset = hashed.SerializeToString()
        return replace(one, read_write_set=sets)

    changed(made.blocks, "RoundContract:Submit", change)


def a_collection_named_twice(made):
    """Peers apply both; beside what the contract writes, the update is deleted."""

    def change(one):
        sets = rwset_pb2.TxReadWriteSet.FromString(one.read_write_set.SerializeToString())
        [own] = sets.ns_rwset[1].collection_hashed_rwset
        written = kv_rwset_pb2.HashedRWSet.FromString(own.hashed_rwset).hashed_writes[0].key_hash
        forged = kv_rwset_pb2.HashedRWSet(hashed_writes=[kv_rwset_pb2.KVWriteHash(key_hash=written, is_delete=True)])
        own = rwset_pb2.CollectionHashedReadWriteSet.FromString(own.SerializeToString())
        del sets.ns_rwset[1].collection_hashed_rwset[:]
        sets.ns_rwset[1].collection_hashed_rwset.add(
            collection_name=own.collection_name, hashed_rwset=forged.SerializeToString()
        )
        sets.ns_rwset[1].collection_hashed_rwset.append(own)
        return replace(one, read_write_set=sets)

    changed(made.blocks, "RoundContract:Submit", change)


def a_collection_that_there_is_not(made):
    def change(one):
        sets = rwset_pb2.TxReadWriteSet.FromString(one.read_write_set.SerializeToString())
        hashed = kv_rwset_pb2.HashedRWSet(hashed_writes=[kv_rwset_pb2.KVWriteHash(key_hash=b"k", value_hash=b"v")])
        sets.ns_rwset[1].collection_hashed_rwset.add(collection_name="x", hashed_rwset=hashed.SerializeToString())
        return replace(one, read_write_set=sets)

    changed(made.blocks, "MemberContract:Register", change, place=3)


EXECUTED = {
    "answer": (another_result, another_event, an_event_left_out),
    "read_set": (a_read_left_out, a_range_left_out),
    "write_set": (a_dissent_that_there_was_not, another_contributor, a_key_more, a_record_deleted),
    "accepted": (somebody_elses_name, a_certificate_that_is_none, too_late, no_such_function),
    "own_state": (
        another_chaincodes_write,
        a_write_to_another_chaincode,
        a_key_with_a_policy_of_its_own,
        a_private_key_with_a_policy_of_its_own,
        a_collection_named_twice,
    ),
}
ROWS = [(check, forge) for check, rows in EXECUTED.items() for forge in rows]


@pytest.mark.parametrize(("check", "forge"), ROWS, ids=[forge.__name__ for _, forge in ROWS])
def test_a_forged_transaction(check, forge):
    made = played()
    forge(made)
    _, report = executed(made.blocks)
    assert {finding.check for finding in report.findings} == {check}
    [first] = report.findings
    assert first.txid in {one.txid for one in made.blocks[first.block]}
    _, blind = executed(made.blocks, Report(frozenset({check})))
    assert blind.findings == [], "nothing else finds it"


def only_what_it_says(result):
    """Take befl's part out of a transaction's read-write set; the lifecycle's, which every one reads, stays."""

    def change(one):
        sets = rwset_pb2.TxReadWriteSet(
            ns_rwset=[each for each in one.read_write_set.ns_rwset if each.namespace != "befl"]
        )
        return replace(one, read_write_set=sets, private={}, result=result)

    return change


@pytest.mark.parametrize(
    ("function", "checks"),
    [
        ("TaskContract:Finish", {"accepted"}),  # of no model
        ("RoundContract:Close", {"answer", "read_set", "write_set"}),
        ("TaskContract:Cancel", {"answer", "read_set", "write_set"}),
    ],
)
def test_a_transaction_that_touches_nothing_of_befl_is_run_all_the_same(function, checks):
    """It changes nothing, and would stand in the ledger as valid, with an answer and an event that were made up."""
    made = played("cancelled" if function == "TaskContract:Cancel" else "finished")
    changed(made.blocks, function, only_what_it_says(b'{"model":"of nobody"}'))
    _, report = executed(made.blocks)
    [number] = [block for block, some in made.blocks.items() for one in some if one.result.endswith(b'"of nobody"}')]
    assert {each.check for each in report.findings if each.block == number} == checks


def test_a_made_up_transaction_in_no_ones_state():
    """As above, for a function that there is and a task that there is not."""
    made = played("empty")
    last = made.blocks[made.ledger.height][0]
    forged = replace(
        only_what_it_says(b'{"digest":"of nobody"}')(last),
        txid="f" * 64,
        block=made.ledger.height + 1,
        function="TaskContract:Finish",
        args=("0" * 16,),
        event=("Finish", b"{}"),
    )
    made.blocks[forged.block] = [forged]
    _, report = executed(made.blocks)
    [finding] = report.findings
    assert (finding.check, finding.block) == ("accepted", forged.block)


def test_a_collection_without_a_definition():
    made = played()
    a_collection_that_there_is_not(made)
    _, report = executed(made.blocks)
    assert {finding.check for finding in report.findings} == {"own_state", "write_set"}


def test_a_finding_says_what_differs():
    made = played()
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "round", closed_ms=1))
    _, report = executed(made.blocks)
    [finding] = report.findings
    assert f"round/{made.task}/000002: closed_ms is 1, by its contract {made.start}" in finding.message


def test_state_that_no_contract_can_read():
    """A false record may break whatever reads it: each such transaction is a finding, and nothing raises."""
    made = played()
    changed(made.blocks, "TaskContract:Open", lambda one: record_changed(one, "round", roster=7))
    _, report = traced(made)
    assert {finding.check for finding in report.findings} == {"write_set", "accepted"}
    assert any("breaks on the state as it stood: TypeError" in finding.message for finding in report.findings)


@pytest.mark.parametrize(
    "fields",
    [
        {"layout": 7},
        {"spec": 7},
        {"spec": {}},
        {"rules": 7},
        {"id": 1},
        {"round": "x"},
        {"round": 10**12},
        {"length": 10**12},
        {"length": -1},
    ],
    ids=str,
)
def test_a_task_record_that_cannot_be(fields):
    """The last record of the task is false: nothing runs on it, and only who follows the models meets it."""
    made = played()
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "task", **fields))
    lineage, report = traced(made)
    assert (lineage.task, lineage.state) == (made.task, "finished")
    assert {finding.check for finding in report.findings} == {"write_set", "lineage"}


@pytest.mark.parametrize(
    "content", [b"[]", b"7", b"{", b"\xff", b"null", b"", b"[" * 3_000], ids=lambda each: str(each[:9])
)
def test_a_task_record_that_is_none(content):
    def edit(public):
        for each in public.writes:
            if split_composite_key(each.key)[0] == "task":
                each.value = content

    made = played()
    changed(made.blocks, "TaskContract:Finish", lambda one: edited(one, edit))
    lineage, report = traced(made)
    assert (lineage.task, lineage.name, lineage.state, lineage.initial) == (made.task, "", "", "")
    assert {finding.check for finding in report.findings} == {"write_set", "lineage"}


@pytest.mark.parametrize("fields", [{"state": 7}, {"model": None}], ids=str)
def test_a_word_of_the_task_that_is_none(fields):
    made = played()
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "task", **fields))
    lineage, report = traced(made)
    assert "" in (lineage.state, lineage.initial)
    assert "write_set" in {finding.check for finding in report.findings}


# --- the task's models ---------------------------------------------------------------------------------------------


def test_a_model_that_all_reports_agree_on_and_nobody_could_have_made():
    """Contracts compare reports, and cannot compute the model; whoever has the updates can."""
    made = played("closed")
    made.models[1] = made.models[1] + 1
    made.report(*ORGS)
    made.commit(made.opening())
    lineage, report = traced(made)
    [finding] = report.findings
    assert (finding.check, finding.txid) == ("lineage", made.blocks[made.ledger.height][0].txid)
    assert "the model after round 1" in finding.message
    assert [step.recomputed for step in lineage.steps] == [False, False]
    assert traced(made, Report(frozenset({"lineage"})))[1].findings == []


def test_a_forged_aggregate():
    made = played()
    changed(made.blocks, "RoundContract:Close", lambda one: record_changed(one, "round", aggregate="0" * 64))
    _, report = traced(made)
    assert [finding.check for finding in report.findings[:1]] == ["write_set"]
    assert "aggregate is" in report.findings[0].message


def test_another_models_card():
    """The final model's bytes are not at hand, so that Finish cannot be run; the chain of models shows it still."""
    made = played()
    files = made.record("model", made.task)["files"] | {"card.md": "0" * 64}
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "model", files=files))
    changed(made.blocks, "TaskContract:Finish", lambda one: replace(one, private={}))
    _, report = traced(made)
    kept_back, finding = report.findings
    assert (kept_back.check, finding.check) == ("complete", "model")
    assert "card.md" in finding.message
    assert traced(made, Report(frozenset({"complete", "model"})))[1].findings == []


def test_a_rule_that_does_something_else(monkeypatch):
    """The rules of a task are pinned: changed behaviour under an old version is found."""
    made = played()
    assert traced(made)[1].findings == []

    class Other(FedAvg):
        def aggregate(self, updates, length):
            return super().aggregate(updates, length) + 1

    monkeypatch.setitem(RULES._rules, "fedavg/1", Other())
    _, report = traced(made)
    assert {finding.check for finding in report.findings} == {"write_set", "lineage"}


def test_a_rule_that_this_release_does_not_have(monkeypatch):
    """A task of a newer release: nothing about it is called right, nor forged."""
    monkeypatch.setitem(RULES._rules, "fedavg/2", RULES["fedavg/1"])
    made = played()
    assert traced(made)[1].findings == []
    monkeypatch.delitem(RULES._rules, "fedavg/2")
    lineage, report = traced(made)
    assert lineage.steps == ()
    assert ("what follows from fedavg/2", "this release of befl does not have that rule") in report.impossible
    assert {finding.check for finding in report.findings} == {"complete"}
    words = "TaskContract:Publish follows a rule that this release of befl does not have: it has no fedavg/2"
    assert report.findings[0].message == words
    blind = traced(made, Report(frozenset({"complete"})))[1]
    assert blind.findings == []
    assert ("TaskContract:Publish follows a rule that this release of befl does not have", "it has no fedavg/2") in (
        blind.impossible
    )


@pytest.fixture
def folder(tmp_path):
    made = played()
    files = artefact.files(made.record("task", made.task), made.round_record(2), made.models[2])
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return made, tmp_path


def test_the_model_folder(folder):
    made, path = folder
    _, report = traced(made, folder=path)
    assert (report.findings, report.looked["folder"]) == ([], 5)


@pytest.mark.parametrize("name", ["model.safetensors", "card.md", "manifest.json", "preparation.json"])
def test_a_byte_flipped_in_the_model_folder(folder, name):
    made, path = folder
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    _, report = traced(made, folder=path)
    [finding] = report.findings
    assert (finding.check, f"{path / name} has SHA-256" in finding.message) == ("folder", True)
    assert traced(made, Report(frozenset({"folder"})), path)[1].findings == []


def test_a_file_that_is_missing_in_the_model_folder(folder):
    made, path = folder
    (path / "card.md").unlink()
    [finding] = traced(made, folder=path)[1].findings
    assert "card.md cannot be read (No such file or directory)" in finding.message


# --- what is not there ---------------------------------------------------------------------------------------------


def without_values(one):
    return replace(one, private={})


def purged(made, *names, kind="update"):
    """Add a transaction that purges an update or a model, as one of befl's may do some day."""
    key = create_composite_key(kind, names)
    purge = kv_rwset_pb2.KVWriteHash(key_hash=hashlib.sha256(key.encode()).digest(), is_delete=True, is_purge=True)
    hashed = kv_rwset_pb2.HashedRWSet(hashed_writes=[purge]).SerializeToString()
    collection = rwset_pb2.CollectionHashedReadWriteSet(collection_name=f"{kind}s", hashed_rwset=hashed)
    space = rwset_pb2.NsReadWriteSet(namespace="befl", collection_hashed_rwset=[collection])
    [last] = made.blocks[made.ledger.height]
    number = made.ledger.height + 1
    made.blocks[number] = [
        replace(
            last, txid="f" * 64, read_write_set=rwset_pb2.TxReadWriteSet(ns_rwset=[space]), block=number, args=("x",)
        )
    ]
    return f"purged by transaction {'f' * 16} in block {number}"


def test_purged_updates_name_the_transaction_that_purged_them():
    made = played()
    changed(made.blocks, "RoundContract:Submit", without_values, place=1)
    [beta] = [one for each in made.blocks.values() for one in each if one.function == "RoundContract:Submit"][1:2]
    gone = purged(made, made.task, "000001", "BetaMSP")
    # no contract purges yet: that this one is no transaction of befl is not what is looked at here
    lineage, report = traced(made, Report(frozenset({"accepted"})))
    assert report.findings == []
    said = dict(report.impossible)
    assert said[f"RoundContract:Submit in transaction {beta.txid[:16]}, block {beta.block}"] == gone
    assert [step.recomputed for step in lineage.steps] == [False, False]
    assert sum(what.startswith("RoundContract:Close") for what in said) == 1
    assert said[f"the models of task {made.task} from round 1 on"].endswith(gone)


def test_only_the_chain_of_models_shows_a_false_card_of_a_purged_model():
    """Finish cannot be run any more, and nobody has kept anything back; `model` alone finds it."""
    made = played()
    files = made.record("model", made.task)["files"] | {"card.md": "0" * 64}
    changed(made.blocks, "TaskContract:Finish", lambda one: record_changed(one, "model", files=files))
    changed(made.blocks, "TaskContract:Finish", without_values)
    purged(made, made.task, "000002", kind="model")
    _, report = traced(made, Report(frozenset({"accepted"})))  # no contract purges yet, as above
    [finding] = report.findings
    assert finding.check == "model"
    assert "card.md" in finding.message
    assert traced(made, Report(frozenset({"accepted", "model"})))[1].findings == []


@pytest.mark.parametrize("purge", [False, True])
def test_what_is_kept_back_is_a_finding(purge):
    """A peer that gives nothing of a round, or loses it, is no reason to pass; the purge of another value neither."""
    made = played()
    changed(made.blocks, "RoundContract:Submit", without_values, place=1)
    if purge:
        purged(made, made.task, "000001", "AlphaMSP")
    lineage, report = traced(made, Report(frozenset({"accepted"} if purge else ())))
    assert [finding.check for finding in report.findings] == ["complete"] * 2
    submit, close = (finding.message for finding in report.findings)
    assert submit.startswith("RoundContract:Submit cannot be run again: its private values are not there, and nobody")
    assert close.startswith("RoundContract:Close cannot be run again: ")
    assert [step.recomputed for step in lineage.steps] == [False, False]
    assert executed(made.blocks, Report(frozenset({"complete", "accepted"})))[1].findings == []


def test_without_private_data_the_rest_is_replayed():
    made = played()
    for number, transactions in made.blocks.items():
        made.blocks[number] = [without_values(one) for one in transactions]
    _, report = traced(made)
    # Publish, six updates, two closings, Finish
    assert [finding.check for finding in report.findings] == ["complete"] * 10
    assert report.looked["accepted"] == sum(map(len, made.blocks.values())) - 10
    assert report.looked["model"] == 0


def test_a_false_update_is_no_update():
    """What has another hash than the block names is as if it were not there; that it is false is the chain's matter."""
    made = played()

    def change(one):
        values = one.private["updates"]
        false = kv_rwset_pb2.KVRWSet(writes=[kv_rwset_pb2.KVWrite(key=values.writes[0].key, value=b"x")])
        return replace(one, private={"updates": false})

    changed(made.blocks, "RoundContract:Submit", change)
    _, report = traced(made, Report(frozenset({"complete"})))
    assert report.findings == []
    assert any(what.startswith("RoundContract:Submit") for what, _ in report.impossible)


def test_an_app_travels_as_private_data():
    made = Recorded()
    made.add_app()
    execution, report = executed(made.blocks)
    assert report.findings == []
    assert list(execution.ledger.private_state("models").values()) == [ARCHIVE]


# --- ranges of many keys --------------------------------------------------------------------------------------------


class FabricsTree:
    """The tree of Fabric's ``rwsetutil/query_results_helper.go``, result by result as it is built there."""

    def __init__(self, reads, degree=50):
        self.degree = degree
        self.tree = {1: []}
        pending = []
        for read in reads:
            pending.append(read)
            if len(pending) > degree:
                self.update(self.leaf(pending))
                pending.clear()
        self.empty = not any(self.tree.values())
        if not self.empty:
            if pending:
                self.update(self.leaf(pending))
            self.done()

    @staticmethod
    def leaf(reads):
        found = [kv_read(key, version) for key, version in reads]
        return hashlib.sha256(kv_rwset_pb2.QueryReads(kv_reads=found).SerializeToString()).digest()

    @staticmethod
    def combined(hashes):
        return hashlib.sha256(b"".join(hashes)).digest()

    def update(self, leaf):
        self.tree[1].append(leaf)
        level = 1
        while len(self.tree[level]) > self.degree:
            above = self.combined(self.tree[level])
            self.tree[level] = []
            level += 1
            self.tree.setdefault(level, []).append(above)

    def done(self):
        for level in range(1, max(self.tree)):
            if hashes := self.tree[level]:
                self.tree[level + 1].append(hashes[0] if len(hashes) == 1 else self.combined(hashes))
        highest = max(self.tree)
        if len(self.tree[highest]) > self.degree:
            self.tree[highest + 1] = [self.combined(self.tree[highest])]


@pytest.mark.parametrize(
    "count", [0, 1, 50, 51, 52, 101, 102, 103, 153, 2499, 2550, 2551, 2601, 2602, 2652, 2653, 5202]
)
def test_a_range_of_many_keys_is_recorded_as_a_hash(count):
    reads = tuple((f"k{number:06}", Version(number // 7, number % 7)) for number in range(count))
    made = _as_recorded(RangeRead("a", "z", True, reads))
    wanted = FabricsTree(reads)
    if wanted.empty:
        assert made.reads == reads
        return
    level = max(wanted.tree)
    assert made.summary == f"50 {level} {' '.join(each.hex() for each in wanted.tree[level])}"
    assert made.reads == ()


def test_more_institutions_than_fabric_lists_replay():
    made = Recorded()
    made.register(*(f"Org{number}MSP" for number in range(60)))
    approved = [f"Org{number}MSP" for number in range(40)]
    arguments = made.approved_roles("BetaMSP", ["trainer"], *approved)
    made.call("MemberContract:Assign", *arguments, by=ORGS[0], role="operator")

    def as_fabric(public):
        for query in public.range_queries_info:
            found = query.raw_reads.kv_reads
            tree = FabricsTree([(each.key, Version(each.version.block_num, each.version.tx_num)) for each in found])
            if not tree.empty:
                query.reads_merkle_hashes.max_degree = 50
                query.reads_merkle_hashes.max_level = max(tree.tree)
                query.reads_merkle_hashes.max_level_hashes.extend(tree.tree[max(tree.tree)])

    changed(made.blocks, "MemberContract:Assign", lambda one: edited(one, as_fabric))
    assert executed(made.blocks)[1].findings == []


def test_each_check_of_this_half_has_a_row():
    others = {
        "complete",
        "lineage",
        "model",
        "folder",
        "peers",
    }  # above, by name; peers in tests/unit/audit/test_peers.py
    assert {*EXECUTED, *others} == set(TASK_CHECKS)
