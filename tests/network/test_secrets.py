"""A whole run, then a search: no key and no row stands anywhere but in the file where it belongs."""

from __future__ import annotations

import base64
import json
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from befl.audit.source import from_peer
from befl.client import connect as client
from befl.client.tasks import read_spec
from befl.gateway import Profile, connect, wait
from befl.training.data import load

from .hospitals import Hospital, hospitals, task_toml

MARK = b"PRIVATE KEY-----"
# Where a private key belongs: a key store, a TLS key beside its certificate, the CA server's own, and the files by
# which the builder tells the peer how it calls its chaincode server.
KEY_PLACES = (
    "*/msp/keystore/*_sk",
    "*/msp/keystore/IssuerSecretKey",
    "*/msp/keystore/IssuerRevocationPrivateKey",
    "*/tls/*.key",
    "*/users/admin/operations/client.key",
    "*/ca/server.key",
    "*/chaincode/connection.json",
    "*/peer/data/externalbuilder/builds/*/release/chaincode/server/connection.json",
)
SECRET_PLACES = ("*/ca/secrets.json", "*/fabric-ca-server-config.yaml")

# --- what is looked for -----------------------------------------------------------------------------------------------

AGES = (61.73190625, 47.20318984375, 38.91734375)  # each an exact float64, and nobody's age by chance
NAMES = ("Quercus Falkenrath", "Ondine Marchetti-Vaux", "Severin Okonjo-Blaise")
"""A column that no task declares: it is read past."""


def canary_rows(table: str) -> str:
    """Put the canaries into the first rows of a table, and a column of names behind it."""
    header, *lines = table.splitlines()
    marked = []
    for number, line in enumerate(lines):
        age, rest = line.split(",", 1)
        known = number < len(AGES)
        marked.append(f"{AGES[number] if known else age},{rest},{NAMES[number] if known else 'x'}")
    return "\n".join([f"{header},name", *marked]) + "\n"


def row_needles(prepared: np.ndarray) -> dict[str, bytes]:
    """Return the canaries in every form that a program might keep them in: as text, as numbers, as an app gets them."""
    found = {f"name {name}": name.encode() for name in NAMES}
    for age, row in zip(AGES, prepared, strict=False):
        found |= {
            f"age {age} as text": str(age).encode(),
            f"age {age} as float64": struct.pack("<d", age),
            f"age {age} as float64, big endian": struct.pack(">d", age),
            f"age {age}, prepared, as float64": struct.pack("<d", float(row[0])),
            # a float32 alone may stand anywhere by chance: with the next feature, which says that none is missing
            f"age {age}, prepared, as float32": row[:2].tobytes(),
        }
    return found


