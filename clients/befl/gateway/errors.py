"""What can go wrong between a client and the ledger: one class a step.

::

    BeflError
    └── GatewayError           txid, details (one a node), grpc_status, from_chaincode
        ├── EvaluateError
        ├── EndorseError       nothing was written, and nothing will be
        ├── SubmitError        endorsed; perhaps it will be ordered: ask for the commit status
        ├── CommitStatusError  ordered or not, valid or not: not known
        ├── CommitError        committed but invalid: nothing was written; has the validation code's name
        └── EventsError

A refusal of our own chaincode is the error of the step in which it was met, and its ``code``, ``message`` and ``hint``
are the chaincode's: ``except BeflError as error: error.code == "BEFL-T-003"`` needs to know nothing about gateways, and
``except EndorseError`` catches it just as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import grpc
from fabric_protos.gateway import gateway_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from befl.rules.errors import BeflError


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """What one peer or orderer said.

    Parameters
    ----------
    address : str
        Its ``host:port``.
    msp_id : str
        Its institution.
    message : str
        Its words.
    """

    address: str
    msp_id: str
    message: str


class GatewayError(BeflError):
    """A step of a transaction failed.

    Parameters
    ----------
    code, message, hint : str
        As of :class:`befl.rules.errors.BeflError`.
    txid : str
        The transaction; empty when there is none.
    details : sequence of ErrorDetail
        What each node said that was asked.
    grpc_status : str
        Name of gRPC's status code; empty when the answer was no gRPC error.
    from_chaincode : bool
        Whether code, message and hint are those of a refusal by our own chaincode.
    """

    fallback: ClassVar[str] = "BEFL-G-005"

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        txid: str = "",
        details: Sequence[ErrorDetail] = (),
        grpc_status: str = "",
        from_chaincode: bool = False,
    ) -> None:
        super().__init__(code, message, hint)
        self.txid = txid
        self.details = tuple(details)
        self.grpc_status = grpc_status
        self.from_chaincode = from_chaincode


class EvaluateError(GatewayError):
    """The query was not answered."""


class EndorseError(GatewayError):
    """The transaction was not endorsed; nothing was written."""


class SubmitError(GatewayError):
    """The ordering service did not say that it took the transaction; it may have it all the same."""

    fallback = "BEFL-G-006"


class CommitStatusError(GatewayError):
    """What became of the transaction could not be learnt."""

    fallback = "BEFL-G-007"


class EventsError(GatewayError):
    """The stream of events ended for a reason that reconnecting does not cure."""

    fallback = "BEFL-G-029"


class CommitError(GatewayError):
    """The transaction is in a block and invalid; nothing was written.

    Parameters
    ----------
    txid : str
        The transaction.
    block : int
        Number of the block.
    validation_code : str
        Name of Fabric's ``TxValidationCode``, such as ``MVCC_READ_CONFLICT``.
    """

    def __init__(self, txid: str, block: int, validation_code: str) -> None:
        code, hint = _INVALID.get(validation_code, ("BEFL-G-008", "Nothing was written."))
        super().__init__(code, f"transaction {txid} is in block {block} as {validation_code}", hint, txid=txid)
        self.block = block
        self.validation_code = validation_code


_CONFLICT: Final = ("BEFL-G-020", "Nothing was written. Read the state again and decide again.")
_INVALID: Final = {
    "MVCC_READ_CONFLICT": _CONFLICT,
    "PHANTOM_READ_CONFLICT": _CONFLICT,
    "DUPLICATE_TXID": ("BEFL-G-021", "The first copy of the transaction decides: ask for its status."),
}

# In the peers' words: internal/pkg/gateway, core/endorser and core/chaincode of Fabric 3.1.
_SAID: Final = (
    ("ProposalResponsePayloads do not match", "BEFL-G-004"),
    ("proposal client identity expired", "BEFL-G-025"),
    ("request unauthorized due to incorrect timestamp", "BEFL-G-011"),
    ("duplicate transaction found", "BEFL-G-021"),
    ("access denied", "BEFL-G-030"),
    ("failed to get config for channel", "BEFL-G-030"),
    ("has not yet been approved by this org", "BEFL-G-016"),
    ("exists, but chaincode is not installed", "BEFL-G-016"),
    ("make sure the chaincode", "BEFL-G-016"),
    ("could not launch chaincode", "BEFL-G-016"),
    ("chaincode stream terminated", "BEFL-G-016"),
    ("no combination of peers can be derived", "BEFL-G-016"),
    ("failed to find any endorsing peers", "BEFL-G-016"),
    ("failed to select a set of endorsers", "BEFL-G-016"),
    ("no peers available to evaluate chaincode", "BEFL-G-016"),
    ("failed to distribute private collection", "BEFL-G-016"),
    ("no endorsers found in the gateway's organization", "BEFL-G-016"),
    ("code = Unavailable", "BEFL-G-016"),
)
_HINTS: Final = {
    "BEFL-G-002": "Is the peer up? `befl network status` says; the connection profile names its address.",
    "BEFL-G-004": "Try again; if it stays so, compare heights and code digests in `befl network status`.",
    "BEFL-G-011": "Check the clocks of both machines.",
    "BEFL-G-016": "Wait until enough institutions' peers and chaincode servers are up: `befl network status`.",
    "BEFL-G-025": "Renew it: befl identity renew NAME.",
    "BEFL-G-030": "Check the identity, its MSP id and the channel's name.",
}
_REFUSED: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED", "NOT_FOUND")


def from_rpc(kind: type[GatewayError], error: grpc.RpcError, txid: str = "") -> GatewayError:
    """Turn a gRPC error of the gateway service into the error of a step.

    Parameters
    ----------
    kind : type
        The step's class.
    error : grpc.RpcError
        As the call raised it.
    txid : str
        The transaction.
    """
    status = error.code().name
    text = error.details() or ""
    details = _details(error)
    said = [detail.message for detail in details] or [text]
    refusals = [refusal for message in said if (refusal := BeflError.parse(message))]
    # Endorsers may refuse for different reasons: one that lasts outweighs one that passes.
    refusals.sort(key=lambda refusal: refusal.retryable)
    if refusals:
        first = refusals[0]
        return kind(
            first.code,
            first.message,
            first.hint,
            txid=txid,
            details=details,
            grpc_status=status,
            from_chaincode=True,
        )
    code = _code(kind, status, text, said)
    words = "; ".join(f"{d.msp_id} {d.address}: {d.message}" for d in details) or text or status
    return kind(code, words, _HINTS.get(code, ""), txid=txid, details=details, grpc_status=status)


def _code(kind: type[GatewayError], status: str, text: str, said: Sequence[str]) -> str:
    for words, code in _SAID if kind is not SubmitError else ():  # orderers speak of none of it
        if any(words in message for message in (text, *said)):
            return code
    if status in _REFUSED:
        return "BEFL-G-030"
    if status == "RESOURCE_EXHAUSTED" and "message larger than max" in text:
        return "BEFL-G-017"
    if status == "DEADLINE_EXCEEDED":
        return "BEFL-G-003"
    if status == "UNAVAILABLE" and (kind is not SubmitError or "orderer" not in text):
        return "BEFL-G-002"
    if kind is SubmitError and status == "ABORTED" and "SERVICE_UNAVAILABLE" not in text:
        return "BEFL-G-030"  # the orderer answered with a 4xx: it will never take this envelope
    return kind.fallback


def _details(error: grpc.RpcError) -> list[ErrorDetail]:
    """Read what each node said; what cannot be read is left out, for the error itself is still to be told."""
    metadata: Any = error.trailing_metadata() or ()  # pairs; the type stubs say otherwise
    found = []
    for packed in next((_packed(value) for key, value in metadata if key == "grpc-status-details-bin"), ()):
        detail = gateway_pb2.ErrorDetail()
        with contextlib.suppress(DecodeError):
            if packed.Unpack(detail):
                found.append(ErrorDetail(detail.address, detail.msp_id, detail.message))
    return found


def _packed(data: bytes) -> Sequence[Any]:
    try:
        return list(_RpcStatus.FromString(data).details)
    except DecodeError:
        return ()


def _make_rpc_status() -> Any:
    """Make the message ``google.rpc.Status`` under a name of our own: its package is not needed for one message."""
    file = descriptor_pb2.FileDescriptorProto(
        name="befl/gateway/status.proto", package="befl.gateway", syntax="proto3", dependency=[any_pb2.DESCRIPTOR.name]
    )
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Status").field.extend(
        [
            field(name="code", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL),
            field(name="message", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL),
            field(
                name="details",
                number=3,
                type=field.TYPE_MESSAGE,
                label=field.LABEL_REPEATED,
                type_name=".google.protobuf.Any",
            ),
        ]
    )
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]  # the type stubs leave it out
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("befl.gateway.Status"))


_RpcStatus: Final = _make_rpc_status()
