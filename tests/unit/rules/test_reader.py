from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from befl.rules import canonical, reader
from befl.rules.errors import BeflError
from befl.rules.reader import (
    Boolean,
    Choice,
    DecimalText,
    Duration,
    Either,
    Integer,
    Mapped,
    Sequence,
    Table,
    Text,
    setting,
)


@dataclass(frozen=True)
class Inner:
    size: int = setting(Integer(1, 9), "a size")
    on: bool = setting(Boolean(), "a switch", default=False)


@dataclass(frozen=True)
class Outer:
    name: str = setting(Text(most=10), "a name")
    inner: Inner = setting(Table(Inner), "a table")
    rate: str = setting(DecimalText("-1", "1e6"), "a rate", default="0.5")
    wait: str = setting(Duration("1s", "1h"), "a time", default="60s")
    words: tuple[str, ...] = setting(Sequence(Text(most=5), 0, 3, unique=True), "words", default=())
    free: dict[str, object] = setting(Mapped(Either(Boolean(), Integer(0, 5)), 3), "free keys", default={})

    def check(self, where: str) -> None:
        if self.name == "bad":
            raise reader.refuse(f"{where}name", "good", self.name)


MINIMAL = {"name": "n", "inner": {"size": 1}}

plain = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5).map(str.strip)
outers = st.fixed_dictionaries(
    {"name": plain.filter(lambda text: text != "bad"), "inner": st.fixed_dictionaries({"size": st.integers(1, 9)})},
    optional={
        "rate": st.decimals(-1, 10**6, places=18) | st.integers(-1, 10**6),
        "wait": st.integers(1, 60).map(lambda minutes: f"{minutes}m"),
        "words": st.lists(plain, max_size=3, unique=True),
        "free": st.dictionaries(plain, st.booleans() | st.integers(0, 5), max_size=3),
    },
)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.binary()
    | st.sampled_from(
        [
            2**4_000,
            Decimal("1e999999"),
            dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
            dt.date(2020, 1, 1),
            "\ud800",
            "9" * 5_000,
            "1e9999999",
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
parsers = st.sampled_from(
    [
        Text(),
        Text(most=5, pattern="[a-z]+", expects="a word"),
        Integer(-5, 5),
        Boolean(),
        Choice(("a", "b")),
        DecimalText("-1e17", "1e17"),
        Duration("0s", "30d"),
        Sequence(Integer(0, 9), 0, 3),
        Sequence(Text(), 1, 2, unique=True),
        Table(Outer),
        Mapped(Text(), 2),
        Either(Integer(0, 5), Text()),
    ]
)


@given(outers)
def test_what_is_read_can_be_written_and_read_again(value):
    table = reader.read(Outer, value)
    record = reader.to_record(table)
    assert reader.read(Outer, record) == table
    assert reader.read(Outer, canonical.loads(canonical.dumps(record))) == table


@given(parsers, junk)
def test_any_value_is_read_or_refused_where_it_stands(attempt, parser, value):
    found, error = attempt(parser, value, "place")
    if error:
        assert error.code in {"BEFL-C-002", "BEFL-C-003", "BEFL-C-004"}
        assert error.message.startswith("place")
        assert len(error.message) < 500
    else:
        assert parser(reader.to_record(found) if isinstance(found, Outer) else found, "place") == found
    assert parser.expects


@given(junk)
def test_any_file_is_read_or_refused(attempt, value):
    _, error = attempt(reader.read, Outer, value)
    if error:
        assert error.code in {"BEFL-C-002", "BEFL-C-003", "BEFL-C-004"}


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"naem": "x"}, "BEFL-C-002", "naem: unknown key"),
        ({"inner": {"size": 1, "of": 2}}, "BEFL-C-002", "inner.of: unknown key"),
        ({"x" * 5_000: 1}, "BEFL-C-002", "x" * 80 + ": unknown key"),
        ({"inner": {}}, "BEFL-C-003", "inner.size: missing"),
        ({"inner": {"size": 10}}, "BEFL-C-004", "inner.size: must be a whole number from 1 to 9, not 10"),
        ({"inner": {"size": 1.0}}, "BEFL-C-004", "inner.size: must be a whole number from 1 to 9, not 1.0"),
        ({"inner": {"size": True}}, "BEFL-C-004", "inner.size: must be a whole number from 1 to 9, not True"),
        ({"inner": {"size": 1, "on": 1}}, "BEFL-C-004", "inner.on: must be true or false, not 1"),
        ({"inner": [1]}, "BEFL-C-004", "inner: must be a table, not a list of 1 values"),
        ({"inner": "x" * 1_000}, "BEFL-C-004", "inner: must be a table, not '" + "x" * 56 + "..."),
        ({"inner": 2**300}, "BEFL-C-004", "inner: must be a table, not a number of 301 bits"),
        ({"name": {"a": 1}}, "BEFL-C-004", "name: must be text, not a table of 1 keys"),
        ({"name": "x" * 11}, "BEFL-C-004", "name: must be text of at most 10 characters, not"),
        ({"name": " x"}, "BEFL-C-004", "name: must be text, not ' x'"),
        ({"name": "a\nb"}, "BEFL-C-004", "name: must be text, not 'a\\nb'"),
        ({"name": "a\ud800"}, "BEFL-C-004", "name: must be text of at most"),
        ({"name": "bad"}, "BEFL-C-004", "name: must be good, not 'bad'"),
        (
            {"rate": "x"},
            "BEFL-C-004",
            "rate: must be a decimal number from -1 to 1e6 with at most 18 decimals, not 'x'",
        ),
        ({"rate": Decimal("NaN")}, "BEFL-C-004", "rate: must be a decimal number"),
        ({"wait": "59"}, "BEFL-C-004", 'wait: must be a duration such as "60s" (ms, s, m, h, d) from 1s to 1h, not'),
        ({"wait": "61m"}, "BEFL-C-004", "wait: must be a duration"),
        ({"words": "abc"}, "BEFL-C-004", "words: must be a list of 0 to 3 different values, each text, not 'abc'"),
        ({"words": ["a", "a"]}, "BEFL-C-004", "words: must be a list of 0 to 3 different values"),
        ({"words": ["a", 1]}, "BEFL-C-004", "words[1]: must be text, not 1"),
        ({"free": {"a": 9}}, "BEFL-C-004", "free.a: must be true or false or a whole number from 0 to 5, not 9"),
        (
            {"free": {"": 1, "b": 1, "c": 1, "d": 1}},
            "BEFL-C-004",
            "free: must be a table of at most 3 keys, each value",
        ),
        ({"free": {"a\n": 1}}, "BEFL-C-004", "free: key: must be text"),
        ({"free": 1}, "BEFL-C-004", "free: must be a table of at most 3 keys"),
    ],
)
def test_a_refusal_names_field_and_reason(change, code, message):
    with pytest.raises(BeflError) as caught:
        reader.read(Outer, MINIMAL | change)
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.hint or code == "BEFL-C-004"


