"""Final models by the public API: fetched only when they are the ledger's, and each alteration named."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from tests.unit.agent.memory import Consortium, Institution

from befl.agent import Ledger
from befl.client import Models, verify_folder
from befl.rules import artefact, canonical, codec
from befl.rules.errors import BeflError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    consortium = Consortium()
    task = consortium.publish()
    Institution(consortium, "Org1MSP", tmp_path_factory.mktemp("org1")).worker(task).run()
    folder = tmp_path_factory.mktemp("fetched") / "model"
    Models(consortium.ledger("Org2MSP")).fetch(task, folder)
    return consortium, task, folder


@pytest.fixture
def models(finished):
    return Models(finished[0].ledger("Org3MSP", "auditor"))


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished[2], tmp_path / "model")


def test_what_was_fetched_is_the_ledgers(finished, models):
    _, task, fetched = finished
    verdict = models.verify(fetched)
    assert verdict.task == task
    assert verdict.digest == codec.digest((fetched / "manifest.json").read_bytes())
    assert set(verdict.files) == {path.name for path in fetched.iterdir()}
    assert [dataclasses.asdict(each) for each in models.list()] == [finished[0].ledger("Org1MSP").model(task)]
    assert verify_folder(fetched) == dataclasses.replace(verdict, txid="")
    assert verdict.txid
    assert not verdict.simulated


FILES = ("model.safetensors", "preparation.json", "card.json", "card.md")


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(models, folder, name):
    path = folder / name
    whole = path.read_bytes()
    for altered in (whole[:-1], whole + b"\n", bytes([whole[0] ^ 1]) + whole[1:], b""):
        path.write_bytes(altered)
        for check in (models.verify, verify_folder):
            with pytest.raises(BeflError, match="BEFL-M-009") as caught:
                check(folder)
            assert str(path) in caught.value.message


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(models, folder, name):
    (folder / name).unlink()
    with pytest.raises(BeflError, match="BEFL-M-009") as caught:
        models.verify(folder)
    assert str(folder / name) in caught.value.message


def rewrite(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_bytes()) | changes
    (folder / "manifest.json").write_bytes(canonical.dumps(manifest))
    return manifest


def test_files_and_manifest_altered_together_are_not_the_ledgers(models, folder):
    """Consistent in itself, so that only the ledger can tell."""
    (folder / "card.md").write_bytes(b"# A better model")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    rewrite(folder, files=manifest["files"] | {"card.md": codec.digest(b"# A better model")})
    assert verify_folder(folder)
    with pytest.raises(BeflError, match=r"BEFL-M-009: .*the manifest has SHA-256 .* the ledger"):
        models.verify(folder)


def test_a_simulations_model_is_on_no_ledger(models, folder):
    rewrite(folder, simulated=True)
    assert verify_folder(folder).simulated
    with pytest.raises(BeflError, match=r"BEFL-M-009: .*stands on no ledger"):
        models.verify(folder)


def test_a_manifest_that_lists_nothing(models, folder):
    rewrite(folder, files={})
    with pytest.raises(BeflError, match="BEFL-M-009"):
        models.verify(folder)


def test_a_model_of_a_task_that_the_ledger_does_not_know(models, folder):
    rewrite(folder, task="0" * 16)
    with pytest.raises(BeflError, match="BEFL-T-007"):
        models.verify(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"files":{},"model":"x"}',
        b'{"files":{},"model":"x","task":5}',
        b'{"files":{},"model":5,"task":"x"}',
        b'{"files":5,"model":"x","task":"x"}',
        b'{"files":{"card.md":5},"model":"x","task":"x"}',
        b'{"files":{"../card.md":"x"},"model":"x","task":"x"}',
        b'{"files":{"..":"x"},"model":"x","task":"x"}',
        b'{ "files": {} }',
    ],
)
def test_what_is_no_manifest(models, folder, content):
    (folder / "manifest.json").write_bytes(content)
    for check in (models.verify, verify_folder):
        with pytest.raises(BeflError, match="BEFL-M-009"):
            check(folder)


def test_no_folder(models, tmp_path):
    with pytest.raises(BeflError, match=r"BEFL-C-006: .*absent"):
        models.verify(tmp_path / "absent")


def test_what_is_not_in_the_manifest_is_no_part_of_the_model(models, folder):
    (folder / "evil.py").write_text("print()")
    with pytest.raises(BeflError, match=r"BEFL-M-009: .*evil\.py is no part of the model"):
        models.verify(folder)


def test_fetch_writes_over_nothing_else(models, folder, finished, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(BeflError, match=r"BEFL-C-012: .*thesis\.txt"):
        models.fetch(finished[1], other)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]
    (folder / "card.md").write_text("better")
    assert models.verify(models.fetch(finished[1], folder)), "the same task's folder is mended"
    rewrite(folder, task="0" * 16)
    with pytest.raises(BeflError, match=r"BEFL-C-012: .*another task's model"):
        models.fetch(finished[1], folder)


def test_a_task_that_has_no_model_yet(finished, tmp_path):
    consortium = Consortium()
    task = consortium.publish()
    models = Models(consortium.ledger("Org1MSP"))
    with pytest.raises(BeflError, match="BEFL-T-007"):
        models.fetch(task, tmp_path / "model")
    with pytest.raises(BeflError, match="BEFL-T-007"):
        models.fetch("0" * 16, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert models.list() == []


def test_a_peer_that_gives_other_bytes(finished, tmp_path):
    consortium, task, _ = finished
    caller = consortium.caller("Org2MSP")
    caller.answers = lambda function, data: data[:-1] + b"\1" if function == "ModelContract:Bytes" else data
    with pytest.raises(BeflError, match="BEFL-M-007"):
        Models(Ledger(caller)).fetch(task, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_record_that_names_other_files(finished, tmp_path):
    """The files follow from the ledger: when they come out otherwise, nothing is written."""
    consortium, task, _ = finished
    caller = consortium.caller("Org2MSP")

    def lie(function, data):
        if function != "ModelContract:Get":
            return data
        record = json.loads(data)
        return json.dumps(record | {"files": record["files"] | {"card.md": "0" * 64}}).encode()

    caller.answers = lie
    with pytest.raises(BeflError, match=r"BEFL-M-007: card\.md"):
        Models(Ledger(caller)).fetch(task, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_written(finished, models, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BeflError, match="BEFL-C-006"):
        models.fetch(finished[1], tmp_path / "file" / "model")


def test_the_manifest_is_written_last(finished):
    """So that a folder that has one is whole."""
    consortium, task, _ = finished
    ledger = consortium.ledger("Org1MSP")
    last = ledger.round(task, 2)["round"]
    record = ledger.view(task).record
    model = codec.read_model(ledger.model_bytes(task, 2, last["model"]), record["length"])
    assert list(artefact.files(record, last, model))[-1] == artefact.MANIFEST
