"""The task specification: what an issuer writes, what stands on the ledger, what everybody can predict from it.

One dataclass a table of ``TASK.toml``; the reference page is made from them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from math import prod
from typing import Any, Final

from befl.rules import aggregation, canonical, draw, modes, schemes, statistics
from befl.rules.aggregation import fixed
from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS
from befl.rules.names import MSP_ID
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
    parse_toml,
    read,
    refuse,
    setting,
    to_record,
)

VERSION: Final = "task/1"

MOST_INSTITUTIONS: Final = 128
MOST_PARAMETERS: Final = 6_000_000
MOST_ROW_VALUES: Final = 1_000_000
MOST_SPEC_BYTES: Final = 200_000
MOST_VALUE_BITS: Final = 30
MOST_APP_BYTES: Final = 4 * 2**20
"""The largest archive of an app that travels in private data."""

_NAME: Final = Text(most=100, pattern=r"[^\x00-\x1f\x7f]+", expects="a name")
_WORD: Final = Text(most=64, pattern=r"[A-Za-z][A-Za-z0-9_\-]*", expects="a word (letters, digits, _ and -)")
_CELL: Final = Text(most=100, expects="the text of a cell")
# text first: a text that looks like a number stays as it is
_SCALAR: Final = Either(
    Boolean(), Either(Integer(-(2**53), 2**53), Either(Text(most=1_000), DecimalText("-1e17", "1e17")))
)
_FACTORS: Final = ("server_learning_rate", "momentum", "beta1", "beta2")
_OPTIMISER: Final = (*_FACTORS, "tau")
MISSING_TEXTS: Final = ("", "?", "NA", "NaN", "nan")


@dataclass(frozen=True)
class AppSpec:
    """``[app]``: which training app runs, and its settings."""

    name: str = setting(_WORD, "the training app")
    settings: Mapping[str, Any] = setting(
        Mapped(Either(_SCALAR, Sequence(_SCALAR, 0, 100)), 100, key=_WORD),
        "`[app.settings]`, handed to the app as they are; decimals arrive as text",
        default={},
    )


@dataclass(frozen=True)
class Column:
    """``[data.columns]``: one column of the table that each institution must have."""

    type: str = setting(Choice(("number", "category")), "what the column holds")
    centre: str = setting(
        DecimalText("-1e15", "1e15"), "number: subtracted first; also stands in for what is missing", default="0"
    )
    spread: str = setting(DecimalText("1e-15", "1e15"), "number: divided by", default="1")
    values: tuple[str, ...] = setting(
        Sequence(_CELL, 0, 1_000, unique=True), "category: every value that may occur", default=()
    )
    missing: tuple[str, ...] = setting(
        Sequence(_CELL, 0, 20, unique=True), "texts that mean: not known", default=MISSING_TEXTS
    )
    statistics: str = setting(
        Choice(("declared", "pooled")),
        'number: "pooled" makes centre and spread from the count, sum and sum of squares that each institution\'s '
        "application carries; the declared ones are then a first guess, and the unit of the sums",
        default="declared",
    )

    def check(self, where: str) -> None:
        """Hold what one type wants against what the other must not have."""
        if self.type == "category" and not self.values:
            raise BeflError(
                "BEFL-C-003",
                f"{where}.values: missing",
                'List every value the column may hold: { type = "category", values = ["0", "1"] }.',
            )
        if self.type == "number" and self.values:
            raise BeflError("BEFL-C-002", f"{where}.values: unknown key for a number")
        if self.type == "category" and (self.centre, self.spread, self.statistics) != ("0", "1", "declared"):
            raise BeflError("BEFL-C-002", f"{where}: centre, spread and statistics belong to numbers")
        overlap = sorted(set(self.values) & set(self.missing))
        if overlap:
            raise refuse(f"{where}.values", "free of texts that mean missing", overlap[0])


@dataclass(frozen=True)
class _ColumnParser:
    expects: str = '"number", or a table with type = "number" or "category"'

    def __call__(self, value: Any, where: str) -> Column:
        """Read the short or the long form."""
        if isinstance(value, str):
            value = {"type": value}
        elif not isinstance(value, Mapping):
            raise refuse(where, self.expects, value)
        return read(Column, value, where)


@dataclass(frozen=True)
class DataSpec:
    """``[data]``: what each institution's table must look like; the alias is mapped to a file by its agent."""

    alias: str = setting(_WORD, "the name under which each agent's configuration lists its own file")
    label: str = setting(_NAME, "the column to predict; in an array file `y` stands for it")
    form: str = setting(
        Choice(("table", "array")), "a CSV file of columns, or a file of arrays (.npz, .safetensors)", default="table"
    )
    columns: Mapping[str, Column] = setting(
        Mapped(_ColumnParser(), 5_000, key=_NAME), "table: the columns to predict from, in order of names", default={}
    )
    shape: tuple[int, ...] = setting(
        Sequence(Integer(1, 10_000), 0, 3), "array: the shape of one row of `x`, such as [1, 28, 28]", default=()
    )
    centre: str = setting(DecimalText("-1e15", "1e15"), "array: subtracted from every value first", default="0")
    spread: str = setting(DecimalText("1e-15", "1e15"), "array: every value is divided by it", default="1")
    target: str = setting(Choice(("class", "number")), "what the label is", default="class")
    classes: tuple[str, ...] = setting(
        Sequence(_CELL, 2, 1_000, unique=True),
        "class: the label's values; of two the second is the positive class",
        default=("0", "1"),
    )
    label_centre: str = setting(DecimalText("-1e15", "1e15"), "number: subtracted from the label", default="0")
    label_spread: str = setting(DecimalText("1e-15", "1e15"), "number: the label is divided by it", default="1")
    held_back: int = setting(
        Integer(1, 90),
        "per cent of the rows kept for evaluation, by hash of row number and the task's seed",
        default=20,
    )

    def check(self, where: str) -> None:
        """Refuse what the form or the target has no use for, an empty table, and a label among the columns."""
        if self.form == "table" and not self.columns:
            raise refuse(f"{where}.columns", "a table of at least one column", {})
        if self.label in self.columns:
            raise refuse(f"{where}.columns", "without the label", self.label)
        if self.form == "array" and not self.shape:
            raise refuse(f"{where}.shape", "the shape of one row, such as [1, 28, 28]", [])
        if prod(self.shape) > MOST_ROW_VALUES:
            raise refuse(f"{where}.shape", f"of at most {MOST_ROW_VALUES} values", prod(self.shape))
        of_form = ("shape", "centre", "spread") if self.form == "table" else ("columns",)
        of_target = ("label_centre", "label_spread") if self.target == "class" else ("classes",)
        defaults = {field.name: field.default for field in fields(self)} | {"columns": {}}
        for name in (*of_form, *of_target):
            if getattr(self, name) != defaults[name]:
                what = f'form = "{self.form}" and target = "{self.target}"'
                raise BeflError("BEFL-C-002", f"{where}.{name}: has no meaning with {what}")

    @property
    def pooled(self) -> tuple[str, ...]:
        """The columns whose centre and spread come from all institutions' rows."""
        return tuple(name for name, column in self.columns.items() if column.statistics == "pooled")

    @property
    def metrics(self) -> str:
        """The rule of metrics that fits what is predicted."""
        if self.target == "number":
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"