def key_needles(path: Path, content: bytes) -> dict[str, bytes]:
    """Return the private keys of a file as PEM would show them, as raw bytes (DER holds these), hex and base64."""
    found: dict[str, bytes] = {}
    text = json.loads(content)["client_key"].encode() if path.suffix == ".json" else content
    if path.name.startswith("Issuer"):  # of Idemix, which fabric-ca makes and nothing uses
        return {f"{path} as it is": text.splitlines()[1] if MARK in text else text}
    key = serialization.load_pem_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    scalar = key.private_numbers().private_value.to_bytes(key.key_size // 8, "big")
    body = b"".join(text.splitlines()[1:-1])
    found[f"{path} as PEM"] = text.splitlines()[1]
    found[f"{path} as base64 of DER"] = body[8:72]
    found[f"{path} raw"] = scalar
    found[f"{path} in hex"] = scalar.hex().encode()
    found[f"{path} in capital hex"] = scalar.hex().upper().encode()
    found[f"{path} in base64"] = base64.b64encode(scalar)[:42]
    found[f"{path} in base64 for URLs"] = base64.urlsafe_b64encode(scalar)[:42]
    found[f"{path} as a number"] = str(int.from_bytes(scalar, "big")).encode()
    return found


# --- where ------------------------------------------------------------------------------------------------------------


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def fits(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.match(pattern) for pattern in patterns)


def processes(*folders: Path) -> dict[str, bytes]:
    """Return arguments and environment of every process of this run, and of those that these have started."""
    marks = [f"BEFL_TEST_SESSION={os.environ['BEFL_TEST_SESSION']}".encode(), *(str(each).encode() for each in folders)]
    known: dict[int, tuple[int, bytes]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            known[int(place.name)] = parent, (place / "cmdline").read_bytes() + b"\0" + (place / "environ").read_bytes()
        except OSError:
            continue  # ended meanwhile, or is somebody else's
    ours = {pid for pid, (_, content) in known.items() if any(mark in content for mark in marks)} - {os.getpid()}
    while more := {pid for pid, (parent, _) in known.items() if parent in ours} - ours:
        ours |= more
    return {f"process {pid} {known[pid][1][:60]!r}": known[pid][1] for pid in ours}


def blocks(consortium) -> Iterator[tuple[str, bytes]]:
    """Yield every block with its private data, as each institution's peer gives it."""
    for org in consortium.institutions:
        with connect(Profile.load(consortium.profile(org)), consortium.user(org)) as gateway:
            for block in from_peer(gateway.network("befl")):
                private = [each.private_set for each in block.transactions if each.private_set is not None]
                whole = [block.raw.SerializeToString(), *(each.SerializeToString() for each in private)]
                yield f"block {block.number} of {org}", b"\0".join(whole)


def hits(needles: dict[str, bytes], content: bytes) -> list[str]:
    packed = content.strip(b"\0")  # logs of the ordering service are mostly room for more
    return [what for what, needle in needles.items() if needle in packed]


# --- the run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(consortium, tmp_path_factory) -> Iterator[tuple[Path, list[Hospital], dict[str, bytes]]]:
    """A task from its publication to its model; arguments and environments are noted all the time."""
    folder = tmp_path_factory.mktemp("secrets")
    seen: dict[str, bytes] = {}
    with (
        hospitals(consortium, folder, "canaries") as agents,
        client(network=consortium.directory, identity="org1/issuer") as issuer,
    ):
        for each in agents:
            each.rows.write_text(canary_rows(each.rows.read_text()))
            each.rows.chmod(0o600)
            each.start()
        task = issuer.tasks.publish(task_toml(folder, "canaries", steps=2, count=1)).task

        def finished() -> bool:
            seen.update(processes(folder, consortium.directory))
            return issuer.tasks.get(task).state == "finished"

        wait.until(finished, timeout=120, interval=0.2, what="the task's end")
        for each in agents:
            each.says("model in ")
        yield folder, agents, seen


def test_no_key_and_no_row_anywhere(consortium, run):
    folder, agents, seen = run
    network = consortium.directory
    held = {path: path.read_bytes() for path in files(network, folder)}
    keys = {path: content for path, content in held.items() if fits(path, KEY_PLACES)}
    prepared = load(agents[0].rows, read_spec(folder / "canaries.toml").data).x
    assert prepared[: len(AGES), 0].tolist() == pytest.approx([(age - 50) / 10 for age in AGES])
    needles = row_needles(prepared)
    for path, content in keys.items():
        needles |= key_needles(path, content)
    secrets = {
        f"enrolment secret of {name} at {org}": secret.encode()
        for org in consortium.institutions
        for name, secret in json.loads((network / org / "ca" / "secrets.json").read_text()).items()
    }
    assert len(keys) >= 15 * len(consortium.institutions)
    assert all(len(needle) >= 8 for needle in (needles | secrets).values())

    for path, content in keys.items():  # what is looked for is found where it is
        assert hits(needles, content), path
    for each in agents:
        assert len(hits(needles, each.rows.read_bytes())) == len(AGES) + len(NAMES)

    rows = {each.rows for each in agents}
    found = []
    for path, content in held.items():
        if path not in keys and path not in rows:
            found += [f"{path}: {what}" for what in hits(needles, content)]
            found += [f"{path}: a private key in PEM"] if MARK in content else []
        if not fits(path, SECRET_PLACES):
            found += [f"{path}: {what}" for what in hits(secrets, content)]
    everything = needles | secrets | {"a private key in PEM": MARK}
    for what, content in (*seen.items(), *blocks(consortium)):
        found += [f"{what}: {each}" for each in hits(everything, content)]
    assert found == []
    programs = (b"agent\0run", b"/child.py\0", b"/peer\0node\0", b"/orderer\0", b"/fabric-ca-server\0", b"befl.shim\0")
    for process in programs:
        assert any(process in content for content in seen.values()), process


def test_what_is_private_is_readable_by_its_owner_alone(consortium, run):
    folder, agents, _ = run
    network = consortium.directory
    private = [path for path in files(network, folder) if fits(path, (*KEY_PLACES, *SECRET_PLACES))]
    state = [path for each in agents for path in (each.folder / "state").rglob("*") if path.is_file()]
    assert len(state) > len(agents)
    kept = [path for path in state if "models" not in path.parts]  # a finished model is for others to use
    assert {str(path) for path in (*private, *kept) if stat.S_IMODE(path.stat().st_mode) & 0o077} == set()
    homes = [network / org for org in consortium.institutions] + [each.folder / "state" for each in agents]
    assert {str(path) for path in homes if stat.S_IMODE(path.stat().st_mode) != 0o700} == set()
