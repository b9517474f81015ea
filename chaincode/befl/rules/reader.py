"""One strict reader for everything that people write: task, agent configuration, topology.

A table is a frozen dataclass whose fields are made with :func:`setting`; each carries a parser and a sentence of
documentation, so that reading, refusing and the reference pages come from one place. The JSON form on the ledger has
the same shape as the TOML form: durations stay text (``"60s"``), decimals become text.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, Final, Protocol, TypeVar

from befl.rules.errors import BeflError

T = TypeVar("T")

_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_DECIMAL_DIGITS: Final = 18
_EXACT: Final = Context(prec=40, Emin=MIN_EMIN, Emax=MAX_EMAX)  # the default one would round to 28 digits
_TOML_MOST: Final = 1_000_000
_KEY_DOTS: Final = 1_000


class Parser(Protocol):
    """Reads one value."""

    @property
    def expects(self) -> str:
        """Say in words what is accepted."""

    def __call__(self, value: Any, where: str) -> Any:
        """Return the value in its normal form or raise ``BEFL-C-004`` naming ``where``."""


def refuse(where: str, expects: str, value: Any) -> BeflError:
    """Make the error for a wrong value: where it stands, what was expected, what was found."""
    return BeflError("BEFL-C-004", f"{where}: must be {expects}, not {_shown(value)}")


@dataclass(frozen=True)
class Text:
    """A text of bounded length, by default one line; ``pattern`` must match the whole of it."""

    most: int = 200
    pattern: str = r"[^\x00-\x1f\x7f]*"
    expects: str = "text"

    def __call__(self, value: Any, where: str) -> str:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value) or value != value.strip():
            raise refuse(where, self.expects, value)
        if len(value) > self.most or any(0xD800 <= ord(character) < 0xE000 for character in value):
            raise refuse(where, f"{self.expects} of at most {self.most} characters", value)
        return value


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds."""

    least: int
    most: int

    @property
    def expects(self) -> str:
        """Say the bounds."""
        return f"a whole number from {self.least} to {self.most}"

    def __call__(self, value: Any, where: str) -> int:
        """Read the value; see :class:`Parser`."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            raise refuse(where, self.expects, value)
        return value


@dataclass(frozen=True)
class Boolean:
    """True or false."""

    expects: str = "true or false"

    def __call__(self, value: Any, where: str) -> bool:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, bool):
            raise refuse(where, self.expects, value)
        return value


@dataclass(frozen=True)
class Choice:
    """One of a few texts."""

    of: tuple[str, ...]

    @property
    def expects(self) -> str:
        """Say the choices."""
        return "one of " + ", ".join(f'"{item}"' for item in self.of)

    def __call__(self, value: Any, where: str) -> str:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, str) or value not in self.of:
            raise refuse(where, self.expects, value)
        return value


@dataclass(frozen=True)
class DecimalText:
    """A decimal number within bounds, kept as text in one normal form (``0.10`` becomes ``0.1``)."""

    least: str
    most: str

    @property
    def expects(self) -> str:
        """Say the bounds."""
        return f"a decimal number from {self.least} to {self.most} with at most {_DECIMAL_DIGITS} decimals"

    def __call__(self, value: Any, where: str) -> str:
        """Read the value; see :class:`Parser`."""
        number = to_decimal(value)
        if number is None or not Decimal(self.least) <= number <= Decimal(self.most):
            raise refuse(where, self.expects, value)
        return format(number, "f")


@dataclass(frozen=True)
class Duration:
    """A time as text: a whole number and ms, s, m, h or d."""

    least: str
    most: str

    @property
    def expects(self) -> str:
        """Say the form and the bounds."""
        return f'a duration such as "60s" (ms, s, m, h, d) from {self.least} to {self.most}'

    def __call__(self, value: Any, where: str) -> str:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, str) or not _DURATION.fullmatch(value):
            raise refuse(where, self.expects, value)
        if not milliseconds(self.least) <= milliseconds(value) <= milliseconds(self.most):
            raise refuse(where, self.expects, value)
        return value


@dataclass(frozen=True)
class Sequence:
    """A list of values of one kind, kept as a tuple."""

    of: Parser
    least: int
    most: int
    unique: bool = False

    @property
    def expects(self) -> str:
        """Say size and kind."""
        different = "different " if self.unique else ""
        return f"a list of {self.least} to {self.most} {different}values, each {self.of.expects}"

    def __call__(self, value: Any, where: str) -> tuple[Any, ...]:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            raise refuse(where, self.expects, value)
        items = tuple(self.of(item, f"{where}[{index}]") for index, item in enumerate(value))
        if self.unique and len(set(items)) != len(items):
            raise refuse(where, self.expects, value)
        return items


@dataclass(frozen=True)
class Table:
    """A nested table read into a dataclass."""

    cls: type[Any]
    expects: str = "a table"

    def __call__(self, value: Any, where: str) -> Any:
        """Read the value; see :class:`Parser`."""
        return read(self.cls, value, where)


@dataclass(frozen=True)
class Mapped:
    """A table with free keys and values of one kind, kept sorted by key."""

    of: Parser
    most: int
    key: Text = dataclasses.field(default_factory=lambda: Text(most=100))

    @property
    def expects(self) -> str:
        """Say size and kind."""
        return f"a table of at most {self.most} keys, each value {self.of.expects}"

    def __call__(self, value: Any, where: str) -> dict[str, Any]:
        """Read the value; see :class:`Parser`."""
        if not isinstance(value, Mapping) or len(value) > self.most:
            raise refuse(where, self.expects, value)
        keys = sorted(self.key(key, f"{where}: key") for key in value)
        return {key: self.of(value[key], f"{where}.{key}") for key in keys}


@dataclass(frozen=True)
class Either:
    """The first of several parsers that accepts the value."""

    first: Parser
    second: Parser

    @property
    def expects(self) -> str:
        """Say both."""
        return f"{self.first.expects} or {self.second.expects}"

    def __call__(self, value: Any, where: str) -> Any:
        """Read the value; see :class:`Parser`."""
        try:
            return self.first(value, where)
        except BeflError:
            pass
        try:
            return self.second(value, where)
        except BeflError:
            raise refuse(where, self.expects, value) from None


def setting(parse: Parser, doc: str, *, default: Any = dataclasses.MISSING) -> Any:
    """Declare a key of a table: its parser, its sentence in the reference page, its default if it has one."""
    metadata = {"parse": parse, "doc": doc}
    if isinstance(default, dict):  # a dataclass wants a fresh one each time
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read(cls: type[T], value: Any, where: str = "") -> T:
    """Read a mapping into a dataclass made of :func:`setting` fields.

    Parameters
    ----------
    cls : type
        The dataclass; when it has a method ``check(where)`` that is called last, for rules between fields.
    value : object
        What TOML or JSON gave.
    where : str
        Dotted path of the table, for messages; empty at the top.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` unknown key, ``BEFL-C-003`` missing key, ``BEFL-C-004`` wrong value; each names the field.
    """
    if not isinstance(value, Mapping):
        raise refuse(where or "the file", "a table", value)
    declared: Any = cls
    known = {field.name: field for field in dataclasses.fields(declared) if "parse" in field.metadata}
    for key in value:
        if key not in known:
            raise BeflError(
                "BEFL-C-002", f"{_path(where, str(key)[:80])}: unknown key", f"Known here: {', '.join(sorted(known))}."
            )
    found = {}
    for name, field in known.items():
        parse = field.metadata["parse"]
        if name in value:
            found[name] = parse(value[name], _path(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise BeflError("BEFL-C-003", f"{_path(where, name)}: missing", f"It is {parse.expects}.")
    instance = cls(**found)
    check = getattr(instance, "check", None)
    if check is not None:
        check(where)
    return instance


def to_record(instance: Any) -> dict[str, Any]:
    """Turn a table back into plain values of canonical JSON; :func:`read` of them gives the same table."""
    record: dict[str, Any] = dataclasses.asdict(instance)
    return record


def parse_toml(data: bytes, what: str) -> dict[str, Any]:
    """Parse TOML with decimals kept exact.

    Parameters
    ----------
    data : bytes
        The file's content, UTF-8, at most 1 MB.
    what : str
        The file's name, for messages.

    Raises
    ------
    BeflError
        ``BEFL-C-005`` with line and column when it is malformed or too large.
    """
    if len(data) > _TOML_MOST:
        raise BeflError("BEFL-C-005", f"{what}: {len(data)} bytes are more than the {_TOML_MOST} allowed")
    if any(part.count(b".") > _KEY_DOTS for part in re.split(rb"[=,{\r\n]", data)):
        # tomllib's time grows with the square of a dotted key's length
        raise BeflError("BEFL-C-005", f"{what}: a key has more than {_KEY_DOTS} dots")
    try:
        return tomllib.loads(data.decode(), parse_float=_toml_float)
    except UnicodeDecodeError as error:
        raise BeflError("BEFL-C-005", f"{what}: not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BeflError("BEFL-C-005", f"{what}: not valid TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise BeflError("BEFL-C-005", f"{what}: not valid TOML: {error}") from None
    except (ValueError, InvalidOperation):  # an integer or an exponent of more digits than Python reads
        raise BeflError("BEFL-C-005", f"{what}: not valid TOML: a number has too many digits") from None


def milliseconds(duration: str) -> int:
    """Return the milliseconds of a duration that :class:`Duration` accepted."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise refuse("duration", 'text such as "60s"', duration)
    return int(found[1]) * _UNITS[found[2]]


def to_decimal(value: Any) -> Decimal | None:
    """Return a number exactly, in its shortest form, or None when it is none of at most 18 + 18 digits."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    if isinstance(value, int) and abs(value) >= 10**_DECIMAL_DIGITS:
        return None
    if isinstance(value, str) and (len(value) > 60 or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value)):
        return None
    number = Decimal(value)
    if not number.is_finite() or number.adjusted() >= _DECIMAL_DIGITS or len(number.as_tuple().digits) > 36:
        return None
    number = number.normalize(_EXACT)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMAL_DIGITS:
        return None
    return Decimal(0) if number == 0 else number


def _shown(value: Any) -> str:
    """Say what was found in at most 60 characters, however large or deep it is."""
    if isinstance(value, Mapping):
        return f"a table of {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} values"
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print the largest
        return f"a number of {value.bit_length()} bits"
    shown = repr(str(value) if isinstance(value, Decimal) else value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _toml_float(text: str) -> Decimal:
    return Decimal(text.replace("_", ""))


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
