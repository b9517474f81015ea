"""Every command of the pages that need no network is typed, and every block of Python runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BEFL = f'befl() {{ {sys.executable} -m befl.cli.main "$@"; }}\n'
SAYS = {
    "README.md": [r"made first", r"2 institutions, 10 rounds", r"^fits$"],
    "docs/how-to/simulate.md": [
        r"model in run/model",
        r"4 institutions, 10 rounds",
        r"[0-9a-f]{64} \['NorthMSP', 'SouthMSP'\]",
    ],
    "docs/how-to/write-an-app.md": [
        r'loop = "torch"',
        r"def module\(settings",
        r"SCAFFOLD \(Karimireddy",
        r"2 institutions, 10 rounds",
        r"^def predict\(model, x",
        r"2 institutions, 10 rounds",
    ],
}
"""What each page's blocks print, in order."""


def blocks(page: str) -> list[tuple[str, str]]:
    found = re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [(kind, text) for kind, text in found if not re.search(r"^make ", text, re.MULTILINE)]


@pytest.mark.parametrize("page", SAYS)
def test_a_page(tmp_path, page):
    printed = []
    for kind, text in blocks(page):
        command = ["bash", "-euo", "pipefail", "-c", BEFL + text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        printed.append(done.stdout)
    said = "\n".join(printed)
    place = 0
    for each in SAYS[page]:
        found = re.compile(each, re.MULTILINE).search(said, place)
        assert found, each
        place = found.end()
