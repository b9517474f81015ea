"""`befl config show`: each value with where it comes from; no key, and nothing is connected to."""

from __future__ import annotations

import json

import pytest

from befl.cli.main import run

AGENT = """\
befl = 1
[network]
profile = "connection.json"
[identity]
msp_dir = "users/agent/msp"
[data.heart]
path = "heart.csv"
[policy]
apply = "always"
schemes = ["none"]
"""


@pytest.fixture
def network(tmp_path, authority, monkeypatch):
    """A folder with two institutions, of which one has three identities; nothing runs."""
    for name in ("BEFL_NETWORK", "BEFL_AS", "BEFL_CACHE", "BEFL_FABRIC_BIN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "consortium"
    for org in ("north", "south"):
        for user in ("agent", "issuer", "admin"):
            keys = folder / org / "users" / user / "msp" / "keystore"
            keys.mkdir(parents=True)
            (keys / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n")
        profile = {
            "client": {"organization": org},
            "organizations": {org: {"mspid": f"{org.title()}MSP", "peers": ["peer0"]}},
            "peers": {"peer0": {"url": "grpcs://127.0.0.1:7051", "tlsCACerts": {"pem": authority.pem.decode()}}},
        }
        (folder / org / "connection.json").write_text(json.dumps(profile))
    return folder


@pytest.fixture
def shown(capsys):
    def call(*options):
        assert run(["config", "show", *map(str, options), "--format", "json"]) == 0
        return {each["name"]: each for each in json.loads(capsys.readouterr().out)}

    return call


def test_options_before_environment_before_defaults(network, shown, monkeypatch):
    found = shown()
    assert (found["network"]["value"], found["network"]["origin"]) == (None, "default")
    assert found["profile"]["problem"].startswith("BEFL-C-009: neither a network folder")
    monkeypatch.setenv("BEFL_NETWORK", str(network))
    monkeypatch.setenv("BEFL_AS", "south")
    found = shown()
    assert (found["network"]["value"], found["network"]["origin"]) == (str(network), "environment BEFL_NETWORK")
    assert (found["as"]["value"], found["as"]["origin"]) == ("south", "environment BEFL_AS")
    assert (found["institution"]["value"], found["peer"]["value"]) == ("SouthMSP", "127.0.0.1:7051")
    assert found["institution"]["origin"] == str(network / "south/connection.json")
    found = shown("--as", "north/admin")
    assert (found["as"]["value"], found["as"]["origin"]) == ("north/admin", "option --as")
    assert (found["user"]["value"], found["user"]["origin"]) == (str(network / "north/users/admin"), "network and as")
    assert (found["channel"]["value"], found["channel"]["origin"]) == ("befl", "default")


def test_what_is_wrong_is_said_and_the_rest_is_shown(network, shown):
    found = shown("--network", network)
    assert "it is not said as which institution" in found["profile"]["problem"]
    assert "cache" in found
    found = shown("--network", network, "--as", "west")
    assert "has no institution 'west'" in found["profile"]["problem"]
    found = shown("--profile", network / "absent.json", "--user", network / "nobody")
    assert (found["profile"]["origin"], found["user"]["problem"]) == ("option --profile", "there is no such folder")
    assert found["peer"]["problem"].startswith("BEFL-G-022")


def test_cache_and_programs(network, shown, monkeypatch, tmp_path):
    assert (shown()["cache"]["origin"], shown()["fabric"]["origin"]) == ("default", "default")
    monkeypatch.setenv("BEFL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(tmp_path / "bin"))
    found = shown()
    assert (found["cache"]["value"], found["cache"]["origin"]) == (str(tmp_path / "cache"), "environment BEFL_CACHE")
    assert (found["fabric"]["value"], found["fabric"]["origin"]) == (
        str(tmp_path / "bin"),
        "environment BEFL_FABRIC_BIN",
    )


def test_an_agents_file_key_by_key(network, shown, tmp_path):
    file = tmp_path / "AGENT.toml"
    file.write_text(AGENT)
    found = {name: each for name, each in shown("--config", file).items() if name.startswith("agent.")}
    written = {name for name, each in found.items() if each["origin"] == str(file)}
    assert written == {
        "agent.befl",
        "agent.network.profile",
        "agent.identity.msp_dir",
        "agent.data.heart.path",
        "agent.policy.apply",
        "agent.policy.schemes",
    }
    assert found["agent.policy.schemes"]["value"] == ["none"]
    assert (found["agent.policy.least"]["value"], found["agent.policy.least"]["origin"]) == (3, "default")
    assert found["agent.training.confine"]["value"] is True


def test_as_text_and_without_any_key(network, tmp_path, capsys):
    file = tmp_path / "AGENT.toml"
    file.write_text(AGENT)
    assert run(["config", "show", "--network", str(network), "--as", "north", "--config", str(file)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0].split() == ["name", "value", "from"]
    lines = {line.split()[0]: line.split() for line in text.splitlines()}
    assert lines["agent.policy.apply"] == ["agent.policy.apply", "always", str(file)]
    assert lines["agent.metrics.listen"] == ["agent.metrics.listen", '""', "default"]
    assert "planted" not in text
    assert run(["config", "show", "--network", str(network), "--as", "west"]) == 0
    assert "profile: BEFL-C-009: " in capsys.readouterr().out


def test_a_file_that_is_none(network, tmp_path, capsys):
    file = tmp_path / "AGENT.toml"
    file.write_text("befl = 1\npolitics = 1\n")
    assert run(["config", "show", "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith("BEFL-C-00")
