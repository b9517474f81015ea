"""fabric-sdk-py 1.0.0, in an environment of its own, queries and invokes the chaincode: the page, as it is typed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from befl.client import connect

from .sides import plain_environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/hfc.md"

pytestmark = pytest.mark.slow  # it installs hfc from a package registry


def test_hfc_queries_and_invokes(consortium, tmp_path):
    (tmp_path / "network").symlink_to(consortium.directory)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "hfc_client.py").write_text(program)
    said = ""
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=plain_environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        said += done.stdout
    invoked, queried, refused = said.splitlines()
    assert invoked == '{"msp_id":"Org1MSP"}'
    assert '"endpoint":"agent.org1.example:7443"' in queried
    assert refused.startswith("BEFL-T-008: endpoint: must be HOST:PORT")
    with connect(network=consortium.directory, identity="org3") as client:  # committed, and by befl's own client seen
        assert client.members.get("Org1MSP").agent.endpoint == "agent.org1.example:7443"
