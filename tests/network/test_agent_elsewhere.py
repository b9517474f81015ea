"""An agent on another machine, set up by docs/how-to/agent-elsewhere.md: keys born there, only public files travel."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from befl.client import connect
from befl.gateway import wait

from .hospitals import befl, hospitals, table, task_toml
from .sides import Side, blocks, plain_environment

PAGE = Path(__file__).parents[2] / "docs/how-to/agent-elsewhere.md"


@pytest.fixture
def sides(consortium, tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """The institution org2, and the agent's machine: it has neither the network's folder nor Fabric's programs."""
    institution, ward = tmp_path / "institution", tmp_path / "ward"
    institution.mkdir()
    ward.mkdir(mode=0o700)
    plain = plain_environment()
    here = Side(institution, ward, {**plain, "BEFL_NETWORK": str(consortium.directory), "BEFL_AS": "org2"})
    without = {name: value for name, value in plain.items() if name != "BEFL_FABRIC_BIN"}
    there = Side(ward, consortium.directory, {**without, "BEFL_CACHE": str(ward / "cache")})
    try:
        yield here, there
    finally:
        for process in there.agents:
            process.kill()
            process.wait()


def follow(chapter: list[tuple[str, list[str]]], institution: Side, ward: Side) -> str:
    """Type a chapter's commands, each where it belongs; return what they printed."""
    printed = []
    for who, lines in chapter:
        typed, other = (institution, ward) if who == "the institution" else (ward, institution)
        for line in lines:
            if line.startswith("befl agent run"):
                ward.agent(ward.folder / line.split()[-1])
            else:
                printed.append(typed.type(line))
        for request in typed.folder.glob("users/*/request.csr"):  # as the page says: that file only
            shutil.copyfile(request, typed.folder / request.name)
        typed.carry(other)
    return "\n".join(printed)


def certificates(folder: Path) -> list[x509.Certificate]:
    names = ("msp/signcerts/cert.pem", "tls/client.crt")
    return [x509.load_pem_x509_certificate((folder / "users/ward" / name).read_bytes()) for name in names]


def test_the_page(sides, consortium, tmp_path):
    institution, ward = sides
    chapters = blocks(PAGE)
    keys, start, renewal = chapters.values()

    printed = follow(keys, institution, ward)
    [request] = set(re.findall(r"SHA-256 ([0-9a-f]{64})", printed))
    assert len(re.findall(request, printed)) == 2, "both sides name it"
    [archive] = set(re.findall(r"^([0-9a-f]{64}) ", printed, re.MULTILINE))
    assert len(re.findall(archive, printed)) == 2
    born = {
        path: path.read_bytes() for path in ward.folder.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()
    }
    assert sorted(str(path.relative_to(ward.folder)) for path in born) == [
        "users/ward/msp/keystore/key.pem",
        "users/ward/tls/client.key",
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in born)
    home = consortium.directory / "org2"
    secrets = b"".join(path.read_bytes() for path in (home / "users/ward").rglob("*") if path.is_file())
    assert b"PRIVATE" not in secrets
    with tarfile.open(institution.folder / "ward.tar") as carried:
        assert all(b"PRIVATE" not in carried.extractfile(one).read() for one in carried if one.isfile())
    [signs, tls] = certificates(home)
    assert signs.subject.rfc4514_string() == "CN=ward,OU=client,O=org2"
    assert signs.public_key() != tls.public_key()

    # asked again, nothing is changed
    assert "nothing to change" in ward.type(keys[0][1][0])
    assert "nothing to change" in institution.type(keys[1][1][0])

    [toml] = re.findall(r"```toml\n([^`]*)```", PAGE.read_text())
    (ward.folder / "AGENT.toml").write_text(toml)
    (ward.folder / "rows.csv").write_text(table(7))
    with hospitals(consortium, tmp_path, "hearts") as members:
        for each in members:
            if each.org != "org2":
                each.start()
        printed = follow(start, institution, ward)
        assert "the peer answers" in printed
        assert "not built yet; only a machine that runs peers and orderers needs them" in printed
        with connect(network=consortium.directory, identity="org1", name="issuer") as client:
            task = client.tasks.publish(task_toml(tmp_path, "hearts", steps=5, count=1)).task
            wait.until(
                lambda: client.tasks.get(task).state == "finished", timeout=90, interval=0.5, what="the task's end"
            )
            assert "Org2MSP" in client.ledger.round(task, 1)["round"]["updates"]
    assert str(consortium.directory) not in (ward.folder / "agent.log").read_text()
    ward.stop_agents()

    before = certificates(home)
    assert "ward is renewed, with the same keys" in follow(renewal, institution, ward)
    after = certificates(ward.folder)
    assert [one.public_key() for one in after] == [one.public_key() for one in before]
    assert all(new.serial_number != old.serial_number for new, old in zip(after, before, strict=True))
    assert {path: path.read_bytes() for path in born} == born
    [line] = [line for line in start[0][1] if line.startswith("befl doctor")]
    assert "the peer answers" in ward.type(line)


def test_requests_that_the_institution_refuses(consortium, tmp_path):
    network = ("--network", consortium.directory, "--as", "org3")
    befl("identity", "request", "bed", cwd=tmp_path)
    request = tmp_path / "users/bed/request.csr"
    enroll = ("identity", "enroll", "--role", "trainer", *network, "--request", request)
    assert "BEFL-N-022" in befl(*enroll, "other", status=2)
    assert "BEFL-N-021: agent exists already, with other keys" in befl(
        "identity", "enroll", "agent", "--role", "trainer", *network, "--request", _of(tmp_path, "agent"), status=2
    )
    listed = json.loads(befl("identity", "list", *network, "--format", "json"))
    assert not {"bed", "other"} & {one["name"] for one in listed}


def _of(folder: Path, name: str) -> Path:
    befl("identity", "request", name, cwd=folder)
    return folder / "users" / name / "request.csr"
