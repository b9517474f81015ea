from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules import canonical
from befl.rules.errors import BeflError

scalars = st.none() | st.booleans() | st.integers(-(2**2048) + 1, 2**2048 - 1) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def refused(text: bytes | str) -> None:
    with pytest.raises(BeflError) as caught:
        canonical.loads(text)
    assert caught.value.code == "BEFL-C-001"


@given(values)
def test_what_is_written_is_read(value):
    data = canonical.dumps(value)
    assert canonical.loads(data) == value
    assert canonical.loads(data.decode()) == value


@given(st.dictionaries(st.text(), scalars), st.randoms())
def test_the_order_of_insertion_does_not_show(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical.dumps(dict(items)) == canonical.dumps(value)


@given(values, st.booleans(), st.booleans(), st.sampled_from([None, 1]))
def test_any_other_form_of_the_same_value_is_refused(value, ascii_only, spaces, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=(", ", ": ") if spaces else (",", ":"))
    if text.encode() == canonical.dumps(value):
        assert canonical.loads(text) == value
    else:
        refused(text)


@given(st.text() | st.text(alphabet='[]{}:,"\\u0123456789-+.eE ntf'))
def test_any_text_is_canonical_or_refused(attempt, text):
    value, error = attempt(canonical.loads, text)
    if error:
        assert error.code == "BEFL-C-001"
    else:
        assert canonical.dumps(value) == text.encode()


@given(st.binary())
def test_any_bytes_are_canonical_or_refused(attempt, data):
    value, error = attempt(canonical.loads, data)
    if error:
        assert error.code == "BEFL-C-001"
    else:
        assert canonical.dumps(value) == data


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        '{"b":1,"a":2}',
        '{"a": 1}',
        "1 ",
        "1\n",
        "1.0",
        "1e3",
        "-0",
        "01",
        "NaN",
        "Infinity",
        "-Infinity",
        '"\\ud800"',
        '{"\\udfff":1}',
        '"\ud800"',
        '"\\u0041"',
        "\ufeff1",
        "",
        "[" * 102 + "]" * 102,
        "[" * 998 + "]" * 998,
        "[" * 100_000,
        '{"a":' * 50_000,
        "9" * 5_000,
        str(2**2048),
        b"\xff",
        b'"\xed\xa0\x80"',
    ],
)
def test_refused(text):
    refused(text)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (1.0, "float"),
        ({"a": [float("nan")]}, "$.a[0]: float"),
        ({"a": {1: 2}}, "$.a: a key is int"),
        ({"a": b""}, "$.a: bytes"),
        ({1, 2}, "$: set"),
        ("\ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        ([2**2048], "$[0]: a number of more than 2048 bits"),
    ],
)
def test_what_the_ledger_cannot_hold_is_not_written(value, word):
    with pytest.raises(BeflError) as caught:
        canonical.dumps(value)
    assert caught.value.code == "BEFL-C-001"
    assert word in caught.value.message


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_the_depth_is_limited_the_same_everywhere():
    deep = nested(100)
    assert canonical.loads(canonical.dumps(deep)) == deep
    with pytest.raises(BeflError, match="nested deeper than 100"):
        canonical.dumps(nested(101))
    round_and_round: list[object] = []
    round_and_round.append(round_and_round)
    with pytest.raises(BeflError, match="nested deeper than 100"):
        canonical.dumps(round_and_round)


def test_tuples_are_lists_and_text_stays_text():
    assert canonical.dumps({"b": (1, "é\u2028"), "a": None}) == '{"a":null,"b":[1,"é\u2028"]}'.encode()
