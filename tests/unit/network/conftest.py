"""Stand-ins for Fabric's programs, so that what is around them can be tried without Fabric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from befl.network import fabric


@pytest.fixture
def fake_fabric(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of programs as a release has it: bin/ and config/."""

    def write(version: str = "v3.1.1", *, without: str = "", config: bool = True, ca: str = "exit 1") -> Path:
        release = tmp_path / "release"
        (release / "bin").mkdir(parents=True)
        for name in fabric.NEEDED:
            if name == without:
                continue
            body = {"peer": f"echo 'peer:'; echo ' Version: {version}'", "fabric-ca-server": ca}.get(name, "exit 0")
            (release / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (release / "bin" / name).chmod(0o755)
        if config:
            (release / "config").mkdir()
            for name in fabric.CONFIG_DIGESTS:
                (release / "config" / name).write_text("")
        return release / "bin"

    return write
