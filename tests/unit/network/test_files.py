"""The pure functions from topology to files: everything they make of one topology is held in golden/.

After an intended change: ``BEFL_GOLDEN=write pytest tests/unit/network/test_files.py``, and read the difference.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from befl.network import files, topology
from befl.network.layout import Home, Layout

GOLDEN = Path(__file__).with_name("golden")
TOPOLOGY = topology.with_ports(topology.make(["org1", "org2", "org3"]), range(20_000, 20_000 + 3 * len(topology.PORTS)))
ORG2 = TOPOLOGY.institution("org2")
MSP_IDS = [institution.msp_id for institution in TOPOLOGY.institutions]
LAYOUT = Layout(Path("/network"))
HOME = LAYOUT.home("org2")
CONFIG = Path("/fabric/config")
SECRETS = {
    name: f"secret of {name}"
    for name in ("registrar", "admin", "agent", "chaincode", "issuer", "operations", "orderer", "peer")
}

MADE = {
    "network.toml": lambda: topology.dump(TOPOLOGY),
    "configtx.yaml": lambda: files.render(files.configtx(TOPOLOGY, LAYOUT)),
    "collections.json": lambda: files.render(files.collections(MSP_IDS)),
    "connection.json": lambda: files.render(files.connection_profile(TOPOLOGY, ORG2)),
    "ca.yaml": lambda: files.render(files.ca_config(ORG2, HOME, "ca", SECRETS)),
    "tlsca.yaml": lambda: files.render(files.ca_config(ORG2, HOME, "tlsca", SECRETS)),
    "opsca.yaml": lambda: files.render(files.ca_config(ORG2, HOME, "opsca", SECRETS)),
    "ca_service.json": lambda: files.render(files.ca_service(HOME, "/fabric/bin/fabric-ca-server")),
    "orderer_service.json": lambda: files.render(
        files.orderer_service(TOPOLOGY, ORG2, HOME, "/fabric/bin/orderer", CONFIG)
    ),
    "peer_service.json": lambda: files.render(files.peer_service(TOPOLOGY, ORG2, HOME, "/fabric/bin/peer", CONFIG)),
    "chaincode_service.json": lambda: files.render(
        files.chaincode_service(HOME, "/python", HOME.chaincode / "server.json", {"PATH": "/bin"})
    ),
    "chaincode_server.json": lambda: files.render(files.chaincode_config(TOPOLOGY, ORG2, HOME, "befl_1:ab", "ab" * 32)),
    "chaincode_connection.json": lambda: files.render(
        files.chaincode_connection(ORG2.address("chaincode"), "CERT", "KEY", "CA")
    ),
    "config.yaml": lambda: files.render(files.node_ous()),
    "admin_environment.json": lambda: files.render(files.cli_environment(ORG2, HOME, CONFIG)),
    "builder.json": lambda: files.render(files.builder_scripts(HOME)),
    "package.hex": lambda: files.chaincode_package("befl_0.1.0-0123456789abcdef").hex() + "\n",
}


@pytest.mark.parametrize("name", MADE)
def test_golden(name):
    made = MADE[name]()
    if os.environ.get("BEFL_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(made)
    assert made == (GOLDEN / name).read_text()


def test_golden_holds_nothing_else():
    assert {path.name for path in GOLDEN.iterdir()} == set(MADE)


def test_block_signers_are_orderers_only():
    profile = files.configtx(TOPOLOGY, LAYOUT)["Profiles"]["befl"]
    for institution, orderer, member in zip(
        TOPOLOGY.institutions, profile["Orderer"]["Organizations"], profile["Application"]["Organizations"], strict=True
    ):
        msp = institution.msp_id
        assert orderer["Policies"]["Writers"]["Rule"] == f"OR('{msp}.orderer')"
        assert member["Policies"]["Writers"]["Rule"] == f"OR('{msp}.client','{msp}.admin')"
        assert member["Policies"]["Endorsement"]["Rule"] == f"OR('{msp}.peer')"
        assert orderer["MSPDir"] == member["MSPDir"]
    assert profile["Capabilities"] == {"V3_0": True}
    assert profile["Application"]["Capabilities"] == {"V2_5": True}


def test_collections_have_no_policy_of_their_own():
    for collection in files.collections(MSP_IDS):
        assert "endorsementPolicy" not in collection
        assert (collection["requiredPeerCount"], collection["maxPeerCount"]) == (0, 0)
        assert collection["policy"] == "OR('Org1MSP.member','Org2MSP.member','Org3MSP.member')"


def test_the_package_says_only_type_and_label():
    label = files.chaincode_label("befl", "0.1.0", "ab" * 32)
    assert label == "befl_0.1.0-abababababababab"
    assert files.definition_version("0.1.0", "ab" * 32) == "0.1.0-" + "ab" * 32
    package = files.chaincode_package(label)
    assert package == files.chaincode_package(label)
    assert package != files.chaincode_package("befl_0.1.1-abababababababab")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(package))) as archive:
        assert archive.getnames() == ["metadata.json", "code.tar.gz"]
        metadata = archive.extractfile("metadata.json")
        assert metadata is not None
        assert json.load(metadata) == {"type": "ccaas", "label": label}


def test_no_secret_is_in_a_command_line():
    for name in ("ca_service.json", "orderer_service.json", "peer_service.json", "chaincode_service.json"):
        argv = json.loads(MADE[name]())["argv"]
        assert not any("secret" in word for word in argv)


def test_the_builder_takes_ccaas_only_and_releases_the_institutions_own_connection(tmp_path):
    home = Home(tmp_path / "an institution's")
    home.chaincode.mkdir(parents=True)
    (home.chaincode / "connection.json").write_text('{"address": "here"}')
    for name, content in files.builder_scripts(home).items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o700)
    (tmp_path / "metadata.json").write_text('{"type": "ccaas", "label": "x"}')

    def run(name: str, *arguments: Path) -> int:
        return subprocess.run([tmp_path / name, *arguments], check=False).returncode

    assert run("detect", tmp_path, tmp_path) == 0
    assert run("build", tmp_path, tmp_path, tmp_path) == 0
    assert run("release", tmp_path, tmp_path / "out") == 0
    assert (tmp_path / "out/chaincode/server/connection.json").read_text() == '{"address": "here"}'
    (tmp_path / "metadata.json").write_text('{"type": "golang", "label": "x"}')
    assert run("detect", tmp_path, tmp_path) != 0
