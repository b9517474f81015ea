"""The commands over a client on the in-memory ledger: text for people, JSON for programs, coded errors."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from tests.unit.agent import memory
from tests.unit.agent.memory import APP, LAYOUT, LENGTH, Consortium, Institution, asking, counted, initial, spec_of

import befl.client
import befl.client.tasks
from befl.agent.config import load
from befl.agent.store import Store
from befl.cli.common import emit, plain, ppm, table
from befl.cli.main import root, run
from befl.client import Apps, ConsortiumParameters, Members, Models, Tasks
from befl.gateway.wait import until
from befl.rules import codec
from befl.rules.errors import BeflError
from befl.training import builtin_apps


@pytest.fixture
def consortium(monkeypatch) -> Consortium:
    """A consortium to which the commands connect as whom they say."""
    made = Consortium()

    class Client(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def connect(*, identity, name, **_):
        org, _, chosen = (identity or "Org1MSP").partition("/")
        role = {"agent": "trainer", "issuer": "issuer", "admin": "operator"}[chosen or name]
        ledger = made.ledger(org, role)
        return Client(
            tasks=Tasks(ledger, made.events),
            apps=Apps(ledger),
            models=Models(ledger),
            members=Members(ledger),
            parameters=ConsortiumParameters(ledger),
            ledger=ledger,
            msp_id=org,
        )

    monkeypatch.setattr(befl.client, "connect", connect)
    values = initial().astype(np.float32) / 2**16
    monkeypatch.setattr(befl.client.tasks, "initial_model", lambda spec, app, seed, python=None: (LAYOUT, values))
    return made


@pytest.fixture
def task_toml(tmp_path):
    path = tmp_path / "TASK.toml"
    path.write_text(memory.task_toml())
    return path


@pytest.fixture
def finished(consortium, tmp_path):
    task = consortium.publish()
    Institution(consortium, "Org1MSP", tmp_path / "org1").worker(task).run()
    return task


@pytest.fixture
def befl_json(capsys):
    def call(*arguments, status=0):
        assert run([*arguments, "--format", "json"]) == status
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def befl_text(capsys):
    def call(*arguments, status=0):
        assert run([str(each) for each in arguments]) == status
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return out.out if status == 0 else out.err

    return call


def test_publish(consortium, task_toml, befl_json, befl_text):
    made = befl_json("task", "publish", str(task_toml), "--as", "IssuerMSP")
    assert set(made) == {field.name for field in dataclasses.fields(befl.client.Published)}
    assert made["task"] == made["txid"][:16]
    text = befl_text("task", "publish", task_toml, "--as", "IssuerMSP")
    assert "published task" in text
    assert "next: befl task watch" in text
    assert len(Tasks(consortium.ledger("Org1MSP"), consortium.events).list()) == 2


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("befl = 1", "befl = "), "BEFL-C-005", "line 1"),
        (("befl = 1", "befl = 1\nbefl = 1"), "BEFL-C-005", "line 2"),
        (("count = 2", "count = 2\ncoutn = 2"), "BEFL-C-002", "rounds.coutn"),
        (('name = "hearts"', ""), "BEFL-C-003", "name"),
        (('[privacy]\nscheme = "none"', ""), "BEFL-C-003", "privacy"),
        (("count = 2", 'count = "two"'), "BEFL-C-004", "rounds.count"),
        (("count = 2", "count = 1000000"), "BEFL-C-004", "rounds.count"),
        (("count = 2", f"count = {'9' * 400}"), "BEFL-C-004", "rounds.count"),
        (('deadline = "60s"', "deadline = 60"), "BEFL-C-004", "rounds.deadline"),
        (("least = 1", "least = 9"), "BEFL-C-004", "participants.most"),
        (('mode = "horizontal"', 'mode = "diagonal"'), "BEFL-C-004", "mode"),
        (('rule = "fedavg"', 'rule = "average"'), "BEFL-C-004", "aggregation.rule"),
        (('scheme = "none"', 'scheme = "hope"'), "BEFL-C-004", "privacy.scheme"),
        (('columns = { age = "number" }', "columns = {}"), "BEFL-C-004", "data.columns"),
        (('columns = { age = "number" }', 'columns = { disease = "number" }'), "BEFL-C-004", "data.columns"),
        (('name = "hearts"', f'name = "{"x" * 101}"'), "BEFL-C-004", "name"),
    ],
)
def test_publish_what_is_wrong(consortium, task_toml, befl_text, change, code, words):
    text = task_toml.read_text()
    assert change[0] in text
    task_toml.write_text(text.replace(*change, 1))
    said = befl_text("task", "publish", task_toml, "--as", "IssuerMSP", status=2)
    assert said.startswith(f"{code}: ")
    assert words in said.splitlines()[0]
    assert said.rstrip().endswith(f"More: befl explain {code}")
    assert list(consortium.ledger("Org1MSP").tasks()) == []


def test_publish_what_is_not_there_or_no_text(consortium, task_toml, tmp_path, befl_text):
    assert "BEFL-C-006" in befl_text("task", "publish", tmp_path / "absent.toml", status=2)
    assert "BEFL-C-006" in befl_text("task", "publish", tmp_path, status=2)
    task_toml.write_bytes(b"\xff\xfe" * 10)
    assert f"BEFL-C-005: {task_toml}: not UTF-8" in befl_text("task", "publish", task_toml, status=2)
    task_toml.write_bytes(b"#" * 1_000_001)
    assert "BEFL-C-005" in befl_text("task", "publish", task_toml, status=2)


def test_a_refusal_of_the_ledger(consortium, task_toml, befl_text):
    said = befl_text("task", "publish", task_toml, "--as", "Org1MSP/agent", status=1)
    assert said.startswith("BEFL-A-001: the certificate from Org1MSP has befl.role trainer")
    assert "BEFL-T-007" in befl_text("task", "show", "0" * 16, status=1)
    assert "BEFL-T-007" in befl_text("task", "watch", "nonsense", status=1)


def test_list_and_show(consortium, finished, befl_json, befl_text):
    api = Tasks(consortium.ledger("Org1MSP"), consortium.events)
    assert befl_json("task", "list") == plain(api.list())
    lines = befl_text("task", "list").splitlines()
    assert lines[0].split()[:4] == ["id", "name", "state", "round"]
    assert lines[1].split()[:4] == [finished, "hearts", "finished", "2/2"]
    shown = befl_json("task", "show", finished)
    assert shown == {
        "task": api.get(finished).record,
        "waits_for": {"what": "nothing", "msp_ids": [], "until_ms": 0},
        "rounds": plain(api.rounds(finished, steps=True)),
        "applicants": ["Org1MSP"],
        "departures": [],
        "refused": [],
    }
    page = befl_text("task", "show", finished)
    for words in (f"task {finished}: hearts", "state      finished", "privacy    none", "trainers   Org1MSP"):
        assert words in page
    heading, *rows = page.splitlines()[-3:]
    assert re.split(r" {2,}", heading)[2:7] == ["updates", "training s", "closing s", "reports s", "next s"]
    assert rows[-1].split()[:3] == ["2", "evaluated", "1"]
    closed = [event for event in consortium.memory.events() if event.name == "Close"]
    assert [row.split()[-2:] for row in rows] == [[str(event.block), event.txid[:16]] for event in closed]


def test_show_says_whom_it_waits_for(consortium, befl_text):
    task = consortium.publish(least=2, most=2)
    assert "waits for  applications: 0 of 2 have come" in befl_text("task", "show", task)
    assert f"applied to task {task}" in befl_text("task", "apply", task)
    assert "applied    Org1MSP" in befl_text("task", "show", task)
    consortium.ledger("Org2MSP").apply(task, APP)
    consortium.ledger("Org2MSP").open(task)
    assert "waits for  updates of Org1MSP, Org2MSP until" in befl_text("task", "show", task)
    for msp_id in ("Org1MSP", "Org2MSP"):
        consortium.ledger(msp_id).submit(task, 1, 5, bytes(4 * LENGTH))
    consortium.ledger("Org1MSP").close(task, 1)
    assert "waits for  reports of Org1MSP, Org2MSP" in befl_text("task", "show", task)
    assert "cancelled task" in befl_text("task", "cancel", task, "--reason", "a mistake", "--as", "IssuerMSP")
    page = befl_text("task", "show", task)
    assert "state      cancelled (a mistake)" in page
    assert "waits for  nothing" in page


def test_a_task_that_asks_for_sums(consortium, tmp_path, befl_text):
    """The operator sees it, and says yes with the agent's own file and policy."""
    task = consortium.publish(asking(spec_of()))
    assert "data       heart: 1 columns, label disease (class); asks for sums of age" in befl_text("task", "show", task)
    assert befl_text("task", "apply", task, status=2).startswith("BEFL-C-113: task")
    rows = "".join(f"{30 + n % 40},{int(n % 40 > 17)}\n" for n in range(120))
    (tmp_path / "heart.csv").write_text("age,disease\n" + rows)
    config = tmp_path / "AGENT.toml"
    text = 'befl = 1\nnetwork.profile = "p"\nidentity.msp_dir = "msp"\ndata.heart.path = "heart.csv"\n'
    config.write_text(text)
    assert "policy" in befl_text("task", "apply", task, "--config", config, status=2)
    config.write_text(text + "policy.statistics = true\n")
    assert f"applied to task {task}" in befl_text("task", "apply", task, "--config", config)
    answer = consortium.caller("Org1MSP").evaluate("TaskContract:Applications", task, "10", "")
    [application] = json.loads(answer)["records"]
    assert 80 < application["statistics"]["age"]["values"] < 110


