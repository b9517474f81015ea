"""Logs as text for people or as JSON lines for programs, with the same fields; never a key.

A record names what it is about by ``extra={"task": ..., "round": ..., "txid": ...}``. What is logged is text of befl's
own: rows of data never come here (what a refusal says about a row is shown to who asked, see :func:`for_log`).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
from typing import IO, Any, Final

from befl.rules.errors import CODES, BeflError

FORMS: Final = ("text", "json")
FIELDS: Final = ("task", "round", "txid")
"""What a record may be about."""

ROWS: Final = frozenset(f"BEFL-C-{number}" for number in range(105, 112))
"""Refusals whose message may quote a cell, or a header that is a row."""
APP_WORDS: Final = frozenset({"BEFL-M-101", "BEFL-M-102", "BEFL-M-103", "BEFL-M-105", "BEFL-M-106"})
"""Failures whose message holds what an app, or its process, said."""

_MOST: Final = 4_000
_PLACE: Final = re.compile(r"row \d+(?:, column [\w .-]+)?|columns missing: [^;]+")
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_STEERING: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_URL_SECRET: Final = re.compile(r"(?<=://)([^/\s:@]+):[^/\s@]+(?=@)")


def configure(form: str, level: int | str = logging.INFO, stream: IO[str] | None = None) -> None:
    """Send all records of this process to a stream (standard error when absent) in one form."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def for_log(error: BeflError) -> str:
    """Return a refusal as one line for the log.

    The message of a refusal about rows may quote a value, and an app's own words anything: of the first only code,
    title, row and column are logged, of the second only code and title (`befl agent run --verbose` logs the words too).
    ``befl doctor --config AGENT.toml --task ID`` says the rest to who has the data.
    """
    title = f"{error.code}: {CODES[error.code].title}"
    if error.code in ROWS:
        place = _PLACE.search(error.message)
        return f"{title}: {place[0]}" if place is not None else title
    if error.code in APP_WORDS:
        return title
    return str(error).replace("\n", " ")


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO befl.agent task=... round=... message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record; a traceback follows on lines of its own."""
        about = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = " ".join(filter(None, (_time(record), record.levelname, record.name, about, _message(record))))
        trace = _trace(record)
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and ``task``, ``round``, ``txid``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record on one line."""
        content: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            **_fields(record),
        }
        trace = _trace(record)
        if trace:
            content["traceback"] = trace
        return json.dumps(content, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}


def _message(record: logging.LogRecord) -> str:
    return _clean(record.getMessage())


def _trace(record: logging.LogRecord) -> str:
    return _clean(logging.Formatter().formatException(record.exc_info)) if record.exc_info else ""


def _clean(text: str) -> str:
    """Take out what a library may have put into its text: private keys, passwords of addresses, endless lines."""
    text = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    text = _URL_SECRET.sub(r"\1:...", _KEY.sub("(private key)", text))
    return text if len(text) <= _MOST else f"{text[:_MOST]}... ({len(text)} characters)"
