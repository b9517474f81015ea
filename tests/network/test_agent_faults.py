"""Agents on a real network: killed in the middle of a round, without their data, refused by the peers."""

from __future__ import annotations

import threading

import pytest

from befl.client import connect
from befl.gateway import wait
from befl.rules import codec
from befl.rules import spec as specs
from befl.rules.errors import BeflError
from befl.rules.layout import Tensor
from befl.rules.metrics.binary import BINS, Counts

from .hospitals import befl, hospitals, task_toml, undisturbed


@pytest.fixture
def clients(consortium):
    made = {
        f"{org}/{name}": connect(network=consortium.directory, identity=org, name=name)
        for org in consortium.institutions
        for name in ("agent", "issuer")
    }
    yield made
    for each in made.values():
        each.close()


def test_an_agent_that_is_killed(consortium, clients, tmp_path):
    """After its submission, and in the middle of training: the same model as if nothing had happened."""
    client = clients["org2/agent"]
    task = clients["org1/issuer"].tasks.publish(task_toml(tmp_path, "killed", steps=8000, bits=10)).task
    with hospitals(consortium, tmp_path, "killed") as agents:
        victim, kept = agents[0], agents[0].folder / "state" / "tasks" / task
        changes = client.tasks.watch(task)
        next(changes)
        for each in agents:
            each.start()
        killed = []
        for change in changes:
            current = change.view.round
            if current is None or current.number in killed:
                continue
            if current.number == 1:
                if victim.msp_id not in current.updates:
                    continue
            else:
                wait.pause(0.15)  # training takes ten times as long
                assert not (kept / "update-000002").exists()
            assert victim.children(), "the training process"
            killed.append(current.number)
            victim.kill()
            victim.start()
        assert killed == [1, 2]

        assert client.tasks.get(task).state == "finished"
        digest, updates = undisturbed(client, task, agents)
        rounds = [client.ledger.round(task, number)["round"] for number in (1, 2)]
        assert [{msp_id: item["update"] for msp_id, item in each["updates"].items()} for each in rounds] == updates
        assert client.ledger.model(task)["model"] == digest
        victim.says("finished, model in")
        assert "a mistake in befl" not in victim.log


def test_an_institution_without_its_data(consortium, clients, tmp_path):
    """Its operator has applied, but the file is absent, then has other columns: the others go on at the deadline."""
    client = clients["org1/agent"]
    with hospitals(consortium, tmp_path, "lacking", apply="ask") as agents:
        lacking = agents[2]
        lacking.rows.unlink()
        toml = task_toml(tmp_path, "lacking", least=2, most=3, count=1, deadline="5s")
        task = clients["org1/issuer"].tasks.publish(toml).task
        for each in agents:
            each.start()
        for each in agents:
            each.says(f"befl task apply {task}")
        for each in agents[:2]:
            clients[f"{each.org}/agent"].tasks.apply(task)
        befl("task", "apply", task, "--network", consortium.directory, "--as", lacking.org)
        lacking.says("BEFL-C-101")
        lacking.rows.write_text("years,disease\n50,yes\n")
        lacking.says("BEFL-C-105")
        wait.until(lambda: client.tasks.get(task).state == "finished", timeout=60, what="the task finished")
        assert list(client.ledger.model(task)["contributors"]) == list(consortium.msp_ids[:2])
        assert lacking.process.poll() is None
        assert lacking.stop() == 0


LAYOUT = (Tensor("w", (3,)),)
MODEL = codec.model_bytes(codec.to_fixed(codec.to_float(codec.read_model(bytes(24), 3), 16), 16))
UPDATE = bytes(12)
APP = "a" * 64


def test_what_the_peers_refuse_changes_nothing(consortium, clients, tmp_path):
    """Wrong role, wrong institution, not invited, too early, twice, wrong length: coded, and nothing is written."""
    one, two, three = (clients[f"{org}/agent"].ledger for org in consortium.institutions)
    issuer = clients["org1/issuer"].ledger
    text = task_toml(tmp_path, "refused", least=2, most=2).read_text()
    invited = f'institutions = ["{consortium.msp_ids[0]}", "{consortium.msp_ids[1]}"]\n'
    spec = specs.from_toml(text.replace("least = 2", f"{invited}least = 2").encode())
    task = issuer.publish(spec, APP, LAYOUT, MODEL).value["task"]
    counts = Counts(0, 0, 0, (0,) * BINS, (0,) * BINS)

    def refused(refusals):
        consortium.level()
        before = one.view(task)
        for code, act in refusals:
            with pytest.raises(BeflError) as caught:
                act()
            assert caught.value.code == code, caught.value
            assert "Traceback" not in str(caught.value)
        assert one.view(task) == before

    refused(
        [
            ("BEFL-A-001", lambda: issuer.apply(task, APP)),
            ("BEFL-A-001", lambda: one.publish(spec, APP, LAYOUT, MODEL)),
            ("BEFL-A-003", lambda: three.apply(task, APP)),
            ("BEFL-A-004", lambda: clients["org2/issuer"].ledger.cancel(task, "not mine")),
            ("BEFL-T-009", lambda: one.apply(task, "b" * 64)),
            ("BEFL-A-002", lambda: three.open(task)),
            ("BEFL-M-001", lambda: issuer.publish(spec, APP, LAYOUT, MODEL + b"x")),
        ]
    )
    one.apply(task, APP)
    refused([("BEFL-T-003", lambda: one.apply(task, APP)), ("BEFL-T-005", lambda: one.open(task))])
    two.apply(task, APP)
    consortium.level()
    one.open(task)
    refused(
        [
            ("BEFL-A-002", lambda: three.submit(task, 1, 5, UPDATE)),
            ("BEFL-M-001", lambda: one.submit(task, 1, 5, UPDATE + b"x")),
            ("BEFL-M-003", lambda: one.submit(task, 1, 0, UPDATE)),
            ("BEFL-T-004", lambda: one.submit(task, 2, 5, UPDATE)),
            ("BEFL-T-005", lambda: one.close(task, 1)),
            ("BEFL-T-002", lambda: one.report(task, 1, "0" * 64, counts)),
            ("BEFL-T-002", lambda: one.finish(task, MODEL)),
        ]
    )
    one.submit(task, 1, 5, UPDATE)
    refused([("BEFL-T-003", lambda: one.submit(task, 1, 6, b"\1" + UPDATE[1:]))])
    assert one.round(task, 1)["updates"][consortium.msp_ids[0]]["weight"] == 5
    issuer.cancel(task, "the test is over")
    refused([("BEFL-T-002", lambda: two.submit(task, 1, 5, UPDATE))])


def test_two_submissions_at_once_are_one(consortium, clients, tmp_path):
    """Both are endorsed before either is ordered: the ledger keeps one, the other is told."""
    one, issuer = clients["org1/agent"].ledger, clients["org1/issuer"].ledger
    spec = specs.from_toml(task_toml(tmp_path, "once", least=1, most=1).read_bytes())
    task = issuer.publish(spec, APP, LAYOUT, MODEL).value["task"]
    consortium.level()
    one.apply(task, APP)
    consortium.level()
    one.open(task)
    consortium.level()
    codes, start = [], threading.Barrier(2)

    def submit(weight: int) -> None:
        start.wait()
        try:
            one.submit(task, 1, weight, UPDATE)
            codes.append("")
        except BeflError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=submit, args=(weight,)) for weight in (5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes.count("") == 1
    assert set(codes) <= {"", "BEFL-G-020", "BEFL-T-003"}
    issuer.cancel(task, "the test is over")
