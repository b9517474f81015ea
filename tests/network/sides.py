"""A how-to page is typed at several places, each with its own folder only: other institutions, other machines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from befl.network import commands

from .hospitals import BEFL

PUBLIC = {".csr", ".json", ".pb", ".tar"}


@dataclass
class Side:
    """A place where commands are typed, and what of it the other side must not see."""

    folder: Path
    hidden: Path
    environment: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type(self, line: str, institution: str = "") -> str:
        script = f'befl() {{ {" ".join(BEFL)} "$@"; }}\n{line}'
        argv = [*hide(self.hidden), "bash", "-euo", "pipefail", "-c", script]
        began = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env={**self.environment, **({"BEFL_AS": institution} if institution else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # what the supervisor inherits is a log file, never this pipe
            text=True,
            timeout=120,
            check=False,
        )
        self.seconds[f"{institution or 'north'}: {line}"] = time.monotonic() - began
        assert done.returncode == 0, f"{institution} {line}\n{done.stdout}"
        return done.stdout

    def agent(self, config: Path) -> None:
        with (config.parent / "agent.log").open("ab") as log:
            argv = [*hide(self.hidden), *BEFL, "agent", "run", "--config", str(config)]
            self.agents.append(subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log))

    def stop_agents(self) -> None:
        for process in self.agents:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(30) for process in self.agents] == [0] * len(self.agents)
        self.agents.clear()

    def carry(self, other: Side) -> None:
        """Hand the public files over, as people do."""
        for path in self.folder.iterdir():
            if path.suffix in PUBLIC:
                assert b"PRIVATE" not in path.read_bytes()
                shutil.copyfile(path, other.folder / path.name)


def hide(folder: Path) -> list[str]:
    """Return a prefix under which a folder is empty; where no mount namespace may be made the test is skipped."""
    prefix = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root, with unshare, may hide a folder")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount namespace may be made here")
    return prefix


def blocks(page: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """Return the page's commands by chapter: who types them, and what."""
    chapters: dict[str, list[tuple[str, list[str]]]] = {}
    for chapter in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = chapter.partition("\n")
        chapters[title] = [
            (found[1], found[2].strip().splitlines()) for found in re.finditer(r"```sh\n# at (.*)\n([^`]*)```", text)
        ]
    return chapters


def plain_environment() -> dict[str, str]:
    """The environment of a shell in which nothing of befl is set but where it and Fabric's programs are."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BEFL_") or "TEST" in name}
    kept = {name: os.environ[name] for name in ("BEFL_CACHE", "BEFL_FABRIC_BIN") if name in os.environ}
    return {**plain, **kept, **commands.python_environment()}  # paths that are relative would not hold elsewhere
