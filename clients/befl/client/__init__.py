"""The public Python API: what the command line prints, as typed values.

>>> from befl import client                                         # doctest: +SKIP
>>> with client.connect(network="network", identity="org1") as consortium:
...     for task in consortium.tasks.list():
...         print(task.id, task.name, task.state)
"""

from __future__ import annotations

from befl.agent.ledger import Receipt
from befl.agent.start import serve as run_agent
from befl.client.apps import App, Approval, Apps, approve_app, apps, find_app, pack_app, withdraw_app
from befl.client.audit import Audit, Entry, Page, Replay, replay_files
from befl.client.connection import Client, connect, connect_operator
from befl.client.data import ColumnReport, DataReport, check_data
from befl.client.members import Agent, ConsortiumParameters, InForce, Member, Members
from befl.client.models import Models, Verdict, verify_folder
from befl.client.simulation import Simulation, simulate
from befl.client.starting import init
from befl.client.tasks import Applied, Departure, Published, RoundSummary, Tasks, TaskSummary

__all__ = [
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
