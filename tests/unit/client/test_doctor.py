"""`befl doctor --config`: each fault of an agent and its data is found and named."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys

import pytest
from cryptography import x509

from befl.agent.config import Policy
from befl.agent.store import Store
from befl.client import doctor
from befl.client.doctor import AgentFacts, Credentials
from befl.rules.errors import BeflError

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
GOOD = Credentials(NOW - dt.timedelta(1), NOW + dt.timedelta(300), ("trainer",))


def facts(**changes) -> AgentFacts:
    good = AgentFacts(
        "AGENT.toml",
        NOW,
        identity=GOOD,
        ledger=3,
        approvals=1,
        policy=Policy(schemes=("masking",)),
        data={"heart": ""},
        task="TASK.toml",
        columns=303,
        free=10**11,
    )
    return dataclasses.replace(good, **changes)


def judged(found: AgentFacts) -> dict[str, str]:
    wrong = {}
    for finding in [finding for check in doctor.AGENT for finding in check(found)]:
        if finding.state != "ok":
            assert finding.advice, "it says what to do"
            wrong[finding.check] = f"{finding.state}: {finding.found}"
    return wrong


FAULTS = {
    "identity expired": (
        {"identity": dataclasses.replace(GOOD, ends=NOW)},
        "identity",
        "problem: the certificate has expired on 2030-01-01 00:00",
    ),
    "identity not yet valid": (
        {"identity": dataclasses.replace(GOOD, begins=NOW + dt.timedelta(1))},
        "identity",
        "problem: the certificate is valid only from 2030-01-02 00:00",
    ),
    "identity expires": (
        {"identity": dataclasses.replace(GOOD, ends=NOW + dt.timedelta(29))},
        "identity",
        "warning: the certificate expires in 29 days",
    ),
    "identity missing": ({"identity": BeflError("BEFL-G-023", "no key")}, "identity", "problem: BEFL-G-023: no key"),
    "role missing": (
        {"identity": dataclasses.replace(GOOD, roles=())},
        "role",
        "problem: the certificate's befl.role is missing; an agent needs trainer",
    ),
    "another role": (
        {"identity": dataclasses.replace(GOOD, roles=("issuer", "auditor"))},
        "role",
        "problem: the certificate's befl.role is issuer|auditor; an agent needs trainer",
    ),
    "profile": (
        {"profile": BeflError("BEFL-G-022", "no peers")},
        "connection profile",
        "problem: BEFL-G-022",
    ),
    "peer does not answer": ({"ledger": BeflError("BEFL-G-002", "no")}, "ledger", "problem: BEFL-G-002: no"),
    "clock off": (
        {"ledger": BeflError("BEFL-G-011", "the proposal's timestamp is 90.0 s ahead of the endorser's clock")},
        "clock",
        "problem: this machine's clock is off: the proposal's timestamp is 90.0 s ahead",
    ),
    "state folder": ({"state": "/state"}, "state folder", "problem: cannot be written: /state"),
    "disk full": ({"free": 10}, "state folder", "problem: disk full or nearly: 0.0 GB free"),
    "nothing approved": ({"approvals": 0}, "approvals", "warning: no app is approved"),
    "approvals damaged": ({"approvals": BeflError("BEFL-C-001", "x")}, "approvals", "problem: BEFL-C-001: x"),
    "no scheme": ({"policy": Policy()}, "policy", "warning: no privacy scheme is accepted"),
    "no Python": ({"python": "/no/python"}, "training", "problem: /no/python is not there or may not be run"),
    "no GPU": ({"gpu": False}, "training", "problem: a GPU is asked for"),
    "no confinement": (
        {"confinement": ["the kernel has no Landlock: an app can read every file"]},
        "training",
        "warning: the kernel has no Landlock",
    ),
    "open metrics": ({"metrics": BeflError("BEFL-C-020", "open")}, "metrics", "problem: BEFL-C-020: open"),
    "file missing": ({"data": {"heart": "h.csv: No such file"}}, "data.heart", "problem: h.csv: No such file"),
    "no data": ({"data": {}}, "data", "warning: no data is configured"),
    "columns": (
        {"columns": BeflError("BEFL-C-105", "columns missing: age")},
        "columns",
        "problem: TASK.toml: BEFL-C-105: columns missing: age",
    ),
}


def test_nothing_is_wrong():
    assert judged(facts()) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(fault):
    changes, check, said = FAULTS[fault]
    wrong = judged(facts(**changes))
    assert list(wrong) == [check], "and nothing else is called wrong"
    assert wrong[check].startswith(said)


def test_a_configuration_that_cannot_be_read_hides_the_rest(tmp_path):
    found = doctor.examine_agent(tmp_path / "AGENT.toml")
    assert [(one.check, one.state) for one in found] == [("configuration", "problem")]
    assert found[0].found.startswith("BEFL-C-006")


TASK = """\
befl = 1
name = "hearts"
mode = "horizontal"
[app]
name = "tabular"
[data]
alias = "heart"
label = "disease"
columns = { age = "number" }
[participants]
[rounds]
[aggregation]
rule = "fedavg"
[privacy]
scheme = "none"
"""


@pytest.fixture
def agent_toml(tmp_path, write_user, authority):
    profile = {
        "client": {"organization": "alpha"},
        "organizations": {"alpha": {"mspid": "AlphaMSP", "peers": ["peer0"]}},
        "peers": {"peer0": {"url": "grpcs://127.0.0.1:1", "tlsCACerts": {"pem": authority.pem.decode()}}},
    }
    (tmp_path / "connection.json").write_text(json.dumps(profile))
    (tmp_path / "heart.csv").write_text("age,disease\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    (tmp_path / "TASK.toml").write_text(TASK)
    path = tmp_path / "AGENT.toml"
    path.write_text(
        f'befl = 1\n[network]\nprofile = "connection.json"\n[identity]\nmsp_dir = "{write_user().name}/msp"\n'
        '[data.heart]\npath = "heart.csv"\n[policy]\nschemes = ["none"]\n'
    )
    return path


def by_check(found) -> dict[str, tuple[str, str]]:
    return {one.check: (one.state, one.found) for one in found}


def test_an_agent_whose_peer_is_down(agent_toml, monkeypatch):
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: (_ for _ in ()).throw(BeflError("BEFL-G-002", "no")))
    Store(agent_toml.parent / "state").approve("ab" * 32, {"name": "tabular"})
    found = by_check(doctor.examine_agent(agent_toml, agent_toml.parent / "TASK.toml"))
    assert found["configuration"][0] == found["connection profile"][0] == found["data.heart"][0] == "ok"
    assert found["columns"] == ("ok", f"20 rows fit {agent_toml.parent / 'TASK.toml'}")
    assert found["ledger"] == ("problem", "BEFL-G-002: no")
    assert found["role"][0] == "problem"  # the test's certificate has no attributes
    assert found["approvals"] == ("ok", "1 apps are approved")
    assert found["state folder"][0] == "ok"


def test_files_that_are_not_there(agent_toml, monkeypatch):
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: 0)
    (agent_toml.parent / "heart.csv").unlink()
    (agent_toml.parent / "agent/msp/keystore/key_sk").unlink()
    agent_toml.write_text(
        agent_toml.read_text() + '[training]\npython = "/no/python"\n[metrics]\nlisten = "0.0.0.0:9464"\n'
    )
    found = by_check(doctor.examine_agent(agent_toml, agent_toml.parent / "TASK.toml"))
    assert found["data.heart"] == ("problem", f"{agent_toml.parent / 'heart.csv'}: No such file or directory")
    assert found["columns"][1].startswith(f"{agent_toml.parent / 'TASK.toml'}: BEFL-C-101")
    assert found["identity"][1].startswith("BEFL-G-023")
    assert found["training"][0] == "problem"
    assert found["metrics"][1].startswith("BEFL-C-020")
    assert "role" not in found


def test_a_task_file_that_is_not_there_is_no_id(agent_toml, monkeypatch):
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: 0)
    found = by_check(doctor.examine_agent(agent_toml, "absent.toml"))
    assert found["columns"][1].startswith("absent.toml: BEFL-C-006")


def test_an_interpreter_beside_the_file(agent_toml, monkeypatch, tmp_path):
    """A relative path is relative to AGENT.toml, wherever doctor is called."""
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: 0)
    monkeypatch.chdir("/")
    (agent_toml.parent / "py").symlink_to(sys.executable)
    agent_toml.write_text(agent_toml.read_text() + '[training]\npython = "./py"\n')
    assert not [each for each in doctor.examine_agent(agent_toml) if "is not there or may not be run" in each.found]
    (agent_toml.parent / "py").unlink()
    assert [each for each in doctor.examine_agent(agent_toml) if "is not there or may not be run" in each.found]


@pytest.mark.parametrize(("device", "sees", "said"), [("cuda", 0, False), ("cuda", 1, True), ("auto", 1, False)])
def test_a_gpu_that_is_asked_for(agent_toml, tmp_path, monkeypatch, device, sees, said):
    """What stands in for the Python of the training process ends as one whose torch sees a GPU, or sees none."""
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: 0)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in *cuda.is_available*) exit {sees};; esac\nexit 9\n')
    python.chmod(0o700)
    agent_toml.write_text(agent_toml.read_text() + f'[training]\npython = "{python}"\ndevice = "{device}"\n')
    found = [each.found for each in doctor.examine_agent(agent_toml) if each.check == "training"]
    assert ("a GPU is asked for ([training] device), and torch sees none" in found) == said


def test_a_state_folder_that_is_a_file(agent_toml, monkeypatch):
    monkeypatch.setattr(doctor, "_tasks", lambda config, profile: 0)
    (agent_toml.parent / "state").write_text("")
    assert by_check(doctor.examine_agent(agent_toml))["state folder"] == (
        "problem",
        f"cannot be written: {agent_toml.parent / 'state'}",
    )


def test_roles_of_a_certificate(authority):
    assert doctor.credentials(authority.issue("agent").certificate).roles == ()
    with pytest.raises(BeflError, match="BEFL-G-024"):
        doctor.credentials(b"nothing")
    assert x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1") == doctor.ATTRIBUTES
