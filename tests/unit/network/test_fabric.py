"""Fabric's programs: taken where they are new enough, built once, never half."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from pathlib import Path

import pytest

from befl.cli.main import run
from befl.gateway import wait
from befl.network import fabric
from befl.rules.errors import BeflError


class FakeBuild:
    """Stands in for the Go build: writes the programs' names as their content."""

    def __init__(self) -> None:
        self.modules: list[str] = []

    def __call__(self, module: fabric.Module, source: Path, target: Path, progress: fabric.Progress) -> None:
        assert (source / "go.mod").is_file()
        assert (source / "go.sum").is_file()
        self.modules.append(module.name)
        for name in module.commands:
            (target / name).write_text(name)
        if module.name == "fabric":
            (target.parent / "config").mkdir()
            for name in fabric.CONFIG_DIGESTS:
                (target.parent / "config" / name).write_text(name)


@pytest.fixture(autouse=True)
def no_fabric_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BEFL_FABRIC_BIN", raising=False)
    monkeypatch.delenv("FABRIC_CFG_PATH", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'empty'}:/usr/bin:/bin")


def test_it_is_built_once(tmp_path):
    build = FakeBuild()
    first = fabric.locate(cache=tmp_path, build=build)
    again = fabric.locate(cache=tmp_path, build=build)
    assert first == again
    assert build.modules == ["fabric", "fabric-ca"]
    assert first.origin == "built"
    assert Path(first.command("peer")).read_text() == "peer"
    assert (first.config / "core.yaml").is_file()


@pytest.mark.parametrize("damage", ["truncated", "removed", "no marker", "marker cut"])
def test_a_half_written_cache_is_built_again(tmp_path, damage):
    build = FakeBuild()
    found = fabric.locate(cache=tmp_path, build=build)
    peer, marker = found.folder / "peer", found.folder.parent / "complete.json"
    match damage:
        case "truncated":
            peer.write_text("pe")
        case "removed":
            peer.unlink()
        case "no marker":
            marker.unlink()
        case "marker cut":
            marker.write_text(marker.read_text()[:100])
    lines: list[str] = []
    again = fabric.locate(lines.append, cache=tmp_path, build=build)
    assert Path(again.command("peer")).read_text() == "peer"
    assert build.modules == ["fabric", "fabric-ca"] * 2
    assert "the cached build of Fabric is not whole: building again" in lines


def test_an_interrupted_build_leaves_no_build_and_the_next_one_clears_up(tmp_path):
    def interrupted(module: fabric.Module, source: Path, target: Path, progress: fabric.Progress) -> None:
        (target / "peer").write_text("pe")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fabric.locate(cache=tmp_path, build=interrupted)
    assert [path.name for path in (tmp_path / "fabric").iterdir()] == [f"{fabric.key()}.lock"]
    # what a build leaves that was killed: a folder that nobody takes for a build
    killed = tmp_path / "fabric" / f".{fabric.key()}.killed"
    (killed / "bin").mkdir(parents=True)
    fabric.locate(cache=tmp_path, build=FakeBuild())
    assert not killed.exists()


def test_two_builds_at_once_make_one(tmp_path):
    build = FakeBuild()
    inside, go_on = threading.Event(), threading.Event()
    lines: list[str] = []

    def slow(module: fabric.Module, source: Path, target: Path, progress: fabric.Progress) -> None:
        inside.set()
        assert go_on.wait(10)
        build(module, source, target, progress)

    found: list[fabric.Fabric] = []
    first = threading.Thread(target=lambda: found.append(fabric.locate(cache=tmp_path, build=slow)))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=lambda: found.append(fabric.locate(lines.append, cache=tmp_path, build=build)))
    second.start()
    wait.until(lambda: lines, timeout=10, what="the second build waiting")
    go_on.set()
    first.join()
    second.join()
    assert found[0] == found[1]
    assert build.modules == ["fabric", "fabric-ca"]
    assert lines == ["another build of Fabric runs; waiting for it"]


def test_a_build_that_makes_not_everything_is_refused(tmp_path):
    def forgetful(module: fabric.Module, source: Path, target: Path, progress: fabric.Progress) -> None:
        for name in module.commands:
            if name != "osnadmin":
                (target / name).write_text(name)

    with pytest.raises(BeflError, match="BEFL-N-002: the build made no osnadmin"):
        fabric.locate(cache=tmp_path, build=forgetful)


def test_no_go_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(fabric.sys, "executable", str(tmp_path / "empty" / "python"))
    with pytest.raises(BeflError) as caught:
        fabric.locate(cache=tmp_path)
    assert caught.value.code == "BEFL-N-001"
    assert "pip install 'befl[go]'" in caught.value.hint


