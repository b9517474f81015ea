"""``befl version``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from befl.cli.common import emit, format_option
from befl.rules.version import __version__


@click.command()
@format_option
def version(form: str) -> None:
    """Say which befl, which Python, which libraries, and which code the chaincode is made of."""
    from befl.shim.digest import code_digest

    facts = {"befl": __version__, "chaincode": code_digest(), "python": platform.python_version()}
    for name in ("grpcio", "numpy", "torch"):
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    emit(facts, form, lambda found: "\n".join(f"{name:<10} {value}" for name, value in found.items()))
