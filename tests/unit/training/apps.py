"""The apps that come with befl, as modules of this process."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from befl.training.app import builtin_apps
from befl.training.apps import loop

TWO = {"shape": [3], "outputs": 2, "kind": "class"}
"""Two classes from three features."""


def module(name: str) -> ModuleType:
    """Import a built-in app as its child process does: ``loop`` is a file of its own archive."""
    sys.modules["loop"] = loop
    found = importlib.util.spec_from_loader(f"app_{name}", loader=None)
    made = importlib.util.module_from_spec(found)
    code = compile(builtin_apps()[name].files["app.py"], f"{name}/app.py", "exec")
    exec(code, vars(made))  # noqa: S102 - befl's own file
    return made
