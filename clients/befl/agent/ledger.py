"""The transactions of the chaincode as typed calls, whatever carries them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from befl.rules import canonical, codec
from befl.rules import spec as specs
from befl.rules import view as views
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.parameters import Parameters, to_json
from befl.rules.reader import to_record
from befl.rules.view import TaskView

_PAGE: Final = "50"
RECORD: Final = 1
"""The version of a task's record that this release reads."""


class Committed(Protocol):
    """What a committed transaction gives back."""

    @property
    def result(self) -> bytes:
        """What the chaincode returned."""

    @property
    def txid(self) -> str:
        """The transaction id."""

    @property
    def block(self) -> int:
        """The block it stands in."""


class Transactor(Protocol):
    """Evaluates and submits transactions of the chaincode as one identity."""

    def evaluate(self, function: str, *args: str) -> bytes:
        """Ask the institution's own peer."""

    def submit(self, function: str, *args: str, transient: Mapping[str, bytes] | None = None) -> Committed:
        """Endorse, order and wait for the commit."""


@dataclass(frozen=True)
class Receipt:
    """Where a submitted transaction stands.

    Parameters
    ----------
    txid : str
        The transaction.
    block : int
        Its block.
    value : dict
        What the transaction returned.
    """

    txid: str
    block: int
    value: dict[str, Any]


