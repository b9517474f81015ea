"""A transaction step by step, each step as bytes: so that its signature can be made where the key is.

::

    proposal = contract.new_proposal("TaskContract:Publish", specification)
    proposal = gateway.proposal(proposal.to_bytes()).signed(sign(proposal.digest))     # here or in another process
    transaction = proposal.endorse()
    commit = transaction.signed(sign(transaction.digest)).submit()
    commit.signed(sign(commit.digest)).status()

Follows the offline signing of hyperledger/fabric-gateway. A step that has no signature signs itself with the gateway's
identity. What is tried again is the same bytes; a new proposal would need a new signature, so none is made here.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import proposal_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from befl.gateway.errors import CommitStatusError, EndorseError, EvaluateError, SubmitError
from befl.gateway.proposal import channel_of, result_of
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.gateway.client import Gateway


@dataclass(frozen=True, slots=True)
class Status:
    """What became of an ordered transaction.

    Parameters
    ----------
    txid : str
        Its id.
    block : int
        The number of its block.
    validation_code : str
        Name of Fabric's ``TxValidationCode``; ``VALID`` is the good one.
    """

    txid: str
    block: int
    validation_code: str

    @property
    def valid(self) -> bool:
        """Whether its writes count."""
        return self.validation_code == "VALID"


class _Step(abc.ABC):
    """A message, the part of it that is signed, and its signature."""

    def __init__(self, gateway: Gateway, message: Any) -> None:
        self._gateway = gateway
        self._message = message

    def to_bytes(self) -> bytes:
        """Return the step, to be taken up elsewhere; with its signature, if it has one."""
        return bytes(self._message.SerializeToString())

    @property
    def digest(self) -> bytes:
        """The SHA-256 that is to be signed, with low S."""
        return hashlib.sha256(self._to_sign()).digest()

    def signed(self, signature: bytes) -> Self:
        """Return the step with this signature (ASN.1 DER, low S)."""
        message = type(self._message)()
        message.CopyFrom(self._message)
        step = type(self)(self._gateway, message)
        step._put(signature)
        return step

    def _ready(self) -> Any:
        """Return the message, signed."""
        if self._signature():
            return self._message
        return self.signed(self._gateway.identity.sign(self._to_sign()))._message

    @abc.abstractmethod
    def _to_sign(self) -> bytes:
        """Return what is signed."""

    @abc.abstractmethod
    def _signature(self) -> bytes:
        """Return the signature, empty when there is none."""

    @abc.abstractmethod
    def _put(self, signature: bytes) -> None:
        """Put the signature in."""


class Proposal(_Step):
    """What shall be done, not yet run by any peer; :meth:`befl.gateway.Contract.new_proposal` makes it."""

    @classmethod
    def make(cls, gateway: Gateway, txid: str, data: bytes, organizations: Sequence[str]) -> Self:
        """Make the step of a proposal's bytes."""
        signed = proposal_pb2.SignedProposal(proposal_bytes=data)
        return cls(
            gateway,
            gateway_pb2.ProposedTransaction(
                transaction_id=txid, proposal=signed, endorsing_organizations=organizations
            ),
        )

    @classmethod
    def from_bytes(cls, gateway: Gateway, data: bytes) -> Self:
        """Take up a proposal.

        Raises
        ------
        BeflError
            ``BEFL-G-034`` when the bytes are none.
        """
        step = cls(gateway, _parse(gateway_pb2.ProposedTransaction, data))
        _whole(data, "ProposedTransaction", lambda: step.channel)
        return step

    @property
    def txid(self) -> str:
        """The transaction's id."""
        return str(self._message.transaction_id)

    @property
    def channel(self) -> str:
        """The channel it names."""
        proposal = proposal_pb2.Proposal.FromString(self._message.proposal.proposal_bytes)
        return channel_of(common_pb2.Header.FromString(proposal.header))

    def evaluate(self, timeout: float | None = None) -> bytes:
        """Run it as a question, within ``timeout`` seconds.

        A peer of the own institution answers unless the proposal names others: nobody endorses an answer.

        Raises
        ------
        EvaluateError
            With the chaincode's own code when it refused.
        """
        gateway, message = self._gateway, self._ready()
        return gateway.repeat(
            EvaluateError,
            timeout or gateway.deadlines.evaluate,
            lambda left: gateway.ask(self.channel, self.txid, message.proposal, left, message.endorsing_organizations),
        )

    def endorse(self, timeout: float | None = None) -> PreparedTransaction:
        """Collect the endorsements, within ``timeout`` seconds.

        Raises
        ------
        EndorseError
            With the chaincode's own code when it refused.
        """
        gateway, message = self._gateway, self._ready()
        request = gateway_pb2.EndorseRequest(
            transaction_id=self.txid,
            channel_id=self.channel,
            proposed_transaction=message.proposal,
            endorsing_organizations=message.endorsing_organizations,
        )
        answer = gateway.repeat(
            EndorseError,
            timeout or gateway.deadlines.endorse,
            lambda left: gateway.call(EndorseError, "Endorse", request, self.txid, left),
        )
        prepared = gateway_pb2.PreparedTransaction(transaction_id=self.txid, envelope=answer.prepared_transaction)
        return PreparedTransaction(gateway, prepared)

    def _to_sign(self) -> bytes:
        return bytes(self._message.proposal.proposal_bytes)

    def _signature(self) -> bytes:
        return bytes(self._message.proposal.signature)

    def _put(self, signature: bytes) -> None:
        self._message.proposal.signature = signature


