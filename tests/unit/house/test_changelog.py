"""CHANGELOG.md keeps to its form, and its newest version is the one that is being made."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from befl.rules.version import __version__

TEXT = (Path(__file__).parents[3] / "CHANGELOG.md").read_text()
VERSION = r"\[(\d+\.\d+\.\d+)\] - (?:\d{4}-\d{2}-\d{2}|unreleased)"
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_versions_go_down_from_the_one_in_the_code():
    headings = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    found = [re.fullmatch(VERSION, heading) for heading in headings]
    assert all(found), headings
    versions = [tuple(map(int, each[1].split("."))) for each in found if each]
    assert versions == sorted(set(versions), reverse=True)
    assert f"[{__version__}]" in headings[0]
    assert "unreleased" not in "".join(headings[1:])


def test_sections_are_those_of_keep_a_changelog_and_no_line_stands_twice():
    assert set(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) <= SECTIONS
    entries = Counter(re.findall(r"^- (.+)$", TEXT, re.MULTILINE))
    assert [entry for entry, times in entries.items() if times > 1] == []
