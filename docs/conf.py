"""Configuration of Sphinx; `make docs` builds strictly."""

from __future__ import annotations

import sys
from pathlib import Path

from befl.rules.version import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "befl"
author = "The befl maintainers"
copyright = "The befl maintainers, Apache-2.0"
version = release = __version__
extensions = ["myst_parser", "generated_reference"]
html_theme = "furo"
html_title = "befl"
exclude_patterns = ["_ext"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
