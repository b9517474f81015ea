"""What `make` runs for a target, for a test to run it with other settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def make(target: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a target's one command as the Makefile has it, in this environment and with these settings."""
    command = re.search(rf"^{target}:.*\n\t@(.*)\n\n", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command is not None, target
    python = command[1].replace("$(BIN)/python", sys.executable)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", re.sub(r"\$\((\w+)\)", r"${\1}", python)],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
