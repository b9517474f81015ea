"""The tests that the table of features and other pages name are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]


@cache
def names(path: str) -> set[str]:
    source = ROOT / path
    return (
        {getattr(node, "name", "") for node in ast.walk(ast.parse(source.read_text()))} if source.is_file() else set()
    )


def test_every_feature_has_a_test():
    page = (ROOT / "docs/reference/features.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if not re.fullmatch(r"\| .+ \| (`tests/\S+\.py::\w+`(, )?)+(?<!, ) \|", row)] == []


def test_every_test_that_a_page_names_exists():
    named = [
        (page, path, name)
        for page in sorted(ROOT.glob("docs/**/*.md"))
        for path, name in re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", page.read_text())
    ]
    assert {page.stem for page, _, _ in named} >= {"features", "threats", "determinism", "raft"}
    assert [f"{page.name}: {path}::{name}" for page, path, name in named if name not in names(path)] == []
