"""The consortium's records about itself: members, agents, parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from befl.agent.ledger import Ledger, Receipt
from befl.agent.store import named, read_whole
from befl.rules.parameters import Parameters, read_parameters
from befl.rules.reader import parse_toml


@dataclass(frozen=True)
class Agent:
    """Where an institution's agent is found, as it announced itself; endpoint and key may be empty."""

    msp_id: str
    endpoint: str
    key: str
    announced_ms: int


@dataclass(frozen=True)
class Member:
    """A member of the consortium.

    Parameters
    ----------
    msp_id : str
        The institution.
    roles : tuple of str
        What it may do; empty after it left.
    since_ms, changed_ms : int
        When it registered, and when its roles last changed.
    approved_by : tuple of str
        Who approved its present roles; empty when it has them since it registered.
    agent : Agent or None
        Its agent.
    waiting : dict of str to str
        Approvals that wait: approver to the roles it approved (canonical JSON). Only where one member is asked for.
    """

    msp_id: str
    roles: tuple[str, ...]
    since_ms: int
    changed_ms: int
    approved_by: tuple[str, ...]
    agent: Agent | None
    waiting: dict[str, str]


@dataclass(frozen=True)
class InForce:
    """The parameters in force, their version, and the approvals that wait for the next one."""

    version: int
    parameters: Parameters
    waiting: dict[str, str]


@dataclass(frozen=True)
class ParametersVersion:
    """A version of the parameters that is, or was, in force; a round names the one in force when it opened.

    Parameters
    ----------
    version : int
        From 1 on: version 0 is the defaults, of which there is no record.
    parameters : Parameters
        The whole set.
    assigned_ms : int
        Since when it was in force.
    approved_by : tuple of str
        The institutions that approved it.
    """

    version: int
    parameters: Parameters
    assigned_ms: int
    approved_by: tuple[str, ...]


class Members:
    """The members of the consortium.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self) -> Sequence[Member]:
        """Return all members."""
        agents = {record["msp_id"]: record for record in self._ledger.agents()}
        return [_member(record, agents.get(record["msp_id"]), []) for record in self._ledger.members()]

    def get(self, msp_id: str) -> Member:
        """Return one member; raises ``BEFL-T-007`` when there is none."""
        found = self._ledger.member(msp_id)
        return _member(found["member"], found["agent"], found["approvals"])

    def register(self) -> Receipt:
        """Register the institution, as its operator; raises ``BEFL-T-003`` when it is a member."""
        return self._ledger.register()

    def leave(self) -> Receipt:
        """Give up every role of the institution, as its operator."""
        return self._ledger.leave()

    def approve(self, msp_id: str, roles: Iterable[str]) -> Receipt:
        """Approve, as the institution's operator, what another one shall be allowed to do."""
        return self._ledger.approve_roles(msp_id, roles)

    def assign(self, msp_id: str, roles: Iterable[str]) -> Receipt:
        """Give an institution the roles that more than half of the members approved (``BEFL-A-007`` otherwise)."""
        return self._ledger.assign_roles(msp_id, roles)

    def announce(self, endpoint: str, key: str) -> Receipt:
        """Say, as the agent, where it is found."""
        return self._ledger.announce(endpoint, key)


class ConsortiumParameters:
    """The parameters of the consortium.

    Parameters
    ----------
    ledger : Ledger
        The institution's ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def show(self) -> InForce:
        """Return what is in force and what waits."""
        found = self._ledger.parameters()
        waiting = {record["msp_id"]: record["words"] for record in found["approvals"]}
        return InForce(found["current"]["version"], read_parameters(found["current"]["parameters"]), waiting)

    def list(self) -> Sequence[ParametersVersion]:
        """Return all versions that were ever in force but the defaults, the first one first."""
        return [
            ParametersVersion(
                record["version"],
                read_parameters(record["parameters"]),
                record["assigned_ms"],
                tuple(record["approved_by"]),
            )
            for record in self._ledger.parameter_versions()
        ]

    def approve(self, parameters: Parameters) -> Receipt:
        """Approve, as the institution's operator, the parameters of the next version."""
        return self._ledger.approve_parameters(parameters)

    def assign(self, parameters: Parameters) -> Receipt:
        """Put in force what more than half of the members approved (``BEFL-A-007`` otherwise)."""
        return self._ledger.assign_parameters(parameters)


def read_parameters_file(path: str | Path) -> Parameters:
    """Read parameters from a TOML file; raises ``BEFL-C-002`` to ``BEFL-C-006``."""
    file = Path(path)
    with named(file):
        return read_parameters(parse_toml(read_whole(file), str(file)))


def _member(record: dict[str, Any], agent: dict[str, Any] | None, approvals: Iterable[dict[str, Any]]) -> Member:
    fields = [field.name for field in dataclasses.fields(Agent)]
    return Member(
        msp_id=record["msp_id"],
        roles=tuple(record["roles"]),
        since_ms=record["since_ms"],
        changed_ms=record["changed_ms"],
        approved_by=tuple(record["approved_by"]),
        agent=None if agent is None else Agent(**{name: agent[name] for name in fields}),
        waiting={each["msp_id"]: each["words"] for each in approvals},
    )
