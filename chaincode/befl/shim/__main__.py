"""``python -m befl.shim --config FILE.json``: run the chaincode server until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from befl.contracts.stub import Chaincode
from befl.operations import logs
from befl.rules.errors import BeflError
from befl.rules.version import __version__
from befl.shim.config import ServerConfig, load
from befl.shim.digest import check_code, code_digest
from befl.shim.server import ChaincodeServer, schedule_as_batch

_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the server; the exit status is 0 after a signal and 2 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m befl.shim", description="Serve the befl chaincode to a peer.")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="configuration, JSON")
    arguments = parser.parse_args()
    # blocked, here and in all threads, until sigwait takes one: a handler that sets an event could find its lock held
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    schedule_as_batch()
    try:
        config = load(arguments.config)
        logs.configure(config.log_format, config.log_level)
        check_code(config.code_digest)
        from befl.contracts.chaincode import (  # noqa: PLC0415  # code that was not agreed is not even imported
            CONTRACTS,
            BeflChaincode,
        )

        chaincode: Chaincode = BeflChaincode()
        with contextlib.ExitStack() as operations:
            if config.operations_address:
                names = [f"{contract}:{name}" for contract, entries in CONTRACTS.items() for name in entries]
                chaincode = operations.enter_context(_watched(chaincode, names, config))
            server = ChaincodeServer(chaincode, config)
            server.start()
            signal.sigwait(_ENDS)
            server.stop()
    except BeflError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


@contextlib.contextmanager
def _watched(chaincode: Chaincode, functions: list[str], config: ServerConfig) -> Iterator[Chaincode]:
    """Count what the chaincode does, and show it while the server runs."""
    from befl.operations.metrics import ChaincodeMetrics  # noqa: PLC0415  # only who wants metrics pays for them
    from befl.operations.server import OperationsServer, Tls  # noqa: PLC0415  # see above

    metrics = ChaincodeMetrics(functions)
    tls = None
    if config.operations_client_ca:
        tls = Tls(Path(config.certificate), Path(config.key), Path(config.operations_client_ca))
    shown = {
        "Version": __version__,
        "chaincode_id": config.chaincode_id,
        # check_code has found the two equal
        "code_digest": config.code_digest or code_digest(),
    }
    operations = OperationsServer(
        config.operations_address, health=dict, version=shown, registry=lambda: metrics.registry, tls=tls
    )
    try:
        yield metrics.observed(chaincode)
    finally:
        operations.stop()


if __name__ == "__main__":
    sys.exit(main())
