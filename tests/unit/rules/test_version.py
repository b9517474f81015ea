from __future__ import annotations

import re

from befl.rules.version import __version__


def test_the_version_is_one_of_pep_440():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", __version__)
