"""Packages whose names are imported on first use (PEP 562): who needs one of them does not load what all need."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return what a package's ``__getattr__``, ``__dir__`` and ``__all__`` are to be.

    Parameters
    ----------
    package : str
        The package, its ``__name__``.
    homes : mapping of str to sequence of str
        By module of befl, without ``befl.``, the names that are at home in it.

    Raises
    ------
    AttributeError
        By ``__getattr__``, when the package has no such name.
    """
    found = {name: f"befl.{home}" for home, at_home in homes.items() for name in at_home}

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(found[name]), name)

    listed = sorted(found)
    return get, lambda: listed, listed
