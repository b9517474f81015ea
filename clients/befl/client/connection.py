"""Where the ledger is and as whom to speak to it."""

from __future__ import annotations

import functools
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from befl.agent.config import load
from befl.agent.ledger import Ledger
from befl.client.approvals import Apps
from befl.client.audit import Audit
from befl.client.members import ConsortiumParameters, Members
from befl.client.models import Models
from befl.client.tasks import Tasks
from befl.rules.errors import BeflError

if TYPE_CHECKING:
    from befl.gateway import Gateway, Profile
    from befl.gateway.ask import PeerQuestions
    from befl.gateway.profile import PeerAddress


class Client:
    """A connection to the consortium as one identity of one institution.

    Parameters
    ----------
    gateway : Gateway
        The open gateway; closed with the client.
    profile : Profile
        Of the institution.
    user : Path
        The identity's folder, with ``msp`` and ``tls``.
    channel, chaincode : str
        Their names.

    Attributes
    ----------
    tasks : Tasks
        Publish, list, watch, apply, decline, leave, cancel.
    apps : Apps
        Add, list, approve, withdraw.
    models : Models
        List, fetch, verify.
    members : Members
        List, register, approve, assign, leave.
    parameters : ConsortiumParameters
        Show, approve, assign.
    audit : Audit
        Query, replay, export.
    """

    def __init__(
        self, gateway: Gateway, profile: Profile, user: Path, *, channel: str = "befl", chaincode: str = "befl"
    ) -> None:
        self._gateway = gateway
        self.msp_id = profile.msp_id
        self._network = gateway.network(channel)
        self._chaincode = chaincode
        self.ledger = Ledger(self._network.contract(chaincode))
        self.tasks = Tasks(self.ledger, functools.partial(self._network.chaincode_events, chaincode))
        self.apps = Apps(self.ledger)
        self.models = Models(self.ledger)
        self.members = Members(self.ledger)
        self.parameters = ConsortiumParameters(self.ledger)

        def ask(peer: PeerAddress | None) -> PeerQuestions:
            from befl.gateway.ask import PeerQuestions  # noqa: PLC0415 - gRPC comes with a connection

            return PeerQuestions(peer or profile.peers[0], user, profile.msp_id, channel)

        self.audit = Audit(self._network, ask, chaincode)

    def close(self) -> None:
        """Close the connection."""
        self._gateway.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(
    *,
    network: str | Path | None = None,
    identity: str | None = None,
    profile: str | Path | None = None,
    user: str | Path | None = None,
    name: str = "agent",
    channel: str = "befl",
    chaincode: str = "befl",
) -> Client:
    """Connect to the consortium.

    Parameters
    ----------
    network : path, optional
        A folder that ``befl network up`` made; goes with ``identity``.
    identity : str, optional
        ``ORG`` or ``ORG/NAME``; may be left out when the folder has one institution only.
    profile, user : path, optional
        Instead of both: a connection profile, and a user's folder with ``msp`` and ``tls``.
    name : str
        The identity to use when ``identity`` names the institution only.
    channel, chaincode : str
        Their names.

    Raises
    ------
    BeflError
        ``BEFL-C-009`` when it is not clear where or as whom, ``BEFL-N-009`` when the folder holds no network,
        ``BEFL-G-...`` when the files cannot be used.
    """
    from befl.gateway import Profile  # noqa: PLC0415 - gRPC comes with a connection, not with its name
    from befl.gateway import connect as open_gateway  # noqa: PLC0415 - as above

    if profile is None or user is None:
        if network is None:
            raise BeflError("BEFL-C-009", "neither a network folder nor a profile with a user folder is given")
        profile, user = find(Path(network), identity, name)
    read = Profile.load(Path(profile))
    return Client(open_gateway(read, Path(user)), read, Path(user), channel=channel, chaincode=chaincode)


def connect_operator(config: str | Path) -> Client | None:
    """Connect as the operator of an agent's institution, where one machine has both identities.

    Parameters
    ----------
    config : path
        The AGENT.toml.

    Returns
    -------
    Client or None
        None when no identity ``admin`` lies beside the agent's.
    """
    agent = load(Path(config))
    user = agent.user_dir.parent / "admin"
    if not user.is_dir():
        return None
    return connect(profile=agent.profile, user=user, channel=agent.network.channel, chaincode=agent.network.chaincode)


def find(network: Path, identity: str | None, name: str) -> tuple[Path, Path]:
    """Find an institution's profile and an identity's folder in a network's; raises ``BEFL-C-009`` when unclear."""
    institutions = sorted(path.parent.name for path in network.glob("*/connection.json"))
    org, _, chosen = (identity or "").partition("/")
    if not org and len(institutions) == 1:
        org = institutions[0]
    if not institutions:
        raise BeflError("BEFL-N-009", f"{network} holds no network", "`befl network up --network DIR` makes one.")
    if org not in institutions:
        raise BeflError(
            "BEFL-C-009",
            f"{network} has no institution {org!r}" if org else f"{network}: it is not said as which institution",
            f"Institutions there: {', '.join(institutions)}. Use --as ORG.",
        )
    user = network / org / "users" / (chosen or name)
    if not user.is_dir():
        users = ", ".join(sorted(path.name for path in user.parent.glob("*") if path.is_dir()))
        raise BeflError("BEFL-C-009", f"{org} has no identity {user.name!r} in {network}", f"It has {users}.")
    return network / org / "connection.json", user
