"""The smallest chaincode on befl's shim; its twin in Go is ``go_chaincode/``."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from befl.contracts.stub import Stub
from befl.shim.config import load
from befl.shim.server import ChaincodeServer, schedule_as_batch


class Store:
    """Two functions: ``put KEY VALUE`` and ``get KEY``."""

    def invoke(self, stub: Stub) -> bytes:
        function, arguments = stub.get_function_and_parameters()
        if function == "put":
            stub.put_state(arguments[0], arguments[1].encode())
            return b""
        if function == "get":
            return stub.get_state(arguments[0])
        raise ValueError(function)


def main() -> int:
    """Serve until a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    schedule_as_batch()  # as befl.shim does
    logging.basicConfig(level=logging.WARNING)
    server = ChaincodeServer(Store(), load(Path(sys.argv[1])))
    server.start()
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
