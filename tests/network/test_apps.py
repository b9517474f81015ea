"""An app of one's own on a real network: published, looked at, approved, fetched, trained; and a task declined."""

from __future__ import annotations

import re

import pytest

from befl.training import builtin_apps, read_app

from .hospitals import befl, befl_json, hospitals, task_toml


@pytest.fixture
def forest(tmp_path):
    """A folder with an app of a user's own, and a task for it."""
    folder = tmp_path / "forest"
    folder.mkdir()
    for name, content in builtin_apps()["tabular"].files.items():
        (folder / name).write_bytes(content)
    (folder / "app.toml").write_text('befl = 1\nname = "forest"\nloop = "torch"\n')
    return folder


def test_an_app_travels_and_trains(consortium, tmp_path, forest):
    network = ("--network", consortium.directory)
    task_file = task_toml(tmp_path, "own", most=3)
    task_file.write_text(task_file.read_text().replace('name = "tabular"', 'name = "forest"'))
    digest = befl_json("app", "pack", forest, "--output", tmp_path / "forest.befl-app")["digest"]
    with hospitals(consortium, tmp_path, "own") as agents:
        said = befl("task", "publish", task_file, "--app", tmp_path / "forest.befl-app", *network, "--as", "org1")
        assert said.startswith(f"added its app {digest[:16]} to the ledger")
        task = re.search(r"published task ([0-9a-f]{16})", said)[1]
        assert befl_json("task", "list", *network, "--as", "org1")[-1]["id"] == task, "the newest stands last"
        for each in agents:
            each.start()
        agents[0].says(f"does not apply: app forest {digest[:16]} is not approved")
        for each in agents:
            assert "def module" in befl("app", "show", "forest", *network, "--as", each.org)
            approved = befl_json(
                "app", "approve", "forest", "--yes", "--config", each.config, *network, "--as", each.org
            )
            assert (approved["digest"], bool(approved["txid"])) == (digest, True)
        for each in agents:
            each.says(f"model in {each.folder / 'state' / 'models' / task}", timeout=90)
        consortium.level()
        [line] = [each for each in befl_json("app", "list", *network, "--as", "org3") if each["name"] == "forest"]
        assert (line["digest"], line["added_by"]) == (digest, consortium.msp_ids[0])
        assert line["approved_by"] == sorted(consortium.msp_ids)
        kept = agents[2].folder / "state" / "apps" / f"{digest}.befl-app"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert read_app(kept) == read_app(forest)
        befl("app", "withdraw", "forest", "--config", agents[2].config)  # the operator's identity lies beside
        consortium.level()
        [line] = [each for each in befl_json("app", "list", *network, "--as", "org1") if each["name"] == "forest"]
        assert line["approved_by"] == sorted(consortium.msp_ids[:2])
        folder = tmp_path / "model"
        befl("model", "fetch", task, "--output", folder, *network, "--as", "org1")
        assert "BEFL-M-108" in befl("predict", folder, agents[0].rows, status=1)
        befl("predict", folder, agents[0].rows, "--app", tmp_path / "forest.befl-app")
        assert [each.stop() for each in agents] == [0, 0, 0]


def test_a_task_that_is_declined_is_in_vain(consortium, tmp_path):
    network = ("--network", consortium.directory)
    task = befl_json("task", "publish", task_toml(tmp_path, "nobody"), *network, "--as", "org1")["task"]
    consortium.level()
    befl("task", "decline", task, "--reason", "no staff", *network, "--as", "org2")
    befl("task", "apply", task, *network, "--as", "org3")
    befl("task", "leave", task, *network, "--as", "org3")
    consortium.level()
    page = befl("task", "show", task, *network, "--as", "org1")
    assert f"declined   {consortium.msp_ids[1]} (no staff)" in page
    assert f"declined   {consortium.msp_ids[2]} (not said)" in page
    assert "in vain    1 institutions have applied or still can; the task starts with 3" in page
    befl("task", "cancel", task, "--reason", "in vain", *network, "--as", "org1")
