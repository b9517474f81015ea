"""``AppContract``: training apps on their way to the institutions, and each operator's decision about them.

An app is known by the SHA-256 of its archive. The archive is in the private collection ``models``; what stands here of
its name is what the issuer said: whoever reads the archive holds it against the name inside. An institution's approval
is a record of its own, for all to see; what an agent runs is decided by its operator's record beside the agent.
"""

from __future__ import annotations

import re
from typing import Final

from befl.contracts.context import Context, Transaction
from befl.contracts.model import COLLECTION
from befl.contracts.stub import create_composite_key
from befl.rules import canonical, codec
from befl.rules.errors import BeflError
from befl.rules.names import APP_NAME
from befl.rules.reader import refuse
from befl.rules.spec import MOST_APP_BYTES

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def add(context: Context, digest: str, name: str) -> bytes:
    """Add an app: its archive travels transiently into the private collection, name and size are public."""
    _check(digest)
    APP_NAME(name, "name")
    data = context.transient("archive")
    if len(data) > MOST_APP_BYTES:
        raise refuse("archive", f"at most {MOST_APP_BYTES} bytes", len(data))
    if codec.digest(data) != digest:
        raise BeflError(
            "BEFL-M-007", f"the archive has SHA-256 {codec.digest(data)[:16]}, the argument says {digest[:16]}"
        )
    if context.read("app", digest) is not None:
        raise BeflError("BEFL-T-003", f"app {digest[:16]} is on the ledger already")
    record = {
        "added_ms": context.now_ms,
        "bytes": len(data),
        "digest": digest,
        "kind": "app",
        "msp_id": context.caller.msp_id,
        "name": name,
        "txid": context.stub.get_tx_id(),
        "v": 1,
    }
    context.write(record, digest)
    context.stub.put_private_data(COLLECTION, create_composite_key("app", (digest,)), data)
    context.announce("Add", "")
    return canonical.dumps({"digest": digest})


def approve(context: Context, digest: str) -> bytes:
    """Record that the caller's institution lets its agent run an app, one of its release or one that was added."""
    msp_id = context.caller.msp_id
    if context.read("app_approval", _check(digest), msp_id) is not None:
        raise BeflError("BEFL-T-003", f"{msp_id} has already approved app {digest[:16]}")
    record = {
        "approved_ms": context.now_ms,
        "digest": digest,
        "kind": "app_approval",
        "msp_id": msp_id,
        "txid": context.stub.get_tx_id(),
        "v": 1,
    }
    context.write(record, digest, msp_id)
    context.announce("Approve", "")
    return canonical.dumps({"digest": digest})


def withdraw(context: Context, digest: str) -> bytes:
    """Take back the approval of the caller's institution; the ledger's history keeps that it was there."""
    msp_id = context.caller.msp_id
    context.require("app_approval", _check(digest), msp_id)
    context.forget("app_approval", digest, msp_id)
    context.announce("Withdraw", "")
    return canonical.dumps({"digest": digest})


def get_app(context: Context, digest: str) -> bytes:
    """Answer an app's record, null for one that was not added, and the approvals of it."""
    record = context.read("app", _check(digest))
    approvals = list(context.read_below("app_approval", digest))
    if record is None and not approvals:
        raise BeflError("BEFL-T-007", f"there is no app {digest[:16]} on channel {context.stub.get_channel_id()}")
    return canonical.dumps({"app": record, "approvals": approvals})


def list_apps(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of the apps that were added."""
    return context.page("app", (), page_size, bookmark)


def list_approvals(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of all institutions' approvals of apps."""
    return context.page("app_approval", (), page_size, bookmark)


def get_bytes(context: Context, digest: str) -> bytes:
    """Answer the archive of an app from this peer's private data."""
    context.require("app", _check(digest))
    return context.stub.get_private_data(COLLECTION, create_composite_key("app", (digest,)))


def _check(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise BeflError("BEFL-T-008", "digest: must be 64 hex digits")
    return digest


TRANSACTIONS: Final = {
    "Add": Transaction(add, ("digest", "name"), role="issuer", transient=("archive",)),
    "Approve": Transaction(approve, ("digest",), role="operator"),
    "Withdraw": Transaction(withdraw, ("digest",), role="operator"),
    "Get": Transaction(get_app, ("digest",)),
    "List": Transaction(list_apps, ("page_size", "bookmark")),
    "Approvals": Transaction(list_approvals, ("page_size", "bookmark")),
    "Bytes": Transaction(get_bytes, ("digest",)),
}
