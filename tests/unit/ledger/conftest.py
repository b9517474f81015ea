"""A chaincode that does what the test says: each function of a script is one operation on the stub."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from befl.contracts.stub import Creator, Stub
from befl.ledger import MemoryLedger, make_creator


class Scripted:
    """Runs Python functions by name; their return value is the result."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[Stub], bytes | None]] = {}

    def invoke(self, stub: Stub) -> bytes:
        function, _ = stub.get_function_and_parameters()
        return self.functions[function](stub) or b""


class Bench:
    """A ledger whose transactions are given as functions of the stub."""

    def __init__(self) -> None:
        self.chaincode = Scripted()
        self.ledger = MemoryLedger(self.chaincode, clock=lambda: 1_700_000_000_000)
        self.caller: Creator = make_creator("Org1MSP", "trainer")

    def _named(self, body: Callable[[Stub], bytes | None]) -> str:
        name = f"Test:F{len(self.chaincode.functions)}"
        self.chaincode.functions[name] = body
        return name

    def evaluate(self, body, *args, **options):
        return self.ledger.evaluate(self.caller, self._named(body), *args, **options)

    def endorse(self, body, *args, **options):
        return self.ledger.endorse(self.caller, self._named(body), *args, **options)

    def submit(self, body, *args, **options):
        return self.ledger.submit(self.caller, self._named(body), *args, **options)


@pytest.fixture
def bench() -> Bench:
    return Bench()
