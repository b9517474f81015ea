"""A whole consortium in one process: the same contracts, rules, agents and apps on the ledger in memory, no Fabric."""

from __future__ import annotations

from befl.simulate.consortium import Round, Simulation, simulate
from befl.simulate.parts import institutions_of, split_file

__all__ = ["Round", "Simulation", "institutions_of", "simulate", "split_file"]
