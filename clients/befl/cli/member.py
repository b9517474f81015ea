"""``befl member``: who is in the consortium, and what each may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from befl.cli.common import connected, emit, format_option, moment, table

if TYPE_CHECKING:
    from befl.client import Client, Member, Receipt

_ROLES = click.option(
    "--roles",
    required=True,
    metavar="ROLE,ROLE",
    help="issuer, trainer, validator, auditor; empty text for none.",
)


@click.group()
def member() -> None:
    """See the members of the consortium, register, approve and assign what each may do.

    A member registers itself with every role. Other roles need the approval of more than half of the members: each
    approves the same roles, then any of them assigns.
    """


@member.command("list")
@connected("agent")
@format_option
def list_members(client: Client, form: str) -> None:
    """List the members with their roles and agents."""
    emit(
        client.members.list(),
        form,
        lambda members: table(
            ("institution", "roles", "agent", "member since"),
            [
                (
                    each.msp_id,
                    ",".join(each.roles) or "none",
                    (each.agent.endpoint or "announced") if each.agent else None,
                    moment(each.since_ms),
                )
                for each in members
            ],
        ),
    )


@member.command()
@click.argument("msp_id")
@connected("agent")
@format_option
def show(client: Client, msp_id: str, form: str) -> None:
    """Show a member, who approved its roles, and which approvals wait."""
    emit(client.members.get(msp_id), form, _page)


@member.command()
@connected("admin")
@format_option
def register(client: Client, form: str) -> None:
    """Register the institution as a member; its operator does it once."""
    emit(client.members.register(), form, lambda done: f"{client.msp_id} is a member {_where(done)}")


@member.command()
@connected("admin")
@format_option
def leave(client: Client, form: str) -> None:
    """Give up every role of the institution; its approvals no longer count."""
    emit(client.members.leave(), form, lambda done: f"{client.msp_id} has left {_where(done)}")


@member.command()
@click.argument("msp_id")
@_ROLES
@connected("admin")
@format_option
def approve(client: Client, msp_id: str, roles: str, form: str) -> None:
    """Approve, for the own institution, that a member shall have these roles."""
    emit(client.members.approve(msp_id, _split(roles)), form, lambda done: f"approved {_where(done)}")


@member.command()
@click.argument("msp_id")
@_ROLES
@connected("admin")
@format_option
def assign(client: Client, msp_id: str, roles: str, form: str) -> None:
    """Give a member the roles that more than half of the members have approved."""
    emit(
        client.members.assign(msp_id, _split(roles)),
        form,
        lambda done: f"assigned, approved by {', '.join(done.value['approved_by'])} {_where(done)}",
    )


def _split(roles: str) -> list[str]:
    return sorted(role.strip() for role in roles.split(",") if role.strip())


def _where(done: Receipt) -> str:
    return f"(block {done.block}, transaction {done.txid[:16]})"


def _page(found: Member) -> str:
    said = "has not announced itself"
    if found.agent:
        said = f"{found.agent.endpoint or 'gives no address'}, announced {moment(found.agent.announced_ms)}"
    lines = [
        f"{found.msp_id}, member since {moment(found.since_ms)}",
        f"  roles     {', '.join(found.roles) or 'none'}",
        f"  approved  {', '.join(found.approved_by) or 'as it registered'}, {moment(found.changed_ms)}",
        f"  agent     {said}",
    ]
    lines += [f"  waits     {who} approves {words}" for who, words in sorted(found.waiting.items())]
    return "\n".join(lines)
