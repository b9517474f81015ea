"""One real Fabric network for the session: three institutions, each with CA, orderer, peer and chaincode server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import befl.network
from befl.gateway import wait

from .conformance import conformance

__all__ = ["conformance"]


def level(heights: Callable[[], Sequence[int]]) -> int:
    """Wait until all peers have the same blocks, and return how many.

    What one institution's peer has committed another's may hear of later, and refuse for the lack of it.
    """

    def one() -> int:
        found = set(heights())
        return found.pop() if len(found) == 1 else 0

    return wait.until(one, timeout=30, what="all peers at one height")


@dataclass(frozen=True)
class Consortium:
    """The running network: ``institutions`` are folder names, MSP IDs are ``Org1MSP`` and so on."""

    directory: Path
    institutions: tuple[str, ...]
    msp_ids: tuple[str, ...]

    def profile(self, institution: str) -> Path:
        return self.directory / institution / "connection.json"

    def user(self, institution: str, name: str = "agent") -> Path:
        return self.directory / institution / "users" / name

    def status(self) -> befl.network.NetworkStatus:
        return befl.network.status(self.directory)

    def level(self) -> int:
        return level(lambda: [one.height for one in self.status().institutions])


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    directory = tmp_path_factory.mktemp("consortium") / "network"
    names = ("org1", "org2", "org3")
    # owner: should this session be killed, the network ends with it
    status = befl.network.up(directory, befl.network.make(names), owner=os.getpid())
    yield Consortium(directory, names, tuple(institution.msp_id for institution in status.institutions))
    befl.network.down(directory)
