"""AGENT.toml: each way to write it wrong has a code and names the key; what is left out has the careful default."""

from __future__ import annotations

import re

import pytest

from befl.agent.config import load
from befl.rules.errors import BeflError

LEAST = """\
befl = 1
[network]
profile = "connection.json"
[identity]
msp_dir = "users/agent/msp"
"""

FULL = """\
befl = 1
state = "/var/lib/befl"
[network]
profile = "../connection.json"
channel = "hearts"
chaincode = "befl2"
[identity]
msp_dir = "users/agent/msp"
[data.heart]
path = "heart.csv"
[data.lung]
path = "/data/lung.csv"
[policy]
apply = "always"
issuers = ["Org1MSP", "Org2MSP"]
schemes = ["none"]
least = 4
[training]
python = "/opt/torch/bin/python"
threads = 4
timeout = 60
memory = 2000
"""


@pytest.fixture
def read(tmp_path):
    def write_and_load(text):
        path = tmp_path / "AGENT.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path)

    return write_and_load


def test_the_careful_defaults(read, tmp_path):
    config = read(LEAST)
    assert (config.policy.apply, config.policy.issuers, config.policy.schemes, config.policy.least) == (
        "ask",
        "any",
        (),
        3,
    )
    assert (config.network.channel, config.network.chaincode) == ("befl", "befl")
    assert (config.training.python, config.training.threads, config.training.timeout) == ("", 1, 3600)
    assert (config.training.device, config.training.memory) == ("cpu", 0)
    assert config.data == {}
    assert config.state_dir == tmp_path / "state"


def test_paths_are_relative_to_the_file(read, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = read(FULL)
    assert config.profile == tmp_path / "../connection.json"
    assert config.user_dir == tmp_path / "users/agent"
    assert config.data_path("heart") == tmp_path / "heart.csv"
    assert str(config.data_path("lung")) == "/data/lung.csv"
    assert str(config.state_dir) == "/var/lib/befl"
    assert config.policy.issuers == ("Org1MSP", "Org2MSP")


def test_data_without_a_file(read):
    with pytest.raises(BeflError, match=r"BEFL-C-007: .*'kidney'") as caught:
        read(FULL).data_path("kidney")
    assert "heart, lung" in caught.value.hint
    with pytest.raises(BeflError, match="BEFL-C-007") as caught:
        read(LEAST).data_path("kidney")
    assert "none" in caught.value.hint


@pytest.mark.parametrize(
    ("written", "means"),
    [("", ""), ("python3.12", "python3.12"), ("/opt/py/bin/python", "/opt/py/bin/python"), ("../py/python", None)],
)
def test_the_interpreter(read, tmp_path, written, means):
    config = read(FULL.replace("/opt/torch/bin/python", written))
    assert config.python == (means if means is not None else f"{config.folder}/../py/python")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*AGENT\.toml: No such file"):
        load(tmp_path / "AGENT.toml")
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"befl = ", b"befl = 1\nbefl = 1", b"\xff\xfe", b"[network\n", b"befl = 1" + b"0" * 5000, b"a" * 1_000_001],
    ids=["no value", "twice", "not UTF-8", "no bracket", "too many digits", "too large"],
)
def test_malformed(read, text):
    with pytest.raises(BeflError, match=r"BEFL-C-005: /.*AGENT\.toml: "):
        read(text)


@pytest.mark.parametrize(
    ("change", "code", "names"),
    [
        (("befl = 1", "befl = 1\ncolour = 2"), "BEFL-C-002", "colour"),
        (("least = 4", "lest = 4"), "BEFL-C-002", "policy.lest"),
        (('path = "heart.csv"', 'path = "heart.csv"\nformat = "csv"'), "BEFL-C-002", "data.heart.format"),
        (("befl = 1", ""), "BEFL-C-003", "befl"),
        (('profile = "../connection.json"', ""), "BEFL-C-003", "network.profile"),
        (('msp_dir = "users/agent/msp"', ""), "BEFL-C-003", "identity.msp_dir"),
        (('path = "heart.csv"', ""), "BEFL-C-003", "data.heart.path"),
        (("befl = 1", "befl = 2"), "BEFL-C-004", "befl"),
        (("befl = 1", 'befl = "1"'), "BEFL-C-004", "befl"),
        (('profile = "../connection.json"', "profile = 1"), "BEFL-C-004", "network.profile"),
        (('profile = "../connection.json"', 'profile = ""'), "BEFL-C-004", "network.profile"),
        (('channel = "hearts"', 'channel = "two words"'), "BEFL-C-004", "network.channel"),
        (('[data.heart]\npath = "heart.csv"', '[data."two words"]\npath = "x"'), "BEFL-C-004", "data: key"),
        (('apply = "always"', 'apply = "yes"'), "BEFL-C-004", "policy.apply"),
        (('apply = "always"', "apply = true"), "BEFL-C-004", "policy.apply"),
        (('issuers = ["Org1MSP", "Org2MSP"]', 'issuers = "Org1MSP"'), "BEFL-C-004", "policy.issuers"),
        (('issuers = ["Org1MSP", "Org2MSP"]', "issuers = []"), "BEFL-C-004", "policy.issuers"),
        (('issuers = ["Org1MSP", "Org2MSP"]', 'issuers = ["A", "A"]'), "BEFL-C-004", "policy.issuers"),
        (('schemes = ["none"]', 'schemes = ["nothing"]'), "BEFL-C-004", "policy.schemes"),
        (('schemes = ["none"]', 'schemes = "none"'), "BEFL-C-004", "policy.schemes"),
        (("least = 4", "least = 0"), "BEFL-C-004", "policy.least"),
        (("least = 4", "least = 129"), "BEFL-C-004", "policy.least"),
        (("least = 4", "least = 3.5"), "BEFL-C-004", "policy.least"),
        (("threads = 4", "threads = 0"), "BEFL-C-004", "training.threads"),
        (("timeout = 60", "timeout = 99999999"), "BEFL-C-004", "training.timeout"),
        (("memory = 2000", "memory = -1"), "BEFL-C-004", "training.memory"),
        (("memory = 2000", 'memory = "2 GB"'), "BEFL-C-004", "training.memory"),
        (("timeout = 60", 'device = "gpu"'), "BEFL-C-004", "training.device"),
        (("[policy]", "[policy]\npython = 1\n[policy2]"), "BEFL-C-002", "policy2"),
        (('state = "/var/lib/befl"', "state = []"), "BEFL-C-004", "state"),
        (('state = "/var/lib/befl"', "policy = 3"), "BEFL-C-005", "AGENT.toml"),  # then [policy] stands twice
    ],
)
def test_wrong_keys_and_values(read, change, code, names):
    assert change[0] in FULL
    with pytest.raises(BeflError) as caught:
        read(FULL.replace(*change, 1))
    assert caught.value.code == code
    assert names in caught.value.message
    assert re.match(r"/.*AGENT\.toml: ", caught.value.message), "it says in which file"
