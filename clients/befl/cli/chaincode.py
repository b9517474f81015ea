"""``befl chaincode``: agree on the chaincode, each institution for itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.acting import acting, progress

if TYPE_CHECKING:
    from befl.network.channel import Outcome
    from befl.network.institution import Member


@click.group()
def chaincode() -> None:
    """Package, install, approve, commit and upgrade the chaincode, each institution for itself.

    The definition follows from the code that is installed here and from who is in the channel: when an institution has
    come or gone, `approve` by a majority and one `commit` widen or narrow the private data collections.
    """


@chaincode.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE.tar.gz",
    help="The file to write.",
)
@acting
def package(member: Member, output: Path) -> Outcome:
    """Write the chaincode package; institutions with the same code get the same bytes and the same package id.

    \b
    Example:
      befl chaincode package --output befl.tar.gz --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import lifecycle

    return lifecycle.package(member, output)


@chaincode.command()
@acting
def install(member: Member) -> Outcome:
    """Start the chaincode server and install its package on the own peer.

    \b
    Example:
      befl chaincode install --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import lifecycle

    return lifecycle.install(member)


@chaincode.command()
@acting
def approve(member: Member) -> Outcome:
    """Approve, for the own institution, the definition that fits the institutions of the channel.

    \b
    Example:
      befl chaincode approve --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import lifecycle

    return lifecycle.approve(member)


@chaincode.command()
@acting
def commit(member: Member) -> Outcome:
    """Commit the definition that a majority has approved; one institution does it for all.

    \b
    Example:
      befl chaincode commit --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import lifecycle

    return lifecycle.commit(member)


@chaincode.command()
@click.option("--timeout", type=float, default=600, show_default=True, help="Seconds to wait for a majority.")
@click.option("--grace", type=float, default=30, show_default=True, help="Then seconds to wait for the rest.")
@acting
def upgrade(member: Member, timeout: float, grace: float) -> Outcome:
    """Bring the code that is installed here onto the channel, while tasks go on.

    Every institution installs the new befl and calls this. The new chaincode server starts beside the old one; once a
    majority has approved, and the rest had its time, the new definition is committed; once the own peer serves it, the
    old server ends. Who comes later calls the same. Running tasks keep the versions of their rules.

    \b
    Examples:
      befl chaincode upgrade --as east
      befl chaincode upgrade --as east --grace 3600
    """  # noqa: D301  # click wants the character itself
    from befl.network import lifecycle

    return lifecycle.upgrade(member, timeout, grace, progress)
