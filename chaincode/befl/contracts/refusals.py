"""What every implementation of the stub refuses, in one set of words.

Fabric's peer refuses these (``tx_simulator.go``, ``query_executor.go`` of 3.1) with texts of its own. The shim and the
in-memory ledger both raise the errors made here, so that a contract cannot tell one from the other. What a mistake in a
contract is to its client is the one difference: a peer's client is told ``BEFL-G-009`` and no more, while the in-memory
ledger lets the exception through, because whoever calls it is developing the contract. A chaincode that calls another
one is told of the other's mistake as on a peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from befl.contracts import stub
from befl.rules.errors import BeflError

MAX_VALUE: Final = 64 * 1024 * 1024
"""Largest value in bytes: a peer takes messages of 100 MB at most, and a value travels in several wrappings."""


def check_text(*texts: str) -> None:
    """Refuse names that protobuf, and so a peer, cannot carry.

    Raises
    ------
    BeflError
        ``BEFL-G-018`` for one with a lone surrogate.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BeflError("BEFL-G-018", "a name holds a lone surrogate", "Choose another name.") from None


def check_key(key: str) -> None:
    """Refuse a key that cannot be written.

    Raises
    ------
    BeflError
        ``BEFL-G-013`` for an empty key, and what :func:`check_text` refuses.
    """
    if not key:
        raise BeflError("BEFL-G-013", "an empty key cannot be written", "Name the record.")
    check_text(key)


def check_collection(name: str) -> None:
    """Refuse a name that no collection can have.

    Raises
    ------
    BeflError
        ``BEFL-G-014`` for an empty one, which a peer would take for the public state, and what :func:`check_text`
        refuses.
    """
    if not name:
        raise unknown_collection(name)
    check_text(name)


def check_value(key: str, value: bytes) -> None:
    """Refuse a value that cannot be put.

    Raises
    ------
    BeflError
        ``BEFL-G-013`` for an empty one: Fabric would delete the key instead; ``BEFL-G-017`` for one above
        :data:`MAX_VALUE`.
    """
    if len(value) > MAX_VALUE:
        raise BeflError(
            "BEFL-G-017",
            f"{len(value)} bytes cannot be put under {key!r}: {MAX_VALUE} are the most",
            "Choose a smaller model, or fewer bits a parameter.",
        )
    if not value:
        raise BeflError(
            "BEFL-G-013", f"an empty value cannot be put under {key!r}", "Write at least one byte, or delete the key."
        )


def check_event_name(name: str) -> None:
    """Refuse an event without a name.

    Raises
    ------
    BeflError
        ``BEFL-G-013``, and what :func:`check_text` refuses.
    """
    if not name:
        raise BeflError("BEFL-G-013", "an event needs a name", "Name the event.")
    check_text(name)


def simple_range(start_key: str, end_key: str) -> tuple[str, str]:
    """Return the range of simple keys to ask for.

    Raises
    ------
    BeflError
        ``BEFL-G-018`` when an end begins with U+0000 or is refused by :func:`check_text`.
    """
    check_text(start_key, end_key)
    try:
        return stub.simple_range(start_key, end_key)
    except ValueError as error:
        raise BeflError("BEFL-G-018", str(error), "Ask for a composite key's prefix instead.") from None


def composite_range(object_type: str, attributes: Sequence[str]) -> tuple[str, str]:
    """Return the range of all composite keys below a prefix; refuses what :func:`check_text` does."""
    check_text(object_type, *attributes)
    return stub.composite_range(object_type, attributes)


def argument(value: bytes) -> str:
    """Return an argument as text.

    Raises
    ------
    BeflError
        ``BEFL-G-018`` when it is not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BeflError("BEFL-G-018", "an argument is not UTF-8", "Binary data travels as transient.") from None


def mistake(txid: str) -> BeflError:
    """Make what is said of an exception in a contract that is no refusal (``BEFL-G-009``): nothing that is in it."""
    return BeflError(
        "BEFL-G-009",
        f"the chaincode failed in transaction {txid}",
        "The endorser's chaincode server has the traceback in its log.",
    )


def check_page_size(page_size: int) -> None:
    """Refuse a page of no entries, which a peer would take for a request without pages.

    Raises
    ------
    BeflError
        ``BEFL-G-013``.
    """
    if page_size < 1:
        raise BeflError("BEFL-G-013", f"a page of {page_size} entries cannot be read", "Ask for one entry or more.")


def write_after_page() -> BeflError:
    """Make the refusal of a write in a transaction that made a paginated query (``BEFL-G-012``)."""
    return BeflError(
        "BEFL-G-012",
        "the transaction has made a paginated query, so it cannot write",
        "Evaluate the query, or read the keys one by one.",
    )


def page_after_write() -> BeflError:
    """Make the refusal of a paginated query in a transaction that has written (``BEFL-G-012``)."""
    return BeflError(
        "BEFL-G-012",
        "the transaction has written, so it cannot make a paginated query",
        "Evaluate the query, or read the keys one by one.",
    )


def write_after_private_range() -> BeflError:
    """Make the refusal of a write in a transaction that read a private range (``BEFL-G-012``)."""
    return BeflError(
        "BEFL-G-012",
        "the transaction has read a private range, so it cannot write",
        "Evaluate the query, or read the keys one by one.",
    )


def private_range_after_write() -> BeflError:
    """Make the refusal of a private range in a transaction that has written (``BEFL-G-012``)."""
    return BeflError(
        "BEFL-G-012",
        "the transaction has written, so it cannot read a private range",
        "Evaluate the query, or read the keys one by one.",
    )


def unknown_chaincode(name: str) -> BeflError:
    """Make the refusal of a chaincode that is not on the channel (``BEFL-G-031``)."""
    return BeflError("BEFL-G-031", f"there is no chaincode {name!r} on the channel", "Check the chaincode's name.")


def unknown_channel(chaincode: str, channel: str) -> BeflError:
    """Make the refusal of a chaincode on a channel that the peer is not in (``BEFL-G-031``)."""
    return BeflError(
        "BEFL-G-031",
        f"there is no chaincode {chaincode!r} on channel {channel!r}: the peer is not in that channel",
        "Check the channel's name.",
    )


def private_value_missing(collection: str, key: str) -> BeflError:
    """Make the refusal of a read whose private value is not at this peer yet (``BEFL-G-010``, retryable)."""
    return BeflError(
        "BEFL-G-010",
        f"the value of {key!r} in collection {collection!r} has not reached this peer yet",
        "Try again; the peer fetches it from the others.",
    )


def unknown_collection(collection: str) -> BeflError:
    """Make the refusal of a collection that the chaincode definition does not name (``BEFL-G-014``)."""
    return BeflError(
        "BEFL-G-014", f"there is no collection {collection!r}", "The chaincode definition names the collections."
    )
