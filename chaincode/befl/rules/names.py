"""What institutions and apps are called."""

from __future__ import annotations

from typing import Final

from befl.rules.reader import Text

MSP_ID: Final = Text(
    most=64, pattern=r"[A-Za-z0-9][A-Za-z0-9.\-]*", expects="an MSP ID (letters, digits, dots and hyphens)"
)
APP_NAME: Final = Text(most=64, pattern=r"[A-Za-z][A-Za-z0-9_\-]*", expects="a word (letters, digits, _ and -)")


def msp_id_of(name: str) -> str:
    """Return the MSP ID that an institution gets when none is written: ``long-beach`` becomes ``LongBeachMSP``."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("-")) + "MSP"
