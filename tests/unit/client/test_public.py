"""The public API: its names, that each says what it is, and that it comes quickly and without torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

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
    "Client",
    "ColumnReport",
    "ConsortiumParameters",
    "DataReport",
    "Departure",
    "Entry",
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
    "RoundSummary",
    "Setting",
    "Simulation",
    "Steps",
    "TaskStatus",
    "TaskSummary",
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


def test_names_bring_what_they_need_and_no_more():
    """The package itself next to nothing; a connection neither torch nor what builds networks; a model no gRPC."""
    program = (
        "import sys\n"
        "def brought(*names): return sorted(set(names) & set(sys.modules))\n"
        "import befl.client\n"
        "print(brought('torch', 'numpy', 'grpc'))\n"
        "befl.client.load_model\n"
        "print(brought('torch', 'grpc'))\n"
        "for name in befl.client.__all__: getattr(befl.client, name)\n"
        "print(brought('torch', 'mlflow', 'befl.network'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"] * 3