@dataclass(frozen=True)
class Participants:
    """``[participants]``: who may take part."""

    institutions: str | tuple[str, ...] = setting(
        Either(Choice(("any",)), Sequence(MSP_ID, 1, MOST_INSTITUTIONS, unique=True)),
        '"any", or the MSP IDs that are invited',
        default="any",
    )
    least: int = setting(Integer(1, MOST_INSTITUTIONS), "trainers without which training does not start", default=3)
    most: int = setting(
        Integer(1, MOST_INSTITUTIONS), "trainers at most; when so many have applied, training starts", default=8
    )
    window: str = setting(
        Duration("0s", "30d"), "how long applications are waited for while fewer than `most` have come", default="60s"
    )
    fetch: str = setting(
        Choice(("members", "trainers")),
        "who may fetch models and updates: every member, or only trainers and the issuer; a rule that chaincode holds, "
        "not secrecy, for every member's peer has the bytes",
        default="members",
    )

    def check(self, where: str) -> None:
        """Hold the bounds against each other."""
        if self.most < self.least:
            raise refuse(f"{where}.most", f"at least {self.least} (participants.least)", self.most)
        if isinstance(self.institutions, tuple) and len(self.institutions) < self.least:
            raise refuse(f"{where}.institutions", f"a list of at least {self.least} (least)", len(self.institutions))


