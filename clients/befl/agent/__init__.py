"""The institution's daemon: watch the ledger, decide, act.

An agent keeps no truth of its own. It reads a task's view from its own peer, asks the pure function ``next_step`` what
is next, does it, and reads again; killing it at any moment costs time and nothing else.
"""

from __future__ import annotations

from befl.agent.config import AgentConfig
from befl.agent.daemon import Agent
from befl.agent.ledger import Ledger, Transactor

__all__ = ["Agent", "AgentConfig", "Ledger", "Transactor"]