def test_show_says_who_declined_and_left_and_what_that_means(consortium, befl_text):
    task = consortium.publish(least=2, most=2)
    assert f"declined task {task}" in befl_text("task", "decline", task, "--reason", "no staff")
    assert "BEFL-T-003" in befl_text("task", "decline", task, status=1)
    page = befl_text("task", "show", task)
    assert "declined   Org1MSP (no staff)" in page
    assert "in vain" not in page
    for number in range(2, 9):
        consortium.ledger(f"Org{number}MSP").decline(task, "no staff")
    consortium.ledger("IssuerMSP").decline(task, "has no rows")
    assert "in vain    1 institutions have applied or still can; the task starts with 2" in befl_text(
        "task", "show", task
    )
    for msp_id in ("Org1MSP", "Org2MSP"):
        consortium.ledger(msp_id).apply(task, APP)
    assert "in vain" not in befl_text("task", "show", task)
    consortium.ledger("Org1MSP").open(task)
    assert "left task" in befl_text("task", "leave", task, "--as", "Org2MSP")
    page = befl_text("task", "show", task)
    assert "left       Org2MSP in round 1 (not said)" in page
    assert "in vain    1 trainers stay, a round opens with 2; IssuerMSP can cancel it" in page


EVIL = "no staff\n  trainers   Org1MSP\x1b[1A\x9b2K"
"""Would be a line of its own, move the cursor up and wipe what stands there."""


