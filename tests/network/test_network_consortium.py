"""The consortium that `up` makes: healthy, each institution on its own, closed to strangers, and it mends itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

import befl.network
from befl.gateway import wait
from befl.network import commands, fabric, topology
from befl.network.files import COLLECTIONS, cli_environment, definition_version
from befl.network.layout import Layout
from befl.rules.version import __version__
from befl.shim.digest import code_digest

ATTRIBUTES = ObjectIdentifier("1.2.3.4.5.6.7.8.1")
PROCESSES = ("ca", "orderer", "peer", "chaincode")


@pytest.fixture(scope="module")
def layout(consortium) -> Layout:
    return Layout(consortium.directory)


@pytest.fixture(scope="module")
def kept(layout) -> topology.Topology:
    return topology.parse(layout.topology.read_bytes(), "network.toml")


@pytest.fixture(scope="module")
def peer(layout, kept) -> Callable[..., str]:
    """Run the peer command as an institution's admin."""
    programs = fabric.locate()

    def run(institution: str, *arguments: str) -> str:
        environment = cli_environment(kept.institution(institution), layout.home(institution), programs.config)
        return commands.run([programs.command("peer"), *arguments], env=environment, what="asking")

    return run


def processes(consortium) -> dict[str, befl.network.ProcessStatus]:
    status = consortium.status()
    return {f"{one.name}/{process.name}": process for one in status.institutions for process in one.processes}


def test_every_process_of_every_institution_is_healthy(consortium):
    status = consortium.status()
    assert status.running
    assert status.ready
    assert status.fabric.startswith("v3.")
    assert [one.name for one in status.institutions] == list(consortium.institutions)
    assert [one.msp_id for one in status.institutions] == ["Org1MSP", "Org2MSP", "Org3MSP"]
    assert set(processes(consortium)) == {f"{name}/{what}" for name in consortium.institutions for what in PROCESSES}
    assert len({process.pid for process in processes(consortium).values()}) == 12
    assert all(process.memory_bytes > 10_000_000 for process in processes(consortium).values())
    assert status.memory_bytes < 2_000_000_000
    assert sum(one.leader for one in status.institutions) == 1


def test_up_again_changes_nothing(consortium):
    before = consortium.status()
    lines: list[str] = []
    after = befl.network.up(consortium.directory, befl.network.make(consortium.institutions), lines.append)
    assert lines[-1].endswith("ready")
    assert [one.height for one in after.institutions] == [one.height for one in before.institutions]
    pids = [[process.pid for process in one.processes] for one in before.institutions]
    assert [[process.pid for process in one.processes] for one in after.institutions] == pids


def test_the_definition_carries_the_code_and_both_collections(consortium, peer):
    definitions = [
        json.loads(peer(name, "lifecycle", "chaincode", "querycommitted", "-C=befl", "-n=befl", "--output=json"))
        for name in consortium.institutions
    ]
    assert definitions[0] == definitions[1] == definitions[2]
    definition = definitions[0]
    assert definition["version"] == definition_version(__version__, code_digest())
    assert definition["sequence"] == 1
    assert definition["approvals"] == {"Org1MSP": True, "Org2MSP": True, "Org3MSP": True}
    found = [entry["Payload"]["StaticCollectionConfig"] for entry in definition["collections"]["config"]]
    assert tuple(collection["name"] for collection in found) == COLLECTIONS
    for collection in found:
        assert "endorsement_policy" not in collection
        assert collection["member_only_read"] is True
        assert collection["member_only_write"] is True
        assert "required_peer_count" not in collection  # none, and none is pushed: ADR 15
        assert "maximum_peer_count" not in collection
        assert "block_to_live" not in collection  # none: kept until purged


def test_every_institution_made_the_same_package(consortium, peer):
    installed = [
        json.loads(peer(name, "lifecycle", "chaincode", "queryinstalled", "--output=json"))["installed_chaincodes"]
        for name in consortium.institutions
    ]
    label = f"befl_{__version__}-{code_digest()[:16]}"  # other tests install other chaincode beside it
    assert {len([entry for entry in one if entry["label"] == label]) for one in installed} == {1}
    assert len({entry["package_id"] for one in installed for entry in one if entry["label"] == label}) == 1


@pytest.mark.parametrize(
    ("user", "ou", "role"),
    [("admin", "admin", "operator"), ("issuer", "client", "issuer"), ("agent", "client", "trainer")],
)
def test_users_have_their_ou_and_their_role(consortium, user, ou, role):
    for name in consortium.institutions:
        pem = (consortium.user(name, user) / "msp" / "signcerts" / "cert.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        ous = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        assert [attribute.value for attribute in ous] == [ou]
        extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        assert json.loads(extension.value)["attrs"]["befl.role"] == role
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.DNSName) == [f"{user}.{name}"]


def test_keys_are_private_and_never_in_the_public_folder(consortium, layout):
    keys = 0
    for path in consortium.directory.rglob("*"):
        if path.is_file() and b"PRIVATE KEY-----" in path.read_bytes():
            keys += 1
            assert path.stat().st_mode & 0o077 == 0, path
            assert not path.is_relative_to(layout.directory / "public"), path
    assert keys >= 3 * 15
    for name in consortium.institutions:
        assert layout.home(name).folder.stat().st_mode & 0o077 == 0


