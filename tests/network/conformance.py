"""A chaincode that runs a script of stub calls, so that one list of scripts can be run on every kind of ledger.

On the session's network it is there twice beside ``befl``, as ``conformance`` and as ``called``, so that one can call
the other; both are served from this process: each institution's peer takes its connection file at install, so that file
names this process's server while the package is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from befl.contracts.stub import KV, Response, Stub
from befl.gateway import Contract, Gateway, Network, Profile, connect
from befl.ledger.identities import ATTRIBUTES_OID
from befl.network import fabric
from befl.network.institution import Member
from befl.network.layout import Layout
from befl.network.topology import parse
from befl.rules.errors import BeflError
from befl.shim.config import ServerConfig
from befl.shim.server import ChaincodeServer

NAME = "conformance"
CALLED = "called"
"""The same chaincode once more, for ``NAME`` to call: a chaincode cannot call itself."""


def run(stub: Stub, steps: list[list[Any]]) -> list[Any]:
    return [OPERATIONS[name](stub, *arguments) for name, *arguments in steps]


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _range(stub: Stub, kind: str, attributes: list[str], limit: int = 10**9) -> list[list[str]]:
    found = []
    for entry in stub.get_state_by_partial_composite_key(kind, attributes):
        found.append([entry.key, _text(entry.value)])
        if len(found) == limit:
            break
    return found


def _page(stub: Stub, kind: str, attributes: list[str], size: int, bookmark: str) -> list[Any]:
    page, following = stub.get_state_by_partial_composite_key_with_pagination(kind, attributes, size, bookmark)
    return [[[entry.key, _text(entry.value)] for entry in page], following]


def _entries(found: Iterator[KV]) -> list[list[str]]:
    return [[entry.key, _text(entry.value)] for entry in found]


def _plain_page(stub: Stub, start: str, end: str, size: int, bookmark: str) -> list[Any]:
    page, following = stub.get_state_by_range_with_pagination(start, end, size, bookmark)
    return [_entries(iter(page)), following]


def _fill(stub: Stub, kind: str, attributes: list[str], count: int) -> None:
    for number in range(count):
        stub.put_state(key(kind, *attributes, f"{number:05}"), str(number).encode())


def _refuse(stub: Stub, code: str, message: str, hint: str) -> None:
    raise BeflError(code, message, hint)


def _mistake(stub: Stub) -> None:
    raise ZeroDivisionError("a detail that stays here")


def _who(stub: Stub) -> list[str]:
    creator = stub.get_creator()
    return [creator.msp_id, creator.certificate.decode().splitlines()[0]]


def _certificate(stub: Stub) -> dict[str, Any]:
    """What a contract can read from the caller's certificate: its names and the attributes that the CA gave."""
    creator = stub.get_creator()
    certificate = x509.load_pem_x509_certificate(creator.certificate)
    extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    units = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    curve = certificate.public_key()
    assert isinstance(curve, ec.EllipticCurvePublicKey)
    return {
        "msp_id": creator.msp_id,
        "units": units,
        "names": names,
        "attributes": json.loads(extension.value)["attrs"],
        "curve": curve.curve.name,
    }


def _whole_range(stub: Stub, prefix: str) -> list[list[str]]:
    """Of all simple keys those below a prefix: others, of other tests, are there too; a composite one may not be."""
    return [entry for entry in _entries(stub.get_state_by_range("", "")) if entry[0].startswith((prefix, "\0"))]


def _call(stub: Stub, chaincode: str, *arguments: str, channel: str = "") -> list[Any]:
    return _answered(stub.invoke_chaincode(chaincode, arguments, channel))


def _answered(answer: Response) -> list[Any]:
    return [answer.status, answer.message, _text(answer.payload)]


def key(kind: str, *attributes: str) -> str:
    return "\0" + "".join(part + "\0" for part in (kind, *attributes))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "get": lambda stub, name: _text(stub.get_state(name)),
    "put": lambda stub, name, value: stub.put_state(name, value.encode("latin-1")),
    "delete": lambda stub, name: stub.del_state(name),
    "fill": _fill,
    "range": _range,
    "page": _page,
    "get_private": lambda stub, collection, name: _text(stub.get_private_data(collection, name)),
    "hash_private": lambda stub, collection, name: stub.get_private_data_hash(collection, name).hex(),
    "put_private": lambda stub, collection, name, field: stub.put_private_data(
        collection, name, stub.get_transient()[field]
    ),
    "private_size": lambda stub, collection, name: len(stub.get_private_data(collection, name)),
    "get_many": lambda stub, names: [_text(value) for value in stub.get_multiple_states(names)],
    "get_many_private": lambda stub, collection, names: [
        _text(value) for value in stub.get_multiple_private_data(collection, names)
    ],
    "plain_range": lambda stub, start, end: _entries(stub.get_state_by_range(start, end)),
    "whole_range": _whole_range,
    "plain_page": _plain_page,
    "history": lambda stub, name: [
        [_text(each.value), each.is_delete, len(each.tx_id), each.timestamp > 0]
        for each in stub.get_history_for_key(name)
    ],
    "changes": lambda stub, name: [[each.tx_id, each.timestamp] for each in stub.get_history_for_key(name)],
    "policy": lambda stub, name: _text(stub.get_state_validation_parameter(name)),
    "set_policy": lambda stub, name, policy: stub.set_state_validation_parameter(name, policy.encode("latin-1")),
    "private_policy": lambda stub, collection, name: _text(
        stub.get_private_data_validation_parameter(collection, name)
    ),
    "set_private_policy": lambda stub, collection, name, policy: stub.set_private_data_validation_parameter(
        collection, name, policy.encode("latin-1")
    ),
    "batch": lambda stub: stub.start_write_batch(),
    "end_batch": lambda stub: stub.finish_write_batch(),
    "delete_private": lambda stub, collection, name: stub.del_private_data(collection, name),
    "purge": lambda stub, collection, name: stub.purge_private_data(collection, name),
    "private_range": lambda stub, collection, start, end: _entries(
        stub.get_private_data_by_range(collection, start, end)
    ),
    "private_prefix": lambda stub, collection, kind, attributes: _entries(
        stub.get_private_data_by_partial_composite_key(collection, kind, attributes)
    ),
    "call": _call,
    "call_on": lambda stub, channel, chaincode, *arguments: _call(stub, chaincode, *arguments, channel=channel),
    "call_with_bytes": lambda stub, chaincode, given: _answered(
        stub.invoke_chaincode(chaincode, ["Run", given.encode("latin-1")])
    ),
    "transient": lambda stub: {name: _text(value) for name, value in sorted(stub.get_transient().items())},
    "event": lambda stub, name, payload: stub.set_event(name, payload.encode("latin-1")),
    "refuse": _refuse,
    "mistake": _mistake,
    "who": _who,
    "certificate": _certificate,
    "where": lambda stub: [stub.get_channel_id(), stub.get_function_and_parameters()[0]],
    "txid": lambda stub: stub.get_tx_id(),
    "time": lambda stub: stub.get_tx_timestamp(),
    "differ": lambda stub: stub.put_state("differ", os.urandom(8)),
}


