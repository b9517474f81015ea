"""What an audit looked at, what it found, and what nobody can check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from befl.audit.checks import CHECKS


@dataclass(frozen=True, slots=True)
class Finding:
    """Something on the ledger that cannot be so.

    Parameters
    ----------
    check : str
        The check that found it, a name in :data:`befl.audit.checks.CHECKS`.
    block : int
        Where.
    txid : str
        The transaction; empty when it is a matter of the block.
    message : str
        What is wrong.
    """

    check: str
    block: int
    txid: str
    message: str


@dataclass(slots=True)
class Report:
    """Collects what the checks say.

    Parameters
    ----------
    switched_off : frozenset of str
        Checks that look at nothing and find nothing; for the test that shows that each one is needed.

    Attributes
    ----------
    looked : Counter of str
        By check, how many things it looked at.
    findings : list of Finding
        In the order of the ledger.
    impossible : list of (str, str)
        What cannot be checked, and why.
    genesis : bytes
        Hash of the first block, which is believed.
    """

    switched_off: frozenset[str] = frozenset()
    looked: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    impossible: list[tuple[str, str]] = field(default_factory=list)
    genesis: bytes = b""

    def looks(self, check: str) -> bool:
        """Note that a check looks at one more thing; False when it is switched off and shall not."""
        if check not in CHECKS:
            raise KeyError(check)
        if check in self.switched_off:
            return False
        self.looked[check] += 1
        return True

    def find(self, check: str, block: int, txid: str, message: str) -> None:
        """Record a finding."""
        self.findings.append(Finding(check, block, txid, message))

    def cannot(self, what: str, why: str) -> None:
        """Record what cannot be checked; each once."""
        if (what, why) not in self.impossible:
            self.impossible.append((what, why))

    @property
    def verdict(self) -> str:
        """Return ``PASS`` or ``FAIL (N findings)``."""
        count = len(self.findings)
        return f"FAIL ({count} finding{'s' if count > 1 else ''})" if count else "PASS"
