"""Who did what and when: the transactions of a ledger, valid and invalid, as its blocks hold them.

A query shows what is recorded, and believes the peer that gave the blocks. Whether it is true is what a replay says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from befl.audit.block import Block, Transaction, code_name
from befl.gateway.identity import UNREADABLE
from befl.rules.errors import BeflError

_PLACE: Final = re.compile(r"(0|[1-9][0-9]{0,17}):(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction as a query shows it.

    Parameters
    ----------
    block, index : int
        Where it stands; together they are a place to go on from.
    time_ms : int
        When it was proposed, by its own statement, milliseconds since 1970; endorsers refuse one far from their clocks.
    msp_id, identity : str
        The institution that submitted it, and the name in the submitter's certificate.
    transaction : str
        What was called (``RoundContract:Submit``; of another chaincode ``_lifecycle:CommitChaincodeDefinition``);
        ``config`` for a change of the channel.
    task : str
        The task it was about; empty for none.
    round : int
        The task's round; 0 for none.
    code : str
        Fabric's validation code: ``VALID``, or why it changed nothing.
    txid : str
        Its id.
    arguments : tuple of str
        What it was called with.
    endorsers : tuple of str
        MSP IDs of the peers that signed its result.
    """

    block: int
    index: int
    time_ms: int
    msp_id: str
    identity: str
    transaction: str
    task: str
    round: int
    code: str
    txid: str
    arguments: tuple[str, ...]
    endorsers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some transactions, oldest first.

    Parameters
    ----------
    entries : tuple of Entry
        What was asked for.
    bookmark : str
        The place of the last one (``BLOCK:INDEX``) when there are more, else empty.
    """

    entries: tuple[Entry, ...]
    bookmark: str


@dataclass(frozen=True, slots=True)
class Query:
    """Which transactions; whatever is empty or None leaves none out.

    Parameters
    ----------
    task : str
        Of this task.
    msp_id : str
        Submitted by this institution.
    kind : str
        Calls of this transaction, ``RoundContract:Submit`` or ``Submit``, or ``config``; upper and lower case are one.
    since_ms, until_ms : int or None
        Proposed from this time on, and before that one; milliseconds since 1970.
    limit : int
        The most that a page holds.
    after : str
        The bookmark of the page before.
    """

    task: str = ""
    msp_id: str = ""
    kind: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    limit: int = 100
    after: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Block and index of the last transaction that is not wanted any more; (0, -1) for none.

        Raises
        ------
        BeflError
            ``BEFL-C-004`` when ``after`` is no bookmark.
        """
        if not self.after:
            return 0, -1
        found = _PLACE.fullmatch(self.after)
        if found is None:
            raise BeflError("BEFL-C-004", f"after: must be BLOCK:INDEX, as a page before gave it, not {self.after!r}")
        return int(found[1]), int(found[2])

    def wants(self, entry: Entry) -> bool:
        """Say whether a transaction is one of those, wherever it stands."""
        kind = self.kind.lower()
        name = entry.transaction.lower()
        return (
            self.task in ("", entry.task)
            and self.msp_id in ("", entry.msp_id)
            and kind in ("", name, name.partition(":")[2])
            and (self.since_ms is None or entry.time_ms >= self.since_ms)
            and (self.until_ms is None or entry.time_ms < self.until_ms)
        )


def query(blocks: Iterable[Block], wanted: Query) -> Page:
    """Collect a page; blocks are read only as far as the page goes.

    Raises
    ------
    BeflError
        ``BEFL-C-004`` when the limit is not positive, or ``after`` is no bookmark.
    """
    if wanted.limit < 1:
        raise BeflError("BEFL-C-004", f"limit: must be at least 1, not {wanted.limit}")
    place, found = wanted.place, list[Entry]()
    for entry in entries(blocks):
        if (entry.block, entry.index) <= place or not wanted.wants(entry):
            continue
        if len(found) == wanted.limit:
            return Page(tuple(found), f"{found[-1].block}:{found[-1].index}")
        found.append(entry)
    return Page(tuple(found), "")


def entries(blocks: Iterable[Block]) -> Iterator[Entry]:
    """Show every transaction of some blocks, in their order."""
    for block in blocks:
        for transaction in block.transactions:
            task, number = _about(transaction)
            msp_id, identity = _who(transaction.creator)
            yield Entry(
                block=transaction.block,
                index=transaction.index,
                time_ms=transaction.timestamp,
                msp_id=msp_id,
                identity=identity,
                transaction=_called(transaction),
                task=task,
                round=number,
                code=code_name(transaction.flag),
                txid=transaction.txid,
                arguments=transaction.args,
                endorsers=tuple(_who(each.endorser)[0] for each in transaction.endorsements),
            )


def _called(transaction: Transaction) -> str:
    if not transaction.function or ":" in transaction.function:
        return transaction.function or transaction.kind
    return f"{transaction.chaincode}:{transaction.function}"


def _about(transaction: Transaction) -> tuple[str, int]:
    """Return the task and the round that a transaction's event names; every transaction of befl has one."""
    try:
        payload: Any = json.loads(transaction.event[1]) if transaction.event else {}
        task, number = payload["task"], payload["round"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", 0
    return (task, number) if isinstance(task, str) and isinstance(number, int) else ("", 0)


@lru_cache(maxsize=1024)  # a channel's few identities sign all of its transactions
def _who(creator: bytes) -> tuple[str, str]:
    """Return institution and name of an identity; empty what cannot be read."""
    try:
        identity = identities_pb2.SerializedIdentity.FromString(creator)
    except DecodeError:
        return "", ""
    try:
        certificate = x509.load_pem_x509_certificate(identity.id_bytes)
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except UNREADABLE:
        return str(identity.mspid), ""
    return str(identity.mspid), str(names[0].value) if names else ""