def test_words_of_other_institutions_do_not_steer_the_terminal(consortium, befl_json, befl_text, monkeypatch):
    """Refused today; a ledger may have such a reason from before, and a peer can answer what it likes."""
    task = consortium.publish(dataclasses.replace(spec_of(), name="heart\x9b2Kdisease\u202e"))
    reason = "no staff\n  trainers   Org1MSP"  # a line break is one of the things that a reason may hold
    consortium.ledger("Org2MSP").decline(task, reason)
    shown = "heart\\x9b2Kdisease\\u202e"
    assert f"task {task}: {shown}\n" in befl_text("task", "show", task)
    assert shown in befl_text("task", "list")
    page = befl_text("task", "show", task)
    assert "  declined   Org2MSP (no staff\\n  trainers   Org1MSP)\n" in page
    assert [line for line in page.splitlines() if line.startswith("  trainers")] == ["  trainers   not selected yet"]
    assert befl_json("task", "show", task)["departures"][0]["reason"] == reason

    departures = [befl.client.tasks.Departure("Org2MSP", EVIL, 0, 1)]
    monkeypatch.setattr(Tasks, "departures", lambda self, task: departures)
    page = befl_text("task", "show", task)
    assert "(no staff\\n  trainers   Org1MSP\\x1b[1A\\x9b2K)" in page
    assert not steering(page)
    assert run(["task", "show", task, "--format", "json"]) == 0


def steering(text: str) -> list[str]:
    return [each for each in text if unicodedata.category(each) in ("Cc", "Cf") and each != "\n"]


def test_json_for_a_terminal_is_json_for_programs(capsys):
    emit({"reason": EVIL}, "json", str)
    printed = capsys.readouterr().out
    assert not steering(printed)
    assert json.loads(printed) == {"reason": EVIL}


