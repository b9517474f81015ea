"""What a transaction works with: the stub, who called, and records as canonical JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from cryptography import x509

from befl.contracts.stub import Stub, create_composite_key
from befl.rules import canonical
from befl.rules.errors import BeflError

_ATTRIBUTES: Final = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
_ID: Final = re.compile(r"[0-9a-f]{16}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
PAGE_MOST: Final = 50
"""A task's record may have more than a megabyte, a peer's message a hundred: one that is larger ends its chaincode's
stream, and with it all that is being endorsed there."""


@dataclass(frozen=True)
class Transaction:
    """One entry of a contract's table.

    Parameters
    ----------
    run : callable
        Takes the context and the arguments; returns the result.
    arguments : tuple of str
        Their names, for the reference and for counting them.
    role : str or None
        The value of ``befl.role`` that the caller's certificate must have; None for queries, open to every identity
        of the channel.
    transient : tuple of str
        Names of what must travel beside the arguments and in no block. A contract that takes one such value puts it
        as it came into the transaction's one private write: there an audit finds it again.
    """

    run: Callable[..., bytes]
    arguments: tuple[str, ...]
    role: str | None = None
    transient: tuple[str, ...] = ()


@dataclass(frozen=True)
class Caller:
    """Who submitted the transaction, by certificate alone.

    Parameters
    ----------
    msp_id : str
        The institution.
    roles : frozenset of str
        Values of the enrolment attribute ``befl.role``.
    """

    msp_id: str
    roles: frozenset[str]


class Context:
    """One transaction's view of the ledger.

    Parameters
    ----------
    stub : Stub
        The peer's side.
    """

    def __init__(self, stub: Stub) -> None:
        self.stub = stub

    @cached_property
    def caller(self) -> Caller:
        """The caller; raises ``BEFL-A-005`` when the certificate cannot be read."""
        creator = self.stub.get_creator()
        return Caller(creator.msp_id, _roles(creator.certificate))

    @property
    def now_ms(self) -> int:
        """The transaction's time; endorsers have refused one that is far from their clocks."""
        return self.stub.get_tx_timestamp()

    def require_role(self, role: str) -> None:
        """Refuse a caller without the role (``BEFL-A-001``)."""
        if role not in self.caller.roles:
            has = ", ".join(sorted(self.caller.roles)) or "none"
            raise BeflError(
                "BEFL-A-001",
                f"the certificate from {self.caller.msp_id} has befl.role {has}; the transaction wants {role}",
            )

    def transient(self, name: str) -> bytes:
        """Return a transient value; raises ``BEFL-T-008`` when it did not travel."""
        try:
            return self.stub.get_transient()[name]
        except KeyError:
            raise BeflError("BEFL-T-008", f"the proposal carries no transient value {name!r}") from None

    def read(self, kind: str, *names: str) -> dict[str, Any] | None:
        """Read a record; None when there is none, ``BEFL-G-018`` for a name that no key can hold."""
        try:
            key = create_composite_key(kind, names)
        except ValueError as error:
            raise BeflError("BEFL-G-018", str(error)) from None
        data = self.stub.get_state(key)
        return json.loads(data) if data else None

    def require(self, kind: str, *names: str) -> dict[str, Any]:
        """Read a record; raises ``BEFL-T-007`` when there is none."""
        record = self.read(kind, *names)
        if record is None:
            raise BeflError(
                "BEFL-T-007", f"there is no {kind} {' '.join(names)} on channel {self.stub.get_channel_id()}"
            )
        return record

    def read_below(self, kind: str, *names: str) -> Iterator[dict[str, Any]]:
        """Read all records below a prefix, in key order; whatever appears there later invalidates the transaction."""
        for entry in self.stub.get_state_by_partial_composite_key(kind, names):
            yield json.loads(entry.value)

    def page(self, kind: str, names: tuple[str, ...], page_size: str, bookmark: str) -> bytes:
        """Answer one page of records below a prefix, for queries."""
        size = whole_number(page_size, "page_size")
        if not 1 <= size <= PAGE_MOST:
            raise BeflError("BEFL-T-008", f"page_size: must be from 1 to {PAGE_MOST}, not {size}")
        if bookmark and not bookmark.startswith(create_composite_key(kind, names)):
            raise BeflError("BEFL-T-008", "bookmark: is not one that this query gave")
        entries, following = self.stub.get_state_by_partial_composite_key_with_pagination(kind, names, size, bookmark)
        return canonical.dumps({"bookmark": following, "records": [json.loads(entry.value) for entry in entries]})

    def write(self, record: Mapping[str, Any], *names: str) -> None:
        """Write a record under its kind and names."""
        self.stub.put_state(create_composite_key(record["kind"], names), canonical.dumps(record))

    def forget(self, kind: str, *names: str) -> None:
        """Delete a record; only what has served its purpose is forgotten, and history keeps it."""
        self.stub.del_state(create_composite_key(kind, names))

    def announce(self, transaction: str, task: str, number: int = 0) -> None:
        """Set the transaction's one event: it wakes agents up, who read the state again; no task is ``""``."""
        payload = {"round": number, "task": task, "transaction": transaction, "txid": self.stub.get_tx_id()}
        self.stub.set_event(transaction, canonical.dumps(payload))


def task_id(text: str) -> str:
    """Check an argument that should be a task's id; raises ``BEFL-T-007``."""
    if not _ID.fullmatch(text):
        raise BeflError("BEFL-T-007", f"{text[:40]!r} is no task id (16 hex digits)")
    return text


def whole_number(text: str, name: str) -> int:
    """Read an argument that should be a whole number; raises ``BEFL-T-008``."""
    if not _NUMBER.fullmatch(text):
        raise BeflError("BEFL-T-008", f"{name}: must be a whole number, not {text[:40]!r}")
    return int(text)


def number_key(number: int) -> str:
    """Return a round's number as it stands in keys: six digits, so that keys sort by number."""
    return f"{number:06d}"


def _roles(certificate: bytes) -> frozenset[str]:
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        extension = parsed.extensions.get_extension_for_oid(_ATTRIBUTES).value
    except x509.ExtensionNotFound:
        return frozenset()
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion):
        raise BeflError("BEFL-A-005", "the submitter's certificate is no X.509 certificate") from None
    try:
        value = json.loads(extension.public_bytes())["attrs"].get("befl.role", "")
        return frozenset(value.split("|")) - {""}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise BeflError("BEFL-A-005", "the attribute extension of the submitter's certificate is malformed") from None
