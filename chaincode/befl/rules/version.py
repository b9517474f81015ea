"""The version of the release, read by the build and by ``befl version``."""

from __future__ import annotations

__version__ = "0.1.0"
