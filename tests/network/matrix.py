"""The authorisation matrix as data: who may ask for which transaction when, and what must come of everything else.

An outcome is ``OK``, or an error's code without ``BEFL-``. A row that has no meaning says why instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

OK: Final = "OK"
UNKNOWN: Final = "f" * 16
EVERY_ROLE: Final = '["auditor","issuer","trainer","validator"]'
OTHER_PARAMETERS: Final = '{"least_trainers":2}'


@dataclass(frozen=True)
class Cell:
    """One state in which a transaction is asked for, and the outcome for the institution whose turn it is and another.

    The arguments are those that would do in that state, but for ``changes``.
    """

    stage: str
    right: str
    other: str
    changes: Mapping[str, str]


def at(stage: str, right: str, other: str | None = None, **changes: str) -> tuple[Cell]:
    return (Cell(stage, right, right if other is None else other, changes),)


Row = tuple[Cell, ...] | str

# --- states: the transactions that lead there, by the institution whose turn it is unless another is named -----------

_ROAD: Final = (
    *("TaskContract:Publish", "TaskContract:Apply", "TaskContract:Open"),
    *("RoundContract:Submit", "RoundContract:Close", "RoundContract:Report", "TaskContract:Open"),
    *("RoundContract:Submit", "RoundContract:Close", "RoundContract:Report", "TaskContract:Finish"),
)
STAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "nothing": (),
    "published": _ROAD[:1],
    "declined": (*_ROAD[:1], "TaskContract:Decline"),
    "waiting": _ROAD[:2],  # for a second applicant
    "applied": _ROAD[:2],
    "open": _ROAD[:3],
    "brief": _ROAD[:3],  # its deadline is over soon
    "left": (*_ROAD[:3], "TaskContract:Leave"),
    "updated": _ROAD[:4],
    "closed": _ROAD[:5],
    "reported": _ROAD[:6],
    "last": _ROAD[:10],
    "finished": _ROAD,
    "cancelled": (*_ROAD[:3], "TaskContract:Cancel"),
    "new app": (),
    "added": ("AppContract:Add",),
    "approved": ("AppContract:Add", "AppContract:Approve"),
    "withdrawn": ("AppContract:Add", "AppContract:Approve", "AppContract:Withdraw"),
    "decided": (
        *("MemberContract:Approve", "org2 MemberContract:Approve"),
        *("ParameterContract:Approve", "org2 ParameterContract:Approve"),
    ),
}
SPECIFICATION: Final[Mapping[str, Mapping[str, object]]] = {
    "waiting": {"participants": {"institutions": ["Org1MSP", "Org2MSP"], "least": 2, "most": 2, "fetch": "trainers"}},
    "brief": {"rounds": {"count": 2, "deadline": "3s"}},
}
"""How the task of a state differs from the others', which invite Org1MSP alone."""

# --- rows -----------------------------------------------------------------------------------------------------------

_ALONE: Final = "each publication is a task of its own"
_ALWAYS: Final = "possible from the publication on"
_ASKED: Final = "a question: as often as one likes"
_NO_END: Final = "nothing ends it"
_NO_PHASE: Final = "belongs to no phase"
_NO_TASK: Final = "names no task"
_NO_ROUND: Final = "names no round"
SHAPES: Final = ("fresh", "early", "late", "twice", "wrong task", "wrong round")


def _row(
    fresh: Row, early: Row, late: Row, twice: Row, task: Row = _NO_TASK, number: Row = _NO_ROUND
) -> dict[str, Row]:
    return dict(zip(SHAPES, (fresh, early, late, twice, task, number), strict=True))


def _query(fresh: Row, early: Row = _NO_PHASE, task: Row = _NO_TASK, number: Row = _NO_ROUND) -> dict[str, Row]:
    return _row(fresh, early, _NO_END, _ASKED, task, number)


def _lost(stage: str) -> tuple[Cell]:
    return at(stage, "T-007", task=UNKNOWN)


