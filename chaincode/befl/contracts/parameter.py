"""``ParameterContract``: the parameters of the consortium, one record a version."""

from __future__ import annotations

from typing import Any, Final

from befl.contracts import approval
from befl.contracts.context import Context, Transaction, number_key
from befl.rules import canonical, reader
from befl.rules.parameters import Parameters, from_json, read_parameters, to_json

_CURRENT: Final = "current"


def approve(context: Context, parameters: str) -> bytes:
    """Approve, for the caller's institution, the parameters of the next version."""
    context.require("member", context.caller.msp_id)
    version = _current(context)["version"] + 1
    approval.approve(context, _subject(version), to_json(from_json(parameters)))
    context.announce("Approve", "")
    return canonical.dumps({"version": version})


def assign(context: Context, parameters: str) -> bytes:
    """Put the parameters in force that a majority of the members has approved, as the next version."""
    context.require("member", context.caller.msp_id)
    wanted = from_json(parameters)
    version = _current(context)["version"] + 1
    agreed = approval.carry_out(context, _subject(version), to_json(wanted))
    record = {
        "approved_by": agreed,
        "assigned_ms": context.now_ms,
        "kind": "parameters",
        "parameters": reader.to_record(wanted),
        "v": 1,
        "version": version,
    }
    context.write(record, _CURRENT)
    context.write({**record, "kind": "parameters_version"}, number_key(version))
    context.announce("Assign", "")
    return canonical.dumps({"approved_by": agreed, "version": version})


def get_parameters(context: Context) -> bytes:
    """Answer the parameters in force, and the approvals that wait for the next version."""
    current = _current(context)
    waiting = list(context.read_below("approval", _subject(current["version"] + 1)))
    return canonical.dumps({"approvals": waiting, "current": current})


def list_parameters(context: Context, page_size: str, bookmark: str) -> bytes:
    """Answer a page of all versions that were ever in force but the defaults."""
    return context.page("parameters_version", (), page_size, bookmark)


def in_force(context: Context) -> tuple[int, Parameters]:
    """Return version and parameters in force."""
    current = _current(context)
    return current["version"], read_parameters(current["parameters"])


def _current(context: Context) -> dict[str, Any]:
    defaults = {"kind": "parameters", "parameters": reader.to_record(Parameters()), "v": 1, "version": 0}
    return context.read("parameters", _CURRENT) or defaults


def _subject(version: int) -> str:
    return f"parameters:{version}"


TRANSACTIONS: Final = {
    "Approve": Transaction(approve, ("parameters",), role="operator"),
    "Assign": Transaction(assign, ("parameters",), role="operator"),
    "Get": Transaction(get_parameters, ()),
    "List": Transaction(list_parameters, ("page_size", "bookmark")),
}