class PreparedTransaction(_Step):
    """An endorsed transaction, not yet ordered."""

    @classmethod
    def from_bytes(cls, gateway: Gateway, data: bytes) -> Self:
        """Take up an endorsed transaction.

        Raises
        ------
        BeflError
            ``BEFL-G-034`` when the bytes are none.
        """
        step = cls(gateway, _parse(gateway_pb2.PreparedTransaction, data))
        _whole(data, "PreparedTransaction", lambda: (step.channel, step.result))
        return step

    @property
    def txid(self) -> str:
        """The transaction's id."""
        return str(self._message.transaction_id)

    @property
    def channel(self) -> str:
        """The channel it names."""
        return channel_of(common_pb2.Payload.FromString(self._message.envelope.payload).header)

    @property
    def result(self) -> bytes:
        """What the chaincode returned; it counts only if the transaction becomes valid."""
        return result_of(self._message.envelope)

    def submit(self, timeout: float | None = None) -> PendingCommit:
        """Hand it to the ordering service, within ``timeout`` seconds; the same bytes may be handed over again.

        Raises
        ------
        SubmitError
            When the ordering service did not say that it took it. It may have it all the same.
        """
        gateway, message = self._gateway, self._ready()
        request = gateway_pb2.SubmitRequest(
            transaction_id=self.txid, channel_id=self.channel, prepared_transaction=message.envelope
        )
        gateway.repeat(
            SubmitError,
            timeout or gateway.deadlines.submit,
            lambda left: gateway.call(SubmitError, "Submit", request, self.txid, left),
        )
        return PendingCommit.make(gateway, self.channel, self.txid)

    def _to_sign(self) -> bytes:
        return bytes(self._message.envelope.payload)

    def _signature(self) -> bytes:
        return bytes(self._message.envelope.signature)

    def _put(self, signature: bytes) -> None:
        self._message.envelope.signature = signature


class PendingCommit(_Step):
    """The question what became of a transaction that was handed to the ordering service."""

    @classmethod
    def make(cls, gateway: Gateway, channel: str, txid: str) -> Self:
        """Make the question."""
        request = gateway_pb2.CommitStatusRequest(
            transaction_id=txid, channel_id=channel, identity=gateway.identity.creator
        )
        return cls(gateway, gateway_pb2.SignedCommitStatusRequest(request=request.SerializeToString()))

    @classmethod
    def from_bytes(cls, gateway: Gateway, data: bytes) -> Self:
        """Take up a question.

        Raises
        ------
        BeflError
            ``BEFL-G-034`` when the bytes are none.
        """
        step = cls(gateway, _parse(gateway_pb2.SignedCommitStatusRequest, data))
        _parse(gateway_pb2.CommitStatusRequest, step._to_sign())
        return step

    @property
    def txid(self) -> str:
        """The transaction's id."""
        return str(gateway_pb2.CommitStatusRequest.FromString(self._message.request).transaction_id)

    def status(self, timeout: float | None = None) -> Status:
        """Wait until the transaction is in a block, ``timeout`` seconds at most, and say what became of it.

        One that an orderer took and lost is in none: whoever has the prepared transaction submits it again.

        Raises
        ------
        CommitStatusError
            When the answer did not come in time; the transaction may be committed all the same.
        """
        gateway, message = self._gateway, self._ready()
        answer = gateway.repeat(
            CommitStatusError,
            timeout or gateway.deadlines.commit_status,
            lambda left: gateway.call(CommitStatusError, "CommitStatus", message, self.txid, left),
        )
        return Status(self.txid, int(answer.block_number), transaction_pb2.TxValidationCode.Name(answer.result))

    def _to_sign(self) -> bytes:
        return bytes(self._message.request)

    def _signature(self) -> bytes:
        return bytes(self._message.signature)

    def _put(self, signature: bytes) -> None:
        self._message.signature = signature


def _parse(kind: Any, data: bytes) -> Any:
    return _whole(data, kind.DESCRIPTOR.name, lambda: kind.FromString(data))


def _whole(data: bytes, name: str, read: Callable[[], Any]) -> Any:
    """Read a message, or what lies wrapped in it; others will look at it again."""
    try:
        return read()
    except (DecodeError, IndexError):
        raise BeflError(
            "BEFL-G-034", f"{len(data)} bytes are no {name}", "Take up the bytes of the same step."
        ) from None
