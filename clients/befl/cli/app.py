"""``befl app``: pack training apps, look at them, add them to the ledger, approve them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from befl.cli.common import connected, emit, format_option, table, visible
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.client import App, Approval, Apps, Client, Receipt
    from befl.client.prediction import AppCode

_CONFIG_TYPE = click.Path(path_type=Path, dir_okay=False)
_CONFIG = click.option(
    "--config", type=_CONFIG_TYPE, required=True, metavar="AGENT.toml", help="The agent whose operator decides."
)

#: Refusals of a decision that stands on the ledger, or was never there.
_ALREADY: Final = ("BEFL-T-003", "BEFL-T-007")


@click.group()
def app() -> None:
    """Pack training apps, look at them, add them to the ledger, approve them.

    An agent runs only what its operator approved. APP is the name of an app of this release; a folder, an archive or a
    Python file; or name or digest of an app that the ledger or an agent's folder has.
    """


@app.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--output", type=_CONFIG_TYPE, metavar="FILE", help="The archive; NAME.befl-app by default.")
@format_option
def pack(path: Path, output: Path | None, form: str) -> None:
    """Make the archive of the app in the folder or Python file PATH: the same files give the same bytes."""
    from befl.client import pack_app

    code, made = pack_app(path, output)
    emit({**_described(code), "file": made}, form, lambda _: f"{_summary(code)}\nwritten to {made}")


@app.command("list")
@click.option("--config", type=_CONFIG_TYPE, metavar="AGENT.toml", help="Instead: what this agent would run.")
@connected("agent", optional=True)
@format_option
def list_apps(client: Client | None, config: Path | None, form: str) -> None:
    """List the apps of this release and, of a network, those on the ledger with the institutions that approve them.

    An agent goes by its own folder: with --config what its operator approved there, and when.
    """
    from befl.client import approved_apps, apps

    if config is not None:
        headings = ("name", "SHA-256", "approved")
        emit(
            approved_apps(config),
            form,
            lambda found: table(headings, [(each.name, each.digest, each.approved) for each in found]),
        )
        return

    def render(found: list[App]) -> str:
        headings = ("name", "SHA-256", "bytes", "from", "approved by")
        rows = [
            (each.name, each.digest, each.bytes, each.added_by or "this release", ", ".join(each.approved_by) or None)
            for each in found
        ]
        return table(headings, rows, right=frozenset({2}))

    emit(client.apps.list() if client else apps(), form, render)


@app.command()
@click.argument("app")
@click.option("--config", type=_CONFIG_TYPE, metavar="AGENT.toml", help="Look in this agent's folder too.")
@connected("agent", optional=True)
@format_option
def show(client: Client | None, app: str, config: Path | None, form: str) -> None:
    """Print every file of an app: all that would run."""
    code = _found(app, client, config)
    emit({**_described(code), "files": _texts(code)}, form, lambda _: _pages(code))


@app.command()
@click.argument("path", type=click.Path(path_type=Path))
@connected("issuer")
@format_option
def add(client: Client, path: Path, form: str) -> None:
    """Add the app in the folder, archive or Python file PATH to the ledger, for all institutions to fetch."""
    from befl.client import find_app

    code = find_app(path)
    done = client.apps.add(code)
    emit(
        {**_described(code), "txid": done.txid, "block": done.block},
        form,
        lambda _: f"{_summary(code)}\nadded, block {done.block}, transaction {done.txid[:16]}",
    )


@app.command()
@click.argument("app")
@_CONFIG
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected("admin", optional=True)
@format_option
def approve(client: Client | None, app: str, config: Path, yes: bool, form: str) -> None:
    """Approve an app's code, by its SHA-256, for one agent.

    Look at it first with `befl app show APP`. The agent goes by its own folder. The decision is recorded on the ledger
    too, as the institution's operator: that of --network and --as, else the identity `admin` beside the agent's own.
    """
    from befl.client import approve_app

    code = _found(app, client, config)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("--yes is needed where nobody can be asked")
        click.echo(_summary(code), err=True)
        click.confirm("Shall the agent run this code?", abort=True, err=True)
    made = approve_app(code, config)
    _decided("approved", made, _record(client, config, lambda apps: apps.approve(made.digest)), form)


@app.command()
@click.argument("app")
@_CONFIG
@connected("admin", optional=True)
@format_option
def withdraw(client: Client | None, app: str, config: Path, form: str) -> None:
    """Take back the approval of an app: the agent runs it no more."""
    from befl.client import withdraw_app

    made = withdraw_app(app, config)
    _decided("withdrew the approval of", made, _record(client, config, lambda apps: apps.withdraw(made.digest)), form)


def _found(app: str, client: Client | None, config: Path | None) -> AppCode:
    from befl.client import find_app

    return find_app(app, apps=client.apps if client else None, config=config)


def _record(client: Client | None, config: Path, decide: Callable[[Apps], Receipt]) -> tuple[str, str]:
    """Record a decision on the ledger: return its transaction, or why there is none.

    What was asked for by options must work; the operator's identity beside the agent's is used when it is there.
    """
    from befl.client import connect_operator

    try:
        if client is not None:
            return decide(client.apps).txid, ""
        operator = connect_operator(config)
        if operator is None:
            return "", "no identity `admin` beside the agent's; name one: --network DIR --as ORG"
        with operator:
            return decide(operator.apps).txid, ""
    except BeflError as error:
        if client is not None and error.code not in _ALREADY:
            raise
        return "", f"{error.code}: {error.message}"


def _decided(word: str, made: Approval, recorded: tuple[str, str], form: str) -> None:
    txid, why = recorded
    value = {"name": made.name, "digest": made.digest, "approved": made.approved, "txid": txid, "not_recorded": why}
    where = f"on the ledger: transaction {txid[:16]}" if txid else f"not on the ledger: {why}"
    emit(value, form, lambda _: f"{word} {made.name} {made.digest}\n{visible(where)}")


def _described(code: AppCode) -> dict[str, object]:
    return {"name": code.name, "digest": code.digest, "bytes": len(code.archive), "files": list(code.files)}


def _summary(code: AppCode) -> str:
    files = [f"  {name}, {len(content)} bytes" for name, content in sorted(code.files.items())]
    return "\n".join([f"app {code.name}", f"SHA-256 {code.digest}", *files])


def _texts(code: AppCode) -> dict[str, str]:
    """Return the files as text in which nothing hides: what is no text or moves the cursor is written out."""
    return {name: visible(content.decode(errors="backslashreplace")) for name, content in sorted(code.files.items())}


def _pages(code: AppCode) -> str:
    lines = [f"# app {code.name}, SHA-256 {code.digest}"]
    for name, text in _texts(code).items():
        lines += ["", f"# ---------- {name}, {len(code.files[name])} bytes", text.rstrip("\n")]
    return "\n".join(lines)