TABLE: Final[Mapping[str, Mapping[str, Row]]] = {
    "TaskContract:Publish": _row(at("nothing", OK), _ALONE, _ALONE, _ALONE),
    "TaskContract:Apply": _row(
        at("published", OK, "A-003"),
        _ALWAYS,
        at("open", "T-002") + at("cancelled", "T-002"),
        at("applied", "T-003", "A-003"),
        _lost("published"),
    ),
    "TaskContract:Decline": _row(
        at("published", OK, "A-003"),
        _ALWAYS,
        at("open", "T-002") + at("applied", "T-003", "A-003"),
        at("declined", "T-003", "A-003"),
        _lost("published"),
    ),
    "TaskContract:Leave": _row(
        at("open", OK, "A-002"),
        at("published", "A-002"),
        at("finished", "T-002"),
        at("left", "T-003", "A-002"),
        _lost("open"),
    ),
    "TaskContract:Open": _row(
        at("applied", OK, "A-002"),
        at("waiting", "T-005", "A-002") + at("closed", "T-005", "A-002"),
        at("last", "T-002", "A-002") + at("finished", "T-002"),
        at("open", "T-002", "A-002"),
        _lost("applied"),
    ),
    "TaskContract:Finish": _row(
        at("last", OK, "A-002"),
        at("applied", "T-002") + at("reported", "T-005", "A-002"),
        at("cancelled", "T-002"),
        at("finished", "T-002"),
        _lost("last"),
    ),
    "TaskContract:Cancel": _row(
        at("open", OK, "A-004"), _ALWAYS, at("finished", "T-002"), at("cancelled", "T-002"), _lost("open")
    ),
    "TaskContract:View": _query(at("open", OK), task=_lost("open")),
    "TaskContract:List": _query(at("nothing", OK)),
    "TaskContract:Applications": _query(at("applied", OK), task=at("applied", OK, task=UNKNOWN)),
    "TaskContract:Departures": _query(at("left", OK), task=at("left", OK, task=UNKNOWN)),
    "RoundContract:Submit": _row(
        at("open", OK, "A-002"),
        at("applied", "T-002"),
        at("brief", "T-006", "A-002") + at("closed", "T-002", "A-002"),
        at("updated", "T-003", "A-002"),
        _lost("open"),
        at("open", "T-004", "A-002", round="2"),
    ),
    "RoundContract:Close": _row(
        at("updated", OK, "A-002"),
        at("applied", "T-002") + at("open", "T-005", "A-002"),
        at("finished", "T-002"),
        at("closed", "T-002", "A-002"),
        _lost("updated"),
        at("updated", "T-004", "A-002", round="2"),
    ),
    "RoundContract:Report": _row(
        at("closed", OK, "A-002"),
        at("updated", "T-002", "A-002"),
        at("finished", "T-002"),
        at("reported", "T-003", "A-002"),
        _lost("closed"),
        at("closed", "T-004", "A-002", round="2"),
    ),
    "RoundContract:Get": _query(
        at("closed", OK), at("applied", "T-007"), _lost("closed"), at("closed", "T-007", round="2")
    ),
    "RoundContract:List": _query(at("closed", OK), at("applied", OK), at("closed", OK, task=UNKNOWN)),
    "RoundContract:Update": _query(
        at("updated", OK, "A-008"),
        at("open", "T-007", "A-008"),
        _lost("updated"),
        at("updated", "T-007", "A-008", round="2"),
    ),
    "ModelContract:Get": _query(at("finished", OK), at("last", "T-007"), _lost("finished")),
    "ModelContract:List": _query(at("nothing", OK)),
    "ModelContract:Bytes": _query(
        at("finished", OK, "A-008"),
        at("last", "T-007", "A-008"),
        _lost("finished"),
        at("finished", "T-007", "A-008", round="1"),
    ),
    "AppContract:Add": _row(at("new app", OK), _NO_PHASE, _NO_END, at("added", "T-003")),
    "AppContract:Approve": _row(at("added", OK), at("new app", OK), _NO_END, at("approved", "T-003", OK)),
    "AppContract:Withdraw": _row(at("approved", OK, "T-007"), at("added", "T-007"), _NO_END, at("withdrawn", "T-007")),
    "AppContract:Get": _query(at("added", OK), at("new app", "T-007")),
    "AppContract:List": _query(at("nothing", OK)),
    "AppContract:Approvals": _query(at("nothing", OK)),
    "AppContract:Bytes": _query(at("added", OK), at("new app", "T-007")),
    "MemberContract:Register": _row(at("nothing", "T-003"), _NO_PHASE, _NO_END, "the members' fresh one is the second"),
    "MemberContract:Leave": _row(at("nothing", OK), _NO_PHASE, _NO_END, "who has no role left gives up none"),
    "MemberContract:Approve": _row(
        at("decided", OK), at("decided", "T-007", msp_id="Org3MSP"), _NO_END, "a later approval replaces it"
    ),
    "MemberContract:Assign": _row(
        at("decided", OK), at("decided", "A-007", roles='["trainer"]'), _NO_END, "its approvals are used up: too early"
    ),
    "MemberContract:Announce": _row(at("nothing", OK), _NO_PHASE, _NO_END, "a later announcement replaces it"),
    "MemberContract:Get": _query(at("nothing", OK), at("nothing", "T-007", msp_id="Org3MSP")),
    "MemberContract:List": _query(at("nothing", OK)),
    "MemberContract:Agents": _query(at("nothing", OK)),
    "ParameterContract:Approve": _row(at("decided", OK), _NO_PHASE, _NO_END, "a later approval replaces it"),
    "ParameterContract:Assign": _row(
        at("decided", OK), at("decided", "A-007", parameters=OTHER_PARAMETERS), _NO_END, "its approvals are used up"
    ),
    "ParameterContract:Get": _query(at("nothing", OK)),
    "ParameterContract:List": _query(at("nothing", OK)),
}

