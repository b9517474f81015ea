"""How members decide together: each approves the same words, then one transaction carries them out.

It is Fabric's own way with chaincode definitions. A majority of the institutions that are members must have approved.
"""

from __future__ import annotations

from befl.contracts.context import Context
from befl.rules.errors import BeflError
from befl.rules.parameters import majority


def approve(context: Context, subject: str, words: str) -> None:
    """Record that the caller's institution approves; a later approval of the same subject replaces it."""
    msp_id = context.caller.msp_id
    context.read("approval", subject, msp_id)  # so that one which was held back cannot replace a later one
    record = {
        "approved_ms": context.now_ms,
        "kind": "approval",
        "msp_id": msp_id,
        "subject": subject,
        "v": 1,
        "words": words,
    }
    context.write(record, subject, msp_id)


def carry_out(context: Context, subject: str, words: str) -> list[str]:
    """Return who approved, when that is a majority of the members, and forget all approvals of the subject.

    Raises
    ------
    BeflError
        ``BEFL-A-007`` when too few have approved; the message counts them.
    """
    members = {record["msp_id"] for record in context.read_below("member") if record["roles"]}
    approvals = list(context.read_below("approval", subject))
    agreed = sorted(
        record["msp_id"] for record in approvals if record["words"] == words and record["msp_id"] in members
    )
    if len(agreed) < majority(len(members)):
        raise BeflError(
            "BEFL-A-007",
            f"{len(agreed)} of {len(members)} members have approved ({', '.join(agreed) or 'none'}); "
            f"{majority(len(members))} are needed",
        )
    for record in approvals:
        context.forget("approval", subject, record["msp_id"])
    return agreed
