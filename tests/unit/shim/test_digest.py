"""The code digest: what changes it and what does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from befl.rules.errors import BeflError
from befl.shim import digest

SOURCE = '''
"""A module."""
import math

class A:
    """A class."""
    x: int = 1
    """An attribute."""

    async def f(self, *, a=1.5, b="text", c=b"\\x00", d=None, e=...):
        """A method."""
        return f"{a!r:>{b}}" if a < 2 else [i for i in range(3) if i]
'''

SAME = {
    "comment": SOURCE.replace("x: int = 1", "x: int = 1  # why"),
    "docstring": SOURCE.replace("A method.", "Another method."),
    "no docstring": SOURCE.replace('"""A class."""', "").replace('"""An attribute."""', ""),
    "layout": SOURCE.replace("a=1.5, b", "a=1.5,\n        b"),
    "quotes": SOURCE.replace('b="text"', "b='text'"),
}
OTHER = {
    "number": SOURCE.replace("1.5", "1.6"),
    "type of a number": SOURCE.replace("x: int = 1", "x: int = 1.0"),
    "true is not one": SOURCE.replace("x: int = 1", "x: int = True"),
    "text": SOURCE.replace('b="text"', 'b="test"'),
    "bytes": SOURCE.replace('b"\\x00"', '"\\x00"'),
    "operator": SOURCE.replace("a < 2", "a <= 2"),
    "name": SOURCE.replace("import math", "import cmath"),
    "default": SOURCE.replace("d=None", "d=..."),
    "order": SOURCE.replace("a=1.5, b", "b").replace("e=...", "e=..., a=1.5"),
    "format": SOURCE.replace("!r", "!s"),
    "removed": SOURCE.replace(" if i]", "]"),
}


@pytest.mark.parametrize("case", SAME)
def test_comments_docstrings_and_layout_do_not_count(case):
    assert SAME[case] != SOURCE
    assert digest.canonical(SAME[case]) == digest.canonical(SOURCE)


@pytest.mark.parametrize("case", OTHER)
def test_everything_else_counts(case):
    assert digest.canonical(OTHER[case]) != digest.canonical(SOURCE)


def test_the_digest_covers_rules_contracts_and_shim_quickly():
    start = time.perf_counter()
    first = digest.code_digest()
    seconds = time.perf_counter() - start
    assert first == digest.code_digest()
    assert len(bytes.fromhex(first)) == 32
    assert seconds < 1.5  # 0.3 s on an idle machine


def test_a_changed_and_an_added_module_change_it(monkeypatch, tmp_path):
    modules = digest._modules

    extra = tmp_path / "extra.py"

    def with_one_more(package: str) -> dict[str, Path]:
        return modules(package) | ({"befl.rules.extra": extra} if package == "befl.rules" else {})

    before = digest.code_digest()
    monkeypatch.setattr(digest, "_modules", with_one_more)
    seen = {before}
    for text in ("x = 1\n", "x = 2\n"):
        extra.write_text(text)
        seen.add(digest.code_digest())
    assert len(seen) == 3
    extra.write_text("x = 2  # as before\n")
    assert digest.code_digest() in seen


def test_packages_that_are_not_installed_do_not_matter():
    assert digest._modules("befl.nowhere") == {}
    assert "befl.shim.digest" in digest._modules("befl.shim")


def test_other_code_than_agreed_is_refused():
    digest.check_code(None)
    digest.check_code(digest.code_digest())
    with pytest.raises(BeflError, match="BEFL-G-027"):
        digest.check_code("0" * 64)
