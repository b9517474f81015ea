"""Where and as whom: what is not said, or names nothing, is refused with what there is."""

from __future__ import annotations

import json
import shutil

import pytest

from befl.client import connect
from befl.rules.errors import BeflError


@pytest.fixture
def network(tmp_path, write_user, authority):
    """A folder like that of `befl network up`, of two institutions; nothing runs."""
    directory = tmp_path / "network"
    user = write_user()
    for org in ("org1", "org2"):
        profile = {
            "client": {"organization": org},
            "organizations": {org: {"mspid": f"{org.title()}MSP", "peers": ["peer0"]}},
            "peers": {"peer0": {"url": "grpcs://127.0.0.1:1", "tlsCACerts": {"pem": authority.pem.decode()}}},
        }
        for name in ("agent", "issuer"):
            shutil.copytree(user, directory / org / "users" / name)
        (directory / org / "connection.json").write_text(json.dumps(profile))
    return directory


@pytest.mark.parametrize(
    ("identity", "name", "msp_id"),
    [("org1", "agent", "Org1MSP"), ("org2", "issuer", "Org2MSP"), ("org2/issuer", "agent", "Org2MSP")],
)
def test_as_an_institution(network, identity, name, msp_id):
    with connect(network=network, identity=identity, name=name) as client:
        assert client.msp_id == msp_id


def test_the_only_institution_need_not_be_named(network):
    shutil.rmtree(network / "org2")
    with connect(network=str(network)) as client:
        assert client.msp_id == "Org1MSP"


def test_a_profile_and_a_user(network):
    org = network / "org1"
    with connect(profile=org / "connection.json", user=org / "users" / "issuer") as client:
        assert client.msp_id == "Org1MSP"


def test_a_closed_client(network):
    client = connect(network=network, identity="org1")
    client.close()
    client.close()
    with pytest.raises(BeflError, match="BEFL-G-002"):
        client.tasks.list()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "neither a network folder"),
        ({"profile": "x"}, "neither a network folder"),
        ({"user": "x"}, "neither a network folder"),
        ({"network": ""}, "it is not said as which institution"),
        ({"network": "", "identity": "org9"}, "has no institution 'org9'"),
        ({"network": "", "identity": "org1/nobody"}, "org1 has no identity 'nobody'"),
    ],
)
def test_what_is_not_said_or_names_nothing(network, options, words):
    if "network" in options:
        options = options | {"network": network}
    with pytest.raises(BeflError, match="BEFL-C-009") as caught:
        connect(**options)
    assert words in caught.value.message
    if "institution" in words and "network" in options:
        assert "org1, org2" in caught.value.hint
    if "nobody" in words:
        assert "agent, issuer" in caught.value.hint


def test_a_folder_that_is_no_network(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-N-009: .* holds no network") as caught:
        connect(network=tmp_path, identity="org1")
    assert "befl network up" in caught.value.hint
