"""Files that several commands are called with."""

from __future__ import annotations

import pytest

AGENT = 'befl = 1\n[network]\nprofile = "x"\n[identity]\nmsp_dir = "users/agent/msp"\n'


@pytest.fixture
def agent_toml(tmp_path):
    """The configuration of an agent that needs nothing to be there."""
    path = tmp_path / "AGENT.toml"
    path.write_text(AGENT)
    return path
