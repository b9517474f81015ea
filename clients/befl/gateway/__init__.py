"""The Fabric Gateway client API in Python: blocking, for many threads.

::

    with connect(Profile.load(path), user_dir) as gateway:
        contract = gateway.network("befl").contract("befl")
        contract.evaluate("TaskContract:Get", task)
        contract.submit("TaskContract:Publish", specification)

Errors: :mod:`befl.gateway.errors`. What is tried again: :mod:`befl.gateway.client`.
"""

from __future__ import annotations

from befl.gateway.client import Commit, Contract, Deadlines, Gateway, Network, Status, Submitted, Transaction
from befl.gateway.connection import connect, open_channel
from befl.gateway.errors import (
    CommitError,
    CommitStatusError,
    EndorseError,
    ErrorDetail,
    EvaluateError,
    EventsError,
    GatewayError,
    SubmitError,
)
from befl.gateway.events import ChaincodeEvent, ChaincodeEvents
from befl.gateway.identity import Identity, Signer, key_signer
from befl.gateway.profile import PeerAddress, Profile
from befl.gateway.proposal import SignedProposal

__all__ = [
    "ChaincodeEvent",
    "ChaincodeEvents",
    "Commit",
    "CommitError",
    "CommitStatusError",
    "Contract",
    "Deadlines",
    "EndorseError",
    "ErrorDetail",
    "EvaluateError",
    "EventsError",
    "Gateway",
    "GatewayError",
    "Identity",
    "Network",
    "PeerAddress",
    "Profile",
    "SignedProposal",
    "Signer",
    "Status",
    "SubmitError",
    "Submitted",
    "Transaction",
    "connect",
    "key_signer",
    "open_channel",
]