@dataclass(frozen=True)
class Rounds:
    """``[rounds]``: how many, how long, how few may deliver."""

    count: int = setting(Integer(1, 10_000), "rounds to close before the task is finished", default=10)
    deadline: str = setting(
        Duration("1s", "30d"), "how long a round waits for updates, and again for reports", default="60s"
    )
    quorum: int = setting(
        Integer(0, MOST_INSTITUTIONS),
        "updates without which a round is void, and equal reports without which it is not evaluated; "
        "0 stands for participants.least",
        default=0,
    )
    fraction: int = setting(
        Integer(1, 100),
        "per cent of the trainers that train in a round, drawn anew for each, but as many as the quorum at least; all "
        "trainers evaluate",
        default=100,
    )
    patience: int = setting(
        Integer(0, 10_000),
        "evaluated rounds in a row without a better loss, over all held-back rows, that end the task before `count`; "
        "0 for never; the final model is that of the last round evaluated, not of the best",
        default=0,
    )
    improvement: str = setting(
        DecimalText("0", "1000"),
        "with patience: by how much a loss must be smaller than the best before to be better",
        default="0",
    )

    def check(self, where: str) -> None:
        """Refuse an improvement that nobody asks for."""
        if self.improvement != "0" and not self.patience:
            raise BeflError("BEFL-C-002", f"{where}.improvement: has no meaning without patience")


@dataclass(frozen=True)
class _Optional(DecimalText):
    """A decimal, or the empty text when it was not written: the ledger has every key."""

    def __call__(self, value: Any, where: str) -> str:
        """Read the value; see :class:`befl.rules.reader.Parser`."""
        return "" if value == "" else super().__call__(value, where)


@dataclass(frozen=True)
class Aggregation:
    """``[aggregation]``: how updates become one step of the model."""

    rule: str = setting(Choice(aggregation.RULES.names()), "the aggregation rule")
    scale_bits: int = setting(Integer(4, 24), "bits after the binary point of a fixed-point value", default=16)
    clip: str = setting(
        DecimalText("0.001", "1e6"), "largest absolute change of one parameter in one round; more is cut", default="8"
    )
    bits: int = setting(
        Integer(8, 32),
        "bits of a value of an update as it travels; what the clip needs beyond them is rounded off by chance, as "
        "often up as makes the mean right",
        default=32,
    )
    server_learning_rate: str = setting(
        _Optional("0.000001", "10"),
        "what the mean of the updates, or the server optimiser's step, is multiplied by; unless it is written 1, "
        "with fedadam and fedyogi 0.1",
        default="",
    )
    momentum: str = setting(
        _Optional("0", "0.999"),
        "fedavgm: what stays of the velocity; 0.9 unless it is written",
        default="",
    )
    beta1: str = setting(
        _Optional("0", "0.999999"),
        "fedadam, fedyogi: what stays of the first moment; 0.9 unless it is written",
        default="",
    )
    beta2: str = setting(
        _Optional("0", "0.999999"),
        "fedadam, fedyogi: what stays of the second moment; 0.99 unless it is written",
        default="",
    )
    tau: str = setting(
        _Optional("0.000000001", "1000000"),
        "fedadam, fedyogi: added to the root of the second moment; 0.001 unless it is written",
        default="",
    )

    def check(self, where: str) -> None:
        """Keep every value of an update within 31 bits, so that no sum can overflow, and some room for one.

        A key that the rule does not know is refused, and what the rule itself refuses.
        """
        if Decimal(self.clip) * 2**self.scale_bits > 2**MOST_VALUE_BITS:
            raise refuse(f"{where}.clip", f"at most 2^{MOST_VALUE_BITS} / 2^scale_bits", self.clip)
        if Decimal(self.clip) * 2**self.scale_bits < 1:
            raise refuse(f"{where}.clip", "at least 1 / 2^scale_bits", self.clip)
        rule = aggregation.RULES[aggregation.RULES.newest(self.rule)]
        for key in _OPTIMISER:
            value = getattr(self, key)
            if value and key not in rule.defaults:
                known = ", ".join(rule.defaults)
                raise BeflError("BEFL-C-002", f"{where}.{key}: unknown key for rule {self.rule}", f"It knows {known}.")
            if key in _FACTORS and value and (Decimal(value) * fixed.UNIT) % 1:
                raise refuse(f"{where}.{key}", "a decimal number of at most 6 places", value)
        rule.check(self, where)


