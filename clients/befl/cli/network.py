"""``befl network``: bring a consortium up on this machine, see how it is, take it down."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.common import emit, format_option, harmless, visible
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.network import InstitutionStatus, NetworkStatus, Topology

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
@format_option
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
    topology = _wanted(institutions, file)
    _print(befl.network.up(directory, topology, progress=lambda line: click.echo(line, err=form == "json")), form)


@network.command()
@_DIRECTORY
@click.option("--purge", is_flag=True, help="Remove the folder too, with all keys and the ledger.")
@click.option("--yes", is_flag=True, help="Do not ask whether to remove it.")
@format_option
def down(directory: Path, purge: bool, yes: bool, form: str) -> None:
    """Stop every process of the network; the folder stays, and `up` resumes."""
    import befl.network

    if purge and sys.stdin.isatty() and not yes:
        click.confirm(f"Shall {directory.absolute()} be removed, with all that is in it?", abort=True, err=True)
    stopped = befl.network.down(directory, purge=purge)
    said = "stopped" if stopped else "nothing was running"
    emit(
        {"directory": directory, "stopped": stopped, "removed": purge},
        form,
        lambda _: said + (f"; {directory} is removed" if purge else ""),
    )


@network.command()
@_DIRECTORY
@format_option
def status(directory: Path, form: str) -> None:
    """Ask every process how it is, every peer for its ledger, every certificate for its end.

    Exit status 0 when all processes are healthy and all peers have the same block at the height that they share, 1
    when not.
    """
    import befl.network

    found = befl.network.status(directory)
    _print(found, form)
    if found.forked or not found.ready:
        sys.exit(1)


@network.command()
@click.argument("which", required=False, default="", metavar="[ORG[/PROCESS]]")
@_DIRECTORY
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until interrupted.")
@click.option(
    "--lines",
    type=click.IntRange(0, 1_000_000),
    default=20,
    show_default=True,
    metavar="N",
    help="So many of each log.",
)
def logs(which: str, directory: Path, follow: bool, lines: int) -> None:
    """Print the last lines of the logs of the network's processes.

    \b
    Examples:
      befl network logs                       all of them
      befl network logs org1 --lines 100      those of one institution
      befl network logs org1/peer --follow    one, as it grows
      befl network logs supervisor            what was started, what ended
    """  # noqa: D301  # click wants the character itself
    from befl.network import logs as of

    paths = of.sources(directory, which)
    for line in of.last(paths, lines):
        click.echo(visible(f"{line.source} | {line.text}", "\t"))
    if follow:
        for line in of.follow(paths):
            click.echo(visible(f"{line.source} | {line.text}", "\t"))


@network.command()
@click.argument("institution", metavar="ORG")
@_DIRECTORY
@click.option("--user", default="admin", show_default=True, metavar="NAME", help="As which of its identities.")
@click.option("--format", "form", type=click.Choice(["shell", "json"]), default="shell", help="How to print.")
def env(institution: str, directory: Path, user: str, form: str) -> None:
    """Print what a shell needs so that Fabric's own `peer` and `osnadmin` work.

    \b
    Examples:
      eval "$(befl network env org1)"
      peer channel getinfo --channelID "$CHANNEL_NAME"
      osnadmin channel list --orderer-address "$ORDERER_ADMIN_LISTENADDRESS" --ca-file "$ORDERER_CA" \\
        --client-cert "$ORDERER_ADMIN_TLS_SIGN_CERT" --client-key "$ORDERER_ADMIN_TLS_PRIVATE_KEY"
    """  # noqa: D301  # click wants the character itself
    from befl.network.environment import environment, exports

    variables = environment(directory, institution, user)
    click.echo(json.dumps(variables, indent=2) if form == "json" else exports(variables).rstrip())


@network.command()
@_DIRECTORY
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "dot", "toml"]),
    default="mermaid",
    show_default=True,
    help="A picture for Markdown, a picture for Graphviz, or the file itself.",
)
def topology(directory: Path, form: str) -> None:
    """Print who is in the network and what talks to what, as a picture for documents."""
    from befl.network import observe
    from befl.network.layout import Layout
    from befl.network.topology import dump

    found = observe.read_topology(Layout(directory.absolute()))
    draw = {"mermaid": observe.topology_mermaid, "dot": observe.topology_dot, "toml": dump}[form]
    click.echo(draw(found).rstrip())


@network.command()
def fabric() -> None:
    """Find Fabric's programs, or build them into the cache, ahead of the first `up`."""
    from befl.network.fabric import locate

    found = locate(click.echo)
    click.echo(f"Fabric {found.version} ({found.origin}): {found.folder}")


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
    found = harmless(found)  # versions and leaders are what others say
    for warning in found.warnings:
        click.echo(click.style(f"warning: {warning}", fg="red", bold=found.forked), err=False)
    state = "ready" if found.ready else "running, not ready" if found.running else "not running"
    click.echo(f"network {found.directory}: {state}, {found.memory_bytes / 1e6:.0f} MB in all")
    click.echo(f"befl {found.befl} with code {found.code_digest[:16]}, Fabric {found.fabric or 'not known yet'}")
    if found.supervisor_operations:
        click.echo(f"supervisor pid {found.supervisor_pid}, health and metrics http://{found.supervisor_operations}")
    alike = "two peers DIFFER" if found.forked else "the same block at every peer"
    ledger = f"common height {found.common_height}, {alike}" if found.common_height else "height not known"
    click.echo(f"channel {found.channel}: {ledger}, leader {found.leader or 'not known'}")
    for institution in found.institutions:
        _print_institution(institution, found.chaincode)


def _print_institution(one: InstitutionStatus, chaincode: str) -> None:
    where = "" if one.here else ", its folder is elsewhere"
    block = f", block {one.block_hash[:16]}" if one.block_hash else ""
    click.echo(f"{one.name} ({one.msp_id}): ledger height {one.height or 'not known'}{block}{where}")
    if one.sequence:
        served = f", served code {one.code_digest[:16]}" if one.code_digest else ""
        click.echo(f"  {chaincode} sequence {one.sequence}, version {one.definition[:24]}{served}")
    if one.expires:
        click.echo(f"  first certificate to end: {one.expires_file} in {one.expires_days} days")
    for process in one.processes:
        health = "healthy" if process.healthy else process.state if process.state != "running" else "not answering"
        restarts = f", restarted {process.restarts} times" if process.restarts else ""
        click.echo(
            f"  {process.name:<10} {health:<14} {process.address:<22} pid {process.pid:<8}"
            f"{process.memory_bytes / 1e6:4.0f} MB  {process.version}{restarts}"
        )