class Conformance:
    """Runs ``Run(script)``; the script is a JSON list of [operation, arguments...], the result the list of results."""

    def invoke(self, stub: Stub) -> bytes:
        _, [script] = stub.get_function_and_parameters()
        return json.dumps(run(stub, json.loads(script))).encode()


@dataclasses.dataclass
class Deployment:
    """The test's chaincode on the session's network, and a gateway for each institution."""

    directory: Path
    msp_ids: tuple[str, ...]
    gateways: list[Gateway]
    servers: list[ChaincodeServer]
    configs: list[ServerConfig]
    chaincode: Conformance

    def network(self, number: int = 0) -> Network:
        return self.gateways[number].network("befl")

    def contract(self, number: int = 0) -> Contract:
        return self.network(number).contract(NAME)

    def evaluate(self, *steps: list[Any], by: int = 0, **more: Any) -> list[Any]:
        result: list[Any] = json.loads(self.contract(by).evaluate("Run", json.dumps(steps), **more))
        return result

    def submit(self, *steps: list[Any], by: int = 0, **more: Any) -> list[Any]:
        result: list[Any] = json.loads(self.contract(by).submit("Run", json.dumps(steps), **more).result)
        return result


@pytest.fixture(scope="session")
def conformance(consortium: Any) -> Iterator[Deployment]:
    chaincode = Conformance()
    with contextlib.ExitStack() as stack:
        servers, configs = _deployed(consortium, NAME, chaincode, stack)
        _deployed(consortium, CALLED, Conformance(), stack)
        gateways = [
            stack.enter_context(connect(Profile.load(consortium.profile(name)), consortium.user(name)))
            for name in consortium.institutions
        ]
        yield Deployment(consortium.directory, consortium.msp_ids, gateways, servers, configs, chaincode)


def _deployed(
    consortium: Any, name: str, chaincode: Conformance, stack: contextlib.ExitStack
) -> tuple[list[ChaincodeServer], list[ServerConfig]]:
    """Serve a chaincode for each institution, install it, and put its definition on the channel."""
    layout = Layout(consortium.directory)
    kept = parse(layout.topology.read_bytes(), str(layout.topology))
    topology = dataclasses.replace(kept, chaincode=dataclasses.replace(kept.chaincode, name=name))
    programs = fabric.locate()
    members = [Served(topology, each, layout, programs, threading.Event()) for each in topology.institutions]
    package_id = members[0].package("1", "0" * 64)[0]
    configs: list[ServerConfig] = []
    servers: list[ChaincodeServer] = []
    for member in members:
        tls = member.home.chaincode / "tls"
        config = ServerConfig(
            chaincode_id=package_id,
            address="127.0.0.1:0",
            certificate=str(tls / "server.crt"),
            key=str(tls / "server.key"),
            client_ca=str(tls / "ca.crt"),
            time_tolerance_s=20,  # less than the peer's own 60, so that both checks can be met
        )
        server = ChaincodeServer(chaincode, config)
        server.start()
        configs.append(dataclasses.replace(config, address=f"127.0.0.1:{server.port}"))
        servers.append(server)
    stack.callback(lambda: [server.stop(1) for server in servers])
    with ThreadPoolExecutor(len(members)) as pool:
        list(pool.map(_install, members, servers))
        list(pool.map(lambda member: member.approve(package_id, "1", 1, consortium.msp_ids), members))
    peers = {each.address("peer"): layout.public(each.name).tls_ca.read_text() for each in topology.institutions}
    members[0].commit("1", 1, consortium.msp_ids, peers)
    return servers, configs


class Served(Member):
    """An institution whose chaincode server is one of this process."""

    server = ""

    def connection(self, address: str) -> dict[str, Any]:
        return super().connection(self.server)


def _install(member: Served, server: ChaincodeServer) -> None:
    path = member.home.chaincode / "connection.json"
    original = path.read_bytes()
    member.server = f"127.0.0.1:{server.port}"
    try:
        member.install("1", "0" * 64)
    finally:
        path.write_bytes(original)
