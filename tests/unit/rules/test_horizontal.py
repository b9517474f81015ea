"""The guards and the next step of horizontal tasks; whole tasks under adverse schedules are in tests/contract."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from befl.rules.draw import rank
from befl.rules.errors import BeflError
from befl.rules.modes import MODES
from befl.rules.modes.mode import Step

MODE = MODES["horizontal/1"]
TASK = "00112233445566aa"
# published at 1_000_000 with a window of 60 s; a round takes updates until 1_130_000 and reports until 1_160_000
NOW = 1_105_000
ALL = ("A", "B", "C")
PATIENT = {"rounds__count": 9, "rounds__patience": 2}


def turns(action: str, number: int, members=ALL) -> list[str]:
    return rank(f"befl/turn/{action}", TASK, number, members)


# --- guards ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "apply: running": ({"current": "open"}, "apply", ("D",), "BEFL-T-002", "running"),
    "apply: finished": ({"state": "finished"}, "apply", ("D",), "BEFL-T-002", "finished"),
    "apply: cancelled": ({"state": "cancelled"}, "apply", ("D",), "BEFL-T-002", "cancelled"),
    "apply: not invited": (
        {"state": "published", "participants__institutions": ["A", "B"]},
        "apply",
        ("D",),
        "BEFL-A-003",
        "D is not invited",
    ),
    "apply: twice": ({"state": "published"}, "apply", ("A",), "BEFL-T-003", "A has already applied"),
    "decline: running": ({"current": "open"}, "decline", ("D",), "BEFL-T-002", "running"),
    "decline: not invited": (
        {"state": "published", "participants__institutions": ["A", "B"]},
        "decline",
        ("D",),
        "BEFL-A-003",
        "D is not invited",
    ),
    "decline: applied": ({"state": "published"}, "decline", ("A",), "BEFL-T-003", "A has already applied"),
    "decline: twice": (
        {"state": "published", "departed": ("D",)},
        "decline",
        ("D",),
        "BEFL-T-003",
        "D has already declined",
    ),
    "leave: not an applicant": ({"state": "published"}, "leave", ("D",), "BEFL-A-002", "D does not take part"),
    "leave: an outsider": ({"current": "open"}, "leave", ("D",), "BEFL-A-002", "D does not take part"),
    "leave: twice": ({"current": "open", "departed": ("A",)}, "leave", ("A",), "BEFL-T-003", "or left"),
    "leave: finished": ({"state": "finished"}, "leave", ("A",), "BEFL-T-002", "finished"),
    "open: too few have stayed": (
        {"current": "void", "departed": ("B", "C")},
        "open",
        ("A", NOW),
        "BEFL-T-012",
        "B, C left task 00112233445566aa: 1 trainers stay, it wants 2",
    ),
    "open: not an applicant": ({"state": "published"}, "open", ("D", NOW), "BEFL-A-002", "D does not take part"),
    "open: too few": (
        {"state": "published", "applicants": ("A",)},
        "open",
        ("A", 9_999_999),
        "BEFL-T-005",
        "has 1 applicants",
    ),
    "open: the window is open": ({"state": "published"}, "open", ("A", 1_059_999), "BEFL-T-005", "ends at 1060000 ms"),
    "open: before it was published": (
        {"state": "published", "participants__most": 3},
        "open",
        ("A", 999_999),
        "BEFL-T-005",
        "the phase began at 1000000 ms, the transaction says 999999 ms",
    ),
    "open: before the round was closed": (
        {"current": "closed", "reports": ALL},
        "open",
        ("A", 1_101_999),
        "BEFL-T-005",
        "the phase began at 1102000 ms",
    ),
    "open: before the round was void": (
        {"current": "void"},
        "open",
        ("A", 1_101_999),
        "BEFL-T-005",
        "the phase began at 1102000 ms",
    ),
    "open: finished": ({"state": "finished"}, "open", ("A", NOW), "BEFL-T-002", "finished"),
    "open: an outsider": ({"current": "void"}, "open", ("D", NOW), "BEFL-A-002", "D does not"),
    "open: while updates come": ({"current": "open"}, "open", ("A", NOW), "BEFL-T-002", "round 1 is open"),
    "open: while reports come": (
        {"current": "closed", "reports": ("A", "B")},
        "open",
        ("A", 1_160_000),
        "BEFL-T-005",
        "waits for the reports of C",
    ),
    "open: no quorum of reports": (
        {"current": "closed", "reports": ("A",)},
        "open",
        ("A", 9_999_999),
        "BEFL-T-005",
        "and for 2 in any case",
    ),
    "open: no round is left": (
        {"current": "closed", "reports": ALL, "done": 1},
        "open",
        ("A", NOW),
        "BEFL-T-002",
        "has closed all its rounds",
    ),
    "open: no round yet": ({}, "open", ("A", NOW), "BEFL-T-004", "has no round yet"),
    "submit: published": ({"state": "published"}, "submit", ("A", 1, NOW), "BEFL-T-002", "published"),
    "submit: an outsider": ({"current": "open"}, "submit", ("D", 1, NOW), "BEFL-A-002", "D does not"),
    "open: patience is over": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 1, "loss_micro": 500, **PATIENT},
        "open",
        ("A", NOW),
        "BEFL-T-002",
        "has had no better loss for 2 rounds: Open is not possible",
    ),
    "submit: no round yet": ({}, "submit", ("A", 1, NOW), "BEFL-T-004", "has no round yet"),
    "submit: another round": ({"current": "open"}, "submit", ("A", 2, NOW), "BEFL-T-004", "in round 1, not 2"),
    "submit: closed": ({"current": "closed"}, "submit", ("A", 1, NOW), "BEFL-T-002", "round 1 is closed"),
    "submit: void": ({"current": "void"}, "submit", ("A", 1, NOW), "BEFL-T-002", "round 1 is void"),
    "submit: twice": (
        {"current": "open", "updates": ("A",)},
        "submit",
        ("A", 1, NOW),
        "BEFL-T-003",
        "already submitted",
    ),
    "submit: not drawn for the round": (
        {"current": "open", "roster": ("B", "C")},
        "submit",
        ("A", 1, NOW),
        "BEFL-A-002",
        "A was not drawn for round 1",
    ),
    "submit: late": ({"current": "open"}, "submit", ("A", 1, 1_130_001), "BEFL-T-006", "took updates until 1130000"),
    "close: early": (
        {"current": "open", "updates": ("B", "C")},
        "close",
        ("A", 1, 1_130_000),
        "BEFL-T-005",
        "waits for A until 1130000",
    ),
    "close: before the round was opened": (
        {"current": "open", "updates": ALL},
        "close",
        ("A", 1, 1_099_999),
        "BEFL-T-005",
        "the phase began at 1100000 ms",
    ),
    "close: an outsider": ({"current": "open"}, "close", ("D", 1, NOW), "BEFL-A-002", "D does not"),
    "close: another round": ({"current": "open"}, "close", ("A", 0, NOW), "BEFL-T-004", "in round 1, not 0"),
    "close: twice": ({"current": "closed"}, "close", ("A", 1, NOW), "BEFL-T-002", "round 1 is closed"),
    "report: open": ({"current": "open"}, "report", ("A", 1, NOW, False), "BEFL-T-002", "round 1 is open"),
    "report: an outsider": ({"current": "closed"}, "report", ("D", 1, NOW, False), "BEFL-A-002", "D does not"),
    "report: another round": ({"current": "closed"}, "report", ("A", 2, NOW, False), "BEFL-T-004", "not 2"),
    "report: twice": (
        {"current": "closed", "reports": ("A",)},
        "report",
        ("A", 1, NOW, False),
        "BEFL-T-003",
        "already reported",
    ),
    "report: corrected before the deadline": (
        {"current": "closed", "reports": ("A",)},
        "report",
        ("A", 1, 1_160_000, True),
        "BEFL-T-003",
        "already reported",
    ),
    "report: twice, late": (
        {"current": "closed", "reports": ("A",)},
        "report",
        ("A", 1, 1_160_001, False),
        "BEFL-T-003",
        "already reported",
    ),
    "report: void": ({"current": "void"}, "report", ("A", 1, NOW, False), "BEFL-T-002", "round 1 is void"),
    "finish: published": ({"state": "published"}, "finish", ("A", NOW), "BEFL-T-002", "published"),
    "finish: no round yet": ({}, "finish", ("A", NOW), "BEFL-T-004", "no round yet"),
    "finish: an outsider": ({"current": "closed"}, "finish", ("D", NOW), "BEFL-A-002", "D does not"),
    "finish: before the round was closed": (
        {"current": "closed", "reports": ALL, "done": 1},
        "finish",
        ("A", 1_101_999),
        "BEFL-T-005",
        "the phase began at 1102000 ms",
    ),
    "finish: open": ({"current": "open", "done": 1}, "finish", ("A", NOW), "BEFL-T-002", "round 1 is open"),
    "finish: rounds are left": (
        {"current": "closed", "reports": ALL},
        "finish",
        ("A", NOW),
        "BEFL-T-005",
        "has closed 1 of 2 rounds",
    ),
    "finish: the loss is better": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 1, "loss_micro": 499, **PATIENT},
        "finish",
        ("A", NOW),
        "BEFL-T-005",
        "has closed 1 of 9 rounds",
    ),
    "finish: patience is not over": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 0, "loss_micro": 900, **PATIENT},
        "finish",
        ("A", NOW),
        "BEFL-T-005",
        "has closed 1 of 9 rounds",
    ),
    "finish: no model has a quorum": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 8, **PATIENT},
        "finish",
        ("A", NOW),
        "BEFL-T-005",
        "has closed 1 of 9 rounds",
    ),
    "finish: nobody asked for patience": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 8, "loss_micro": 500, "rounds__count": 9},
        "finish",
        ("A", NOW),
        "BEFL-T-005",
        "has closed 1 of 9 rounds",
    ),
    "finish: patience is over, while reports come": (
        {"current": "closed", "reports": ("A", "B"), "best": 500, "stale": 1, "loss_micro": 500, **PATIENT},
        "finish",
        ("A", 1_160_000),
        "BEFL-T-005",
        "waits for the reports of C",
    ),
    "finish: while reports come": (
        {"current": "closed", "reports": ("A", "B"), "done": 1},
        "finish",
        ("A", 1_160_000),
        "BEFL-T-005",
        "waits for the reports of C",
    ),
}


def check(guard, view, arguments):
    if guard == "report":
        *arguments, corrects = arguments
        return MODE.check_report(view, *arguments, corrects=corrects)
    return getattr(MODE, f"check_{guard}")(view, *arguments)


@pytest.mark.parametrize("what", REFUSED)
def test_a_guard_refuses(make_view, what):
    changes, guard, arguments, code, words = REFUSED[what]
    with pytest.raises(BeflError) as caught:
        check(guard, make_view(**changes), arguments)
    assert caught.value.code == code
    assert words in caught.value.message


ALLOWED = {
    "apply": ({"state": "published"}, "apply", ("D",), None),
    "apply: invited": ({"state": "published", "participants__institutions": ["A", "D"]}, "apply", ("D",), None),
    "apply: after all": ({"state": "published", "departed": ("D",)}, "apply", ("D",), None),
    "decline": ({"state": "published"}, "decline", ("D",), None),
    "leave: before the start": ({"state": "published"}, "leave", ("A",), None),
    "leave: in a round": ({"current": "open", "departed": ("B",)}, "leave", ("A",), None),
    "open: enough have stayed": ({"current": "void", "departed": ("C",)}, "open", ("A", NOW), None),
    "open: the window is over": ({"state": "published"}, "open", ("A", 1_060_000), None),
    "open: all are there": ({"state": "published", "participants__most": 3}, "open", ("A", 1_000_000), None),
    "open: after a void round": ({"current": "void", "done": 1}, "open", ("A", NOW), None),
    "open: everybody has reported": ({"current": "closed", "reports": ALL}, "open", ("A", NOW), None),
    "open: a quorum, late": ({"current": "closed", "reports": ("A", "C")}, "open", ("B", 1_160_001), None),
    "submit: at the last moment": ({"current": "open"}, "submit", ("A", 1, 1_130_000), None),
    "close: everybody": ({"current": "open", "updates": ALL}, "close", ("A", 1, NOW), True),
    "close: at once": ({"current": "open", "updates": ALL}, "close", ("A", 1, 1_100_000), True),
    "open: at once": ({"current": "void"}, "open", ("A", 1_102_000), None),
    "finish: at once": ({"current": "closed", "reports": ALL, "done": 1}, "finish", ("A", 1_102_000), None),
    "close: a quorum, late": ({"current": "open", "updates": ("B", "C")}, "close", ("A", 1, 1_130_001), True),
    "close: void": ({"current": "open", "updates": ("B",)}, "close", ("A", 1, 1_130_001), False),
    "close: nobody": ({"current": "open"}, "close", ("A", 1, 1_130_001), False),
    "report: late": ({"current": "closed", "reports": ("B",)}, "report", ("A", 1, NOW, False), None),
    "report: corrected": ({"current": "closed", "reports": ("A",)}, "report", ("A", 1, 1_160_001, True), None),
    "close: all of the round's roster": (
        {"current": "open", "roster": ("B", "C"), "updates": ("B", "C")},
        "close",
        ("A", 1, NOW),
        True,
    ),
    "open: the loss is better": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 1, "loss_micro": 499, **PATIENT},
        "open",
        ("A", NOW),
        None,
    ),
    "finish": ({"current": "closed", "reports": ALL, "done": 1}, "finish", ("A", NOW), None),
    "finish: patience is over": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 1, "loss_micro": 500, **PATIENT},
        "finish",
        ("A", NOW),
        None,
    ),
    "finish: a quorum, late": (
        {"current": "closed", "reports": ("A", "C"), "done": 1},
        "finish",
        ("B", 1_160_001),
        None,
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_a_guard_lets_pass(make_view, what):
    changes, guard, arguments, answer = ALLOWED[what]
    assert check(guard, make_view(**changes), arguments) is answer


# --- the next step ---------------------------------------------------------------------------------------------------

STEPS = {
    "apply": ({"state": "published", "applicants": ()}, "A", NOW, Step("apply")),
    "not invited": (
        {"state": "published", "participants__institutions": ["B", "C"]},
        "A0",
        NOW,
        Step("end", why=f"A0 is not invited to task {TASK}"),
    ),
    "declined": (
        {"state": "published", "departed": ("D",)},
        "D",
        NOW,
        Step("wait", why="the institution has declined; it can still apply"),
    ),
    "left": ({"current": "open", "departed": ("A",)}, "A", NOW, Step("end", why="has declined or left the task")),
    "too few have stayed": (
        {"current": "void", "departed": ("B", "C")},
        "A",
        9_999_999,
        Step("wait", 2, 0, f"B, C left task {TASK}: 1 trainers stay, it wants 2"),
    ),
    "finished": ({"state": "finished"}, "A", NOW, Step("end", why="the task is finished")),
    "cancelled": ({"state": "cancelled"}, "A", NOW, Step("end", why="the task is cancelled")),
    "not drawn": ({"current": "open"}, "D", NOW, Step("end", why="not among the trainers")),
    "submit": ({"current": "open", "updates": ("B",)}, "A", 1_130_000, Step("submit", 1)),
    "not drawn for the round": (
        {"current": "open", "roster": ("B",)},
        "A",
        NOW,
        Step("wait", 1, 1_130_001, f"round 1 of task {TASK} waits for B until 1130000 ms"),
    ),
    "report": ({"current": "closed", "reports": ("B",)}, "A", 9_999_999, Step("report", 1)),
    "report, though not drawn": ({"current": "closed", "roster": ("B",)}, "A", NOW, Step("report", 1)),
    "wait for others' updates": (
        {"current": "open", "updates": ("A",)},
        "A",
        1_130_000,
        Step("wait", 1, 1_130_001, f"round 1 of task {TASK} waits for B, C until 1130000 ms"),
    ),
    "wait for others' reports": (
        {"current": "closed", "reports": ("A", "B")},
        "A",
        NOW,
        Step(
            "wait",
            2,
            1_160_001,
            f"round 1 of task {TASK} waits for the reports of C until 1160000 ms, and for 2 in any case",
        ),
    ),
    "wait for a quorum of reports": (
        {"current": "closed", "reports": ("A",)},
        "A",
        9_999_999,
        Step(
            "wait",
            2,
            0,
            f"round 1 of task {TASK} waits for the reports of B, C until 1160000 ms, and for 2 in any case",
        ),
    ),
    "wait, with a clock that is behind": (
        {"current": "open", "updates": ALL},
        "A",
        1_099_999,
        Step("wait", 1, 1_100_000, "the clock here is behind that of whoever began the phase"),
    ),
    "wait for applicants": (
        {"state": "published", "applicants": ("A",)},
        "A",
        9_999_999,
        Step(
            "wait",
            1,
            0,
            f"task {TASK} has 1 applicants: it starts with 4, or with 2 when the window ends at 1060000 ms",
        ),
    ),
}


@pytest.mark.parametrize("what", STEPS)
def test_the_next_step(make_view, what):
    changes, msp_id, now, expected = STEPS[what]
    assert MODE.next_step(make_view(**changes), msp_id, now, seen_ms=0) == expected


TURNS = {
    # the view, the action with its round, and from when on it is possible when the view was seen at NOW
    "begin": ({"state": "published", "participants__most": 3}, "open", 1, NOW),
    "close": ({"current": "open", "updates": ALL}, "close", 1, NOW),
    "close late": ({"current": "open", "updates": ("A", "B"), "deadline_ms": NOW + 50}, "close", 1, NOW + 51),
    "close void": ({"current": "open", "updates": (), "deadline_ms": NOW + 50}, "close", 1, NOW + 51),
    "open the next": ({"current": "closed", "reports": ALL}, "open", 2, NOW),
    "open the next late": (
        {"current": "closed", "reports": ALL[:2], "report_deadline_ms": NOW + 50},
        "open",
        2,
        NOW + 51,
    ),
    "repeat": ({"current": "void"}, "open", 2, NOW),
    "finish": ({"current": "closed", "reports": ALL, "done": 1}, "finish", 1, NOW),
    "finish when patience is over": (
        {"current": "closed", "reports": ALL, "best": 500, "stale": 1, "loss_micro": 501, **PATIENT},
        "finish",
        1,
        NOW,
    ),
}


@pytest.mark.parametrize("what", TURNS)
def test_turns_are_a_second_apart(make_view, what):
    changes, action, number, start = TURNS[what]
    view = make_view(**changes)
    members = [
        msp_id for msp_id in turns(action, number) if msp_id in (view.round.reports or ALL if view.round else ALL)
    ]
    if view.round and view.round.state == "open":
        members = list(turns(action, number))
    for msp_id in members:
        place = turns(action, number).index(msp_id)
        mine = start + 1_000 * place
        if (
            view.round
            and view.round.state == "open"
            and msp_id not in view.round.updates
            and view.round.deadline_ms >= NOW
        ):
            assert MODE.next_step(view, msp_id, NOW, NOW) == Step("submit", 1)
        elif mine > NOW:
            before = MODE.next_step(view, msp_id, mine - 1, NOW)
            assert before.action == "wait"
            assert (before.until_ms > mine - 1) == (before.until_ms != 0)
            assert before.why
        assert MODE.next_step(view, msp_id, mine, NOW) == Step(action, number)


def test_a_turn_that_has_not_come_says_when_it_comes(make_view):
    view = make_view(current="open", updates=ALL)
    second = turns("close", 1)[1]
    assert MODE.next_step(view, second, NOW + 999, NOW) == Step(
        "wait", 1, NOW + 1_000, "another institution's turn to close"
    )


def test_a_deadline_begins_the_turns_anew_for_all(make_view):
    # whoever has looked since the start of the round does not go first: the order is that of the turns
    view = make_view(current="open", updates=("A",))
    first, second, third = turns("close", 1)
    for seen in (0, 1_130_001):
        assert MODE.next_step(view, first, 1_130_001, seen) == Step("close", 1)
        assert MODE.next_step(view, second, 1_130_001, seen).until_ms == 1_131_001
        assert MODE.next_step(view, third, 1_130_001, seen).until_ms == 1_132_001


@st.composite
def views_of(draw, make_view):
    members = draw(st.lists(st.sampled_from("ABCDE"), min_size=2, unique=True).map(sorted).map(tuple))
    some = st.lists(st.sampled_from(members), unique=True).map(tuple)
    least = draw(st.integers(1, len(members)))
    losses = st.none() | st.integers(0, 3)
    return make_view(
        draw(st.sampled_from(["published", "running", "running", "running", "finished", "cancelled"])),
        members,
        departed=draw(some),
        current=draw(st.sampled_from(["open", "closed", "void"])),
        done=draw(st.integers(0, 2)),
        roster=draw(some),
        updates=draw(some),
        reports=draw(some),
        best=draw(losses),
        loss_micro=draw(losses),
        stale=draw(st.integers(0, 2)),
        rounds__patience=draw(st.integers(0, 2)),
        participants__least=least,
        participants__most=draw(st.integers(least, 6)),
        rounds__quorum=draw(st.integers(0, least)),
        rounds__count=draw(st.integers(1, 3)),
    )


times = st.integers(1_000_000, 1_200_000) | st.sampled_from([1_060_000, 1_130_000, 1_130_001, 1_160_000, 1_160_001])


@given(st.data(), st.sampled_from("ABCDEF"), times, times)
def test_a_step_is_one_that_the_guards_let_pass(make_view, data, msp_id, now, seen):
    view = data.draw(views_of(make_view))
    assume(view.done < view.spec.rounds.count)
    step = MODE.next_step(view, msp_id, now, seen)
    if step.action == "apply":
        MODE.check_apply(view, msp_id)
    elif step.action == "open":
        MODE.check_open(view, msp_id, now)
    elif step.action == "submit":
        MODE.check_submit(view, msp_id, step.round, now)
    elif step.action == "close":
        MODE.check_close(view, msp_id, step.round, now)
    elif step.action == "report":
        MODE.check_report(view, msp_id, step.round, now, corrects=False)
    elif step.action == "finish":
        MODE.check_finish(view, msp_id, now)
    else:
        assert step.why
        assert step.until_ms == 0 or step.until_ms > now
    if step.action == "wait" and step.until_ms:
        later = MODE.next_step(view, msp_id, step.until_ms, seen)
        assert later != step  # looking again then is of use


@given(st.data(), times)
def test_when_something_can_be_done_somebody_does_it_and_in_turn(make_view, data, now):
    view = data.draw(views_of(make_view))
    assume(view.state == "running" and view.done < view.spec.rounds.count)
    # a clock that shows a time before the phase began is behind; its agent looks again every few seconds
    assume(view.round is None or now >= max(view.round.opened_ms, view.round.closed_ms))
    steps = {msp_id: MODE.next_step(view, msp_id, now, now) for msp_id in view.roster}
    acting = [step.action for step in steps.values() if step.action in ("open", "close", "finish")]
    assert len(acting) <= 1
    for _ in range(2 * len(view.roster) + 2):  # everybody waits as long as told, and nothing else happens
        if any(step.action not in ("wait", "end") for step in steps.values()):
            break
        until = [step.until_ms for step in steps.values() if step.until_ms]
        if not until:
            assert all(step.why for step in steps.values())
            stay = set(view.roster) - set(view.departed)
            if len(stay) >= view.spec.participants.least:  # else nobody is left, or nothing opens
                with pytest.raises(BeflError, match="in any case"):
                    MODE.check_evaluated(view, 9_999_999)
            break
        steps = {msp_id: MODE.next_step(view, msp_id, min(until), now) for msp_id in view.roster}
    else:
        pytest.fail(f"everybody waits for ever: {steps}")


@pytest.mark.parametrize(
    ("best", "loss", "improvement", "better"),
    [
        (None, None, "0", False),
        (None, 5, "0", True),
        (5, None, "0", False),
        (500, 500, "0", False),
        (500, 499, "0", True),
        (500, 501, "0", False),
        (500, 498, "0.000002", True),
        (500, 499, "0.000002", False),
        (500, 498, "0.0000021", False),
        (9_000_000, 8_000_000, "1", True),
        (9_000_000, 8_000_001, "1", False),
    ],
)
def test_a_better_loss(make_view, best, loss, improvement, better):
    view = make_view(current="closed", best=best, rounds__improvement=improvement, rounds__patience=1)
    assert MODE.improves(view, loss) is better