def test_watch_shows_names_as_they_are_and_moves_nothing(consortium, befl_text):
    task = consortium.publish(dataclasses.replace(spec_of(), name="heart\x9b2K"))
    consortium.ledger("IssuerMSP", "issuer").cancel(task, "enough")
    assert befl_text("task", "watch", task) == f"task {task} (heart\\x9b2K) is cancelled\n"


def test_a_refusal_of_a_peer_that_steers_is_written_out(consortium, befl_text, monkeypatch):
    def refuse(self, *arguments):
        raise BeflError("BEFL-G-003", f"the peer said {EVIL}", "Ask\x1b[2K.")

    monkeypatch.setattr(Tasks, "list", refuse)
    said = befl_text("task", "list", status=2)
    assert not steering(said)
    assert "x1b[1A" in said


def test_show_says_who_was_refused_and_why(consortium, befl_json, befl_text):
    """Who was not drawn, whose update had not come, who reported another model: with the reason, and the rounds."""
    task = consortium.publish(least=2, most=3, count=3, deadline="1s", quorum=2)
    for number in range(1, 5):
        consortium.ledger(f"Org{number}MSP").apply(task, APP)
    for _ in range(3):
        play(consortium, task)
    roster = sorted(consortium.ledger("Org1MSP").view(task).roster)
    [outsider] = {f"Org{number}MSP" for number in range(1, 5)} - set(roster)
    page = befl_text("task", "show", task)
    assert f"without    {outsider} (not drawn: 4 applied, the task takes 3 (draw/1))" in page
    assert f"without    {roster[2]} in rounds 1-3 (no update: none had come by the deadline)" in page
    assert f"without    {roster[1]} in rounds 1-2 (dissent: it reported model ffffffffffffffff, most others " in page
    refused = befl_json("task", "show", task)["refused"]
    assert [(each["msp_id"], each["round"]) for each in refused] == [
        (outsider, 0),
        *[(msp_id, number) for number in (1, 2) for msp_id in (roster[2], roster[1])],
        (roster[2], 3),  # its reports are not counted yet
    ]


def play(consortium, task):
    """A round of which the third trainer's update is late, and on which the second reports another model than all."""
    view = consortium.ledger("Org1MSP").view(task)
    consortium.ledger((view.roster or view.applicants)[0]).open(task)
    view = consortium.ledger("Org1MSP").view(task)
    number, roster = view.round.number, view.roster
    for msp_id in roster[:2]:
        consortium.ledger(msp_id).submit(task, number, 5, bytes(4 * LENGTH))
    closed = until(lambda: closing(consortium, roster[0], task, number), timeout=20, what="the deadline passed")
    assert closed.value["state"] == "closed"
    for msp_id in roster:
        model = "f" * 64 if msp_id == roster[1] else codec.digest(codec.model_bytes(initial()))
        consortium.ledger(msp_id).report(task, number, model, counted(msp_id, initial()))


def closing(consortium, msp_id, task, number):
    try:
        return consortium.ledger(msp_id).close(task, number)
    except BeflError as error:
        return None if error.code == "BEFL-T-005" else error


