"""What is installed here: befl, the code that its chaincode is made of, Fabric, libraries."""

from __future__ import annotations

import platform
from importlib import metadata

from befl.network import fabric
from befl.rules.errors import BeflError
from befl.rules.version import __version__
from befl.shim.digest import code_digest


def _not_built(*_: object) -> None:
    raise BeflError("BEFL-N-002", "Fabric has not been built yet", "befl network fabric builds it.")


def versions() -> dict[str, str]:
    """Return each part's version; Fabric's is said without building it."""
    facts = {"befl": __version__, "chaincode": code_digest(), "python": platform.python_version()}
    try:
        found = fabric.locate(build=_not_built)
        facts["fabric"] = f"{found.version} ({found.origin})"
    except BeflError as error:
        facts["fabric"] = f"not ready ({error.code})"
    for name in ("grpcio", "numpy", "torch"):
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    return facts
