from __future__ import annotations

import pytest

from befl.rules.aggregation import RULES
from befl.rules.errors import BeflError
from befl.rules.modes import MODES
from befl.rules.registry import Versions
from befl.rules.schemes import SCHEMES

TABLE = Versions("colour", {"red/1": "r1", "red/2": "r2", "red/10": "r10", "blue/3": "b3"})


def test_names_are_without_versions():
    assert TABLE.names() == ("blue", "red")


def test_the_newest_version_is_the_greatest_number():
    assert TABLE.newest("red") == "red/10"
    assert TABLE["red/10"] == "r10"
    assert TABLE[TABLE.newest("blue")] == "b3"


@pytest.mark.parametrize("version", ["red/3", "red", "", "green/1", "x" * 1_000])
def test_a_version_that_the_release_lacks(version):
    with pytest.raises(BeflError) as caught:
        TABLE[version]
    assert caught.value.code == "BEFL-T-001"
    assert "no colour" in caught.value.message
    assert len(caught.value.message) < 100
    assert "blue/3, red/1, red/10, red/2" in caught.value.hint


@pytest.mark.parametrize("table", [RULES, MODES, SCHEMES])
def test_every_name_of_the_tables_has_a_newest_version(table):
    assert table.names()
    for name in table.names():
        assert table[table.newest(name)] is not None


def test_every_scheme_says_what_it_protects():
    for name in SCHEMES.names():
        assert SCHEMES[SCHEMES.newest(name)].statement.endswith(".")
