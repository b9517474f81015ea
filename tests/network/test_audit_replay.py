"""An auditor replays a task that real agents trained: from the peer, from a file, from files that somebody changed."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from befl.audit.source import from_files, write_file
from befl.client import connect, replay_files
from befl.network import commands
from befl.rules.errors import BeflError

from .hospitals import BEFL, befl, befl_json, hospitals, task_toml

LAST = "verdict: PASS"


@pytest.fixture(scope="module")
def trained(consortium, tmp_path_factory):
    """A finished task, its model folder, the ledger in a file, and who looks: task, folder, file, options."""
    place = tmp_path_factory.mktemp("audited")
    network = ("--network", consortium.directory)
    befl("identity", "enroll", "checker", "--role", "auditor", *network, "--as", "org3")
    with hospitals(consortium, place, "audited") as agents:
        task = befl_json("task", "publish", task_toml(place, "audited"), *network, "--as", "org1")["task"]
        for each in agents:
            each.start()
        befl("task", "watch", task, *network, "--as", "org2")
        assert [each.stop() for each in agents] == [0, 0, 0]
    befl("model", "fetch", task, "--output", place / "model", *network, "--as", "org2")
    auditor = (*network, "--as", "org3/checker")
    befl("audit", "export", place / "ledger.gz", *auditor)
    return task, place / "model", place / "ledger.gz", auditor


def test_from_a_peer(trained):
    task, folder, _, auditor = trained
    found = befl_json("audit", "replay", task, "--model", folder, *auditor)
    assert (found["verdict"], found["findings"]) == ("PASS", [])
    looked = {check["name"]: check["looked"] for check in found["checks"]}
    assert {name: looked[name] for name in ("lineage", "model", "folder", "peers")} == {
        "lineage": 2,
        "model": 1,
        "folder": 5,
        "peers": 3,
    }
    # one publication, three applications, two rounds of (open, three updates, close, three reports), the end
    assert looked["write_set"] >= 1 + 3 + 2 * 8 + 1
    assert [(step["round"], step["recomputed"], len(step["updates"])) for step in found["lineage"]["steps"]] == [
        (1, True, 3),
        (2, True, 3),
    ]
    said = {gap["what"] for gap in found["gaps"]}
    assert {"what a peer refused to endorse", "transient data as such", "the clocks of the endorsers"} <= said


def test_what_it_prints(trained):
    task, _, _, auditor = trained
    lines = befl("audit", "replay", task, *auditor).splitlines()
    assert lines[-1] == LAST
    assert any(line.startswith("ok ") and " write_set " in line for line in lines)
    assert "Cannot be replayed:" in lines
    [told] = [line for line in lines if line.startswith(f"task {task} ")]
    assert "2 of 2 rounds computed again" in told


def test_from_a_file_without_a_network(trained):
    task, folder, file, _ = trained
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = replay_files(task, [file], model=folder)
    assert found.passed
    assert found.verdict == "PASS"
    assert "the blocks at the institutions' peers" in {gap.what for gap in found.gaps}
    assert befl("audit", "replay", task, "--blocks", file).splitlines()[-1] == LAST


def test_a_file_is_compared_with_the_peers(trained, consortium):
    task, _, file, _ = trained
    with connect(network=consortium.directory, identity="org2") as client:
        found = client.audit.replay(task, files=[file])
    assert {check.name: check.looked for check in found.checks}["peers"] == 3
    assert found.passed


def test_an_update_that_somebody_changed(trained, tmp_path):
    """One bit of one update in the private data that the file holds."""
    task, _, file, _ = trained
    blocks, changed = [], 0
    for block in from_files([file]):
        for transaction in block.transactions:
            if transaction.function == "RoundContract:Submit" and task in transaction.args and not changed:
                [space] = transaction.private_set.ns_pvt_rwset
                data = space.collection_pvt_rwset[0].rwset
                space.collection_pvt_rwset[0].rwset = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
                changed = block.number
        blocks.append(block)
    write_file(tmp_path / "changed.gz", blocks)
    lines = replay_fails(task, tmp_path / "changed.gz")
    assert lines[-1] == "verdict: FAIL (3 findings)"  # and neither its submission nor the closing can be run again
    assert any(line.startswith(f"  private_data: block {changed}, transaction ") for line in lines)


def test_an_update_that_somebody_kept_back(trained, tmp_path):
    """A peer that gives no private data of a submission: the rest is right, and that is no PASS."""
    task, _, file, _ = trained
    blocks, kept_back = [], 0
    for block in from_files([file]):
        for transaction in block.transactions:
            if transaction.function == "RoundContract:Submit" and task in transaction.args and not kept_back:
                transaction.private_set.Clear()
                kept_back = block.number
        blocks.append(block)
    write_file(tmp_path / "kept_back.gz", blocks)
    lines = replay_fails(task, tmp_path / "kept_back.gz")
    assert lines[-1] == "verdict: FAIL (2 findings)"
    assert any(line.startswith(f"  complete: block {kept_back}, transaction ") for line in lines)


def test_a_block_that_somebody_changed(trained, tmp_path):
    task, _, file, _ = trained
    blocks = list(from_files([file]))
    raw = blocks[-1].raw
    raw.data.data[0] = raw.data.data[0][:-5] + bytes([raw.data.data[0][-5] ^ 1]) + raw.data.data[0][-4:]
    write_file(tmp_path / "changed.gz", [*blocks[:-1], replace(blocks[-1], raw=raw)])
    lines = replay_fails(task, tmp_path / "changed.gz")
    assert any(line.startswith(f"  data_hash: block {blocks[-1].number}: ") for line in lines)


def test_a_model_that_somebody_changed(trained, tmp_path):
    task, folder, file, _ = trained
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = bytearray((folder / "model.safetensors").read_bytes())
    model[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(model)
    lines = replay_fails(task, file, "--model", tmp_path)
    assert lines[-1] == "verdict: FAIL (1 finding)"
    assert "model.safetensors has SHA-256" in lines[-3]


def test_the_page(trained, consortium, tmp_path):
    """Every block of docs/how-to/audit.md, typed one after another in one folder."""
    printed = typed("audit.md", tmp_path, BEFL_NETWORK=str(consortium.directory), TASK=trained[0])
    lines = printed.splitlines()
    assert "is enrolled as client with role auditor" in printed
    assert lines.count(LAST) == 3
    assert re.search(r"^\d+ blocks in ledger.gz$", printed, re.MULTILINE)
    assert stat.S_IMODE((tmp_path / "ledger.gz").stat().st_mode) == 0o600


def test_the_page_on_export(trained, consortium, tmp_path):
    """Every block of docs/how-to/follow-and-export.md, typed one after another in one folder."""
    printed = typed("follow-and-export.md", tmp_path, BEFL_NETWORK=str(consortium.directory), TASK=trained[0])
    rounds = r"(\d+) rounds of task " + trained[0]
    [board, runs] = re.findall(rf"^{rounds} in (?:board|file://{tmp_path}/runs)$", printed, re.MULTILINE)
    assert board == runs != "0"
    assert f"{(tmp_path / 'model.onnx').stat().st_size} bytes in model.onnx" in printed
    assert [path.name.startswith("events.out.tfevents") for path in (tmp_path / "board").glob("*/*")] == [True]


def typed(page: str, folder: Path, **variables: str) -> str:
    """Type every block of a how-to page in a folder, and return what was printed."""
    text = (Path(__file__).parents[2] / "docs/how-to" / page).read_text()
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'befl() {{ {" ".join(BEFL)} "$@"; }}\n{lines}'],
        cwd=folder,
        env={**os.environ, **commands.python_environment(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def replay_fails(task, file, *options) -> list[str]:
    """Replay a file that is no good, and return what was printed."""
    done = subprocess.run(
        [*BEFL, "audit", "replay", task, "--blocks", str(file), *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return done.stdout.splitlines()


def test_what_cannot_be_replayed_at_all(trained, tmp_path):
    task, _, file, auditor = trained
    assert "BEFL-T-007: there is no task" in befl("audit", "replay", "0" * 16, "--blocks", file, status=2)
    (tmp_path / "none.gz").write_bytes(b"nothing")
    assert befl("audit", "replay", task, "--blocks", tmp_path / "none.gz", status=2).startswith("BEFL-G-035")
    assert "Name a network or a profile" in befl("audit", "replay", task, status=2)
    with pytest.raises(BeflError, match="BEFL-C-006"):
        replay_files(task, [tmp_path / "absent.gz"])
    assert befl("audit", "export", file, *auditor, status=2).startswith("BEFL-C-006"), "no file is overwritten"
