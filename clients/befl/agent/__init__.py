"""The institution's daemon: watch the ledger, decide, act.

An agent keeps no truth of its own. It reads a task's view from its own peer, asks the pure function ``next_step`` what
is next, does it, and reads again; killing it at any moment costs time and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from befl import lazy

if TYPE_CHECKING:
    from befl.agent.config import AgentConfig as AgentConfig
    from befl.agent.daemon import Agent as Agent
    from befl.agent.ledger import Ledger as Ledger
    from befl.agent.ledger import Transactor as Transactor

# on first use: who reads the ledger (befl.client) needs no daemon
__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {"agent.config": ("AgentConfig",), "agent.daemon": ("Agent",), "agent.ledger": ("Ledger", "Transactor")},
)
