"""``befl identity``: an institution's identities, with its own CA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.acting import acting, as_option, network_option, progress, shown
from befl.cli.common import emit, format_option, table

if TYPE_CHECKING:
    from befl.network.channel import Outcome
    from befl.network.identities import Identity
    from befl.network.institution import Member

_ROLES = ("operator", "issuer", "trainer", "validator", "auditor")


@click.group()
def identity() -> None:
    """Request, enroll, list, show, renew and revoke an institution's identities, with its own certificate authority."""


@identity.command("list")
@network_option
@as_option
@format_option
def list_identities(directory: Path, institution: str, form: str) -> None:
    """List every certificate of the institution with role, serial number and end.

    \b
    Examples:
      befl identity list --as east
      befl identity list --as east --format json
    """  # noqa: D301  # click wants the character itself
    from befl.network import consortium, identities

    with consortium.acting(directory, institution.partition("/")[0], progress) as member:
        found = identities.find(member)
    emit(found, form, _listed)


@identity.command()
@click.argument("name")
@network_option
@as_option
@format_option
def show(name: str, directory: Path, institution: str, form: str) -> None:
    """Show the certificates of one identity with their fingerprints and files.

    \b
    Example:
      befl identity show agent --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import consortium, identities

    with consortium.acting(directory, institution.partition("/")[0], progress) as member:
        found = identities.find(member, name)
    emit(found, form, lambda all_: "\n\n".join(_one(each) for each in all_))


@identity.command()
@click.argument("name")
@format_option
def request(name: str, form: str) -> None:
    """Make an identity's keys here, where it will be used, and the request for its certificates.

    For a machine that is not the institution's: keys come into ./users/NAME and stay there; only users/NAME/request.csr
    goes to the institution (`befl identity enroll --request`). It needs neither a network nor Fabric's programs.

    \b
    Example:
      befl identity request ward
    """  # noqa: D301  # click wants the character itself
    from befl.network import csr

    emit(csr.make(Path(), name), form, shown)


@identity.command()
@click.argument("name")
@click.option(
    "--role", "roles", type=click.Choice(_ROLES), multiple=True, required=True, help="What it may do; repeatable."
)
@click.option(
    "--kind", type=click.Choice(("client", "admin")), default="client", show_default=True, help="Its kind at the CA."
)
@click.option(
    "--request",
    "request_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Its keys are on another machine: what `befl identity request` made there.",
)
@acting
def enroll(member: Member, name: str, roles: tuple[str, ...], kind: str, request_file: Path | None) -> Outcome:
    """Register an identity with the own CA and obtain its certificates; its keys are made here, or were elsewhere.

    \b
    Examples:
      befl identity enroll second-agent --role trainer
      befl identity enroll ward --role trainer --request request.csr
    """  # noqa: D301  # click wants the character itself
    from befl.network import identities

    return identities.enroll(member, name, roles, kind, request_file)


@identity.command()
@click.argument("name")
@acting
def renew(member: Member, name: str) -> Outcome:
    """Obtain an identity's certificates anew, with the same keys; orderer and peer start again with theirs.

    Works with expired certificates too. As keys stay the same, the channel's configuration need not change.

    \b
    Examples:
      befl identity renew agent --as east
      befl identity renew orderer --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import identities

    return identities.renew(member, name)


@identity.command()
@click.argument("name")
@acting
def revoke(member: Member, name: str) -> Outcome:
    """Revoke an identity for the whole channel; the institution's own signature is enough.

    The revocation list goes into the channel's configuration: from then on every peer and orderer refuses what the
    identity signs. Fabric cannot revoke TLS certificates: the one here is deleted, with its key; a copy elsewhere still
    opens a connection until it ends, in which nothing that the identity signs is answered.

    The institution acts with `admin`: revoked, it goes on under this name with new keys.

    \b
    Examples:
      befl identity revoke second-agent --as east
      befl identity revoke admin --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import identities

    return identities.revoke(member, name)


def _listed(found: tuple[Identity, ...]) -> str:
    return table(
        ("identity", "use", "kind", "role", "serial", "until", "state"),
        [
            (
                one.name,
                one.use,
                one.kind or None,
                one.role or None,
                one.serial[:16],
                one.ends[:10],
                "revoked" if one.revoked else "valid",
            )
            for one in found
        ],
    )


def _one(found: Identity) -> str:
    state = "revoked" if found.revoked else f"{found.begins} to {found.ends}"
    return (
        f"{found.name} ({found.use}): {found.kind or 'no kind'}, role {found.role or 'none'}\n"
        f"  valid    {state}\n  serial   {found.serial}\n  SHA-256  {found.sha256}\n  file     {found.file}"
    )
