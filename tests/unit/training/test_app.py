"""An app's files and archive: the same bytes everywhere, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from befl.rules.errors import BeflError
from befl.rules.spec import MOST_APP_BYTES
from befl.training import AppCode, builtin_apps, open_archive, read_app
from befl.training.app import MOST_FILES

MANIFEST = b'befl = 1\nname = "forest"\n'
FILES = {"app.py": b"import trees\n", "app.toml": MANIFEST, "trees.py": b"OAK = 1\n"}
FOREST = AppCode("forest", FILES)


def refusal(call, *arguments) -> str:
    with pytest.raises(BeflError) as caught:
        call(*arguments)
    assert caught.value.code == "BEFL-M-101"
    return caught.value.message


def tar_of(*entries: tuple[tarfile.TarInfo, bytes], format=tarfile.USTAR_FORMAT) -> bytes:  # noqa: A002 - tarfile's word
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def entry(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


GOOD = [entry(name, FILES[name]) for name in sorted(FILES)]


def test_the_archive_follows_from_the_files():
    """A vector: this digest must never change, on no machine and with no version of Python."""
    assert tar_of(*GOOD) == FOREST.archive
    assert open_archive(FOREST.archive) == FOREST
    assert FOREST.digest == hashlib.sha256(FOREST.archive).hexdigest()
    assert FOREST.digest == "e62d98f84ae137ce93c7e595524c09dbda394703a077e36cd6709ae213aa4c57"


def test_a_folder_gives_the_same_whatever_its_files_order_owner_and_time(tmp_path):
    folder = tmp_path / "anything"
    folder.mkdir()
    for name in reversed(FILES):
        (folder / name).write_bytes(FILES[name])
        (folder / name).chmod(0o600)
        os.utime(folder / name, (1, 1))
    (folder / ".git").mkdir()
    (folder / "__pycache__").mkdir()
    packed = tmp_path / "forest.befl-app"
    packed.write_bytes(FOREST.archive)
    assert read_app(folder) == read_app(packed) == FOREST


def test_what_comes_with_befl_goes_through_an_archive():
    for app in builtin_apps().values():
        assert open_archive(app.archive) == app


FOLDERS = {
    "a link": (lambda at: (at / "more.py").symlink_to("/etc/passwd"), "symbolic link"),
    "a link to nothing": (lambda at: (at / "more.py").symlink_to("nowhere"), "symbolic link"),
    "a folder": (lambda at: (at / "more").mkdir(), "'more' is not a plain file"),
    "a pipe": (lambda at: os.mkfifo(at / "more.py"), "'more.py' is not a plain file"),
    "a strange name": (lambda at: (at / "a b.py").write_text(""), "'a b.py' is not a file name"),
    "no entry": (lambda at: (at / "app.py").unlink(), "has no app.py"),
    "no manifest": (lambda at: (at / "app.toml").unlink(), "has no app.toml"),
    "many files": (lambda at: [(at / f"m{n}.py").touch() for n in range(MOST_FILES)], f"more than {MOST_FILES} files"),
    "a large file": (lambda at: (at / "more.bin").write_bytes(bytes(MOST_APP_BYTES + 1)), "larger than"),
    "large files": (lambda at: [(at / f"m{n}").write_bytes(bytes(2**21)) for n in range(3)], "larger than"),
    "large with its headers": (lambda at: (at / "m").write_bytes(bytes(MOST_APP_BYTES - 999)), "its archive is larger"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_that_is_no_app(tmp_path, what):
    spoil, words = FOLDERS[what]
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    spoil(tmp_path)
    assert words in refusal(read_app, tmp_path)


@pytest.mark.parametrize("manifest", [b"", b"befl = 2", b'befl = 1\nname = "../forest"\n', b"\xff", b"x = 1"])
def test_a_manifest_that_is_none(manifest):
    with pytest.raises(BeflError, match="BEFL-C-"):
        open_archive(AppCode("forest", {**FILES, "app.toml": manifest}).archive)


def test_a_path_that_is_no_app(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "1.py").touch()
    for name, words in (("pipe", "is not a plain file"), ("1.py", "must be a word")):
        assert words in refusal(read_app, tmp_path / name)
    with pytest.raises(BeflError, match=r"BEFL-C-006: app .*absent: No such file"):
        read_app(tmp_path / "absent")


def test_an_archive_in_the_folder_is_no_part_of_the_app(tmp_path):
    """`befl app pack .` a second time gives the same bytes."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "forest.befl-app").write_bytes(FOREST.archive)
    assert read_app(tmp_path).archive == FOREST.archive


