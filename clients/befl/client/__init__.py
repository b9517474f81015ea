"""The public Python API: what the command line prints, as typed values.

>>> from befl import client                                         # doctest: +SKIP
>>> with client.connect(network="network", identity="org1") as consortium:
...     for task in consortium.tasks.list():
...         print(task.id, task.name, task.state)
"""

from __future__ import annotations

from befl.client.connection import Client, connect
from befl.client.models import Models, Verdict, verify_folder
from befl.client.tasks import Applied, Published, RoundSummary, Tasks, TaskSummary

__all__ = [
    "Applied",
    "Client",
    "Models",
    "Published",
    "RoundSummary",
    "TaskSummary",
    "Tasks",
    "Verdict",
    "connect",
    "verify_folder",
]
