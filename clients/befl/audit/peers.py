"""The same block at every institution's peer: Raft orders, and does not keep its leader from showing two chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from befl.audit.report import Report
from befl.gateway import PeerAddress
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.rules.errors import BeflError


def compare(hashes: Sequence[bytes], ask: Callable[[PeerAddress | None], PeerQuestions], report: Report) -> None:
    """Ask the peer of every institution of the channel for the hash of one block.

    It is the newest block that both have: it names the one before it, and so on to the first.

    Parameters
    ----------
    hashes : sequence of bytes
        Of the blocks that the audit has looked at, from the first on.
    ask : callable
        Opens a connection to a peer; to the auditor's own, which knows the others, for None.
    report : Report
        Takes the findings; a peer that does not answer is one of the things that cannot be checked.
    """
    try:
        with ask(None) as own:
            members = own.members()
    except (BeflError, AnsweredError) as error:
        report.cannot("the blocks at the institutions' peers", f"the own peer does not say who they are: {error}")
        return
    for msp_id, address in members.items():
        what = f"the blocks at {msp_id}'s peer"
        if address is None:
            report.cannot(what, "the channel's configuration has no anchor peer of it")
            continue
        try:
            with ask(address) as peer:
                common, found = peer.chain_at_most(len(hashes))
        except (BeflError, AnsweredError) as error:
            report.cannot(what, str(error))
            continue
        if report.looks("peers") and found != hashes[common - 1]:
            block = f"block {common - 1} of {msp_id}'s peer has hash {found.hex()[:16]}"
            report.find("peers", common - 1, "", f"{block}, the one looked at {hashes[common - 1].hex()[:16]}")
