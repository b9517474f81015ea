"""The consortium itself: topology, identities, channel, chaincode lifecycle, processes.

:func:`up`, :func:`down` and :func:`status` are what people and other packages use. Everything below acts for one
institution, in that institution's folder, with that institution's keys (:mod:`befl.network.institution`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from befl.network.consortium import down as down
    from befl.network.consortium import up as up
    from befl.network.observe import InstitutionStatus as InstitutionStatus
    from befl.network.observe import NetworkStatus as NetworkStatus
    from befl.network.observe import ProcessStatus as ProcessStatus
    from befl.network.observe import status as status
    from befl.network.topology import Topology as Topology
    from befl.network.topology import make as make
    from befl.network.topology import parse as parse

_HOMES = {
    **dict.fromkeys(("down", "up"), "befl.network.consortium"),
    **dict.fromkeys(("InstitutionStatus", "NetworkStatus", "ProcessStatus", "status"), "befl.network.observe"),
    **dict.fromkeys(("Topology", "make", "parse"), "befl.network.topology"),
}


def __getattr__(name: str) -> Any:
    """Import on first use: the supervisor is of this package too, and stays small."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
