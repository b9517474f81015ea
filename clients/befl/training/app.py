"""Training apps: a folder with ``app.py`` and ``app.toml``, or one Python file.

``app.py`` has three functions, on numpy arrays of float32 (``model`` is a dict of name to array):

- ``init(settings, problem, seed) -> model``: the initial parameters;
- ``train(model, x, y, settings, problem, seed) -> model``: one round on one institution's rows, the new parameters;
- ``predict(model, x, settings, problem) -> predictions``: for classes probabilities, shape (rows, classes); for a
  number the prepared number, shape (rows, 1).

It may have ``check(settings, problem)``, which raises ``ValueError`` for settings it does not take, and
``export(model, settings, problem)``, which returns the model as bytes in the ONNX form. ``settings`` is the task's
``[app.settings]``; decimals arrive as text. ``problem`` is ``{"shape": [...], "outputs": n, "kind": "class" or
"number", "device": "cpu", "cuda" or "auto"}``. A ``train`` with a parameter ``correction`` can take part in SCAFFOLD.
Other Python files of the folder can be imported. What an app may use besides is what the interpreter of the agent's
``[training]`` table has installed; most apps need no more than a torch module, see ``apps/loop.py``.

An app travels as an archive (POSIX ustar, not compressed: the same files give the same bytes on every machine). The
SHA-256 of the archive is the app's digest: what a task names and an operator approves.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Self

from befl.rules.errors import BeflError
from befl.rules.names import APP_NAME
from befl.rules.reader import Choice, Integer, Text, parse_toml, read, setting
from befl.rules.spec import MOST_APP_BYTES

ENTRY: Final = "app.py"
MANIFEST: Final = "app.toml"
SUFFIX: Final = ".befl-app"
MOST_FILES: Final = 100
_BUILTIN: Final = Path(__file__).parent / "apps"
_LOOP: Final = _BUILTIN / "loop.py"
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_SIZE: Final = re.compile(rb"[0-7]{11}\0")
_BLOCK: Final = 512


@dataclass(frozen=True)
class AppManifest:
    """``app.toml``: what an app says of itself."""

    befl: int = setting(Integer(1, 1), "version of this file's form")
    name: str = setting(APP_NAME, "what tasks call the app")
    about: str = setting(Text(most=500), "what it does, one line", default="")
    loop: str = setting(
        Choice(("none", "torch")),
        '"torch": befl\'s training loop for torch modules is put into the archive as `loop.py`',
        default="none",
    )


@dataclass(frozen=True)
class AppCode:
    """An app's code.

    Parameters
    ----------
    name : str
        What the task calls it.
    files : mapping of str to bytes
        File name to content; ``app.py`` and ``app.toml`` among them.
    """

    name: str
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, name: str, source: bytes) -> Self:
        """Make an app of one Python file."""
        return cls(name, {ENTRY: source, MANIFEST: f'befl = 1\nname = "{name}"\n'.encode()})

    @cached_property
    def archive(self) -> bytes:
        """The archive: the same files give the same bytes."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(self.files):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(self.files[name]), 0o644
                tar.addfile(entry, io.BytesIO(self.files[name]))
        return made.getvalue()

    @property
    def digest(self) -> str:
        """SHA-256 of the archive, hexadecimal: what a task names and an operator approves."""
        return hashlib.sha256(self.archive).hexdigest()


