"""The table of error codes and the code agree: each code is raised, named in a test, and has a page that helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from befl.rules.errors import CODES

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "chaincode/befl/rules/errors.py"
CODE = re.compile(r"BEFL-[A-Z]-\d{3}")
FAMILIES = "ACGMNPTX"


def named_in(*folders: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if path in (TABLE, Path(__file__)):
                continue
            for code in CODE.findall(path.read_text()):
                found.setdefault(code, set()).add(str(path.relative_to(ROOT)))
    return found


def raised() -> set[str]:
    """Codes that stand in code as a string of their own, not in a docstring or a comment."""
    found = set()
    for folder in ("chaincode", "clients", "network"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != TABLE:
                found |= set(re.findall(r'"(BEFL-[A-Z]-\d{3})"', path.read_text()))
    return found


def test_every_code_in_the_table_is_raised():
    assert sorted(set(CODES) - raised()) == []


def test_every_code_that_is_named_is_in_the_table():
    named = named_in("chaincode", "clients", "network", "examples", "docs")
    assert {code: places for code, places in named.items() if code not in CODES} == {}


def test_every_code_is_named_in_a_test():
    assert sorted(set(CODES) - set(named_in("tests"))) == []


def test_codes_are_sorted_and_their_families_known():
    assert list(CODES) == sorted(CODES)
    assert {code.split("-")[1] for code in CODES} <= set(FAMILIES)


def test_no_code_stands_twice():
    assert len(re.findall(r'^ {8}"BEFL-[A-Z]-\d{3}",$', TABLE.read_text(), re.MULTILINE)) == len(CODES)


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_a_page_says_why_and_what_to_do(code):
    assert 8 <= len(code.title) <= 90
    assert not code.title.endswith(".")
    assert len(code.page) >= 50, "a page says why it happens and what to do"
    assert code.page.endswith((".", "`"))
