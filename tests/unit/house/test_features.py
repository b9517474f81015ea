"""The table of features names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_test_that_the_table_names_exists():
    page = (ROOT / "docs/reference/features.md").read_text()
    rows = re.findall(r"^\| .+ \| `(tests/\S+\.py)::(\w+)` \|$", page, re.MULTILINE)
    assert len(rows) > 20
    missing = [
        f"{path}::{name}"
        for path, name in rows
        if not (ROOT / path).is_file()
        or name not in {getattr(node, "name", "") for node in ast.walk(ast.parse((ROOT / path).read_text()))}
    ]
    assert missing == []
