"""Options and printing that several commands share."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from befl.rules.errors import BeflError
from befl.rules.metrics import METRICS

if TYPE_CHECKING:
    from befl.client import Client, Waiting

_HERE: Final = Path("network")
_WHERE: Final = (
    "Name it: --network DIR --as ORG (or BEFL_NETWORK and BEFL_AS); or --profile FILE --user DIR. "
    "`befl network up` makes one."
)
_STEERING: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}

format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)

python_option = click.option("--python", metavar="PATH", help="The interpreter with torch; befl's own by default.")
app_option = click.option(
    "--app",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The app's folder, archive or file, when befl does not bring the app.",
)


def where(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that say where and as whom; ``name`` is the identity that is meant by default."""
    options = (
        click.option(
            "--network",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="BEFL_NETWORK",
            show_envvar=True,
            metavar="DIR",
            help="An institution's folder, or one of several (default: ./network, when it is one).",
        ),
        click.option(
            "--as",
            "identity",
            envvar="BEFL_AS",
            show_envvar=True,
            metavar="ORG[/NAME]",
            help=f"As which institution, and which of its identities (default: {name}).",
        ),
        click.option(
            "--profile",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Instead of --network and --as: a connection profile, with --user.",
        ),
        click.option(
            "--user",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="With --profile: a user's folder with msp and tls.",
        ),
    )

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return wrap


def connected(name: str, *, optional: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that say where and as whom, and a connected client as first argument.

    Parameters
    ----------
    name : str
        The identity that is used when ``--as`` names the institution only.
    optional : bool
        Whether the command does without: its first argument is None when neither network nor profile is named.
    """

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        @where(name)
        @functools.wraps(command)
        def run(
            *args: Any, network: Path | None, identity: str | None, profile: Path | None, user: Path | None, **rest: Any
        ) -> None:
            if profile is None and user is None:
                network = place(network, optional=optional)
                if network is None and optional:
                    command(None, *args, **rest)
                    return
            client = opened(name, network, identity, profile, user)
            with client:
                command(client, *args, **rest)

        return run

    return wrap


def opened(name: str, network: Path | None, identity: str | None, profile: Path | None, user: Path | None) -> Client:
    """Connect by the options that :func:`where` gives; ``name`` is the identity that is meant by default."""
    from befl.client import connect

    check_where(profile, user)
    try:
        return connect(network=network, identity=identity, profile=profile, user=user, name=name)
    except BeflError as error:
        raise error if network or profile else BeflError(error.code, error.message, _WHERE) from None


def check_where(profile: Path | None, user: Path | None) -> None:
    """Refuse options that say twice, or half, where and as whom."""
    if (profile is None) != (user is None):
        raise click.UsageError("--profile and --user go together")
    if profile is not None and (typed("network") or typed("identity")):
        raise click.UsageError("--profile and --user say where and as whom, as --network and --as do")


def place(network: Path | None, *, optional: bool) -> Path | None:
    """Return the network's folder: ./network stands in where one is needed and none is named."""
    if network is None and optional and typed("identity"):
        raise click.UsageError("--as goes with --network")
    return _HERE if network is None and not optional and (_HERE / "network.toml").is_file() else network


def typed(name: str) -> bool:
    """Say whether an option of the running command was typed, and does not come from the environment or a default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def emit(value: Any, form: str, render: Callable[[Any], str]) -> None:
    """Print a value as JSON, or as the text that ``render`` makes of it."""
    if form == "json":  # which itself writes out the controls below U+0020
        click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False).translate(_STEERING))
    else:
        click.echo(render(harmless(value)))


def visible(text: str, keep: str = "\n\t") -> str:
    """Write out what would steer the terminal or hide: only what can be printed, and ``keep``, stays as it is."""
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode() for each in text
    )


def harmless(value: Any) -> Any:
    """Make all text within a value :func:`visible` on one line: reasons and names are what other institutions wrote."""
    if isinstance(value, str):
        return visible(value, "")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: harmless(getattr(value, name)) for name in fields})
    if isinstance(value, dict):
        return {harmless(key): harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(harmless, value))
    return value


def plain(value: Any) -> Any:
    """Turn dataclasses, tuples and paths into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def table(headings: tuple[str, ...], rows: list[tuple[Any, ...]], *, right: frozenset[int] = frozenset()) -> str:
    """Lay rows out in columns; columns in ``right`` are flush right."""
    cells = [headings, *(tuple("-" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(headings))]

    def line(row: tuple[str, ...]) -> str:
        padded = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join(line(row) for row in cells)


def measured(rule: str, metrics: dict[str, int | None] | None) -> list[tuple[str, str]]:
    """Return heading and text of each metric that a rule of metrics shows."""
    return [(each.heading, ppm(metrics[each.key]) if metrics else "-") for each in METRICS[rule].shown]


def ppm(value: int | None) -> str:
    """Show millionths as a decimal with three places."""
    return "-" if value is None else f"{value / 1e6:.3f}"


def moment(milliseconds: int) -> str:
    """Show milliseconds since 1970 as a time in UTC; the number itself when no calendar has it: a ledger may say so."""
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"


def awaited(found: Waiting) -> str:
    """Say whom a task waits for, and until when."""
    if found.what == "nothing":
        return "nothing"
    of = f" of {', '.join(found.msp_ids)}" if found.msp_ids else "" if found.what == "applications" else " of nobody"
    return f"{found.what}{of} until {moment(found.until_ms)}"
