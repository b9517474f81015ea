"""``python -m befl.shim --config FILE.json``: run the chaincode server until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from befl.rules.errors import BeflError
from befl.shim.config import load
from befl.shim.digest import check_code
from befl.shim.server import ChaincodeServer


def main() -> int:
    """Run the server; the exit status is 0 after a signal and 2 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m befl.shim", description="Serve the befl chaincode to a peer.")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="configuration, JSON")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        config = load(arguments.config)
        logging.basicConfig(
            level=config.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
        )
        check_code(config.code_digest)
        from befl.contracts.chaincode import BeflChaincode  # noqa: PLC0415  # code that was not agreed is not even imported

        server = ChaincodeServer(BeflChaincode(), config)
    except BeflError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    server.start()
    ended.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
