"""The public API: its names, that each says what it is, and that it comes quickly and without torch."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import befl.client

NAMES = [
    "Agent",
    "AgentStatus",
    "App",
    "AppCode",
    "Applied",
    "Approval",
    "Apps",
    "Audit",
    "Change",
    "Client",
    "ColumnReport",
    "ConsortiumParameters",
    "DataReport",
    "Departure",
    "Entry",
    "FinalModel",
    "InForce",
    "Member",
    "Members",
    "Model",
    "Models",
    "Page",
    "ParametersVersion",
    "Predictions",
    "Published",
    "Receipt",
    "Refusal",
    "Replay",
    "RoundRecords",
    "RoundSummary",
    "Setting",
    "Simulation",
    "Steps",
    "TaskStatus",
    "TaskSummary",
    "TaskView",
    "Tasks",
    "Verdict",
    "Waiting",
    "agent_settings",
    "agent_status",
    "approve_app",
    "approved_apps",
    "apps",
    "check_data",
    "connect",
    "connect_operator",
    "connection_settings",
    "export_model",
    "find_app",
    "init",
    "load_model",
    "pack_app",
    "read_app",
    "replay_files",
    "run_agent",
    "simulate",
    "verify_folder",
    "waiting",
    "withdraw_app",
]


def test_the_names_that_others_rely_on():
    """A name that goes or comes is a decision: semantic versions cover them."""
    assert sorted(befl.client.__all__) == NAMES


def test_each_says_what_it_is():
    for name in NAMES:
        assert len(inspect.getdoc(getattr(befl.client, name)) or "") > 20, name


def typed(hint: object) -> bool:
    """Say whether a hint is a dataclass, str, Path, int, bool or None, or a sequence or iterator of such."""
    if hint in (str, Path, int, bool, type(None)) or dataclasses.is_dataclass(hint):
        return True
    several = typing.get_origin(hint) in (Sequence, Iterator, types.UnionType)
    return several and all(map(typed, typing.get_args(hint)))


def test_what_a_client_gives_is_typed():
    """Dictionaries stand as fields where a record of the ledger has them, and are no answer by themselves."""
    public = {name: getattr(befl.client, name) for name in NAMES}
    wrong = []
    for part in ("Tasks", "Apps", "Models", "Members", "ConsortiumParameters", "Audit"):
        found = inspect.getmembers(public[part], inspect.isfunction)
        methods = [method for name, method in found if not name.startswith("_")]
        assert methods
        for method in methods:
            hints = typing.get_type_hints(method, vars(sys.modules[method.__module__]) | public)
            if not typed(hints["return"]):
                wrong.append(f"{method.__qualname__} -> {hints['return']}")
    assert wrong == []
    assert not typed(dict[str, int])
    assert not typed(list[dict[str, int]])


def test_names_bring_what_they_need_and_no_more():
    """The package itself next to nothing; a connection neither torch nor what audits, serves or builds networks; a
    model no gRPC."""
    program = (
        "import sys\n"
        "def brought(*names): return sorted(set(names) & set(sys.modules))\n"
        "import befl.client\n"
        "print(brought('torch', 'numpy', 'grpc'))\n"
        "befl.client.load_model\n"
        "print(brought('torch', 'grpc'))\n"
        "from befl.client import connect\n"
        "late = 'grpc', 'befl.audit.replay', 'befl.ledger', 'befl.agent.daemon', 'http.server'\n"
        "print(brought('torch', *late))\n"
        "for name in befl.client.__all__: getattr(befl.client, name)\n"
        "print(brought('torch', 'mlflow', 'befl.network'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"] * 4
