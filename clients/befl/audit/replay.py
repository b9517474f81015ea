"""A whole replay: the blocks, what befl's contracts did in them, one task's models, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from befl.audit.block import Block, Code, code_name
from befl.audit.chain import verify
from befl.audit.checks import CHECKS
from befl.audit.execution import Execution
from befl.audit.lineage import Lineage, trace
from befl.audit.report import Finding, Report

_NEVER: Final = (
    ("what a peer refused to endorse", "it is in no block"),
    (
        "the clocks of the endorsers",
        "they stand in no block; each endorser refuses a timestamp that is far from its own",
    ),
    (
        "transient data as such",
        "it is in no block; an update, a model and an app are found again in the private data that they became",
    ),
)


@dataclass(frozen=True)
class Check:
    """One check: its name, what it makes sure of, how many things it looked at, and how many findings it has."""

    name: str
    sentence: str
    looked: int
    findings: int


@dataclass(frozen=True)
class Gap:
    """Something that cannot be checked, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Replay:
    """What came out of a replay.

    Parameters
    ----------
    blocks : int
        How many blocks were looked at.
    transactions : int
        How many transactions stand in them, valid or not.
    genesis, newest : str
        Hash of the first block, in which whoever replays has to trust, and of the last.
    lineage : Lineage
        Where the task's models come from.
    checks : tuple of Check
        All of them.
    findings : tuple of Finding
        In the order of the ledger.
    gaps : tuple of Gap
        What cannot be checked.
    verdict : str
        ``PASS`` or ``FAIL (N findings)``.
    """

    blocks: int
    transactions: int
    genesis: str
    newest: str
    lineage: Lineage
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]
    verdict: str

    @property
    def passed(self) -> bool:
        """Whether there is no finding."""
        return not self.findings


def replay(
    blocks: Iterable[Block],
    task: str,
    *,
    chaincode: str = "befl",
    folder: Path | None = None,
    compare: Callable[[Sequence[bytes], Report], None] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    switched_off: frozenset[str] = frozenset(),
) -> Replay:
    """Check a channel's blocks and follow one task through them.

    Parameters
    ----------
    blocks : iterable of Block
        From the first one on, with their private data.
    task : str
        The task's id.
    chaincode : str
        The name of befl's chaincode on the channel.
    folder : Path, optional
        A model folder that is said to be the task's.
    compare : callable, optional
        Compares the hashes of all blocks with what the institutions' peers have; without it that is said not to be
        checked.
    progress : callable
        Is told how many blocks have been looked at, block by block.
    switched_off : frozenset of str
        Checks that look at nothing.

    Raises
    ------
    BeflError
        ``BEFL-T-007`` when the blocks have no such task, ``BEFL-G-035`` when a source's bytes are no blocks.
    """
    report = Report(switched_off)
    execution = Execution(report, chaincode)
    hashes: list[bytes] = []
    flags: Counter[int] = Counter()
    for verified in verify(blocks, report):
        block, codes = verified.block, verified.flags
        valid = [each for each, code in zip(block.transactions, codes, strict=True) if code == Code.VALID]
        execution.block(block.number, valid)
        hashes.append(block.hash)
        flags.update(codes)
        progress(len(hashes))
    execution.end()
    lineage = trace(execution, report, task, folder)
    if compare is None:
        report.cannot("the blocks at the institutions' peers", "the replay has files only; name a network to ask them")
    else:
        compare(hashes, report)
    if wrong := sorted(code for code in flags if code != Code.VALID):
        counted = ", ".join(f"{code_name(code)} {flags[code]}" for code in wrong)
        what = f"what invalid transactions would have done ({counted})"
        report.cannot(what, "they changed nothing, and the state that they read has gone by")
    for what, why in _NEVER:
        report.cannot(what, why)
    found = Counter(finding.check for finding in report.findings)
    return Replay(
        len(hashes),
        flags.total(),
        report.genesis.hex(),
        hashes[-1].hex(),
        lineage,
        tuple(Check(name, sentence, report.looked[name], found[name]) for name, sentence in CHECKS.items()),
        tuple(report.findings),
        tuple(Gap(what, why) for what, why in report.impossible),
        report.verdict,
    )