def test_a_file_that_is_no_table():
    with pytest.raises(BeflError, match="the file: must be a table"):
        reader.read(Outer, [])


def test_the_hint_lists_the_known_keys():
    with pytest.raises(BeflError) as caught:
        reader.read(Outer, MINIMAL | {"inner": {"siez": 1}})
    assert caught.value.hint == "Known here: on, size."


def test_default_tables_are_not_shared():
    first, second = reader.read(Outer, MINIMAL), reader.read(Outer, MINIMAL)
    assert first.free == {}
    assert first.free is not second.free


@given(st.integers(-(10**20), 10**20), st.integers(0, 20))
def test_decimals_are_exact(digits, places):
    value = Decimal(digits).scaleb(-places)
    exact = Fraction(digits, 10**places)
    found = reader.to_decimal(value)
    beyond = abs(exact) >= 10**18 or (exact * 10**18).denominator != 1
    assert (found is None) == beyond
    if found is not None:
        assert Fraction(found) == exact
        text = DecimalText("-1e18", "1e18")(value, "x")
        assert Fraction(text) == exact
        assert reader.to_decimal(text) == found
        assert "e" not in text.lower()
        assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.10", "0.1"),
        ("-0", "0"),
        (Decimal("-0.0"), "0"),
        (Decimal("1E+3"), "1000"),
        ("007", "7"),
        ("123456789012345678.123456789012345678", "123456789012345678.123456789012345678"),
        (5, "5"),
        ("1e3", None),
        ("+1", None),
        ("1.", None),
        (".5", None),
        ("\u0661", None),
        (True, None),
        (0.5, None),
        (None, None),
        (10**18, None),
        pytest.param(10**5_000, None, id="huge"),
        ("0." + "0" * 60, None),
        ("9" * 61, None),
        (Decimal("1e-19"), None),
        (Decimal("1e-9999999"), None),
        (Decimal("1e99999999"), None),
        (Decimal("Infinity"), None),
        (Decimal("sNaN"), None),
        (Decimal("1." + "1" * 40), None),
    ],
)
def test_decimal_forms(value, text):
    found = reader.to_decimal(value)
    assert (None if found is None else format(found, "f")) == text