STRANGER: Final[Mapping[str, str]] = {
    "MemberContract:Register": OK,
    "MemberContract:Leave": "T-007",
    "MemberContract:Approve": "T-007",
    "MemberContract:Assign": "T-007",
    "ParameterContract:Approve": "T-007",
    "ParameterContract:Assign": "T-007",
}
"""What an operator meets whose institution has not registered; about apps it speaks like any other."""

# --- arguments that are none ----------------------------------------------------------------------------------------

MALFORMED: Final[Mapping[str, tuple[str, str]]] = {
    "app_digest": ("x", "T-008"),
    "bookmark": ("zzz", "T-008"),
    "counts": ("{", "C-001"),
    "digest": ("x", "T-008"),
    "endpoint": ("https://alpha.example/", "T-008"),
    "key": ("x", "T-008"),
    "layout": ("w", "C-001"),
    "model": ("x", "T-008"),
    "msp_id": ("a\0b", "C-004"),
    "name": ("../forest", "C-004"),
    "page_size": ("0", "T-008"),
    "parameters": ("{", "C-001"),
    "reason": ("", "T-008"),
    "roles": ("{", "C-001"),
    "round": ("01", "T-008"),
    "spec": ("{ }", "C-001"),
    "statistics": ("{", "C-001"),
    "task": ("../task", "T-007"),
    "weight": ("-1", "T-008"),
}
"""By argument: a value that is none, and the code for it."""
OTHERWISE: Final[Mapping[tuple[str, str], str]] = {
    ("TaskContract:Apply", "app_digest"): "T-009",
    ("RoundContract:Submit", "digest"): "M-007",
    ("RoundContract:Update", "msp_id"): "G-018",
}
LATE: Final = frozenset(
    {
        ("TaskContract:Apply", "app_digest"),
        ("TaskContract:Apply", "statistics"),
        ("TaskContract:Decline", "reason"),
        ("TaskContract:Leave", "reason"),
        ("TaskContract:Cancel", "reason"),
        ("RoundContract:Submit", "digest"),
        ("RoundContract:Report", "model"),
        ("RoundContract:Report", "counts"),
        ("RoundContract:Update", "msp_id"),
    }
)
"""Arguments that are looked at only when the caller is found to be the right one."""
TRANSIENT: Final[Mapping[str, str]] = {
    "TaskContract:Publish": "M-001",
    "TaskContract:Finish": "M-007",
    "RoundContract:Submit": "M-007",
    "AppContract:Add": "M-007",
}
"""By transaction: the code for other bytes than those that belong to it, be they few or many."""

