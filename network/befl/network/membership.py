"""An institution's membership in the consortium's own records (``MemberContract``)."""

from __future__ import annotations

from pathlib import Path

from befl.gateway import Profile, connect
from befl.rules.errors import BeflError


def register(profile: Path, user: Path, channel: str, chaincode: str) -> bool:
    """Register an institution as a member, when it is not; return whether it was done now.

    Parameters
    ----------
    profile, user : Path
        The institution's connection profile, and the folder of an identity with ``befl.role`` operator.
    channel, chaincode : str
        Where.

    Raises
    ------
    BeflError
        Whatever the ledger refuses.
    """
    read = Profile.load(profile)
    with connect(read, user) as gateway:
        contract = gateway.network(channel).contract(chaincode)
        try:
            contract.evaluate("MemberContract:Get", read.msp_id)
        except BeflError as error:
            if error.code != "BEFL-T-007":
                raise
            contract.submit("MemberContract:Register")
            return True
    return False