def test_watch(consortium, finished, befl_text, capsys):
    assert befl_text("task", "watch", finished).strip() == f"task {finished} (hearts) is finished round 2/2"
    assert run(["task", "watch", finished, "--format", "json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["transaction"], found["state"], found["round"]["number"]) == ("", "finished", 2)
    assert (found["waits_for"]["what"], found["ended"], found["refused"]) == ("nothing", None, [])


def test_track(finished, tmp_path, befl_json, befl_text):
    folder = str(tmp_path / "board")
    made = befl_json("task", "track", finished, "--tensorboard", folder)
    assert made == {"task": finished, "rounds": 2, "tracked_in": folder}
    assert befl_text("task", "track", finished, "--tensorboard", folder) == (
        f"2 rounds of task {finished} in {folder}\n"
    )


def test_track_in_mlflow(finished, tmp_path, befl_json, befl_text, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    made = befl_json("task", "track", finished, "--mlflow", uri)
    assert made == {"task": finished, "rounds": 2, "tracked_in": uri}
    assert befl_text("task", "track", finished, "--mlflow", uri) == f"2 rounds of task {finished} in {uri}\n"
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("befl").experiment_id])
    assert [run.data.tags["befl.task"] for run in runs] == [finished] * 2
    assert all(f"task {finished}, model " in run.data.tags["befl.round.2"] for run in runs)
    both = befl_text("task", "track", finished, "--mlflow", uri, "--tensorboard", tmp_path, status=2)
    assert "name one of --tensorboard DIR and --mlflow URI" in both


def test_watch_lives(consortium, tmp_path, capsys):
    """Each transaction is a line, with its block and its id."""
    import threading

    task = consortium.publish()
    thread = threading.Thread(target=run, args=(["task", "watch", task],))
    thread.start()
    until(lambda: "waits for applications" in sys.stdout.getvalue(), timeout=5, what="the watcher")
    Institution(consortium, "Org1MSP", tmp_path / "org1").worker(task).run()
    thread.join(10)
    assert not thread.is_alive()
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed[1:] if not line.startswith("   ")]
    assert [line.split()[0] for line in lines] == ["apply", *["open", "submit", "close", "report"] * 2, "finish"]
    assert all(" block " in line and " tx " in line for line in lines)
    assert "waits for applications: 0 of 1 have come; 1 are enough from " in printed[1]
    rounds = [line.strip() for line in printed if " round " in line and line.startswith("   ")]
    assert [line.split(":")[0] for line in rounds] == ["round 1", "round 2"]
    assert all("accuracy 0." in line and "; training 0." in line and ", next 0." in line for line in rounds)
    closed = [line.split(" block ")[1].split() for line in lines if line.startswith("close ")]
    assert [re.search(r"closed in block (\d+), transaction (\w{12})", line).groups() for line in rounds] == [
        (block, txid) for block, _, txid in closed
    ]


def test_models(consortium, finished, befl_json, befl_text, tmp_path, monkeypatch):
    api = Models(consortium.ledger("Org2MSP"))
    assert befl_json("model", "list") == list(consortium.ledger("Org2MSP").models())
    assert befl_text("model", "list").splitlines()[1].startswith(finished)
    folder = tmp_path / "model"
    assert befl_json("model", "fetch", finished, "--output", str(folder)) == {"folder": str(folder)}
    network = ("--network", str(tmp_path))
    verdict = befl_json("model", "verify", str(folder), *network, "--as", "Org2MSP")
    assert verdict == plain(api.verify(folder))
    text = befl_text("model", "verify", folder, *network)
    assert text.count("ok  ") == 5
    assert f"the ledger registered this folder in transaction {verdict['txid'][:16]} for task {finished}" in text
    text = befl_text("model", "verify", folder)
    assert text.count("ok  ") == 5
    assert "they were not held against a ledger" in text
    assert befl_json("model", "verify", str(folder)) == verdict | {"txid": ""}
    (folder / "card.md").write_text("better")
    for where in ((), network):
        said = befl_text("model", "verify", folder, *where, status=1)
        assert said.startswith("BEFL-M-009: ")
        assert "card.md" in said
    monkeypatch.chdir(tmp_path)
    assert f"model-{finished}" in befl_text("model", "fetch", finished)
    assert (tmp_path / f"model-{finished}" / "manifest.json").is_file()


@pytest.fixture
def forest(tmp_path):
    """A user's own app, in a folder."""
    folder = tmp_path / "forest"
    folder.mkdir()
    (folder / "app.py").write_text("import trees  # \u202e\x1b[2J\n")
    (folder / "app.toml").write_text('befl = 1\nname = "forest"\n')
    (folder / "trees.py").write_bytes(b"OAK = 1\n\xff")
    return folder


def test_apps_of_this_release(befl_json, befl_text):
    code = builtin_apps()["tabular"]
    listed = {each["name"]: each for each in befl_json("app", "list")}
    assert (listed["tabular"]["digest"], listed["tabular"]["added_by"]) == (code.digest, "")
    assert code.digest in befl_text("app", "list")
    page = befl_text("app", "show", "tabular")
    for name, content in code.files.items():
        assert f"---------- {name}, {len(content)} bytes" in page
        assert content.decode().strip() in page
    assert befl_text("app", "show", code.digest[:16]) == page
    for name in ("homoeopathy", code.digest[:15], "f" * 64):
        said = befl_text("app", "show", name, status=2)
        assert said.startswith("BEFL-C-014")
        assert f"tabular {code.digest[:16]}" in said