def read_app(path: Path) -> AppCode:
    """Read an app from its folder, its archive or its one Python file.

    Of a folder every file counts but those that begin with ``.`` or ``__``, and archives of apps (``.befl-app``), which
    may have been made there. An app has no folders and no links in it.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when it cannot be read, ``BEFL-M-101`` when it is too large or is no app, ``BEFL-C-002`` to
        ``BEFL-C-005`` for its ``app.toml``.
    """
    what = str(path)
    try:
        if path.is_dir():
            names = [
                each.name
                for each in sorted(path.iterdir())
                if not each.name.startswith((".", "__")) and each.suffix != SUFFIX
            ]
            if len(names) > MOST_FILES:
                raise _refuse(what, f"more than {MOST_FILES} files")
            files = {name: _read(path / name, what, os.O_NOFOLLOW) for name in names}
            if not {ENTRY, MANIFEST} <= set(files):
                raise BeflError(
                    "BEFL-M-101",
                    f"app {what}: the folder has no {min({ENTRY, MANIFEST} - set(files))}",
                    f"A folder with {ENTRY} and {MANIFEST} is an app; befl init DIR writes one, DIR/app.",
                )
            wants_loop = _manifest(files, what).loop == "torch"
            return _checked({_LOOP.name: _LOOP.read_bytes(), **files} if wants_loop else files, what)
        content = _read(path, what)
    except OSError as error:
        why = error.strerror or type(error).__name__
        if Path(error.filename or path) != path:  # a file of its folder
            raise _refuse(what, why) from None
        hint = "Name a folder with app.py and app.toml, an archive (befl app pack) or a Python file."
        raise BeflError("BEFL-C-006", f"app {path}: {why}", hint) from None
    if path.suffix == ".py":
        if not re.fullmatch(APP_NAME.pattern, path.stem):
            raise BeflError("BEFL-M-101", f"app {path}: the file's name must be a word: it names the app")
        return AppCode.of(path.stem, content)
    return open_archive(content, what)


def open_archive(content: bytes, what: str = "the archive") -> AppCode:
    """Read an app from the bytes of its archive, which must be exactly those that its files make.

    Of each header only name and size are looked at; whatever else an archive can say (folders, links, devices, holes,
    owners, other forms of a name) makes other bytes than ours.

    Raises
    ------
    BeflError
        ``BEFL-M-101`` when it is none or was made in another way.
    """
    if len(content) > MOST_APP_BYTES:
        raise _refuse(what, f"larger than {MOST_APP_BYTES} bytes")
    files: dict[str, bytes] = {}
    place = 0
    while content[place : place + 1] not in (b"", b"\0"):
        name = content[place : place + 100].rstrip(b"\0").decode("latin-1")
        size = content[place + 124 : place + 136]
        if not _SIZE.fullmatch(size) or len(files) >= MOST_FILES or not _FILE.fullmatch(name):
            raise _refuse(what, "is no archive of an app")
        place += _BLOCK
        files[name] = content[place : place + int(size[:-1], 8)]
        place += -(-len(files[name]) // _BLOCK) * _BLOCK
    made = _checked(files, what)
    if made.archive != content:
        raise _refuse(what, "was not made by befl app pack: the same files make other bytes")
    return made


@cache
def builtin_apps() -> dict[str, AppCode]:
    """Return the apps that come with befl, by name."""
    found = [read_app(path.parent) for path in sorted(_BUILTIN.glob(f"*/{MANIFEST}"))]
    return {app.name: app for app in found}


def _read(path: Path, what: str, flags: int = 0) -> bytes:
    """Read a plain file of bounded size; a pipe or a device is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refuse(what, f"{path.name[:40]!r} is not a plain file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_APP_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_APP_BYTES:
        raise _refuse(what, f"larger than {MOST_APP_BYTES} bytes")
    return content


def _checked(files: Mapping[str, bytes], what: str) -> AppCode:
    wrong = [name for name in files if not _FILE.fullmatch(name)]
    if wrong:
        raise _refuse(what, f"{wrong[0][:40]!r} is not a file name that an app can have")
    missing = [name for name in (ENTRY, MANIFEST) if name not in files]
    if missing:
        raise _refuse(what, f"has no {missing[0]}")
    if sum(map(len, files.values())) > MOST_APP_BYTES:
        raise _refuse(what, f"larger than {MOST_APP_BYTES} bytes")
    made = AppCode(_manifest(files, what).name, dict(files))
    if len(made.archive) > MOST_APP_BYTES:
        raise _refuse(what, f"its archive is larger than {MOST_APP_BYTES} bytes")
    return made


def _manifest(files: Mapping[str, bytes], what: str) -> AppManifest:
    place = f"{what}/{MANIFEST}"
    table = parse_toml(files[MANIFEST], place)
    try:
        return read(AppManifest, table)
    except BeflError as error:
        raise BeflError(error.code, f"{place}: {error.message}", error.hint) from None


def _refuse(what: str, why: str) -> BeflError:
    return BeflError("BEFL-M-101", f"app {what}: {why}", "Make it with befl app pack.")
