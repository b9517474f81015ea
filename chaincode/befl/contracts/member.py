"""``MemberContract``: which institutions are members, what each may do, where its agent is found.

Who belongs to the channel is decided by the channel's configuration, which a majority signs. A member registers itself
with every role; a majority of the members can give it others. Inside an institution its own CA says which identity has
which role (``befl.role``): both must agree.
"""

from __future__ import annotations

import re
from typing import Any, Final

from befl.contracts import approval
from befl.contracts.context import Context, Transaction
from befl.rules import canonical
from befl.rules.errors import BeflError
from befl.rules.names import MSP_ID
from befl.rules.parameters import ROLES
from befl.rules.reader import Choice, Sequence

_ROLES: Final = Sequence(Choice(ROLES), 0, len(ROLES), unique=True)
_ENDPOINT: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.\-]{0,252}:[1-9][0-9]{0,4})?")
_KEY: Final = re.compile(r"(?:[0-9a-f]{64})?")


def register(context: Context) -> bytes:
    """Register the caller's institution as a member, with every role."""
    msp_id = MSP_ID(context.caller.msp_id, "msp_id")  # or nobody could name it in Approve and Assign
    if context.read("member", msp_id) is not None:
        raise BeflError("BEFL-T-003", f"{msp_id} is a member already")
    _write(context, msp_id, list(ROLES), context.now_ms, [])
    context.announce("Register", "")
    return canonical.dumps({"msp_id": msp_id})


def leave(context: Context) -> bytes:
    """Give up every role of the caller's institution; its approvals no longer count."""
    msp_id = context.caller.msp_id
    record = context.require("member", msp_id)
    _write(context, msp_id, [], record["since_ms"], [])
    context.announce("Leave", "")
    return canonical.dumps({"msp_id": msp_id})


def approve(context: Context, msp_id: str, roles: str) -> bytes:
    """Approve, for the caller's institution, that another one shall have these roles."""
    context.require("member", context.caller.msp_id)
    context.require("member", MSP_ID(msp_id, "msp_id"))
    approval.approve(context, f"member:{msp_id}", _roles(roles))
    context.announce("Approve", "")
    return canonical.dumps({"msp_id": msp_id})


def assign(context: Context, msp_id: str, roles: str) -> bytes:
    """Give an institution the roles that a majority of the members has approved."""
    context.require("member", context.caller.msp_id)
    record = context.require("member", MSP_ID(msp_id, "msp_id"))
    words = _roles(roles)
    agreed = approval.carry_out(context, f"member:{msp_id}", words)
    _write(context, msp_id, canonical.loads(words), record["since_ms"], agreed)
    context.announce("Assign", "")
    return canonical.dumps({"approved_by": agreed, "msp_id": msp_id})


def announce(context: Context, endpoint: str, key: str) -> bytes:
    """Say where the institution's agent is found and which public key it has; either may be empty."""
    if not _ENDPOINT.fullmatch(endpoint):
        raise BeflError("BEFL-T-008", "endpoint: must be HOST:PORT, or empty")
    if not _KEY.fullmatch(key):
        raise BeflError("BEFL-T-008", "key: must be 64 hex digits (an X25519 public key), or empty")
    msp_id = context.caller.msp_id
    context.read("agent", msp_id)  # so that an announcement which was held back cannot replace a later one
    record = {
        "announced_ms": context.now_ms,
        "endpoint": endpoint,
        "key": key,
        "kind": "agent",
        "msp_id": msp_id,
        "v": 1,
    }
    context.write(record, msp_id)
    context.announce("Announce", "")
    return canonical.dumps({"msp_id": msp_id})


def get_member(context: Context, msp_id: str) -> bytes:
    """Answer a member's record, its agent's, and the approvals that wait about it."""
    name = MSP_ID(msp_id, "msp_id")
    return canonical.dumps(
        {
            "agent": context.read("agent", name),
            "approvals": list(context.read_below("approval", f"member:{name}")),
            "member": context.require("member", name),
        }
    )


def list_members(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of members."""
    return context.page("member", (), page_size, bookmark)


def list_agents(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of agents' endpoints and keys."""
    return context.page("agent", (), page_size, bookmark)


def require_role(context: Context, role: str) -> None:
    """Refuse an institution that is no member (``BEFL-A-006``) or has not the role (``BEFL-A-001``)."""
    msp_id = context.caller.msp_id
    record = context.read("member", msp_id)
    if record is None:
        raise BeflError("BEFL-A-006", f"{msp_id} is not registered as a member")
    if role not in record["roles"]:
        has = ", ".join(record["roles"]) or "none"
        raise BeflError("BEFL-A-001", f"{msp_id} has the roles {has} in the consortium; the transaction wants {role}")


def _roles(text: str) -> str:
    """Return roles in canonical JSON, sorted."""
    return canonical.dumps(sorted(_ROLES(canonical.loads(text), "roles"))).decode()


def _write(context: Context, msp_id: str, roles: list[str], since_ms: int, approved_by: list[str]) -> None:
    record: dict[str, Any] = {
        "approved_by": approved_by,
        "changed_ms": context.now_ms,
        "kind": "member",
        "msp_id": msp_id,
        "roles": sorted(roles),
        "since_ms": since_ms,
        "v": 1,
    }
    context.write(record, msp_id)


TRANSACTIONS: Final = {
    "Register": Transaction(register, (), role="operator"),
    "Leave": Transaction(leave, (), role="operator"),
    "Approve": Transaction(approve, ("msp_id", "roles"), role="operator"),
    "Assign": Transaction(assign, ("msp_id", "roles"), role="operator"),
    "Announce": Transaction(announce, ("endpoint", "key"), role="trainer"),
    "Get": Transaction(get_member, ("msp_id",)),
    "List": Transaction(list_members, ("page_size", "bookmark")),
    "Agents": Transaction(list_agents, ("page_size", "bookmark")),
}