def test_pack_and_show(forest, befl_json, befl_text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = befl_json("app", "pack", str(forest))
    assert made["file"] == "forest.befl-app"
    archive = (tmp_path / "forest.befl-app").read_bytes()
    assert made["digest"] == codec.digest(archive)
    text = befl_text("app", "pack", forest, "--output", "other.befl-app")
    assert f"app forest\nSHA-256 {made['digest']}\n  app.py, 24 bytes" in text
    assert (tmp_path / "other.befl-app").read_bytes() == archive
    page = befl_text("app", "show", "other.befl-app")
    assert page == befl_text("app", "show", "./forest")
    assert "import trees  # \\u202e\\x1b[2J" in page  # what would hide code from its reader is written out
    assert "OAK = 1\n\\xff" in page
    assert befl_json("app", "show", "other.befl-app")["files"]["trees.py"] == "OAK = 1\n\\xff"
    (forest / "link.py").symlink_to("app.py")
    assert "BEFL-M-101" in befl_text("app", "pack", forest, status=1)
    assert "BEFL-C-006" in befl_text("app", "pack", "other.befl-app", "--output", "other.befl-app/x.befl-app", status=2)
    said = befl_text("app", "pack", "other.befl-app", "--output", "TASK.toml", status=2)
    assert said.startswith("BEFL-C-004: output: an archive is called NAME.befl-app, not 'TASK.toml'")


def test_an_app_travels_from_an_issuer_to_an_operator(consortium, forest, agent_toml, befl_json, befl_text):
    made = befl_json("app", "add", str(forest), "--network", "n", "--as", "Org2MSP")
    digest = made["digest"]
    assert "BEFL-T-003" in befl_text("app", "add", forest, "--network", "n", "--as", "Org3MSP", status=1)
    assert "BEFL-A-001" in befl_text("app", "add", forest, "--network", "n", "--as", "Org3MSP/agent", status=1)
    assert "OAK = 1" in befl_text("app", "show", "forest", "--network", "n")
    assert "BEFL-C-014" in befl_text("app", "show", "forest", status=2)
    arguments = ("app", "approve", digest[:16], "--config", str(agent_toml), "--network", "n", "--as", "Org1MSP")
    approved = befl_json(*arguments, "--yes")
    store = Store(load(agent_toml).state_dir)
    assert store.approvals() == {digest: {"approved": approved["approved"], "name": "forest"}}
    assert codec.digest(store.app(digest)) == digest
    assert consortium.memory.events(consortium.memory.height)[0].txid == approved["txid"]
    again = befl_text(*arguments, "--yes")
    assert "not on the ledger: BEFL-T-003: Org1MSP has already approved" in again
    (line,) = [line for line in befl_text("app", "list", "--network", "n").splitlines() if "forest" in line]
    assert line.split()[:5] == ["forest", digest, str(made["bytes"]), "Org2MSP", "Org1MSP"]
    assert "OAK = 1" in befl_text("app", "show", "forest", "--config", agent_toml)  # without the network
    withdrawn = befl_json("app", "withdraw", "forest", *arguments[3:])
    assert withdrawn["digest"] == digest
    assert store.approvals() == {}
    assert store.app(digest) is None
    assert consortium.ledger("Org1MSP").app(digest)["approvals"] == []
    assert "BEFL-C-014" in befl_text("app", "withdraw", "forest", *arguments[3:], status=2)


def test_what_the_ledger_refuses_an_operator_is_said(consortium, forest, agent_toml, befl_text):
    arguments = ("app", "approve", forest, "--yes", "--config", agent_toml, "--network", "n", "--as", "Org1MSP/agent")
    assert "BEFL-A-001" in befl_text(*arguments, status=1)


def test_code_is_not_approved_unasked(agent_toml, befl_text):
    assert "--yes is needed" in befl_text("app", "approve", "tabular", "--config", agent_toml, status=2)
    assert not Store(load(agent_toml).state_dir).approvals()


def test_an_approval_without_a_network(agent_toml, befl_json, befl_text, tmp_path):
    assert "BEFL-C-006" in befl_text(
        "app", "approve", "tabular", "--yes", "--config", tmp_path / "absent.toml", status=2
    )
    made = befl_json("app", "approve", "tabular", "--config", str(agent_toml), "--yes")
    assert made["digest"] in Store(load(agent_toml).state_dir).approvals()
    assert (made["txid"], made["not_recorded"][:19]) == ("", "no identity `admin`")
    (tmp_path / "users" / "admin").mkdir(parents=True)  # an operator beside the agent, and no peer
    assert "not on the ledger: BEFL-G-022" in befl_text("app", "approve", "tabular", "--config", agent_toml, "--yes")
    assert "not on the ledger: BEFL-G-022" in befl_text("app", "withdraw", "tabular", "--config", agent_toml)
    assert Store(load(agent_toml).state_dir).approvals() == {}


@pytest.mark.parametrize(("answer", "approved"), [("y\n", True), ("n\n", False), ("", False)])
def test_on_a_terminal_the_operator_is_asked(agent_toml, answer, approved, monkeypatch):
    runner = CliRunner()
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    done = runner.invoke(root, ["app", "approve", "tabular", "--config", str(agent_toml)], input=answer)
    assert "SHA-256" in done.output
    assert "Shall the agent run this code?" in done.output
    assert bool(Store(load(agent_toml).state_dir).approvals()) == approved
    asked = runner.invoke(root, ["app", "approve", "tabular", "--config", str(agent_toml), "--yes"])
    assert "Shall" not in asked.output
    assert Store(load(agent_toml).state_dir).approvals()


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "BEFL-C-006"), ("befl", "BEFL-C-005"), ("befl = 1", "BEFL-C-003"), ("x = 1", "BEFL-C-002")],
)
def test_an_agent_whose_file_is_wrong(tmp_path, befl_text, text, code, restored_signals):
    path = tmp_path / "AGENT.toml"
    if text is not None:
        path.write_text(text)
    assert befl_text("agent", "run", "--config", path, status=2).startswith(code)


