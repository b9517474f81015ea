"""The public API: its names, that each says what it is, and that it comes quickly and without torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

import befl.client

NAMES = [
    "Agent",
    "App",
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
    "Models",
    "Page",
    "Published",
    "Receipt",
    "Replay",
    "RoundSummary",
    "Simulation",
    "TaskSummary",
    "Tasks",
    "Verdict",
    "approve_app",
    "apps",
    "check_data",
    "connect",
    "connect_operator",
    "find_app",
    "init",
    "pack_app",
    "replay_files",
    "run_agent",
    "simulate",
    "verify_folder",
    "withdraw_app",
]


def test_the_names_that_others_rely_on():
    """A name that goes or comes is a decision: semantic versions cover them."""
    assert sorted(befl.client.__all__) == NAMES


def test_each_says_what_it_is():
    for name in NAMES:
        assert len(inspect.getdoc(getattr(befl.client, name)) or "") > 20, name


def test_neither_torch_nor_the_network_comes_along():
    program = "import sys, befl.client; print({'torch', 'mlflow', 'befl.network'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
