from __future__ import annotations

import copy
import dataclasses
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical, codec, reader
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.modes import MODES

TOML = b"""
befl = 1
name = "heart disease"
mode = "horizontal"
[app]
name = "tabular"
[app.settings]
model = "logistic"
learning_rate = 0.10
version = "1.10"
postcode = "007"
layers = [8, 4.50, "x"]
large = 9007199254740993
[data]
alias = "heart"
label = "disease"
columns = { sex = { type = "category", values = ["0", "1"] }, age = "number", fbs = { type = "number", spread = 2.50 } }
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""


def test_the_toml_form():
    spec = specs.from_toml(TOML)
    assert list(spec.data.columns) == ["age", "fbs", "sex"]
    assert spec.data.columns["fbs"] == specs.Column(type="number", spread="2.5")
    assert (spec.participants, spec.rounds) == (specs.Participants(), specs.Rounds())
    assert spec.quorum == spec.participants.least == 3
    assert spec.rules() == {
        "task": "task/1",
        "mode": "horizontal/1",
        "aggregation": "fedavg/1",
        "scheme": "none/1",
        "draw": "draw/1",
        "metrics": "binary/1",
    }


def test_settings_reach_the_app_as_they_are():
    settings = specs.from_toml(TOML).app.settings
    assert settings == {
        "large": "9007199254740993",
        "layers": (8, "4.5", "x"),
        "learning_rate": "0.1",
        "model": "logistic",
        "postcode": "007",
        "version": "1.10",
    }


def test_both_forms_are_one():
    spec = specs.from_toml(TOML)
    text = specs.to_json(spec)
    assert specs.from_json(text) == spec == specs.from_record(reader.to_record(spec))
    assert specs.to_json(specs.from_json(text)) == text


def test_golden_digest(specification):
    # a change here changes what stands on every ledger: it needs a new version of the task's form
    text = specs.to_json(specs.from_record(specification()))
    assert codec.digest(text.encode()) == ("896e97b1b0e3784594a24e7c5c960b2ff467401e8679610b277e09eec92a903f")


word = st.from_regex(r"[A-Za-z][A-Za-z0-9_\-]{0,9}", fullmatch=True)
cell = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5).map(str.strip)
decimal = st.decimals(Decimal("-1e6"), Decimal("1e6"), places=9).map(lambda value: format(value, "f"))
scalar = st.booleans() | st.integers(-(2**53), 2**53) | decimal | cell
number = st.fixed_dictionaries(
    {"type": st.just("number")}, optional={"centre": decimal, "spread": st.integers(1, 10**15)}
)
category = st.fixed_dictionaries(
    {"type": st.just("category"), "values": st.lists(cell, min_size=1, max_size=4, unique=True), "missing": st.just([])}
)
name = cell.filter(bool)


@st.composite
def specifications(draw):
    label = draw(name)
    columns = draw(
        st.dictionaries(
            name.filter(lambda text: text != label), number | category | st.just("number"), min_size=1, max_size=4
        )
    )
    least = draw(st.integers(1, 128))
    scale_bits = draw(st.integers(4, 24))
    rule = draw(
        st.sampled_from(
            [
                {"rule": "fedavg", "server_learning_rate": "0.5"},
                {"rule": "fedavgm", "momentum": "0.5"},
                {"rule": "fedyogi", "beta1": "0", "beta2": "0.999", "tau": "0.01"},
                {"rule": "scaffold"},
            ]
        )
    )
    return {
        "befl": 1,
        "name": draw(name),
        "mode": "horizontal",
        "app": {
            "name": draw(word),
            "settings": draw(st.dictionaries(word, scalar | st.lists(scalar, max_size=3), max_size=3)),
        },
        "data": {
            "alias": draw(word),
            "label": label,
            "columns": columns,
            "classes": draw(st.lists(cell, min_size=2, max_size=2, unique=True)),
            "held_back": draw(st.integers(1, 90)),
        },
        "participants": {
            "institutions": draw(
                st.just("any")
                | st.lists(
                    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,9}", fullmatch=True),
                    min_size=least,
                    max_size=128,
                    unique=True,
                )
                if least < 6
                else st.just("any")
            ),
            "least": least,
            "most": draw(st.integers(least, 128)),
            "window": draw(st.integers(0, 30).map(lambda days: f"{days}d")),
        },
        "rounds": {
            "count": draw(st.integers(1, 10_000)),
            "quorum": draw(st.integers(0, least)),
            "fraction": draw(st.integers(1, 100)),
            "patience": draw(st.integers(1, 10_000)),
            "improvement": draw(st.decimals(0, 1_000, places=6)),
        },
        "aggregation": {
            **rule,
            "scale_bits": scale_bits,
            "clip": draw(
                st.integers(1, 2 ** min(19, 30 - scale_bits)) if rule["rule"] != "fedyogi" else st.just("0.25")
            ),
            "bits": draw(st.integers(8, 32)),
        },
        "privacy": {"scheme": "none"},
    }


@given(specifications())
def test_a_valid_specification_survives_the_ledger(record):
    spec = specs.from_record(record)
    text = specs.to_json(spec)
    assert specs.from_json(text) == spec
    assert canonical.dumps(canonical.loads(text)) == text.encode()
    assert 1 <= spec.quorum <= spec.participants.least <= spec.participants.most
    for trainers in (spec.participants.least, spec.participants.most):
        size = spec.trainers_a_round(trainers)
        assert spec.quorum <= size <= trainers
        assert size == spec.quorum or 0 <= 100 * size - trainers * spec.rounds.fraction < 100
    assert MODES[spec.rules()["mode"]] is not None
    assert 1 <= codec.bound(spec.aggregation.scale_bits, spec.aggregation.clip) <= 2**30


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.decimals(),
    st.just([]),
    st.just({}),
    st.just([[1]]),
    st.just({"a": {"b": 1}}),
    st.just("x" * 300_000),
    st.just(2**4_000),
)


def paths(record, prefix=()):
    for key, value in record.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from paths(value, (*prefix, key))


@given(st.data(), junk)
def test_a_wrong_value_anywhere_is_refused_by_name_or_was_none(attempt, specification, data, value):
    record = copy.deepcopy(specification())
    *tables, key = data.draw(st.sampled_from(sorted(paths(record))))
    place = record
    for table in tables:
        place = place[table]
    place[key] = value
    spec, error = attempt(specs.from_record, record)
    if error:
        assert error.code in {"BEFL-C-002", "BEFL-C-003", "BEFL-C-004"}
        named = error.message.split(":")[0]
        assert ".".join([*tables, key]).startswith(named.split("[")[0]) or key in named
        assert len(error.message) < 500
    else:
        assert specs.from_json(specs.to_json(spec)) == spec


CROSS = {
    "a label among the columns": ({"data__label": "age"}, "BEFL-C-004", "data.columns: must be without the label"),
    "no column": ({"data__columns": {}}, "BEFL-C-004", "data.columns: must be a table of at least one column"),
    "a column of a number": ({"data__columns__age": 5}, "BEFL-C-004", 'data.columns.age: must be "number", or a table'),
    "another type": ({"data__columns__age": "date"}, "BEFL-C-004", 'data.columns.age.type: must be one of "number"'),
    "a category without values": ({"data__columns__sex": "category"}, "BEFL-C-003", "data.columns.sex.values: missing"),
    "a number with values": (
        {"data__columns__age__values": ["1"]},
        "BEFL-C-002",
        "data.columns.age.values: unknown key",
    ),
    "a category with a centre": (
        {"data__columns__sex__centre": 1},
        "BEFL-C-002",
        "data.columns.sex: centre, spread and statistics",
    ),
    "a category with a spread": (
        {"data__columns__sex__spread": 2},
        "BEFL-C-002",
        "data.columns.sex: centre, spread and statistics",
    ),
    "a category with statistics": (
        {"data__columns__sex__statistics": "pooled"},
        "BEFL-C-002",
        "data.columns.sex: centre, spread and statistics",
    ),
    "statistics of a third kind": (
        {"data__columns__age__statistics": "guessed"},
        "BEFL-C-004",
        'data.columns.age.statistics: must be one of "declared", "pooled"',
    ),
    "a value that means missing": (
        {"data__columns__sex__values": ["0", "?"]},
        "BEFL-C-004",
        "data.columns.sex.values: must be free of texts that mean missing, not '?'",
    ),
    "a spread of nothing": ({"data__columns__age__spread": 0}, "BEFL-C-004", "data.columns.age.spread: must be"),
    "a value twice": ({"data__columns__sex__values": ["0", "0"]}, "BEFL-C-004", "data.columns.sex.values: must be"),
    "one class": ({"data__classes": ["1"]}, "BEFL-C-004", "data.classes: must be a list of 2 to 1000 different values"),
    "equal classes": (
        {"data__classes": ["1", "1"]},
        "BEFL-C-004",
        "data.classes: must be a list of 2 to 1000 different",
    ),
    "an array without a shape": (
        {"data__form": "array", "data__columns": {}},
        "BEFL-C-004",
        "data.shape: must be the shape of one row",
    ),
    "an array too large": (
        {"data__form": "array", "data__columns": {}, "data__shape": [100, 101, 100]},
        "BEFL-C-004",
        "data.shape: must be of at most 1000000 values, not 1010000",
    ),
    "an array with columns": (
        {"data__form": "array", "data__shape": [3]},
        "BEFL-C-002",
        'data.columns: has no meaning with form = "array"',
    ),
    "a table with a shape": ({"data__shape": [3]}, "BEFL-C-002", 'data.shape: has no meaning with form = "table"'),
    "a table with a spread": ({"data__spread": "3"}, "BEFL-C-002", "data.spread: has no meaning"),
    "a class with a centre": ({"data__label_centre": "3"}, "BEFL-C-002", "data.label_centre: has no meaning"),
    "a number with classes": (
        {"data__target": "number", "data__classes": ["a", "b"]},
        "BEFL-C-002",
        'data.classes: has no meaning with form = "table" and target = "number"',
    ),
    "everything held back": (
        {"data__held_back": 91},
        "BEFL-C-004",
        "data.held_back: must be a whole number from 1 to 90",
    ),
    "most below least": ({"participants__most": 1}, "BEFL-C-004", "participants.most: must be at least 2"),
    "too few invited": (
        {"participants__institutions": ["A"]},
        "BEFL-C-004",
        "participants.institutions: must be a list of at least 2 (least), not 1",
    ),
    "nobody invited": ({"participants__institutions": []}, "BEFL-C-004", "participants.institutions: must be one of"),
    "one invited twice": ({"participants__institutions": ["A", "A"]}, "BEFL-C-004", "participants.institutions: must"),
    "129 institutions": ({"participants__most": 129}, "BEFL-C-004", "participants.most: must be a whole number from 1"),
    "a window without end": ({"participants__window": "31d"}, "BEFL-C-004", "participants.window: must be a duration"),
    "a quorum above least": (
        {"rounds__quorum": 3},
        "BEFL-C-004",
        "rounds.quorum: must be at most 2 (participants.least)",
    ),
    "nobody in a round": ({"rounds__fraction": 0}, "BEFL-C-004", "rounds.fraction: must be a whole number from 1 to"),
    "more than all in a round": ({"rounds__fraction": 101}, "BEFL-C-004", "rounds.fraction: must be a whole number"),
    "an improvement nobody waits for": (
        {"rounds__improvement": "0.1"},
        "BEFL-C-002",
        "rounds.improvement: has no meaning without patience",
    ),
    "seven bits": ({"aggregation__bits": 7}, "BEFL-C-004", "aggregation.bits: must be a whole number from 8 to 32"),
    "33 bits": ({"aggregation__bits": 33}, "BEFL-C-004", "aggregation.bits: must be a whole number from 8 to 32"),
    "momentum without a rule for it": (
        {"aggregation__momentum": "0.9"},
        "BEFL-C-002",
        "aggregation.momentum: unknown key for rule fedavg",
    ),
    "no round": ({"rounds__count": 0}, "BEFL-C-004", "rounds.count: must be a whole number from 1 to 10000"),
    "a deadline of a moment": ({"rounds__deadline": "999ms"}, "BEFL-C-004", "rounds.deadline: must be a duration"),
    "a clip beyond 31 bits": (
        {"aggregation__scale_bits": 24, "aggregation__clip": "64.000001"},
        "BEFL-C-004",
        "aggregation.clip: must be at most 2^30 / 2^scale_bits, not '64.000001'",
    ),
    "a clip of less than a grid unit": (
        {"aggregation__scale_bits": 4, "aggregation__clip": "0.0624"},
        "BEFL-C-004",
        "aggregation.clip: must be at least 1 / 2^scale_bits, not '0.0624'",
    ),
    "a rule that is not known": (
        {"aggregation__rule": "krum"},
        "BEFL-C-004",
        'aggregation.rule: must be one of "fedadam", "fedavg", "fedavgm", "fedyogi", "scaffold", not ',
    ),
    "no rule": ({"aggregation": None}, "BEFL-C-003", "aggregation: missing"),
    "a mode that is not known": ({"mode": "vertical"}, "BEFL-C-004", 'mode: must be one of "horizontal", not'),
    "a scheme that is not known": (
        {"privacy__scheme": "masking"},
        "BEFL-C-004",
        'privacy.scheme: must be one of "none"',
    ),
    "no scheme": ({"privacy__scheme": None}, "BEFL-C-003", "privacy.scheme: missing"),
    "another version": ({"befl": 2}, "BEFL-C-004", "befl: must be a whole number from 1 to 1, not 2"),
    "no version": ({"befl": None}, "BEFL-C-003", "befl: missing"),
    "an app that is no word": ({"app__name": "../x"}, "BEFL-C-004", "app.name: must be a word"),
    "an alias that is a path": ({"data__alias": "/etc/passwd"}, "BEFL-C-004", "data.alias: must be a word"),
    "a setting with a table": ({"app__settings__x": {}}, "BEFL-C-004", "app.settings.x: must be true or false or"),
    "101 settings": (
        {"app__settings": {f"s{i}": 1 for i in range(101)}},
        "BEFL-C-004",
        "app.settings: must be a table",
    ),
    "a setting of 1001 characters": ({"app__settings__x": "x" * 1_001}, "BEFL-C-004", "app.settings.x: must be"),
    "an empty name": ({"name": ""}, "BEFL-C-004", "name: must be a name, not ''"),
    "a name of two lines": ({"name": "a\nb"}, "BEFL-C-004", "name: must be a name"),
    "a key of another table": ({"rounds__least": 3}, "BEFL-C-002", "rounds.least: unknown key"),
}


@pytest.mark.parametrize("what", CROSS)
def test_a_contradiction_is_refused_by_name(specification, what):
    change, code, message = CROSS[what]
    with pytest.raises(BeflError) as caught:
        specs.from_record(specification(**change))
    assert caught.value.code == code
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "binary/1"),
        ({"data__classes": ["a", "b", "c"]}, "multiclass/1"),
        ({"data__target": "number", "data__label_spread": "2"}, "regression/1"),
        ({"data__form": "array", "data__columns": {}, "data__shape": [1, 28, 28], "data__spread": "255"}, "binary/1"),
    ],
)
def test_the_rule_of_metrics_follows_from_the_label(specification, changes, rule):
    assert specs.from_record(specification(**changes)).rules()["metrics"] == rule


def test_limits_that_just_hold(specification):
    for change in (
        {"aggregation__scale_bits": 24, "aggregation__clip": "64"},
        {"aggregation__scale_bits": 4, "aggregation__clip": "0.0625"},
        {"participants__institutions": ["A", "B"]},
        {"participants__least": 128, "participants__most": 128, "rounds__quorum": 128},
        {"data__columns__age": {"type": "number", "centre": "0", "spread": "1"}},
    ):
        specs.from_record(specification(**change))


@given(st.integers(4, 24), st.decimals(Decimal("0.001"), Decimal("1e6"), places=18))
def test_the_clip_in_fixed_point_is_exact(attempt, scale_bits, clip):
    value = {"rule": "fedavg", "scale_bits": scale_bits, "clip": clip}
    rule, error = attempt(reader.read, specs.Aggregation, value, "aggregation")
    if error:
        assert error.code == "BEFL-C-004"
        assert not 1 <= Fraction(clip) * 2**scale_bits <= 2**30
    else:
        assert codec.bound(scale_bits, rule.clip) == int(Fraction(clip) * 2**scale_bits)


@pytest.mark.parametrize("text", ["{}", "[]", "null", '"x"', "1"])
def test_json_of_another_kind(text):
    with pytest.raises(BeflError) as caught:
        specs.from_json(text)
    assert caught.value.code in {"BEFL-C-003", "BEFL-C-004"}


def test_json_must_be_canonical():
    text = specs.to_json(specs.from_toml(TOML))
    for other in (text + " ", text.replace(":", ": "), text[:-1], text.replace('"befl":1,', "", 1) + "}"):
        with pytest.raises(BeflError) as caught:
            specs.from_json(other)
        assert caught.value.code == "BEFL-C-001"


def test_an_oversized_specification_is_not_even_read():
    for text in ("[" * 200_001, "é" * 100_001, "\ud800" * 66_667):
        with pytest.raises(BeflError, match="at most 200000 bytes") as caught:
            specs.from_json(text)
        assert caught.value.code == "BEFL-C-004"


def test_every_key_says_what_is_accepted():
    """The reference is made of it."""
    tables = (specs.Aggregation, specs.Rounds, specs.Participants, specs.DataSpec, specs.Column, specs.Privacy)
    for table in tables:
        for field in dataclasses.fields(table):
            assert field.metadata["parse"].expects, field.name
            assert field.metadata["doc"], field.name
