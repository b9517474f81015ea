"""The client: a transaction as steps, and the two verbs that put them together.

Follows hyperledger/fabric-gateway: the caller owns the channel, the signer is a function, each step has a deadline and
an error class of its own. What is tried again is decided here and nowhere else:

==============  ==================================================================================================
evaluate        as a new proposal: peer unavailable, deadline of the peer, "not yet"
endorse         as a new proposal: the same, and results that differ. Nothing was ordered, so nothing is done twice
submit          the *same* envelope again: no leader, orderers or peer unavailable, deadline of the peer. A second copy
                can only become ``DUPLICATE_TXID``; a new proposal would be a second intention and is never made here
commit status   again: peer unavailable, deadline of the peer, no word about the transaction. After ``resubmit``
                seconds in no block the *same* envelope is submitted again: an orderer may have died with it
==============  ==================================================================================================

All of it within the deadline of the step, with growing pauses. A refusal by the chaincode is not tried again unless its
code says that the peer lacks something that it will get (``BEFL-G-010``, ``BEFL-G-016``).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.peer import events_pb2_grpc, transaction_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2

from befl.gateway import wait
from befl.gateway.checkpoint import Checkpoint
from befl.gateway.errors import (
    CommitError,
    CommitStatusError,
    EndorseError,
    EvaluateError,
    GatewayError,
    SubmitError,
    from_rpc,
)
from befl.gateway.events import BlockEvents, BlockKind, ChaincodeEvent, ChaincodeEvents
from befl.gateway.identity import Identity, certificate_hash
from befl.gateway.proposal import SignedProposal, propose, result_of, unsigned
from befl.gateway.steps import PendingCommit, PreparedTransaction, Proposal, Status

T = TypeVar("T")

_NOT_YET: Final = frozenset({"BEFL-G-002", "BEFL-G-003", "BEFL-G-010", "BEFL-G-016"})
_AGAIN: Final[dict[type[GatewayError], frozenset[str]]] = {
    EvaluateError: _NOT_YET,
    EndorseError: _NOT_YET | {"BEFL-G-004"},
    SubmitError: frozenset({"BEFL-G-002", "BEFL-G-003", "BEFL-G-006"}),
    CommitStatusError: frozenset({"BEFL-G-002", "BEFL-G-003", "BEFL-G-007"}),
}
_ASK: Final = 5.0
_AGED: Final = 5.0
"""A proposal that took longer has grown old on the way: the gateway waits 30 s for a peer that stands still."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_TLS: Final = ("CERTIFICATE_VERIFY_FAILED", "Cannot check peer", "alert")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that each step may take, repetitions included.

    Parameters
    ----------
    evaluate, endorse, submit, commit_status : float
        Endorsing is allowed more than the peers' own limit (``[chaincode] endorsement_timeout``, 180 s): a large value
        takes its time.
    repeat : float
        No step begins a repetition later than this after its first attempt.
    resubmit : float
        How long a transaction may be in no block before it is submitted again; twice as long the next time.
    """

    evaluate: float = 60.0
    endorse: float = 200.0
    submit: float = 60.0
    commit_status: float = 120.0
    repeat: float = 40.0
    resubmit: float = 5.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """A transaction that is on the ledger and valid.

    Parameters
    ----------
    result : bytes
        What the chaincode returned.
    txid : str
        Its id.
    block : int
        The number of its block.
    """

    result: bytes
    txid: str
    block: int


class Gateway:
    """A connection of one identity to the gateway service of its institution's peer; safe for many threads.

    Parameters
    ----------
    channel : grpc.Channel
        The caller's; :func:`befl.gateway.connect` makes one.
    identity : Identity
        Who submits.
    deadlines : Deadlines
        For every step.
    owns_channel : bool
        Whether closing the gateway closes the channel.
    tls_certificate : bytes
        The channel's client certificate, PEM; only block events need it (the peer binds the request to it).
    """

    def __init__(
        self,
        channel: grpc.Channel,
        identity: Identity,
        deadlines: Deadlines = Deadlines(),  # immutable
        *,
        owns_channel: bool = False,
        tls_certificate: bytes = b"",
    ) -> None:
        self.identity = identity
        self.tls_certificate_hash = certificate_hash(tls_certificate)
        self.deadlines = deadlines
        self._channel = channel
        self._owns_channel = owns_channel
        self._stub = gateway_pb2_grpc.GatewayStub(channel)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._events: set[ChaincodeEvents | BlockEvents] = set()
        self._deliver = events_pb2_grpc.DeliverStub(channel)

    def network(self, channel: str) -> Network:
        """Return a view of one Fabric channel; nothing is asked yet."""
        return Network(self, channel)

    def proposal(self, data: bytes) -> Proposal:
        """Take up a proposal from its bytes, perhaps of another process; see :mod:`befl.gateway.steps`."""
        return Proposal.from_bytes(self, data)

    def transaction(self, data: bytes) -> PreparedTransaction:
        """Take up an endorsed transaction from its bytes."""
        return PreparedTransaction.from_bytes(self, data)

    def commit(self, data: bytes) -> PendingCommit:
        """Take up a submitted transaction from its bytes."""
        return PendingCommit.from_bytes(self, data)

    def close(self) -> None:
        """End all event streams; close the channel if it is the gateway's own. Twice does no harm."""
        self._closed.set()
        with self._lock:
            streams = list(self._events)
        for stream in streams:
            stream.close()
        if self._owns_channel:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- for this package -----------------------------------------------------------------------------------------

    def call(self, kind: type[GatewayError], method: str, request: Any, txid: str, timeout: float) -> Any:
        """Make one call of the gateway service, once.

        Raises
        ------
        GatewayError
            Of class ``kind``.
        """
        if self._closed.is_set():
            raise kind("BEFL-G-002", "the gateway is closed", "Connect again.", txid=txid)
        try:
            return getattr(self._stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc(kind, error, txid) from None
        except ValueError as error:  # gRPC's word for a channel that its owner has closed
            raise kind("BEFL-G-002", f"the connection is closed ({error})", "Connect again.", txid=txid) from None

    def ask(self, channel: str, txid: str, proposal: Any, timeout: float, organizations: Sequence[str] = ()) -> bytes:
        """Let a peer run a signed proposal, once, and return its answer.

        A peer of the own institution, unless others are named: nobody endorses an answer, and by itself Fabric's
        gateway asks another institution's when the own one cannot answer.

        Raises
        ------
        EvaluateError
            With the chaincode's own code when it refused.
        """
        request = gateway_pb2.EvaluateRequest(
            transaction_id=txid,
            channel_id=channel,
            proposed_transaction=proposal,
            target_organizations=organizations or [self.identity.msp_id],
        )
        return bytes(self.call(EvaluateError, "Evaluate", request, txid, timeout).result.payload)

    def repeat(self, kind: type[GatewayError], seconds: float, attempt: Callable[[float], T]) -> T:
        """Call ``attempt(seconds left)`` until it succeeds, fails for good, or the time is over."""
        end = time.monotonic() + seconds
        enough = time.monotonic() + min(seconds, self.deadlines.repeat)
        pause = _FIRST_PAUSE
        last: GatewayError | None = None
        while True:
            began = time.monotonic()
            try:
                return attempt(max(0.001, end - began))
            except kind as error:
                # The own deadline says less than what the peer said before it.
                told = last if last is not None and error.code == "BEFL-G-003" else error
                if enough - time.monotonic() <= pause or not self._again(kind, error, time.monotonic() - began):
                    raise told from None
                last = told
            wait.pause(pause * (0.5 + random.random() / 2))  # noqa: S311  # spreads callers; no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _again(self, kind: type[GatewayError], error: GatewayError, took: float) -> bool:
        aged = error.code == "BEFL-G-011" and took > _AGED  # nobody's clock is wrong: a new proposal has a new time
        if self._closed.is_set() or not (aged or error.code in _AGAIN[kind]):
            return False
        return not (error.grpc_status == "UNAVAILABLE" and any(word in error.message for word in _TLS))

    def follow(self, request: Any) -> Any:
        """Open a stream of chaincode events; raises ValueError when the gateway or the channel is closed."""
        if self._closed.is_set():
            raise ValueError("the gateway is closed")
        return self._stub.ChaincodeEvents(request)

    def deliver(self, method: str, envelope: Any) -> Any:
        """Open a stream of blocks; raises ValueError when the gateway or the channel is closed."""
        if self._closed.is_set():
            raise ValueError("the gateway is closed")
        return getattr(self._deliver, method)(iter([envelope]))

    def remember(self, stream: Any) -> None:
        """Close the stream with the gateway."""
        with self._lock:
            self._events.add(stream)

    def forget(self, stream: Any) -> None:
        """Take a closed stream off the list."""
        with self._lock:
            self._events.discard(stream)


class Network:
    """One Fabric channel, seen through a gateway.

    Parameters
    ----------
    gateway : Gateway
        The connection.
    channel : str
        The channel's name.
    """

    def __init__(self, gateway: Gateway, channel: str) -> None:
        self.gateway = gateway
        self.channel = channel

    def contract(self, chaincode: str) -> Contract:
        """Return a chaincode of the channel; nothing is asked yet."""
        return Contract(self, chaincode)

    def commit(self, txid: str, result: bytes = b"") -> Commit:
        """Return a transaction that was submitted earlier, perhaps by another process, to ask for its status."""
        return Commit(self, txid, result)

    def chaincode_events(
        self,
        chaincode: str,
        start_block: int | None = None,
        after: ChaincodeEvent | str | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> ChaincodeEvents:
        """Follow a chaincode's events; a context manager and an iterator that ends when it is closed.

        Every event of a valid transaction comes exactly once and in order, also when the peer goes away in between: the
        iterator connects again and goes on where it was.

        Parameters
        ----------
        chaincode : str
            Its name.
        start_block : int, optional
            Begin with this block.
        after : ChaincodeEvent or str, optional
            Go on after this event, or after this transaction. Without either, begin with the next block.
        checkpoint : Checkpoint, optional
            Go on where it says; what the others say counts only as long as nothing is noted there. The caller notes
            each event in it once it is handled.

        Raises
        ------
        ValueError
            When both ``start_block`` and ``after`` are given.
        GatewayError
            When the present height, or the block of ``after``, cannot be read.
        """
        if start_block is not None and after is not None:
            raise ValueError("give start_block or after, not both")
        if checkpoint is not None and checkpoint.block is not None:
            return ChaincodeEvents(self.gateway, self.channel, chaincode, checkpoint.block, checkpoint.txid)
        skip = ""
        if isinstance(after, ChaincodeEvent):
            start_block, skip = after.block, after.txid
        elif after is not None:
            start_block, skip = self.commit(after).status().block, after
        elif start_block is None:
            start_block = self.height()
        return ChaincodeEvents(self.gateway, self.channel, chaincode, start_block, skip)

    def block_events(
        self, start_block: int | None = None, *, kind: BlockKind = "full", checkpoint: Checkpoint | None = None
    ) -> BlockEvents:
        """Follow the channel's blocks; a context manager and an iterator that ends when it is closed.

        Each block comes exactly once and in order, also when the peer goes away in between.

        Parameters
        ----------
        start_block : int, optional
            Begin with this block; the next one unless given.
        kind : str
            ``full`` (``common.Block``), ``filtered`` (``FilteredBlock``: ids, verdicts, names of events) or ``private``
            (``BlockAndPrivateData``: with the private data that the identity may see).
        checkpoint : Checkpoint, optional
            Go on with the block it names. The caller notes each block in it once it is handled.

        Raises
        ------
        GatewayError
            When the present height cannot be read.
        """
        noted = checkpoint.block if checkpoint is not None else None
        begin = noted if noted is not None else start_block
        return BlockEvents(self.gateway, self.channel, self.height() if begin is None else begin, kind)

    def height(self) -> int:
        """Return how many blocks the gateway's peer has.

        Raises
        ------
        EvaluateError
            When the peer does not answer.
        """
        from fabric_protos.common import ledger_pb2  # noqa: PLC0415  # few callers need it

        answer = self.contract("qscc").evaluate("GetChainInfo", self.channel)
        return int(ledger_pb2.BlockchainInfo.FromString(answer).height)


class Contract:
    """A chaincode of a channel.

    Parameters
    ----------
    network : Network
        The channel.
    chaincode : str
        Its name.
    """

    def __init__(self, network: Network, chaincode: str) -> None:
        self.network = network
        self.chaincode = chaincode

    def evaluate(
        self,
        function: str,
        *args: str | bytes,
        transient: Mapping[str, bytes] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Ask a question: a peer of the caller's own institution runs the function and nothing is ordered.

        Parameters
        ----------
        function : str
            Such as ``TaskContract:Get``.
        *args : str or bytes
            Its arguments.
        transient : mapping of str to bytes, optional
            What travels with the proposal and is in no block.
        timeout : float, optional
            Seconds, instead of the gateway's deadline for this step.

        Returns
        -------
        bytes
            What the function returned.

        Raises
        ------
        EvaluateError
            With the chaincode's own code when it refused.
        """
        gateway, channel = self.network.gateway, self.network.channel

        def attempt(left: float) -> bytes:
            proposal = self.propose(function, *args, transient=transient)
            return gateway.ask(channel, proposal.txid, proposal.message, left)

        return gateway.repeat(EvaluateError, timeout or gateway.deadlines.evaluate, self._checked(attempt))

    def submit(
        self,
        function: str,
        *args: str | bytes,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
    ) -> Submitted:
        """Change the ledger and wait until it is changed: endorse, submit, commit status.

        Parameters
        ----------
        function : str
            Such as ``TaskContract:Publish``.
        *args : str or bytes
            Its arguments.
        transient : mapping of str to bytes, optional
            What travels with the proposal and is in no block.
        endorsing_organizations : sequence of str
            MSP ids that shall endorse; otherwise the gateway finds out whom the policy needs.

        Raises
        ------
        EndorseError, SubmitError, CommitStatusError
            The step that failed; a refusal of the chaincode has its own code.
        CommitError
            Committed but invalid.
        """
        commit = self.submit_async(
            function, *args, transient=transient, endorsing_organizations=endorsing_organizations
        )
        status = commit.status()
        if not status.valid:
            raise CommitError(status.txid, status.block, status.validation_code)
        return Submitted(commit.result, status.txid, status.block)

    def submit_async(
        self,
        function: str,
        *args: str | bytes,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
    ) -> Commit:
        """Endorse and submit; the returned object tells later what became of it. Arguments as of :meth:`submit`.

        Raises
        ------
        EndorseError, SubmitError
            The step that failed.
        """
        transaction = self.endorse(
            function, *args, transient=transient, endorsing_organizations=endorsing_organizations
        )
        return transaction.submit()

    def endorse(
        self,
        function: str,
        *args: str | bytes,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Transaction:
        """Collect the endorsements and order nothing yet. Arguments as of :meth:`submit`; ``timeout`` in seconds.

        Raises
        ------
        EndorseError
            With the chaincode's own code when it refused.
        """
        gateway, channel = self.network.gateway, self.network.channel

        def attempt(left: float) -> Transaction:
            proposal = self.propose(function, *args, transient=transient)
            request = gateway_pb2.EndorseRequest(
                transaction_id=proposal.txid,
                channel_id=channel,
                proposed_transaction=proposal.message,
                endorsing_organizations=endorsing_organizations,
            )
            answer = gateway.call(EndorseError, "Endorse", request, proposal.txid, left)
            return Transaction(self.network, proposal.txid, answer.prepared_transaction)

        return gateway.repeat(EndorseError, timeout or gateway.deadlines.endorse, self._checked(attempt))

    def _checked(self, attempt: Callable[[float], T]) -> Callable[[float], T]:
        """Ask once, when no peer has the chaincode, whether the channel has: else it would be waited for in vain."""
        asked = False

        def checked(left: float) -> T:
            nonlocal asked
            try:
                return attempt(left)
            except GatewayError as error:
                if asked or error.code != "BEFL-G-016" or error.from_chaincode:
                    raise
                asked = True
                if self._defined(min(left, _ASK)):
                    raise
                message = f"there is no chaincode {self.chaincode!r} on channel {self.network.channel!r}"
                raise type(error)("BEFL-G-031", message, "Check the chaincode's name.", txid=error.txid) from None

        return checked

    def _defined(self, timeout: float) -> bool:
        """Whether the channel has a definition of the chaincode; True also when the peer does not say."""
        query = lifecycle_pb2.QueryChaincodeDefinitionArgs(name=self.chaincode).SerializeToString()
        lifecycle = Contract(self.network, "_lifecycle").propose("QueryChaincodeDefinition", query)
        try:
            self.network.gateway.ask(self.network.channel, lifecycle.txid, lifecycle.message, timeout)
        except EvaluateError as error:
            return f"namespace {self.chaincode} is not defined" not in error.message
        return True

    def new_proposal(
        self,
        function: str,
        *args: str | bytes,
        transient: Mapping[str, bytes] | None = None,
        endorsing_organizations: Sequence[str] = (),
    ) -> Proposal:
        """Make a proposal that nobody has signed yet, to go step by step. Arguments as of :meth:`submit`."""
        identity = self.network.gateway.identity
        txid, data = unsigned(identity, self.network.channel, self.chaincode, (function, *args), transient)
        return Proposal.make(self.network.gateway, txid, data, endorsing_organizations)

    def propose(
        self, function: str, *args: str | bytes, transient: Mapping[str, bytes] | None = None
    ) -> SignedProposal:
        """Make a signed proposal without sending it. Arguments as of :meth:`submit`."""
        identity = self.network.gateway.identity
        return propose(identity, self.network.channel, self.chaincode, (function, *args), transient)


class Transaction:
    """An endorsed transaction, not yet ordered.

    Parameters
    ----------
    network : Network
        Its channel.
    txid : str
        Its id.
    envelope : Envelope
        As the gateway prepared it; it is signed here.
    """

    def __init__(self, network: Network, txid: str, envelope: Any) -> None:
        self._network = network
        self.txid = txid
        self.result = result_of(envelope)
        self._envelope = envelope
        self._envelope.signature = network.gateway.identity.sign(envelope.payload)

    def submit(self) -> Commit:
        """Hand the transaction to the ordering service; the same envelope may be handed over again.

        Raises
        ------
        SubmitError
            When the ordering service did not say that it took it. It may have it all the same: ``commit(txid)`` tells.
        """
        self._submit(self._network.gateway.deadlines.submit)
        return Commit(self._network, self.txid, self.result, self._submit)

    def _submit(self, timeout: float) -> None:
        gateway, channel = self._network.gateway, self._network.channel
        request = gateway_pb2.SubmitRequest(
            transaction_id=self.txid, channel_id=channel, prepared_transaction=self._envelope
        )
        gateway.repeat(SubmitError, timeout, lambda left: gateway.call(SubmitError, "Submit", request, self.txid, left))


class Commit:
    """A transaction that was handed to the ordering service.

    Parameters
    ----------
    network : Network
        Its channel.
    txid : str
        Its id.
    result : bytes
        What the chaincode returned when it was endorsed; it counts only if the transaction becomes valid.
    submit : callable, optional
        Submits the same envelope again, within so many seconds.
    """

    def __init__(
        self, network: Network, txid: str, result: bytes, submit: Callable[[float], None] | None = None
    ) -> None:
        self._network = network
        self.txid = txid
        self.result = result
        self._submit = submit

    def status(self, timeout: float | None = None) -> Status:
        """Wait until the transaction is in a block and say what became of it.

        That an orderer took it is no promise: when it dies, what it has not yet shared with the others is lost. So the
        same envelope is submitted again from time to time, where it is at hand. Of two copies the first counts.

        Parameters
        ----------
        timeout : float, optional
            Seconds, instead of the gateway's deadline for this step.

        Raises
        ------
        CommitStatusError
            When the answer did not come in time; the transaction may be committed all the same.
        """
        gateway, channel = self._network.gateway, self._network.channel
        request = gateway_pb2.CommitStatusRequest(
            transaction_id=self.txid, channel_id=channel, identity=gateway.identity.creator
        ).SerializeToString()
        signed = gateway_pb2.SignedCommitStatusRequest(request=request, signature=gateway.identity.sign(request))
        patience = gateway.deadlines.resubmit

        def attempt(left: float) -> Any:
            nonlocal patience
            end = time.monotonic() + left
            while self._submit is not None and (left := end - time.monotonic()) > patience:
                try:
                    return gateway.call(CommitStatusError, "CommitStatus", signed, self.txid, patience)
                except CommitStatusError as error:
                    if error.code != "BEFL-G-003":
                        raise
                with suppress(SubmitError):  # the first copy may be ordered all the same
                    self._submit(patience)
                patience *= 2
            return gateway.call(CommitStatusError, "CommitStatus", signed, self.txid, left)

        answer = gateway.repeat(CommitStatusError, timeout or gateway.deadlines.commit_status, attempt)
        return Status(self.txid, int(answer.block_number), transaction_pb2.TxValidationCode.Name(answer.result))