@given(st.integers(0, 999_999_999), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_durations(number, unit):
    factor = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]
    assert reader.milliseconds(f"{number}{unit}") == number * factor


@pytest.mark.parametrize("text", ["", "60", "s", "1.5s", "-1s", "1 s", "1234567890s", "1w", "1S", "\u0661s", "1s\n"])
def test_what_is_no_duration(text):
    with pytest.raises(BeflError, match="duration"):
        reader.milliseconds(text)
    with pytest.raises(BeflError, match="duration"):
        Duration("0s", "30d")(text, "x")


@given(st.integers(-5, 5), st.integers(0, 10))
def test_bounds_are_inclusive(value, offset):
    parser = Integer(-3, 3)
    if -3 <= value <= 3:
        assert parser(value, "x") == value
    else:
        with pytest.raises(BeflError):
            parser(value, "x")
    sized = Sequence(Integer(0, 0), 2, 4)
    if 2 <= offset <= 4:
        assert sized([0] * offset, "x") == (0,) * offset
    else:
        with pytest.raises(BeflError):
            sized([0] * offset, "x")
    assert Text(most=5)("x" * min(offset, 5), "x") == "x" * min(offset, 5)


# --- TOML ------------------------------------------------------------------------------------------------------------


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_toml_decimals_are_exact(value):
    sign, digits, exponent = value.as_tuple()
    text = f"{'-' * sign}{''.join(map(str, digits)).lstrip('0') or '0'}.0e{exponent}"
    assert reader.parse_toml(f"a = {text}".encode(), "f")["a"] == value


def test_toml_underscores_and_exponents():
    found = reader.parse_toml(b"a = 1_000.5\nb = 1e3\nc = -0.0\nd = 6.02E+23", "f")
    assert found == {"a": Decimal("1000.5"), "b": Decimal(1000), "c": Decimal(0), "d": Decimal("6.02e23")}


@given(st.text() | st.text(alphabet="[]{}=\"'\n.,#ab1 -_:", max_size=30))
def test_any_toml_is_read_or_refused(attempt, text):
    assume(not any(0xD800 <= ord(character) < 0xE000 for character in text))
    found, error = attempt(reader.parse_toml, text.encode(), "f.toml")
    assert error or isinstance(found, dict)
    if error:
        assert error.code == "BEFL-C-005"
        assert error.message.startswith("f.toml: not valid TOML: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = ", "f: not valid TOML: Invalid value (at end of document)"),
        (b"a = 1\nb == 2", "(at line 2, column 4)"),
        (b"a = 1\na = 2", "Cannot overwrite a value"),
        (b"[a]\n[a]", "Cannot declare"),
        (b"a = 1\n[a]\nb = 1", "Cannot"),
        (b'a = "\\ud800"', "not valid TOML"),
        (b"a = 2020-99-99", "not valid TOML"),
        (b"a = \xff", "f: not UTF-8 at byte 4"),
        (b"\xef\xbb\xbfa = 1", "not valid TOML"),
        (b"a = " + b"9" * 5_000, "too many digits"),
        (b"a = 1e" + b"9" * 30, "too many digits"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"{a=" * 100_000, "nested too deeply"),
        (b"a" + b".a" * 1_001 + b" = 1", "a key has more than 1000 dots"),
        (b"[a" + b".a" * 100_000 + b"]", "a key has more than 1000 dots"),
        (b"x = { a" + b".a" * 1_001 + b" = 1 }", "a key has more than 1000 dots"),
        (b"#" * 1_000_001, "1000001 bytes are more than the 1000000 allowed"),
    ],
)
def test_toml_that_is_refused(data, message):
    with pytest.raises(BeflError) as caught:
        reader.parse_toml(data, "f")
    assert caught.value.code == "BEFL-C-005"
    assert message in caught.value.message


@pytest.mark.parametrize(
    "data",
    [b"name = 0x" + b"f" * 6_000, b"name" + b".a" * 900 + b" = 1", b"name = " + b"[" * 300 + b"]" * 300],
)
def test_absurd_values_are_refused_in_a_short_sentence(data):
    with pytest.raises(BeflError) as caught:
        reader.read(Outer, reader.parse_toml(data, "f"))
    assert caught.value.code == "BEFL-C-004"
    assert len(caught.value.message) < 100
