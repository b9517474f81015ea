"""The consortium's parameters: read, written, held against a task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical, parameters, reader
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.parameters import Parameters


def task(**changes):
    record = {
        "befl": 1,
        "name": "a task",
        "mode": "horizontal",
        "app": {"name": "tabular"},
        "data": {"alias": "heart", "label": "disease", "columns": {"age": "number"}},
        "participants": {"least": 3, "most": 5, "window": changes.pop("window", "10s")},
        "rounds": {"count": 10, "deadline": changes.pop("deadline", "30s")},
        "aggregation": {"rule": "fedavg"},
        "privacy": {"scheme": "none"},
    }
    return specs.from_record(record)


@given(
    least=st.integers(1, 128),
    size=st.integers(1, specs.MOST_PARAMETERS),
    rounds=st.integers(1, 10_000),
    deadline=st.sampled_from(["1s", "90s", "2h", "30d"]),
)
def test_what_is_written_is_read_again(least, size, rounds, deadline):
    made = Parameters(least, size, rounds, deadline)
    assert parameters.from_json(parameters.to_json(made)) == made
    assert parameters.read_parameters(reader.to_record(made)) == made


def test_defaults_refuse_nothing_that_a_specification_may_hold():
    parameters.check_task(Parameters(), task(deadline="30d"), specs.MOST_PARAMETERS)
    assert parameters.from_json("{}") == Parameters()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('{"least_trainers":0}', "BEFL-C-004", "least_trainers"),
        ('{"least_trainers":"3"}', "BEFL-C-004", "least_trainers"),
        ('{"most_deadline":"31d"}', "BEFL-C-004", "most_deadline"),
        ('{"most_parameters":6000001}', "BEFL-C-004", "most_parameters"),
        ('{"most_rounds":1.5}', "BEFL-C-001", "canonical"),
        ('{"wealth":1}', "BEFL-C-002", "wealth"),
        ("[]", "BEFL-C-004", "a table"),
        ("", "BEFL-C-001", "canonical"),
    ],
)
def test_what_cannot_be_is_refused(text, code, words):
    with pytest.raises(BeflError, match=words) as caught:
        parameters.from_json(text)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"least_trainers": 4}, "least_trainers is 4, the task has 3"),
        ({"most_parameters": 99}, "most_parameters is 99, the task has 100"),
        ({"most_rounds": 9}, "most_rounds is 9, the task has 10"),
        ({"most_deadline": "29s"}, "most_deadline is 29s, the task has 30s"),
        ({"most_rounds": 1, "least_trainers": 5}, "the task has 3; most_rounds is 1"),
    ],
)
def test_every_bound_that_a_task_passes_is_named(limits, words):
    with pytest.raises(BeflError, match=words) as caught:
        parameters.check_task(Parameters(**limits), task(), 100)
    assert caught.value.code == "BEFL-T-011"
    parameters.check_task(Parameters(3, 100, 10, "30s"), task(), 100)


def test_the_window_is_a_phase_too():
    with pytest.raises(BeflError, match="most_deadline is 30s, the task has 5m"):
        parameters.check_task(Parameters(most_deadline="30s"), task(window="5m"), 100)


@given(st.integers(1, 1_000))
def test_a_majority_is_more_than_half_and_the_least_such(members):
    needed = parameters.majority(members)
    assert 2 * needed > members
    assert 2 * (needed - 1) <= members


def test_the_json_is_canonical():
    assert canonical.dumps(canonical.loads(parameters.to_json(Parameters()))).decode() == parameters.to_json(
        Parameters()
    )
