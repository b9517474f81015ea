"""Whole tasks under adverse schedules: each institution does what ``next_step`` says, whenever it comes to it.

Institutions crash and come back, stay away for good, have clocks that differ, look at the ledger seldom, and the
orderer delays and reorders. What must hold: a step proposed on the state as it is never meets a refusal; with enough
institutions the task finishes, else it says what it waits for; at most one institution's turn comes at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from befl.ledger import Endorsed, ValidationCode, make_creator
from befl.rules import canonical, codec
from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.modes import MODES
from befl.rules.modes.mode import Step
from befl.rules.view import TaskView
from befl.shim.stream import PeerStream

MODE = MODES["horizontal/1"]
FEDAVG = RULES["fedavg/1"]
TURNS = {"open", "close", "finish"}
# what an institution may meet that acts on what it saw a while ago
RACE = {"BEFL-A-002", "BEFL-T-002", "BEFL-T-003", "BEFL-T-004", "BEFL-T-005", "BEFL-T-012"}


@dataclass
class Institution:
    msp_id: str
    skew_ms: int
    up: bool = True
    view: TaskView | None = None
    seen_ms: int = 0
    height: int = -1
    pending: Endorsed | None = None


def attempt(function: Callable[..., Endorsed], *args: object) -> tuple[Endorsed | None, BeflError | None]:
    try:
        return function(*args), None
    except BeflError as error:
        return None, error


class World:
    """One task, its institutions, and the transactions that are on their way."""

    def __init__(self, c, seed: int, size: int, gone: int, **changes) -> None:
        self.c = c
        self.random = random.Random(seed)  # noqa: S311 - a schedule, no secret
        self.clock = c.now
        names = [f"Org{place}MSP" for place in range(1, size + 1)]
        self.gone = set(self.random.sample(names, gone))
        self.institutions = {name: Institution(name, self.random.randint(-2_000, 2_000)) for name in names}
        c.register(*names)
        c.publish(**changes)

    # --- what an institution computes by itself ----------------------------------------------------------------

    def update(self, msp_id: str, number: int) -> bytes:
        return codec.update_bytes(np.array([int(msp_id[3]) * number, -number, 0, 9, -(2**19)], dtype=np.int32))

    def weight(self, msp_id: str) -> int:
        return 10 + int(msp_id[3])

    def model(self, number: int) -> bytes:
        """Make the model after a round from the updates on the ledger, as an agent with an empty folder does."""
        made = self.c.models[0]
        for place in range(1, number + 1):
            found = self.c.ask("RoundContract:Get", self.c.task, str(place))
            if "aggregate" in found["round"]:
                updates = [
                    (codec.read_update(self.update(msp_id, place), 5, 2**30), item["weight"])
                    for msp_id, item in found["round"]["updates"].items()
                ]
                aggregate, settings = FEDAVG.aggregate(updates, 5), self.c.view().spec.aggregation
                start = FEDAVG.start(5, settings)
                made = made + FEDAVG.step(aggregate, found["round"]["weight"], start, (1, 1), settings)[0]
        return codec.model_bytes(made)

    def counts(self, msp_id: str) -> str:
        return canonical.dumps(self.c.counts(msp_id)).decode()

    # --- acting ------------------------------------------------------------------------------------------------

    def look(self, one: Institution) -> None:
        view = self.c.view()
        one.height = self.c.ledger.height
        if view != one.view:
            one.view, one.seen_ms = view, self.clock + one.skew_ms

    def step(self, one: Institution) -> Step:
        assert one.view is not None
        return MODE.next_step(one.view, one.msp_id, self.clock + one.skew_ms, one.seen_ms)

    def propose(self, one: Institution, step: Step) -> Endorsed:
        self.c.now = self.clock + one.skew_ms  # the submitter sets a transaction's time
        task, number = self.c.task, str(step.round)
        if step.action == "apply":
            return self.c.endorse("TaskContract:Apply", task, self.c.app, "{}", by=one.msp_id)
        if step.action == "open":
            return self.c.endorse("TaskContract:Open", task, by=one.msp_id)
        if step.action == "submit":
            data = self.update(one.msp_id, step.round)
            arguments = (task, number, str(self.weight(one.msp_id)), codec.digest(data))
            return self.c.endorse("RoundContract:Submit", *arguments, by=one.msp_id, transient={"update": data})
        if step.action == "close":
            return self.c.endorse("RoundContract:Close", task, number, by=one.msp_id)
        if step.action == "report":
            arguments = (task, number, codec.digest(self.model(step.round)), self.counts(one.msp_id))
            return self.c.endorse("RoundContract:Report", *arguments, by=one.msp_id)
        assert step.action == "finish"
        return self.c.endorse("TaskContract:Finish", task, by=one.msp_id, transient={"model": self.model(step.round)})

    def act(self, one: Institution) -> None:
        """Do the next step; on a fresh view nothing may be refused, on a stale one only for what others did."""
        step = self.step(one)
        if step.action in ("wait", "end"):
            assert step.why
            return
        one.pending, refusal = attempt(self.propose, one, step)
        if refusal:
            assert one.height < self.c.ledger.height, f"{step} was refused: {refusal}"
            assert refusal.code in RACE

    def order(self) -> None:
        """Cut a block from some of what waits, in any order."""
        waiting = [one for one in self.institutions.values() if one.pending]
        chosen = self.random.sample(waiting, self.random.randint(0, len(waiting)))
        if not chosen:
            return
        codes = self.c.ledger.commit([one.pending for one in chosen if one.pending])
        assert ValidationCode.DUPLICATE_TXID not in codes
        assert codes[0] is ValidationCode.VALID or self.c.ledger.height > 1
        for one in chosen:
            one.pending = None

    def storm(self, events: int) -> None:
        """Let anything happen, so many times."""
        for _ in range(events):
            self.clock += self.random.choice([0, 1, 100, 1_000, 5_000, 31_000])
            one = self.random.choice(list(self.institutions.values()))
            if one.msp_id in self.gone:
                continue
            if self.random.random() < 0.1:  # killed, or started again: nothing is remembered
                one.up, one.view, one.seen_ms = not one.up, None, 0
            if not one.up or one.pending:
                pass
            elif one.view is None or self.random.random() < 0.7:
                self.look(one)
                self.act(one)
            else:
                self.act(one)
            if self.random.random() < 0.6:
                self.order()

    def depart(self, msp_id: str) -> None:
        """Let an institution decline or leave, whichever is possible now."""
        self.c.now = self.clock
        for function in ("TaskContract:Decline", "TaskContract:Leave"):
            try:
                self.c.call(function, self.c.task, "no staff", by=msp_id)
            except BeflError as error:
                assert error.code in ("BEFL-T-002", "BEFL-T-003", "BEFL-A-002")  # noqa: PT017 - any of two may be refused

    def calm(self) -> list[Step]:
        """Let everybody who is not gone work as it should, until nothing moves; return the last steps."""
        while any(one.pending for one in self.institutions.values()):
            self.order()
        working = [one for one in self.institutions.values() if one.msp_id not in self.gone]
        for one in working:
            one.up, one.skew_ms, one.view = True, 0, None
        self.clock += 4_000  # beyond every timestamp so far
        void = 0
        for _ in range(600):
            for one in working:
                self.look(one)
            steps = {one.msp_id: self.step(one) for one in working}
            assert sum(step.action in TURNS for step in steps.values()) <= 1
            acting = [one for one in working if steps[one.msp_id].action not in ("wait", "end")]
            if acting:
                codes = self.c.ledger.commit([self.propose(one, steps[one.msp_id]) for one in acting])
                # one's turn may be over before another has delivered, never the other way round
                assert ValidationCode.VALID in codes
                current = self.c.view().round
                void += bool(current and current.state == "void" and steps[acting[0].msp_id].action == "close")
                if void == 4:  # it goes on like that
                    return list(steps.values())
                continue
            until = [step.until_ms for step in steps.values() if step.until_ms]
            if not until:
                return list(steps.values())
            assert min(until) > self.clock
            self.clock = min(until)
        pytest.fail(f"the task neither finishes nor waits: {self.c.view()}")


def check(world: World, last: list[Step]) -> str:
    """Hold the end against what may be; return how it ended."""
    c, view = world.c, world.c.view()
    working = set(world.institutions) - world.gone - set(view.departed)
    if view.state == "published":
        assert len(working) < view.spec.participants.least
        assert all("applicants: it starts with" in step.why or "has declined" in step.why for step in last)
        return "not enough applicants"
    present = working & set(view.roster)
    stay = set(view.roster) - set(view.departed)
    if view.state == "running" and len(stay) < view.spec.participants.least:
        assert all("left task" in step.why or step.action == "end" or "round" in step.why for step in last)
        return "too few have stayed"
    if view.state == "running":
        assert view.round is not None
        # whoever stays away may be drawn again and again while others are there
        assert len(present) < view.spec.quorum or view.spec.rounds.fraction < 100
        if view.round.state == "closed":
            assert all("in any case" in step.why for step in last if step.action == "wait")
            return "not enough reports"
        return "void again and again"
    assert view.state == "finished"
    records = [c.round_record(number) for number in range(1, view.record["round"] + 1)]
    evaluated = [record for record in records if record["state"] == "evaluated"]
    patience = view.spec.rounds.patience or view.spec.rounds.count  # the loss is the same in each round
    assert len(evaluated) == view.done == min(view.spec.rounds.count, 1 + patience)
    assert (view.best_loss_micro, view.stale) == (1_000, view.done - 1)
    for record in records:
        assert len(record["roster"]) == view.spec.trainers_a_round(record["trainers"])
        assert set(record["updates"]) <= set(record["roster"])
    assert records[0]["trainers"] - sum(len(record["left"]) for record in records) == len(view.roster)
    assert evaluated[-1] == records[-1]
    start = view.record["model"]
    for record in records:
        assert record["start"] == start  # a void round changes nothing
        assert record["state"] in ("evaluated", "void")
        start = record.get("model", start)
    assert start == codec.digest(world.model(len(records)))
    assert c.ask("ModelContract:Get", c.task)["model"] == start
    weights = {msp_id: item["weight"] for msp_id, item in view.record["contributors"].items()}
    assert sum(weights.values()) == sum(record["weight"] for record in evaluated)
    return "finished"


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 90))
def test_a_task_finishes_or_says_what_it_waits_for(make_consortium, data, seed, size, events):
    least = data.draw(st.integers(1, size), "least")
    world = World(
        make_consortium(),
        seed,
        size,
        gone=data.draw(st.integers(0, max(0, size - 1)), "gone"),
        participants__least=least,
        participants__most=data.draw(st.integers(least, 6), "most"),
        rounds__quorum=data.draw(st.integers(0, least), "quorum"),
        rounds__count=data.draw(st.integers(1, 3), "count"),
        rounds__fraction=data.draw(st.sampled_from([1, 50, 100]), "fraction"),
        rounds__patience=data.draw(st.integers(0, 2), "patience"),
    )
    leave, world.gone = world.gone, set() if data.draw(st.booleans(), "leave in the middle") else world.gone
    world.storm(events)
    world.gone = leave
    check(world, world.calm())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(0, 60), st.integers(0, 60))
def test_whoever_declines_or_leaves_holds_up_nobody_else(make_consortium, data, seed, size, before, after):
    least = data.draw(st.integers(1, size), "least")
    world = World(
        make_consortium(),
        seed,
        size,
        gone=0,
        participants__least=least,
        participants__most=size,
        rounds__quorum=0,
        rounds__count=data.draw(st.integers(1, 3), "count"),
    )
    leave = data.draw(st.lists(st.sampled_from(sorted(world.institutions)), unique=True, max_size=size), "leave")
    world.storm(before)
    for msp_id in leave:
        world.depart(msp_id)
    world.storm(after)
    ended = check(world, world.calm())
    if size - len(leave) >= least:  # unless those who left were most of those who had applied
        assert ended in ("finished", "too few have stayed")


@pytest.mark.parametrize("seed", range(6))
def test_with_everybody_back_the_task_finishes(make_consortium, seed):
    world = World(make_consortium(), seed, 4, gone=0, participants__least=2, participants__most=4, rounds__count=2)
    world.storm(60)
    assert check(world, world.calm()) == "finished"


@pytest.mark.parametrize("gone", [1, 2])
def test_a_quorum_is_enough(make_consortium, gone):
    """All apply, then some leave for good: rounds close without them when their deadline is over."""
    world = World(make_consortium(), 1, 4, gone=0, participants__least=2, participants__most=4, rounds__count=2)
    for one in world.institutions.values():
        world.look(one)
        world.act(one)
        world.c.commit(one.pending)
        one.pending = None
    world.gone = set(sorted(world.institutions)[:gone])
    assert check(world, world.calm()) == "finished"
    assert world.c.view().roster == tuple(sorted(world.institutions))


def test_with_fewer_than_a_quorum_rounds_are_void_and_repeated(make_consortium):
    world = World(make_consortium(), 1, 3, gone=0, participants__least=2, participants__most=3, rounds__count=1)
    for one in world.institutions.values():
        world.look(one)
        world.act(one)
        world.c.commit(one.pending)
        one.pending = None
    world.gone = {"Org1MSP", "Org3MSP"}
    assert check(world, world.calm()) == "void again and again"
    records = [world.c.round_record(number) for number in range(1, 5)]
    assert [record["state"] for record in records] == ["void"] * 4
    assert {record["start"] for record in records} == {world.c.view().record["model"]}
    world.gone = {"Org1MSP"}  # one comes back
    assert check(world, world.calm()) == "finished"


def test_with_too_few_applicants_the_task_waits(make_consortium):
    world = World(make_consortium(), 1, 3, gone=2, participants__least=2, participants__most=3)
    assert check(world, world.calm()) == "not enough applicants"


def test_turns_pass_over_whoever_is_away(make_consortium):
    """Whoever's turn it is may be down: the next one acts a second later."""
    c = make_consortium()
    world = World(c, 1, 3, gone=0, participants__least=2, participants__most=3)
    for one in world.institutions.values():
        one.skew_ms = 0
        world.look(one)
        world.act(one)
        c.commit(one.pending)
    for one in world.institutions.values():
        world.look(one)
    first = world.clock
    order = []
    for second in range(3):
        world.clock = first + 1_000 * second
        order.append([one.msp_id for one in world.institutions.values() if world.step(one).action == "open"])
    assert [len(names) for names in order] == [1, 2, 3]


