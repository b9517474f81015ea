"""What a contract sees of Fabric: the stub interface, with the official method names.

Two things implement it: ``befl.shim`` (a real peer) and ``befl.ledger`` (in memory). Both behave alike to the word:

* A read never sees a write of the same transaction (Fabric simulates against committed state).
* An absent key reads as ``b""``; an empty value cannot be put.
* In a transaction that writes, paginated queries are refused by the peer.
* A private value that this peer does not hold yet is an error (``BEFL-G-010``, retryable), never an empty value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

_DELIMITER = "\x00"
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Creator:
    """The submitter of a transaction, as the peer authenticated it.

    Parameters
    ----------
    msp_id : str
        The institution.
    certificate : bytes
        The enrolment certificate, PEM.
    """

    msp_id: str
    certificate: bytes


class KV(NamedTuple):
    """One entry of a range."""

    key: str
    value: bytes


class KeyModification(NamedTuple):
    """One change of a key, as the ledger's history shows it; the time in milliseconds since 1970-01-01 UTC."""

    tx_id: str
    value: bytes
    timestamp: int
    is_delete: bool


class Response(NamedTuple):
    """What another chaincode answered: 200 is the good status, 400 and above are refusals."""

    status: int
    message: str
    payload: bytes


class Stub(Protocol):
    """Access of one transaction to its arguments and to the ledger."""

    def get_function_and_parameters(self) -> tuple[str, list[str]]:
        """Return the function's name and its arguments."""

    def get_tx_id(self) -> str:
        """Return the transaction id, 64 lower-case hex digits."""

    def get_channel_id(self) -> str:
        """Return the channel's name."""

    def get_tx_timestamp(self) -> int:
        """Return the proposal's timestamp in milliseconds since 1970-01-01 UTC; the submitter sets it."""

    def get_creator(self) -> Creator:
        """Return who submitted the transaction."""

    def get_transient(self) -> Mapping[str, bytes]:
        """Return what travelled with the proposal and is in no block."""

    def get_state(self, key: str) -> bytes:
        """Read a key of the public state; ``b""`` when it is absent."""

    def put_state(self, key: str, value: bytes) -> None:
        """Write a key of the public state; ``value`` is not empty."""

    def del_state(self, key: str) -> None:
        """Delete a key of the public state."""

    def get_multiple_states(self, keys: Sequence[str]) -> list[bytes]:
        """Read several keys of the public state at once; ``b""`` for those that are absent."""

    def get_state_by_range(self, start_key: str, end_key: str) -> Iterator[KV]:
        """Iterate over simple keys from ``start_key`` to before ``end_key`` (empty: to the last); phantom-checked."""

    def get_state_by_range_with_pagination(
        self, start_key: str, end_key: str, page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        """Return one page of a range and the bookmark of the next one (``""`` at the end); queries only."""

    def get_history_for_key(self, key: str) -> Iterator[KeyModification]:
        """Iterate over all committed changes of a public key, the newest first; not part of the read set."""

    def get_state_validation_parameter(self, key: str) -> bytes:
        """Return a key's own endorsement policy (``SignaturePolicyEnvelope``); ``b""`` when it has none."""

    def set_state_validation_parameter(self, key: str, policy: bytes) -> None:
        """Give a key its own endorsement policy from the next transaction on; a key that is absent keeps none."""

    def start_write_batch(self) -> None:
        """Keep what is written from here on, to send it at once; the peer refuses only at the end of the batch."""

    def finish_write_batch(self) -> None:
        """Send what was written since :meth:`start_write_batch`; also done at the transaction's end."""

    def get_state_by_partial_composite_key(self, object_type: str, attributes: Sequence[str]) -> Iterator[KV]:
        """Iterate over all keys below a prefix, in key order; phantom-checked at commit."""

    def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str
    ) -> tuple[list[KV], str]:
        """Return one page below a prefix and the bookmark of the next one (``""`` at the end); queries only."""

    def get_private_data(self, collection: str, key: str) -> bytes:
        """Read a key of a private collection; ``b""`` when it is absent."""

    def get_private_data_hash(self, collection: str, key: str) -> bytes:
        """Return the SHA-256 of a private value as the ledger holds it; ``b""`` when it is absent."""

    def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        """Write a key of a private collection; ``value`` is not empty."""

    def get_multiple_private_data(self, collection: str, keys: Sequence[str]) -> list[bytes]:
        """Read several keys of a private collection; as :meth:`get_private_data` for each."""

    def del_private_data(self, collection: str, key: str) -> None:
        """Delete a key of a private collection; earlier values stay in the peers' private stores."""

    def purge_private_data(self, collection: str, key: str) -> None:
        """Delete a key of a private collection and its earlier values at every peer; their hashes stay."""

    def get_private_data_by_range(self, collection: str, start_key: str, end_key: str) -> Iterator[KV]:
        """Iterate over a private range; queries only, and what has not reached this peer is left out in silence."""

    def get_private_data_by_partial_composite_key(
        self, collection: str, object_type: str, attributes: Sequence[str]
    ) -> Iterator[KV]:
        """Iterate over a private prefix; as :meth:`get_private_data_by_range`."""

    def get_private_data_validation_parameter(self, collection: str, key: str) -> bytes:
        """Return a private key's own endorsement policy; ``b""`` when it has none."""

    def set_private_data_validation_parameter(self, collection: str, key: str, policy: bytes) -> None:
        """Give a private key its own endorsement policy; as :meth:`set_state_validation_parameter`."""

    def invoke_chaincode(self, chaincode_name: str, args: Sequence[str | bytes], channel: str = "") -> Response:
        """Call another chaincode within this transaction; on another channel it can only read."""

    def set_event(self, name: str, payload: bytes) -> None:
        """Set the transaction's one event; it is delivered when the transaction commits as valid."""


class Chaincode(Protocol):
    """What a peer (or the in-memory ledger) runs: one call a transaction."""

    def invoke(self, stub: Stub) -> bytes:
        """Run the transaction and return its result.

        Raises
        ------
        BeflError
            A refusal; its text is the message of the response, with status 500.
        """


def create_composite_key(object_type: str, attributes: Sequence[str]) -> str:
    """Build a composite key as Fabric does: U+0000, then each part followed by U+0000.

    Raises
    ------
    ValueError
        If a part holds U+0000 or U+10FFFF, which Fabric keeps for itself.
    """
    parts = (object_type, *attributes)
    for part in parts:
        if _DELIMITER in part or _LAST in part:
            raise ValueError("a composite key's part may hold neither U+0000 nor U+10FFFF")
    return _DELIMITER + "".join(part + _DELIMITER for part in parts)


def split_composite_key(key: str) -> tuple[str, list[str]]:
    """Take a composite key apart into its object type and attributes."""
    object_type, *attributes = key[1:-1].split(_DELIMITER)
    return object_type, attributes


def simple_range(start_key: str, end_key: str) -> tuple[str, str]:
    """Return the range to ask for: composite keys, which begin with U+0000, are in no range of simple keys.

    Raises
    ------
    ValueError
        If an end begins with U+0000.
    """
    if start_key.startswith(_DELIMITER) or end_key.startswith(_DELIMITER):
        raise ValueError("a range of simple keys cannot begin or end with U+0000")
    return start_key or "\x01", end_key


def composite_range(object_type: str, attributes: Sequence[str]) -> tuple[str, str]:
    """Return first key (inclusive) and last key (exclusive) of all composite keys below a prefix."""
    start = create_composite_key(object_type, attributes)
    return start, start + _LAST
