"""``befl network``: bring a consortium up on this machine, see how it is, take it down."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.network import NetworkStatus, Topology

_DIRECTORY = click.option(
    "--network",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("network"),
    envvar="BEFL_NETWORK",
    show_default=True,
    show_envvar=True,
    metavar="DIR",
    help="The network's folder: keys, ledgers, logs, one folder an institution.",
)
_FORMAT = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print.")


@click.group()
def network() -> None:
    """Bring a consortium up on this machine, see how it is, take it down.

    Each institution gets a Fabric CA, an orderer, a peer and a chaincode server, as ordinary processes under one
    supervisor: no containers, no root.
    """


@network.command()
@_DIRECTORY
@click.option(
    "--institutions",
    metavar="N|NAME,NAME,...",
    help="How many institutions, or their names. Only at the first `up`; four when absent.",
)
@click.option(
    "--topology",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A topology file (TOML) instead of --institutions.",
)
@_FORMAT
def up(directory: Path, institutions: str | None, file: Path | None, form: str) -> None:
    """Make the network ready: found it the first time, resume it afterwards.

    \b
    Examples:
      befl network up --institutions 4
      befl network up --network demo --institutions cleveland,hungary,switzerland,long-beach
    """  # noqa: D301  # click wants the character itself
    import befl.network

    if institutions is not None and file is not None:
        raise click.UsageError("--institutions and --topology exclude each other")
    with _refusals():
        topology = _wanted(institutions, file)
        _print(befl.network.up(directory, topology, progress=lambda line: click.echo(line, err=form == "json")), form)


@network.command()
@_DIRECTORY
@click.option("--purge", is_flag=True, help="Remove the folder too, with all keys and the ledger.")
def down(directory: Path, purge: bool) -> None:
    """Stop every process of the network; the folder stays, and `up` resumes."""
    import befl.network

    with _refusals():
        stopped = befl.network.down(directory, purge=purge)
    click.echo(("stopped" if stopped else "nothing was running") + (f"; {directory} is removed" if purge else ""))


@network.command()
@_DIRECTORY
@_FORMAT
def status(directory: Path, form: str) -> None:
    """Ask every process how it is; exit status 0 when all are healthy, 1 when not."""
    import befl.network

    with _refusals():
        found = befl.network.status(directory)
        _print(found, form)
    if not found.ready:
        sys.exit(1)


@network.command()
def fabric() -> None:
    """Find Fabric's programs, or build them into the cache, ahead of the first `up`."""
    from befl.network.fabric import locate

    with _refusals():
        found = locate(click.echo)
    click.echo(f"Fabric {found.version} ({found.origin}): {found.folder}")


class _refusals:  # noqa: N801  # used like a function
    """Print a coded error and end with status 1; nobody sees a traceback of a refusal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, BeflError):
            click.echo(str(error), err=True)
            sys.exit(1)
        if isinstance(error, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            sys.exit(130)


def _wanted(institutions: str | None, file: Path | None) -> Topology | None:
    import befl.network

    if file is not None:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BeflError("BEFL-C-006", f"{file}: {error.strerror}") from None
        return befl.network.parse(data, str(file))
    if institutions is None:
        return None
    if institutions.isascii() and institutions.isdigit():
        most = 32
        if not 1 <= int(institutions[:9]) <= most:
            raise BeflError("BEFL-N-004", f"--institutions: must be from 1 to {most}, not {institutions[:9]}")
        return befl.network.make([f"org{number}" for number in range(1, int(institutions) + 1)])
    return befl.network.make([name.strip() for name in institutions.split(",")])


def _print(found: NetworkStatus, form: str) -> None:
    if form == "json":
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    state = "ready" if found.ready else "running, not ready" if found.running else "not running"
    click.echo(f"network {found.directory}: {state}")
    click.echo(
        f"channel {found.channel}, chaincode {found.chaincode}, Fabric {found.fabric or 'not known yet'}, "
        f"{found.memory_bytes / 1e6:.0f} MB in all"
    )
    for institution in found.institutions:
        leads = ", its orderer leads" if institution.leader else ""
        click.echo(f"{institution.name} ({institution.msp_id}): ledger height {institution.height}{leads}")
        for process in institution.processes:
            health = "healthy" if process.healthy else process.state if process.state != "running" else "not answering"
            restarts = f", restarted {process.restarts} times" if process.restarts else ""
            click.echo(
                f"  {process.name:<10} {health:<14} {process.address:<22} pid {process.pid:<8}"
                f"{process.memory_bytes / 1e6:4.0f} MB{restarts}"
            )