# --- one trainer that makes up its times ----------------------------------------------------------------------------

TOLERANCE_MS, TRAINING_MS = 60_000, 2_000


class TimeTraveller:
    """A trainer that is first with everything, and signs the time it likes best of those that endorsers take."""

    def __init__(self, c) -> None:
        self.c = c
        self.creator = make_creator(c.orgs[-1], "trainer")

    def taken(self, timestamp: int) -> bool:
        """Whether an honest endorser's shim lets a timestamp pass now."""
        try:
            PeerStream(lambda: None, "befl:1", None, TOLERANCE_MS, now=lambda: self.c.now)._check_time(timestamp)
        except BeflError as error:
            assert error.code == "BEFL-G-011"  # noqa: PT017 - who is refused tries another time
            return False
        return True

    def attempt(self, function: str, *arguments: str, earliest: bool) -> bool:
        """Try the times from one end of what is taken to the other; say whether one was accepted."""
        times = range(self.c.now - TOLERANCE_MS, self.c.now + TOLERANCE_MS + 1, 500)
        for timestamp in times if earliest else reversed(times):
            if self.taken(timestamp):
                try:
                    endorsed = self.c.ledger.endorse(self.creator, function, *arguments, timestamp=timestamp)
                except BeflError:
                    continue
                self.c.ledger.commit_valid(endorsed)
                return True
        return False