def test_a_wrong_manifest_says_where(tmp_path):
    (tmp_path / "app.py").touch()
    (tmp_path / "app.toml").write_text("befl = 1\nfoo = 1\n")
    with pytest.raises(BeflError) as caught:
        read_app(tmp_path)
    assert caught.value.message == f"{tmp_path}/app.toml: foo: unknown key"


ARCHIVES = {
    "nothing": b"",
    "text": b"import torch\n",
    "zeros": bytes(10240),
    "compressed": b"\x1f\x8b" + FOREST.archive,
    "cut off": FOREST.archive[:-512],
    "one byte more": FOREST.archive + b"\0",
    "too large": bytes(MOST_APP_BYTES + 1),
    "a path": tar_of(*GOOD, entry("../escape.py")),
    "an absolute path": tar_of(*GOOD, entry("/etc/cron.d/x")),
    "a folder": tar_of(*GOOD, entry("more", type=tarfile.DIRTYPE)),
    "a link": tar_of(*GOOD, entry("more.py", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a hard link": tar_of(*GOOD, entry("more.py", type=tarfile.LNKTYPE, linkname="app.py")),
    "a device": tar_of(*GOOD, entry("more.py", type=tarfile.CHRTYPE)),
    "a pipe": tar_of(*GOOD, entry("more.py", type=tarfile.FIFOTYPE)),
    "a hole": tar_of(*GOOD, entry("more.py", type=tarfile.GNUTYPE_SPARSE)),
    "another order": tar_of(*reversed(GOOD)),
    "an owner": tar_of(entry("app.py", FILES["app.py"], uid=7), *GOOD[1:]),
    "a time": tar_of(entry("app.py", FILES["app.py"], mtime=7), *GOOD[1:]),
    "a file twice": tar_of(*GOOD, GOOD[0]),
    "another form": tar_of(*GOOD, format=tarfile.GNU_FORMAT),
    "a long name": tar_of(*GOOD, entry("m" * 200 + ".py"), format=tarfile.PAX_FORMAT),
    "many files": tar_of(*GOOD, *(entry(f"m{n:04}.py") for n in range(MOST_FILES))),
    "a size beyond the end": FOREST.archive[:124] + b"77777777777\0" + FOREST.archive[136:],
    "a size that is none": FOREST.archive[:124] + b"-0000000001\0" + FOREST.archive[136:],
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_is_none(what):
    assert refusal(open_archive, ARCHIVES[what])


@given(st.binary(max_size=3_000))
def test_arbitrary_bytes_are_no_app(content):
    assert refusal(open_archive, content)


@given(st.lists(st.tuples(st.integers(0, len(FOREST.archive) - 1), st.integers(0, 255)), max_size=6), st.data())
def test_an_altered_archive_is_another_app_or_none(changes, data):
    altered = bytearray(FOREST.archive)
    for place, value in changes:
        altered[place] = value
    cut = bytes(altered[: data.draw(st.integers(0, len(altered)) | st.just(len(altered)))])
    try:
        made = open_archive(cut)
    except BeflError as error:
        assert error.code[:7] in ("BEFL-M-", "BEFL-C-")  # noqa: PT017 - when it raises at all
    else:
        assert made.archive == cut


names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}", fullmatch=True)


@given(st.dictionaries(names, st.binary(max_size=2_000), max_size=8))
def test_every_app_goes_through_its_archive(files):
    app = AppCode("forest", {**files, **FILES})
    assert open_archive(app.archive) == app
