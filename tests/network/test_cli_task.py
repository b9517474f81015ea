"""The whole road by the command line on a real network: approve, publish, watch, list, fetch, verify, predict."""

from __future__ import annotations

import csv
import json
import signal
import subprocess

import pytest

from befl.client import connect, simulate
from befl.client.tasks import read_spec
from befl.rules.layout import Tensor

from .hospitals import BEFL, befl, befl_json, hospitals, task_toml, undisturbed


def test_from_the_task_to_a_prediction(consortium, tmp_path):
    network = ("--network", consortium.directory)
    with hospitals(consortium, tmp_path, "cli") as agents:
        text = agents[1].config.read_text()
        agents[1].config.write_text(text.replace("[network]", '[network]\nendpoint = "agent.org2.example:7443"'))
        made = befl_json("task", "publish", task_toml(tmp_path, "cli", bits=10), *network, "--as", "org1")
        task = made["task"]
        consortium.level()
        with subprocess.Popen(
            [*BEFL, "task", "watch", task, *map(str, network), "--as", "org2", "--format", "json"],
            stdout=subprocess.PIPE,
            text=True,
        ) as watcher:
            try:
                first = json.loads(watcher.stdout.readline())
                assert (first["state"], first["transaction"]) == ("published", "")
                for each in agents:
                    each.start()
                changes = [json.loads(line) for line in watcher.stdout]
                assert watcher.wait(10) == 0
            finally:
                watcher.kill()
        names = [change["transaction"] for change in changes]
        assert {name: names.count(name) for name in set(names)} == {
            "Apply": 3,
            "Open": 2,
            "Submit": 6,
            "Close": 2,
            "Report": 6,
            "Finish": 1,
        }
        assert changes[-1]["state"] == "finished"
        closed = [(change["txid"], change["block"]) for change in changes if change["transaction"] == "Close"]
        ended = [change["ended"] for change in changes if change["ended"]]
        assert [(each["txid"], each["block"]) for each in ended] == closed
        assert [change["waits_for"]["what"] for change in changes][-1] == "nothing"
        assert [change["block"] for change in changes] == sorted(change["block"] for change in changes)

        consortium.level()
        [line] = [each for each in befl_json("task", "list", *network, "--as", "org3") if each["id"] == task]
        assert (line["state"], line["round"], line["issuer"]) == ("finished", 2, consortium.msp_ids[0])
        shown = befl("task", "show", task, *network, "--as", "org2")
        assert f"trainers   {', '.join(consortium.msp_ids)}" in shown
        assert [line.split()[-2:] for line in shown.splitlines()[-2:]] == [[str(b), txid[:16]] for txid, b in closed]
        told = befl_json("task", "show", task, *network, "--as", "org3")
        assert told["rounds"] == ended
        assert all(each["steps"]["training_ms"] > 0 for each in ended)
        assert told["refused"] == []
        [record] = [each for each in befl_json("model", "list", *network, "--as", "org1") if each["task"] == task]

        folder = tmp_path / "model"
        befl("model", "fetch", task, "--output", folder, *network, "--as", "org3")
        verdict = befl_json("model", "verify", folder, *network, "--as", "org2")
        assert (verdict["digest"], verdict["model"]) == (record["digest"], record["model"])
        assert {path.name for path in folder.iterdir()} == set(verdict["files"])
        own = agents[0].folder / "state" / "models" / task
        agents[0].says(f"model in {own}")
        assert {path.name: path.read_bytes() for path in own.iterdir()} == {
            path.name: path.read_bytes() for path in folder.iterdir()
        }

        rows = list(csv.DictReader(agents[1].rows.read_text().splitlines()))
        predicted = json.loads(befl("predict", folder, agents[1].rows, "--format", "json"))["predicted"]
        right = sum(row["disease"] == guess for row, guess in zip(rows, predicted, strict=True))
        assert right / len(rows) > 0.65, "it has learnt something"

        rows_of = {each.org: each.rows for each in agents}
        made = simulate(tmp_path / "cli.toml", data=rows_of, id=task)
        assert made.model == record["model"], "the simulation makes the model of the network, bit for bit"
        assert made.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
        with connect(network=consortium.directory, identity="org1") as client:
            assert undisturbed(client, task, agents)[0] == record["model"], (
                "each seed is of task, round and institution"
            )

        (folder / "card.md").write_text("# A better model\n")
        assert befl("model", "verify", folder, *network, "--as", "org2", status=1).startswith("BEFL-M-009")

        members = {each["msp_id"]: each["agent"] for each in befl_json("member", "list", *network, "--as", "org1")}
        assert all(members[msp_id] for msp_id in consortium.msp_ids), "each agent has announced itself"
        assert members[consortium.msp_ids[1]]["endpoint"] == "agent.org2.example:7443"
        assert "agent.org2.example:7443, announced" in befl(
            "member", "show", consortium.msp_ids[1], *network, "--as", "org3"
        )
        own = befl_json("agent", "status", "--config", agents[2].config)
        assert (own["running"], own["pid"], own["msp_id"]) == (True, agents[2].process.pid, agents[2].msp_id)
        assert "BEFL-C-008: " in befl("agent", "run", "--config", agents[2].config, status=2)
        assert agents[2].process.poll() is None, "the first agent is not disturbed by the second"

        assert [each.stop() for each in agents[:2]] == [0, 0]
        assert agents[2].stop(signal.SIGINT) == 130
        befl("agent", "status", "--config", agents[2].config, status=1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("task", "show", "0" * 16), "BEFL-T-007"),
        (("task", "watch", "0" * 16), "BEFL-T-007"),
        (("model", "fetch", "0" * 16), "BEFL-T-007"),
        (("task", "apply", "nonsense"), "BEFL-T-007"),
    ],
)
def test_unknown_ids(consortium, tmp_path, arguments, code):
    said = befl(*arguments, "--network", consortium.directory, "--as", "org1", status=1, cwd=tmp_path)
    assert said.startswith(code)
    assert list(tmp_path.iterdir()) == []


def test_a_role_that_the_identity_has_not(consortium):
    cancel = ("task", "cancel", "0" * 16, "--reason", "none", "--network", consortium.directory)
    said = befl(*cancel, "--as", "org1/agent", status=1)
    assert said.startswith(f"BEFL-A-001: the certificate from {consortium.msp_ids[0]} has befl.role trainer")


def test_watching_is_interrupted(consortium, tmp_path):
    """Ctrl-C ends the watching and nothing else."""
    layout, model = (Tensor("w", (3,)),), bytes(24)
    spec = read_spec(task_toml(tmp_path, "watched"))
    with connect(network=consortium.directory, identity="org1/issuer") as issuer:
        task = issuer.ledger.publish(spec, "a" * 64, layout, model).value["task"]
        with subprocess.Popen(
            [*BEFL, "task", "watch", task, "--network", str(consortium.directory), "--as", "org1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watcher:
            try:
                assert watcher.stdout.readline().startswith(f"task {task} (made-up hearts) is published")
                watcher.send_signal(signal.SIGINT)
                _, errors = watcher.communicate(timeout=20)
            finally:
                watcher.kill()
        assert (watcher.returncode, errors.strip()) == (130, "interrupted")
        assert issuer.tasks.get(task).state == "published"
        issuer.tasks.cancel(task, "the test is over")
