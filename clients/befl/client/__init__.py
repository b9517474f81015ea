"""The public Python API: what the command line prints, as typed values.

>>> from befl import client                                         # doctest: +SKIP
>>> with client.connect(network="network", identity="org1") as consortium:
...     for task in consortium.tasks.list():
...         print(task.id, task.name, task.state)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from befl import lazy

if TYPE_CHECKING:
    from befl.agent.ledger import Receipt as Receipt
    from befl.agent.start import run_agent as run_agent
    from befl.audit.query import Entry as Entry
    from befl.audit.query import Page as Page
    from befl.audit.replay import Replay as Replay
    from befl.client.agents import AgentStatus as AgentStatus
    from befl.client.agents import TaskStatus as TaskStatus
    from befl.client.agents import Waiting as Waiting
    from befl.client.agents import agent_status as agent_status
    from befl.client.agents import waiting as waiting
    from befl.client.approvals import App as App
    from befl.client.approvals import Approval as Approval
    from befl.client.approvals import Apps as Apps
    from befl.client.approvals import approve_app as approve_app
    from befl.client.approvals import approved_apps as approved_apps
    from befl.client.approvals import apps as apps
    from befl.client.approvals import find_app as find_app
    from befl.client.approvals import pack_app as pack_app
    from befl.client.approvals import withdraw_app as withdraw_app
    from befl.client.audit import Audit as Audit
    from befl.client.audit import replay_files as replay_files
    from befl.client.configuration import Setting as Setting
    from befl.client.configuration import agent_settings as agent_settings
    from befl.client.configuration import connection_settings as connection_settings
    from befl.client.connection import Client as Client
    from befl.client.connection import connect as connect
    from befl.client.connection import connect_operator as connect_operator
    from befl.client.data import ColumnReport as ColumnReport
    from befl.client.data import DataReport as DataReport
    from befl.client.data import check_data as check_data
    from befl.client.members import Agent as Agent
    from befl.client.members import ConsortiumParameters as ConsortiumParameters
    from befl.client.members import InForce as InForce
    from befl.client.members import Member as Member
    from befl.client.members import Members as Members
    from befl.client.members import ParametersVersion as ParametersVersion
    from befl.client.models import FinalModel as FinalModel
    from befl.client.models import Models as Models
    from befl.client.models import Verdict as Verdict
    from befl.client.models import verify_folder as verify_folder
    from befl.client.prediction import AppCode as AppCode
    from befl.client.prediction import Model as Model
    from befl.client.prediction import Predictions as Predictions
    from befl.client.prediction import export_model as export_model
    from befl.client.prediction import load_model as load_model
    from befl.client.prediction import read_app as read_app
    from befl.client.simulation import Simulation as Simulation
    from befl.client.simulation import simulate as simulate
    from befl.client.starting import init as init
    from befl.client.tasks import Applied as Applied
    from befl.client.tasks import Change as Change
    from befl.client.tasks import Departure as Departure
    from befl.client.tasks import Published as Published
    from befl.client.tasks import Refusal as Refusal
    from befl.client.tasks import RoundRecords as RoundRecords
    from befl.client.tasks import RoundSummary as RoundSummary
    from befl.client.tasks import Steps as Steps
    from befl.client.tasks import Tasks as Tasks
    from befl.client.tasks import TaskSummary as TaskSummary
    from befl.rules.view import TaskView as TaskView

# on first use: who reads a model folder needs no gRPC, who lists tasks no numpy
__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "agent.ledger": ("Receipt",),
        "agent.start": ("run_agent",),
        "audit.query": ("Entry", "Page"),
        "audit.replay": ("Replay",),
        "client.agents": ("AgentStatus", "TaskStatus", "Waiting", "agent_status", "waiting"),
        "client.approvals": (
            "App",
            "Approval",
            "Apps",
            "approve_app",
            "approved_apps",
            "apps",
            "find_app",
            "pack_app",
            "withdraw_app",
        ),
        "client.audit": ("Audit", "replay_files"),
        "client.configuration": ("Setting", "agent_settings", "connection_settings"),
        "client.connection": ("Client", "connect", "connect_operator"),
        "client.data": ("ColumnReport", "DataReport", "check_data"),
        "client.members": ("Agent", "ConsortiumParameters", "InForce", "Member", "Members", "ParametersVersion"),
        "client.models": ("FinalModel", "Models", "Verdict", "verify_folder"),
        "client.prediction": ("AppCode", "Model", "Predictions", "export_model", "load_model", "read_app"),
        "client.simulation": ("Simulation", "simulate"),
        "client.starting": ("init",),
        "client.tasks": (
            "Applied",
            "Change",
            "Departure",
            "Published",
            "Refusal",
            "RoundRecords",
            "RoundSummary",
            "Steps",
            "Tasks",
            "TaskSummary",
        ),
        "rules.view": ("TaskView",),
    },
)