@pytest.fixture
def restored_signals():
    import logging
    import signal

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers, level = list(logging.getLogger().handlers), logging.getLogger("befl").level
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger("befl").setLevel(level)


def test_nowhere_to_connect_to(befl_text, monkeypatch, tmp_path):
    monkeypatch.delenv("BEFL_NETWORK", raising=False)
    monkeypatch.delenv("BEFL_AS", raising=False)
    said = befl_text("task", "list", status=2)
    assert said.startswith("BEFL-C-009")
    assert "--network DIR --as ORG" in said
    assert befl_text("task", "list", "--network", tmp_path, "--as", "org1", status=2).startswith("BEFL-N-009")
    monkeypatch.setenv("BEFL_NETWORK", str(tmp_path / "from-environment"))
    assert "from-environment" in befl_text("task", "list", status=2)
    said = befl_text("task", "list", "--profile", tmp_path / "absent.json", "--user", tmp_path, status=2)
    assert said.startswith("BEFL-G-022")
    monkeypatch.delenv("BEFL_NETWORK")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "network.toml").touch()
    assert befl_text("task", "list", status=2).startswith("BEFL-N-009: network holds no network")  # it is looked there


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model", "verify", "m", "--profile", "p"], "--profile and --user go together"),
        (["model", "verify", "m", "--user", "u"], "--profile and --user go together"),
        (["task", "list", "--profile", "p", "--user", "u", "--network", "n"], "say where and as whom"),
        (["task", "list", "--profile", "p", "--user", "u", "--as", "org1"], "say where and as whom"),
        (["app", "list", "--as", "org1"], "--as goes with --network"),
        (["audit", "replay", "0" * 16, "--blocks", "f", "--as", "org1"], "--as goes with --network"),
        (["doctor", "--as", "org1"], "--as goes with --network"),
        (["app", "show", "tabular", "--config", "absent.toml"], "BEFL-C-006: absent.toml"),
    ],
)
def test_options_that_contradict_one_another(befl_text, monkeypatch, tmp_path, arguments, words):
    """Nothing that was typed is ignored; what the environment says may be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEFL_NETWORK", raising=False)
    assert words in befl_text(*arguments, status=2)
    monkeypatch.setenv("BEFL_AS", "org1")
    assert befl_text("app", "list")


def test_what_an_agent_would_run(agent_toml, befl_json, befl_text):
    assert befl_json("app", "list", "--config", str(agent_toml)) == []
    made = befl_json("app", "approve", "tabular", "--config", str(agent_toml), "--yes")
    [found] = befl_json("app", "list", "--config", str(agent_toml))
    assert found == {name: made[name] for name in ("name", "digest", "approved")}
    assert made["digest"] in befl_text("app", "list", "--config", agent_toml)


def test_small_things():
    assert table(("a", "bb"), [(1, None)], right=frozenset({0})) == "a  bb\n1  -"
    assert (ppm(None), ppm(875_000)) == ("-", "0.875")