@pytest.mark.parametrize("earliest", [True, False])
def test_made_up_times_do_not_keep_a_task_from_its_end(make_consortium, earliest):
    """The default: deadline and tolerance of 60 s. Everybody else needs two seconds to train and one to evaluate."""
    c = make_consortium()
    c.publish(rounds__deadline="60s", rounds__count=10)
    c.apply(*c.orgs)
    traveller = TimeTraveller(c)
    assert traveller.attempt("TaskContract:Open", c.task, earliest=earliest)
    number = void = 0
    while c.view().record["done"] < 9:
        number += 1
        assert number < 40, f"{void} rounds of {number} came to nothing"
        c.now += 300
        assert not traveller.attempt("RoundContract:Close", c.task, str(number), earliest=False)  # nobody has trained
        c.now += TRAINING_MS
        for org in c.orgs:
            data = codec.update_bytes(c.update(org, number))
            arguments = (c.task, str(number), "100", codec.digest(data))
            try:
                c.call("RoundContract:Submit", *arguments, by=org, transient={"update": data})
            except BeflError as error:
                assert error.code == "BEFL-T-006"  # noqa: PT017 - the round was opened in the past
        while not traveller.attempt("RoundContract:Close", c.task, str(number), earliest=earliest):
            c.now += 500
        if c.round_record(number)["state"] == "void":
            void += 1
        else:
            c.now += 300
            for org in c.orgs[:2]:
                c.commit(c.reporting(org, number, model="cd" * 32))
            # all but one have reported: the last one still has its time
            assert not traveller.attempt("TaskContract:Open", c.task, earliest=False)
            c.commit(c.reporting(c.orgs[2], number, model="cd" * 32))
        assert traveller.attempt("TaskContract:Open", c.task, earliest=earliest)
    assert void <= 1