@dataclass(frozen=True)
class Privacy:
    """``[privacy]``: how an update is hidden."""

    scheme: str = setting(
        Choice(schemes.SCHEMES.names()), 'the privacy scheme; "none" hides nothing from other institutions'
    )


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task, as its issuer describes it (``TASK.toml``)."""

    befl: int = setting(Integer(1, 1), "version of this file's form")
    name: str = setting(_NAME, "what people call the task")
    mode: str = setting(Choice(modes.MODES.names()), "the mode of training")
    app: AppSpec = setting(Table(AppSpec), "the training app")
    data: DataSpec = setting(Table(DataSpec), "the data")
    participants: Participants = setting(Table(Participants), "who may take part", default=Participants())
    rounds: Rounds = setting(Table(Rounds), "the rounds", default=Rounds())
    aggregation: Aggregation = setting(Table(Aggregation), "the aggregation rule")
    privacy: Privacy = setting(Table(Privacy), "the privacy scheme")

    def check(self, where: str) -> None:
        """Hold the tables against each other."""
        del where
        if self.rounds.quorum > self.participants.least:
            raise refuse("rounds.quorum", f"at most {self.participants.least} (participants.least)", self.rounds.quorum)

    @property
    def quorum(self) -> int:
        """Updates without which a round is void."""
        return self.rounds.quorum or self.participants.least

    def trainers_a_round(self, trainers: int) -> int:
        """Return how many of so many trainers train in a round: the fraction rounded up, or the quorum."""
        return max(self.quorum, -(-trainers * self.rounds.fraction // 100))

    def rules(self) -> dict[str, str]:
        """Return the newest version of each rule that the task uses: fixed on the ledger when it is published."""
        return {
            "task": VERSION,
            "mode": modes.MODES.newest(self.mode),
            "aggregation": aggregation.RULES.newest(self.aggregation.rule),
            "scheme": schemes.SCHEMES.newest(self.privacy.scheme),
            "draw": draw.VERSION,
            "metrics": METRICS.newest(self.data.metrics),
            **({"statistics": statistics.VERSION} if self.data.pooled else {}),
        }


def unknown_rules(rules: Mapping[str, str]) -> list[str]:
    """Name those of a task's rules, as its record fixed them, that this release does not have."""
    tables: Mapping[str, Container[str]] = {
        "task": (VERSION,),
        "mode": modes.MODES,
        "aggregation": aggregation.RULES,
        "scheme": schemes.SCHEMES,
        "draw": (draw.VERSION,),
        "metrics": METRICS,
        "statistics": (statistics.VERSION,),
    }
    return sorted(version for kind, version in rules.items() if version not in tables.get(kind, ()))


def from_toml(data: bytes, what: str = "TASK.toml") -> TaskSpec:
    """Read a task specification that a person wrote.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-005``; the message names the field.
    """
    return read(TaskSpec, parse_toml(data, what))


def from_record(record: Any) -> TaskSpec:
    """Read a task specification from its form on the ledger; raises like :func:`from_toml`."""
    return read(TaskSpec, record)


def from_json(text: str) -> TaskSpec:
    """Read a task specification from canonical JSON.

    Raises
    ------
    BeflError
        ``BEFL-C-001`` not canonical, ``BEFL-C-004`` too large, and as :func:`from_toml`.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_SPEC_BYTES:
        raise refuse("the task specification", f"at most {MOST_SPEC_BYTES} bytes", f"{size} bytes")
    return from_record(canonical.loads(text))


def to_json(spec: TaskSpec) -> str:
    """Return the canonical JSON of a specification."""
    return canonical.dumps(to_record(spec)).decode()
