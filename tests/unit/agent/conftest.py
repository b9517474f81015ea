from __future__ import annotations

import pytest

from .memory import Consortium


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()
