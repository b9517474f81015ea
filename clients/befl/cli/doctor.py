"""``befl doctor``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from befl.cli.common import emit, format_option, typed
from befl.operations.findings import Finding, problems
from befl.rules.errors import BeflError

_HERE = Path("network")
_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command()
@click.option(
    "--network",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="BEFL_NETWORK",
    show_envvar=True,
    metavar="DIR",
    help="Look at the network of this folder (default: ./network, when it is one).",
)
@click.option(
    "--as",
    "identity",
    envvar="BEFL_AS",
    show_envvar=True,
    metavar="ORG",
    help="Look at the processes and certificates of this institution only.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="AGENT.toml",
    help="Look at the agent of this configuration, and at its data.",
)
@click.option("--task", metavar="TASK.toml|ID", help="With --config: hold the data file against this task's columns.")
@format_option
def doctor(network: Path | None, identity: str | None, config: Path | None, task: str | None, form: str) -> None:
    """Find what is wrong with installation, network, agent and data, and say what to do.

    Nothing is changed. Each line is a check: what was checked, whether it is ok, a warning or a problem, what is the
    case, what to do. Exit status 0 when there is no problem, 1 when there is one.

    \b
    Examples:
      befl doctor                                        the installation, and ./network when there is one
      befl doctor --network demo --as org1
      befl doctor --config AGENT.toml --task TASK.toml
    """  # noqa: D301  # click wants the character itself
    if task is not None and config is None:
        raise click.UsageError("--task goes with --config, which names the data")
    if typed("identity") and not _is_network(network):
        raise click.UsageError("--as goes with --network")
    found = examine(network, (identity or "").partition("/")[0], config, task)
    emit(found, form, _text)
    if problems(found):
        sys.exit(1)


def examine(network: Path | None, institution: str, config: Path | None, task: str | None) -> list[Finding]:
    """Look at all that was asked for; what cannot be looked at is a problem too."""
    from befl.client.doctor import examine_agent
    from befl.network.doctor import examine_installation, examine_network

    found = examine_installation()
    if _is_network(network):
        found += _guarded("network", lambda: examine_network(network or _HERE, institution))
    if config is not None:
        found += _guarded("agent", lambda: examine_agent(config, task))
    return found


def _is_network(network: Path | None) -> bool:
    return network is not None or (_HERE / "network.toml").is_file()


def _guarded(area: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except BeflError as error:
        return [
            Finding(area, area, "problem", f"{error.code}: {error.message}", error.hint or f"befl explain {error.code}")
        ]


def _text(found: list[Finding]) -> str:
    width = max(len(f"{one.area}: {one.check}") for one in found)
    lines = []
    for one in found:
        mark, colour = _MARKS[one.state]
        lines.append(f"{click.style(mark.ljust(7), fg=colour)}  {f'{one.area}: {one.check}'.ljust(width)}  {one.found}")
        if one.advice:
            lines.append(f"{' ' * (9 + width)}  -> {one.advice}")
    count = len(problems(found))
    warned = sum(one.state == "warning" for one in found)
    lines.append(f"{len(found)} checks, {count} problems, {warned} warnings")
    return "\n".join(lines)