# --- callers --------------------------------------------------------------------------------------------------------

CALLERS: Final[Mapping[str, str]] = {
    "right role": "org1",
    "wrong role": "org1",
    "no attribute": "org1",
    "other institution": "org2",
    "not registered": "org3",
    "revoked": "org1",
    "expired": "org1",
    "unknown CA": "org1",
}
REFUSED_BY_PEER: Final[Mapping[str, str]] = {"revoked": "G-030", "expired": "G-025", "unknown CA": "G-030"}
"""Whom no peer lets as far as the chaincode, whatever is asked."""

# --- endorsed in time, ordered later --------------------------------------------------------------------------------

HELD: Final[Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "TaskContract:Publish": (("decided", ("ParameterContract:Assign",)),),
    "TaskContract:Apply": (("published", ("TaskContract:Cancel",)), ("published", ("TaskContract:Apply",))),
    "TaskContract:Decline": (("published", ("TaskContract:Cancel",)), ("published", ("TaskContract:Apply",))),
    "TaskContract:Leave": (("applied", ("TaskContract:Open",)), ("open", ("TaskContract:Cancel",))),
    "TaskContract:Open": (("applied", ("TaskContract:Open",)), ("reported", ("TaskContract:Cancel",))),
    "TaskContract:Finish": (("last", ("TaskContract:Finish",)), ("last", ("TaskContract:Cancel",))),
    "TaskContract:Cancel": (("last", ("TaskContract:Finish",)), ("reported", ("TaskContract:Open",))),
    "RoundContract:Submit": (
        ("brief", ("RoundContract:Close",)),  # its deadline has passed: void, and nobody's update is in it
        ("open", ("RoundContract:Submit", "RoundContract:Close")),
        ("open", ("TaskContract:Cancel",)),
    ),
    "RoundContract:Close": (("updated", ("RoundContract:Close",)), ("updated", ("TaskContract:Cancel",))),
    "RoundContract:Report": (
        ("closed", ("RoundContract:Report", "TaskContract:Open")),
        ("closed", ("TaskContract:Cancel",)),
    ),
    "AppContract:Add": (("new app", ("AppContract:Add",)),),
    "AppContract:Approve": (("added", ("AppContract:Approve",)),),
    "AppContract:Withdraw": (("approved", ("AppContract:Withdraw",)),),
    "MemberContract:Register": (("nothing", ("org3 MemberContract:Register",)),),
    "MemberContract:Leave": (("decided", ("MemberContract:Assign",)),),
    "MemberContract:Approve": (("decided", ("MemberContract:Approve",)), ("decided", ("MemberContract:Assign",))),
    "MemberContract:Assign": (("decided", ("MemberContract:Assign",)),),
    "MemberContract:Announce": (("nothing", ("MemberContract:Announce",)), ("decided", ("MemberContract:Assign",))),
    "ParameterContract:Approve": (
        ("decided", ("ParameterContract:Approve",)),
        ("decided", ("ParameterContract:Assign",)),
    ),
    "ParameterContract:Assign": (("decided", ("ParameterContract:Assign",)),),
}
"""By transaction: the state in which it is endorsed, and what is committed before it is ordered; it is then invalid."""
