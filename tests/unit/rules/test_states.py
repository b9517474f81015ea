from __future__ import annotations

import pytest

from befl.rules.errors import BeflError
from befl.rules.modes import MODES
from befl.rules.states import NONE, Machine, Transition

DOOR = Machine(
    "door",
    (
        Transition(NONE, "Build", "shut"),
        Transition("shut", "Push", "open", "the key is there"),
        Transition("shut", "Push", "broken", "too hard"),
        Transition("open", "Pull", "shut"),
    ),
)


def test_what_the_table_has_is_possible():
    DOOR.require("1", "shut", "Push")
    DOOR.require("1", "shut", "Push", "open")
    DOOR.require("1", "shut", "Push", "broken")
    DOOR.require("1", NONE, "Build")


@pytest.mark.parametrize(
    ("state", "transaction", "following", "message", "hint"),
    [
        ("shut", "Pull", None, "door 1 is shut: Pull is not possible", "Possible now: Push."),
        ("shut", "Push", "shut", "door 1 is shut: Push is not possible", "Possible now: Push."),
        ("broken", "Push", None, "door 1 is broken: Push is not possible", "It has ended; nothing can change it."),
        ("gone", "Push", None, "door 1 is gone: Push is not possible", "It has ended; nothing can change it."),
    ],
)
def test_what_it_has_not_is_refused(state, transaction, following, message, hint):
    with pytest.raises(BeflError) as caught:
        DOOR.require("1", state, transaction, following)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("BEFL-T-002", message, hint)


def test_the_diagram():
    assert DOOR.diagram() == (
        "stateDiagram-v2\n"
        "    [*] --> shut: Build\n"
        "    shut --> open: Push\n"
        "    shut --> broken: Push\n"
        "    open --> shut: Pull\n"
        "    broken --> [*]\n"
    )


@pytest.mark.parametrize("name", MODES.names())
@pytest.mark.parametrize("kind", ["task_machine", "round_machine"])
def test_every_machine_of_a_mode_can_be_walked(name, kind):
    machine = getattr(MODES[MODES.newest(name)], kind)
    reached = {NONE}
    while new := {row.next for row in machine.transitions if row.state in reached} - reached:
        reached |= new
    assert {row.state for row in machine.transitions} <= reached
    assert len(set(machine.transitions)) == len(machine.transitions)
    diagram = machine.diagram()
    assert diagram.count("-->") >= len(machine.transitions)
    assert "[*] --> " in diagram
