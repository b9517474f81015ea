"""The consortium itself: topology, identities, channel, chaincode lifecycle, processes.

:func:`up`, :func:`down` and :func:`status` are what people and other packages use. Everything below acts for one
institution, in that institution's folder, with that institution's keys (:mod:`befl.network.institution`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from befl import lazy

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

# on first use: the supervisor is of this package too, and stays small
__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "network.consortium": ("down", "up"),
        "network.observe": ("InstitutionStatus", "NetworkStatus", "ProcessStatus", "status"),
        "network.topology": ("Topology", "make", "parse"),
    },
)
