"""The Fabric Gateway client API in Python: blocking, for many threads.

::

    with connect(Profile.load(path), user_dir) as gateway:
        contract = gateway.network("befl").contract("befl")
        contract.evaluate("TaskContract:Get", task)
        contract.submit("TaskContract:Publish", specification)

Errors: :mod:`befl.gateway.errors`. What is tried again: :mod:`befl.gateway.client`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from befl import lazy

if TYPE_CHECKING:
    from befl.gateway.checkpoint import Checkpoint as Checkpoint
    from befl.gateway.checkpoint import FileCheckpointer as FileCheckpointer
    from befl.gateway.checkpoint import InMemoryCheckpointer as InMemoryCheckpointer
    from befl.gateway.client import Commit as Commit
    from befl.gateway.client import Contract as Contract
    from befl.gateway.client import Deadlines as Deadlines
    from befl.gateway.client import Gateway as Gateway
    from befl.gateway.client import Network as Network
    from befl.gateway.client import Submitted as Submitted
    from befl.gateway.client import Transaction as Transaction
    from befl.gateway.connection import connect as connect
    from befl.gateway.connection import open_channel as open_channel
    from befl.gateway.errors import CommitError as CommitError
    from befl.gateway.errors import CommitStatusError as CommitStatusError
    from befl.gateway.errors import EndorseError as EndorseError
    from befl.gateway.errors import ErrorDetail as ErrorDetail
    from befl.gateway.errors import EvaluateError as EvaluateError
    from befl.gateway.errors import EventsError as EventsError
    from befl.gateway.errors import GatewayError as GatewayError
    from befl.gateway.errors import SubmitError as SubmitError
    from befl.gateway.events import BlockEvents as BlockEvents
    from befl.gateway.events import ChaincodeEvent as ChaincodeEvent
    from befl.gateway.events import ChaincodeEvents as ChaincodeEvents
    from befl.gateway.identity import Identity as Identity
    from befl.gateway.identity import Signer as Signer
    from befl.gateway.identity import key_signer as key_signer
    from befl.gateway.profile import PeerAddress as PeerAddress
    from befl.gateway.profile import Profile as Profile
    from befl.gateway.proposal import SignedProposal as SignedProposal
    from befl.gateway.steps import PendingCommit as PendingCommit
    from befl.gateway.steps import PreparedTransaction as PreparedTransaction
    from befl.gateway.steps import Proposal as Proposal
    from befl.gateway.steps import Status as Status

# on first use: who only waits (befl.gateway.wait) needs no gRPC
__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "gateway.checkpoint": ("Checkpoint", "FileCheckpointer", "InMemoryCheckpointer"),
        "gateway.client": ("Commit", "Contract", "Deadlines", "Gateway", "Network", "Submitted", "Transaction"),
        "gateway.connection": ("connect", "open_channel"),
        "gateway.errors": (
            "CommitError",
            "CommitStatusError",
            "EndorseError",
            "ErrorDetail",
            "EvaluateError",
            "EventsError",
            "GatewayError",
            "SubmitError",
        ),
        "gateway.events": ("BlockEvents", "ChaincodeEvent", "ChaincodeEvents"),
        "gateway.identity": ("Identity", "Signer", "key_signer"),
        "gateway.profile": ("PeerAddress", "Profile"),
        "gateway.proposal": ("SignedProposal",),
        "gateway.steps": ("PendingCommit", "PreparedTransaction", "Proposal", "Status"),
    },
)
