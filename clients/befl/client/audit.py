"""What an auditor does: see what happened on the ledger, and check all of it.

The engine of the audit is imported when it is asked: who connects to publish a task does without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from befl.rules import artefact
from befl.rules.errors import BeflError
from befl.training.predict import NO_MODEL

if TYPE_CHECKING:
    from befl.audit.block import Block
    from befl.audit.query import Page
    from befl.audit.replay import Replay
    from befl.gateway import Network, PeerAddress
    from befl.gateway.ask import PeerQuestions


class Audit:
    """The ledger, looked at afterwards. Every identity of the channel may, whatever its role.

    Parameters
    ----------
    network : Network
        The channel.
    ask : callable
        Opens a connection to a peer past its gateway; to the institution's own peer for None.
    chaincode : str
        The name of befl's chaincode on the channel.
    """

    def __init__(
        self, network: Network, ask: Callable[[PeerAddress | None], PeerQuestions], chaincode: str = "befl"
    ) -> None:
        self._network = network
        self._ask = ask
        self._chaincode = chaincode

    def query(
        self,
        *,
        task: str = "",
        msp_id: str = "",
        kind: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 100,
        after: str = "",
    ) -> Page:
        """Show who did what and when, valid or not, oldest first.

        Parameters
        ----------
        task, msp_id, kind : str
            Of this task, submitted by this institution, calls of this transaction; each empty for all.
        since_ms, until_ms : int or None
            Proposed from this time on, and before that one; milliseconds since 1970.
        limit : int
            The most that a page holds.
        after : str
            The bookmark of the page before.

        Raises
        ------
        BeflError
            ``BEFL-C-004`` for a limit or a bookmark that cannot be.
        """
        from befl.audit.query import Query, query  # noqa: PLC0415 - see the module
        from befl.audit.source import from_peer  # noqa: PLC0415 - see the module

        wanted = Query(task, msp_id, kind, since_ms, until_ms, limit, after)
        return query(from_peer(self._network, wanted.place[0], private=False), wanted)

    def replay(
        self,
        task: str,
        *,
        files: Iterable[str | Path] = (),
        model: str | Path | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Replay:
        """Check the whole channel, run every transaction of befl again, and follow one task from its data to its model.

        Parameters
        ----------
        task : str
            The task's id.
        files : iterable of path
            Recorded ledgers, one after another, instead of the blocks of the institution's own peer.
        model : path, optional
            A model folder that is said to be the task's.
        progress : callable
            Is told how many blocks have been looked at.

        Raises
        ------
        BeflError
            ``BEFL-T-007`` when there is no such task; ``BEFL-C-006`` and ``BEFL-G-035`` for files, ``BEFL-G-...`` for
            peers, when there are no blocks to look at; ``BEFL-C-006`` when ``model`` is no model folder.
        """
        from befl.audit.peers import compare  # noqa: PLC0415 - see the module
        from befl.audit.replay import replay  # noqa: PLC0415 - see the module
        from befl.audit.source import from_files, from_peer  # noqa: PLC0415 - see the module

        paths = [Path(each) for each in files]
        return replay(
            from_files(paths) if paths else from_peer(self._network),
            task,
            chaincode=self._chaincode,
            folder=_model(model),
            compare=lambda hashes, report: compare(hashes, self._ask, report),
            progress=progress,
        )

    def export(self, path: str | Path, *, progress: Callable[[int], None] = lambda _: None) -> int:
        """Record the channel's blocks with their private data in a new file; return how many they are.

        Nothing stays when it fails or is interrupted.

        Parameters
        ----------
        path : path
            The new file.
        progress : callable
            Is told how many blocks have been written.

        Raises
        ------
        BeflError
            ``BEFL-C-006`` when there is such a file, or it cannot be written.
        """
        from befl.audit.source import from_peer, write_file  # noqa: PLC0415 - see the module

        count = 0

        def counted() -> Iterable[Block]:
            nonlocal count
            for block in from_peer(self._network):
                count += 1
                yield block
                progress(count)

        write_file(Path(path), counted())
        return count


def replay_files(
    task: str,
    files: Iterable[str | Path],
    *,
    model: str | Path | None = None,
    chaincode: str = "befl",
    progress: Callable[[int], None] = lambda _: None,
) -> Replay:
    """Replay recorded ledgers without any network; as :meth:`Audit.replay`."""
    from befl.audit.replay import replay  # noqa: PLC0415 - see the module
    from befl.audit.source import from_files  # noqa: PLC0415 - see the module

    blocks = from_files([Path(each) for each in files])
    return replay(blocks, task, chaincode=chaincode, folder=_model(model), progress=progress)


def _model(folder: str | Path | None) -> Path | None:
    """Refuse what is no model folder: that is a mistake of whoever typed it, and no finding."""
    if folder is not None and not (Path(folder) / artefact.MANIFEST).is_file():
        raise BeflError("BEFL-C-006", f"{folder}: there is no {artefact.MANIFEST} in it", NO_MODEL)
    return None if folder is None else Path(folder)