def test_no_secret_is_in_a_log_or_a_command_line(consortium, layout):
    for name in consortium.institutions:
        secrets = json.loads((layout.home(name).ca / "secrets.json").read_text())
        logs = "".join(path.read_text(errors="replace") for path in layout.home(name).logs.iterdir())
        assert len(logs) > 1000
        assert not [identity for identity, secret in secrets.items() if secret in logs]


def test_endpoints_are_closed_to_strangers(consortium, layout, kept):
    institution, home = kept.institution("org1"), layout.home("org1")
    agent = home.user("agent") / "tls"
    operations = home.user("admin") / "operations"
    stranger = commands.tls_context(home.tls_ca)
    as_agent = commands.tls_context(home.tls_ca, agent / "client.crt", agent / "client.key")
    as_operator = commands.tls_context(home.tls_ca, operations / "client.crt", operations / "client.key")

    def ask(port: str, path: str, context: ssl.SSLContext) -> int:
        return commands.get(institution.host, institution.port(port), path, context)[0]

    for port in ("peer_operations", "orderer_operations"):
        assert ask(port, "/healthz", stranger) == 200
        assert ask(port, "/metrics", stranger) == 401
        assert ask(port, "/metrics", as_agent) == 0  # the handshake fails: not the operations CA's certificate
        assert ask(port, "/metrics", as_operator) == 200
        assert ask(port, "/logspec", stranger) == 401
    channels = "/participation/v1/channels"
    assert ask("orderer_admin", channels, stranger) == 0
    assert ask("orderer_admin", channels, as_agent) == 0
    assert ask("orderer_admin", channels, as_operator) == 200
    # mutual TLS where gRPC is spoken: without a certificate the server breaks the connection off
    for port in ("peer", "orderer", "chaincode"):
        assert refused(institution.host, institution.port(port), stranger)
        assert not refused(institution.host, institution.port(port), as_agent)


def refused(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Whether the server breaks off once it has seen the client's certificate, or none."""
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                return not secure.recv(9)  # the server's SETTINGS frame
        except (ssl.SSLError, ConnectionError):
            return True


def test_the_channel_is_what_was_agreed(layout, kept):
    programs = fabric.locate()
    decode = ["proto_decode", "--type=common.Block", f"--input={layout.genesis}"]
    block = json.loads(commands.run([programs.command("configtxlator"), *decode], what="decoding"))
    groups = block["data"]["data"][0]["payload"]["data"]["config"]["channel_group"]["groups"]
    consenters = groups["Orderer"]["values"]["ConsensusType"]["value"]["metadata"]["consenters"]
    assert [one["port"] for one in consenters] == [one.port("orderer") for one in kept.institutions]
    for institution in kept.institutions:
        msp = institution.msp_id
        orderer = groups["Orderer"]["groups"][msp]
        member = groups["Application"]["groups"][msp]
        assert orderer["values"]["MSP"] == member["values"]["MSP"]
        anchors = member["values"]["AnchorPeers"]["value"]["anchor_peers"]
        assert anchors == [{"host": institution.host, "port": institution.port("peer")}]
        assert orderer["values"]["Endpoints"]["value"]["addresses"] == [institution.address("orderer")]
        assert roles(orderer, "Writers") == {"ORDERER"}
        assert roles(member, "Writers") == {"CLIENT", "ADMIN"}
        assert roles(member, "Endorsement") == {"PEER"}
        assert roles(member, "Admins") == {"ADMIN"}


def roles(group: dict, policy: str) -> set[str]:
    identities = group["policies"][policy]["policy"]["value"]["identities"]
    return {identity["principal"]["role"] for identity in identities}


@pytest.mark.parametrize("name", ["peer", "orderer", "chaincode", "ca"])
def test_what_is_killed_comes_back(consortium, name):
    before = processes(consortium)[f"org2/{name}"]
    os.kill(before.pid, signal.SIGKILL)

    def back() -> bool:
        now = processes(consortium)[f"org2/{name}"]
        return now.healthy and now.pid not in (0, before.pid)

    wait.until(back, timeout=30, what=f"org2/{name} healthy again")
    assert processes(consortium)[f"org2/{name}"].restarts == before.restarts + 1
    if name in ("peer", "chaincode"):  # until the next test may rely on it
        befl.network.up(consortium.directory)


def test_each_profile_and_user_is_complete(consortium):
    for name in consortium.institutions:
        profile = json.loads(consortium.profile(name).read_text())
        organization = profile["organizations"][profile["client"]["organization"]]
        [peer_name] = organization["peers"]
        certificate = Path(consortium.profile(name).parent / profile["peers"][peer_name]["tlsCACerts"]["path"])
        assert certificate.is_file()
        for user in ("admin", "issuer", "agent"):
            folder = consortium.user(name, user)
            assert {path.name for path in (folder / "tls").iterdir()} == {"ca.crt", "client.crt", "client.key"}
            assert len(list((folder / "msp" / "keystore").iterdir())) == 1
