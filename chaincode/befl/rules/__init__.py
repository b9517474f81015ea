"""What the consortium agreed: pure functions with four readers.

The contracts decide by them, the agents predict with them what will be accepted, validators recompute and auditors
replay. Nothing here does input or output, reads a clock, draws a random number or keeps a float in state; the standard
library and numpy are all that is imported.
"""