class Ledger:
    """The consortium's ledger as one institution sees it.

    Parameters
    ----------
    transactor : Transactor
        A gateway contract, or the in-memory ledger.
    """

    def __init__(self, transactor: Transactor) -> None:
        self._transactor = transactor

    def publish(self, spec: specs.TaskSpec, app_digest: str, layout: tuple[Tensor, ...], model: bytes) -> Receipt:
        """Publish a task with its initial model (little-endian int64)."""
        listed = canonical.dumps([{"name": tensor.name, "shape": list(tensor.shape)} for tensor in layout]).decode()
        return self._submit("TaskContract:Publish", specs.to_json(spec), app_digest, listed, transient={"model": model})

    def apply(self, task: str, app_digest: str, statistics: Mapping[str, Any] | None = None) -> Receipt:
        """Apply as a trainer, with the sums of each column that the task asks for."""
        return self._submit("TaskContract:Apply", task, app_digest, canonical.dumps(statistics or {}).decode())

    def open(self, task: str) -> Receipt:
        """Open the next round."""
        return self._submit("TaskContract:Open", task)

    def submit(self, task: str, number: int, weight: int, update: bytes) -> Receipt:
        """Submit an update, as ``codec.update_bytes`` packed it."""
        return self._submit(
            "RoundContract:Submit", task, str(number), str(weight), codec.digest(update), transient={"update": update}
        )

    def close(self, task: str, number: int) -> Receipt:
        """Close a round."""
        return self._submit("RoundContract:Close", task, str(number))

    def report(self, task: str, number: int, model: str, counts: Any) -> Receipt:
        """Report the new model's hash and what was counted on held-back rows, as the task's rule of metrics has it."""
        counted = canonical.dumps(to_record(counts)).decode()
        return self._submit("RoundContract:Report", task, str(number), model, counted)

    def finish(self, task: str, model: bytes) -> Receipt:
        """Register the final model."""
        return self._submit("TaskContract:Finish", task, transient={"model": model})

    def cancel(self, task: str, reason: str) -> Receipt:
        """Cancel a task."""
        return self._submit("TaskContract:Cancel", task, reason)

    def decline(self, task: str, reason: str) -> Receipt:
        """Say that the institution will not apply."""
        return self._submit("TaskContract:Decline", task, reason)

    def leave_task(self, task: str, reason: str) -> Receipt:
        """Leave a task: withdraw the application, or take no part in later rounds."""
        return self._submit("TaskContract:Leave", task, reason)

    def applications(self, task: str) -> Iterator[dict[str, Any]]:
        """Read the records of those who applied to a task, page by page."""
        return self._pages("TaskContract:Applications", task)

    def departures(self, task: str) -> Iterator[dict[str, Any]]:
        """Read the records of those who declined a task or left it, page by page."""
        return self._pages("TaskContract:Departures", task)

    def add_app(self, name: str, archive: bytes) -> Receipt:
        """Add an app."""
        return self._submit("AppContract:Add", codec.digest(archive), name, transient={"archive": archive})

    def approve_app(self, digest: str) -> Receipt:
        """Record that the institution approves an app."""
        return self._submit("AppContract:Approve", digest)

    def withdraw_app(self, digest: str) -> Receipt:
        """Take the institution's approval of an app back."""
        return self._submit("AppContract:Withdraw", digest)

    def apps(self) -> Iterator[dict[str, Any]]:
        """Read the records of all apps that were added, page by page."""
        return self._pages("AppContract:List")

    def app_approvals(self) -> Iterator[dict[str, Any]]:
        """Read the records of all approvals of apps, page by page."""
        return self._pages("AppContract:Approvals")

    def app(self, digest: str) -> dict[str, Any]:
        """Read ``app`` (None when it was not added) and ``approvals`` of an app."""
        record: dict[str, Any] = self._evaluate("AppContract:Get", digest)
        return record

    def app_bytes(self, digest: str) -> bytes:
        """Read an app's archive from the own peer and check its digest (``BEFL-M-007``)."""
        return self._checked(digest, "AppContract:Bytes", digest)

    def register(self) -> Receipt:
        """Register the institution as a member."""
        return self._submit("MemberContract:Register")

    def leave(self) -> Receipt:
        """Give up every role of the institution."""
        return self._submit("MemberContract:Leave")

    def approve_roles(self, msp_id: str, roles: Iterable[str]) -> Receipt:
        """Approve that an institution shall have these roles."""
        return self._submit("MemberContract:Approve", msp_id, canonical.dumps(list(roles)).decode())

    def assign_roles(self, msp_id: str, roles: Iterable[str]) -> Receipt:
        """Give an institution the roles that a majority has approved."""
        return self._submit("MemberContract:Assign", msp_id, canonical.dumps(list(roles)).decode())

    def announce(self, endpoint: str, key: str) -> Receipt:
        """Say where the institution's agent is found and which public key it has."""
        return self._submit("MemberContract:Announce", endpoint, key)

    def approve_parameters(self, parameters: Parameters) -> Receipt:
        """Approve the parameters of the next version."""
        return self._submit("ParameterContract:Approve", to_json(parameters))

    def assign_parameters(self, parameters: Parameters) -> Receipt:
        """Put approved parameters in force."""
        return self._submit("ParameterContract:Assign", to_json(parameters))

    def members(self) -> Iterator[dict[str, Any]]:
        """Read the records of all members, page by page."""
        return self._pages("MemberContract:List")

    def agents(self) -> Iterator[dict[str, Any]]:
        """Read the records of all agents, page by page."""
        return self._pages("MemberContract:Agents")

    def member(self, msp_id: str) -> dict[str, Any]:
        """Read ``member``, ``agent`` and the ``approvals`` that wait about an institution."""
        record: dict[str, Any] = self._evaluate("MemberContract:Get", msp_id)
        return record

    def parameters(self) -> dict[str, Any]:
        """Read the ``current`` record of parameters and the ``approvals`` that wait."""
        record: dict[str, Any] = self._evaluate("ParameterContract:Get")
        return record

    def parameter_versions(self) -> Iterator[dict[str, Any]]:
        """Read the records of all versions of the parameters but the defaults, page by page."""
        return self._pages("ParameterContract:List")

    def view(self, task: str) -> TaskView:
        """Read a task with its current round.

        Raises
        ------
        BeflError
            ``BEFL-T-001`` for a task of a newer release, with rules or in a form that this one does not know: to work
            on what one understands of it would cost the others their rounds.
        """
        found = self._evaluate("TaskContract:View", task)
        record = found["task"]
        hint = "Install the release of befl that the consortium runs."
        if record["v"] != RECORD:
            said = f"the record of task {task} has version {record['v']}, this release reads {RECORD}"
            raise BeflError("BEFL-T-001", said, hint)
        if unknown := specs.unknown_rules(record["rules"]):
            raise BeflError("BEFL-T-001", f"this release has no {', '.join(unknown)}, which task {task} fixes", hint)
        return views.from_record(found)

    def tasks(self) -> Iterator[dict[str, Any]]:
        """Read the records of all tasks, page by page."""
        return self._pages("TaskContract:List")

    def rounds(self, task: str) -> Iterator[dict[str, Any]]:
        """Read the records of a task's rounds, page by page."""
        return self._pages("RoundContract:List", task)

    def round(self, task: str, number: int) -> dict[str, Any]:
        """Read a round: ``round``, ``updates`` and ``reports`` (records by MSP ID)."""
        record: dict[str, Any] = self._evaluate("RoundContract:Get", task, str(number))
        return record

    def update(self, task: str, number: int, msp_id: str, digest: str) -> bytes:
        """Read an update's bytes from the own peer and check their digest (``BEFL-M-007``)."""
        return self._checked(digest, "RoundContract:Update", task, str(number), msp_id)

    def models(self) -> Iterator[dict[str, Any]]:
        """Read the records of all final models, page by page."""
        return self._pages("ModelContract:List")

    def model(self, task: str) -> dict[str, Any]:
        """Read the record of a task's final model."""
        record: dict[str, Any] = self._evaluate("ModelContract:Get", task)
        return record

    def model_bytes(self, task: str, number: int, digest: str) -> bytes:
        """Read a stored model's bytes from the own peer and check their digest (``BEFL-M-007``)."""
        return self._checked(digest, "ModelContract:Bytes", task, str(number))

    def _checked(self, digest: str, function: str, *args: str) -> bytes:
        data = self._transactor.evaluate(function, *args)
        if codec.digest(data) != digest:
            raise BeflError(
                "BEFL-M-007",
                f"{function} {' '.join(args)}: the peer gave bytes with SHA-256 {codec.digest(data)[:16]}, "
                f"the ledger says {digest[:16]}",
            )
        return data

    def _pages(self, function: str, *args: str) -> Iterator[dict[str, Any]]:
        bookmark = ""
        while True:
            page = self._evaluate(function, *args, _PAGE, bookmark)
            yield from page["records"]
            bookmark = page["bookmark"]
            if not bookmark:
                return

    def _evaluate(self, function: str, *args: str) -> Any:
        return json.loads(self._transactor.evaluate(function, *args))

    def _submit(self, function: str, *args: str, transient: Mapping[str, bytes] | None = None) -> Receipt:
        committed = self._transactor.submit(function, *args, transient=transient)
        return Receipt(committed.txid, committed.block, json.loads(committed.result))
