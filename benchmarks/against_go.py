"""The same small chaincode on befl's shim and on Fabric's own Go shim: same network, same run, taking turns."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from befl.gateway import Contract, Profile, connect
from befl.network import fabric
from befl.network.institution import Member
from befl.network.layout import Layout
from befl.network.topology import parse
from befl.rules.errors import BeflError

HERE = Path(__file__).parent
#: The smallest chaincode on befl's shim: a command that takes the configuration file.
PYTHON = (sys.executable, str(HERE / "python_chaincode.py"))
IN_FLIGHT = 32
EVALUATIONS = 640
SUBMISSIONS = 320
VALUE = "v" * 100


def go_server() -> Path:
    """Build the Go chaincode into befl's cache; the second time nothing is compiled."""
    go = fabric.find_go()
    if go is None:
        raise BeflError("BEFL-N-001", "the Go chaincode has to be built and there is no `go` command")
    target = fabric.cache_dir() / "benchmarks" / f"go_chaincode-{platform.machine()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(target), "."],
        cwd=HERE / "go_chaincode",
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        check=True,
    )
    return target


class Served(Member):
    """An institution whose chaincode server is one of ours."""

    server = ""

    def connection(self, address: str) -> dict[str, Any]:  # noqa: ARG002  # the network's own server
        return super().connection(self.server)


@contextmanager
def deployed(network: Path, name: str, command: Sequence[str]) -> Iterator[None]:
    """Put one more chaincode on a running network, with a server process an institution."""
    layout = Layout(network)
    kept = parse(layout.topology.read_bytes(), str(layout.topology))
    topology = dataclasses.replace(kept, chaincode=dataclasses.replace(kept.chaincode, name=name))
    programs = fabric.locate()
    members = [Served(topology, each, layout, programs, threading.Event()) for each in topology.institutions]
    names = [each.msp_id for each in topology.institutions]
    package_id = members[0].package("1", "0" * 64)[0]
    with ExitStack() as stack:
        for member in members:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{probe.getsockname()[1]}"
            tls = member.home.chaincode / "tls"
            config = member.home.chaincode / f"{name}.json"
            config.write_text(
                json.dumps(
                    {
                        "chaincode_id": package_id,
                        "address": address,
                        "certificate": str(tls / "server.crt"),
                        "key": str(tls / "server.key"),
                        "client_ca": str(tls / "ca.crt"),
                    }
                )
            )
            process = subprocess.Popen([*command, str(config)])
            stack.callback(process.wait)
            stack.callback(process.terminate)
            connection = member.home.chaincode / "connection.json"
            original = connection.read_bytes()
            member.server = address
            try:
                member.install("1", "0" * 64)
            finally:
                connection.write_bytes(original)
            member.approve(package_id, "1", 1, names)
        peers = {each.address("peer"): layout.public(each.name).tls_ca.read_text() for each in topology.institutions}
        members[0].commit("1", 1, names, peers)
        yield


def rate(act: Callable[[int], object], count: int) -> float:
    """Do something ``count`` times from 32 threads; return how often a second."""
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        started = time.monotonic()
        list(pool.map(act, range(count)))
        return count / (time.monotonic() - started)


def turns(acts: dict[str, Callable[[int], object]], count: int, pairs: int) -> dict[str, list[float]]:
    """Measure in pairs, each beginning with the other one, so that what the machine does meanwhile hits both."""
    samples: dict[str, list[float]] = {name: [] for name in acts}
    for pair in range(pairs):
        for name in sorted(acts, reverse=bool(pair % 2)):
            samples[name].append(rate(acts[name], count))
    return samples


def measure(network: Path, pairs: int) -> dict[str, dict[str, list[float]]]:
    """Return what was measured a second: by kind (``evaluate``, ``submit``) and language (``go``, ``python``)."""
    with (
        deployed(network, "store-go", (str(go_server()),)),
        deployed(network, "store-python", PYTHON),
        connect(Profile.load(network / "org1" / "connection.json"), network / "org1" / "users" / "agent") as gateway,
    ):
        contracts = {name: gateway.network("befl").contract(f"store-{name}") for name in ("go", "python")}
        for contract in contracts.values():
            contract.submit("put", "warm", VALUE)
            rate(lambda _, contract=contract: contract.evaluate("get", "warm"), IN_FLIGHT * 4)
        evaluations = turns({name: _getter(contract) for name, contract in contracts.items()}, EVALUATIONS, pairs)
        submissions = turns({name: _putter(contract) for name, contract in contracts.items()}, SUBMISSIONS, pairs)
    return {"evaluate": evaluations, "submit": submissions}


def ratio(samples: dict[str, list[float]]) -> list[float]:
    """Return Python's rate over Go's for each pair."""
    return [python / go for python, go in zip(samples["python"], samples["go"], strict=True)]


def _getter(contract: Contract) -> Callable[[int], object]:
    return lambda _: contract.evaluate("get", "warm")


def _putter(contract: Contract) -> Callable[[int], object]:
    return lambda number: contract.submit("put", f"key{number}", VALUE)