def test_go_of_this_environment_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(fabric.sys, "executable", str(tmp_path / "python"))
    write_program(tmp_path / "go", "exit 0")
    assert fabric.find_go() == str(tmp_path / "go")


def test_a_failed_build_says_the_tool_chains_last_words(tmp_path, monkeypatch):
    write_program(tmp_path / "empty" / "go", "echo 'go: downloading x' >&2; echo 'x.go:1: no such thing' >&2; exit 1")
    with pytest.raises(BeflError, match=r"BEFL-N-002: go install of module fabric failed: x\.go:1: no such thing"):
        fabric.locate(cache=tmp_path / "cache")


def test_another_releases_configuration_is_refused(tmp_path, monkeypatch):
    write_program(tmp_path / "empty" / "go", f'case "$1" in list) echo {tmp_path};; esac')
    (tmp_path / "sampleconfig").mkdir()
    (tmp_path / "sampleconfig" / "core.yaml").write_text("peer: {}")
    with pytest.raises(BeflError, match=r"BEFL-N-002: .*core\.yaml of the Fabric module is not the one"):
        fabric.locate(cache=tmp_path / "cache")
    (tmp_path / "sampleconfig" / "core.yaml").unlink()
    with pytest.raises(BeflError, match=r"BEFL-N-002: .*no sampleconfig/core\.yaml"):
        fabric.locate(cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BeflError, match="BEFL-N-002: the cache folder cannot be made"):
        fabric.locate(cache=tmp_path / "file", build=FakeBuild())


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("BEFL_CACHE", str(tmp_path))
    assert fabric.cache_dir() == tmp_path
    monkeypatch.delenv("BEFL_CACHE")
    assert fabric.cache_dir().name == "befl"


def test_the_named_folder_is_used(fake_fabric, monkeypatch, tmp_path):
    folder = fake_fabric("v3.0.0")
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(folder))
    found = fabric.locate(cache=tmp_path, build=FakeBuild())
    assert found == fabric.Fabric(folder, folder.parent / "config", "v3.0.0", "BEFL_FABRIC_BIN")


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ({"version": "v2.5.12"}, "is v2.5.12; befl needs 3.0 or newer"),
        ({"without": "osnadmin"}, "has no osnadmin"),
        ({"version": ""}, "does not say its version"),
        ({"config": False}, "core.yaml and orderer.yaml are missing"),
    ],
)
def test_a_named_folder_that_cannot_be_used_is_refused(fake_fabric, monkeypatch, tmp_path, release, reason):
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric(**release)))
    with pytest.raises(BeflError) as caught:
        fabric.locate(cache=tmp_path, build=FakeBuild())
    assert caught.value.code == "BEFL-N-003"
    assert reason in caught.value.message


def test_path_is_used_when_new_enough_and_passed_over_with_a_reason_when_not(fake_fabric, monkeypatch, tmp_path):
    folder = fake_fabric("v3.1.0")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert fabric.locate(cache=tmp_path, build=FakeBuild()).origin == "PATH"
    write_program(folder / "peer", "echo ' Version: v2.5.1'")
    lines: list[str] = []
    assert fabric.locate(lines.append, cache=tmp_path, build=FakeBuild()).origin == "built"
    assert lines == [f"Fabric on PATH is not used: {folder / 'peer'} (PATH) is v2.5.1; befl needs 3.0 or newer"]


def test_a_peer_that_cannot_be_run_has_no_version(tmp_path):
    assert fabric.version_of(tmp_path / "absent") == ""


def test_the_key_changes_with_the_pinned_content(monkeypatch):
    first = fabric.key()
    assert first.startswith("v3.1.1-ca-v1.5.21-")
    monkeypatch.setattr(fabric, "MODULES", fabric.MODULES[:1])
    assert fabric.key() != first


def test_every_module_pins_all_content():
    for module in fabric.MODULES:
        folder = Path(fabric.__file__).parent / "go" / module.name
        required = [line.split() for line in (folder / "go.mod").read_text().splitlines() if " v" in line]
        pinned = {tuple(line.split()[:2]) for line in (folder / "go.sum").read_text().splitlines()}
        assert len(required) > 20
        assert {(name, version) for name, version, *_ in required} <= pinned


def test_the_command_builds_or_says_why(capsys, monkeypatch, tmp_path, fake_fabric):
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(tmp_path))
    with contextlib.suppress(SystemExit):
        assert run(["network", "fabric"]) != 0
    assert "BEFL-N-003" in capsys.readouterr().err
    monkeypatch.setenv("BEFL_FABRIC_BIN", str(fake_fabric()))
    assert run(["network", "fabric"]) == 0
    assert capsys.readouterr().out.startswith("Fabric v3.1.1 (BEFL_FABRIC_BIN): ")


def test_digest_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert fabric._digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
