"""What holds for every test run: no silent skips, nothing left running, the same examples each time in CI."""

from __future__ import annotations

import functools
import os
import signal
import uuid
from pathlib import Path

import pytest
from hypothesis import settings

from befl.gateway import wait
from befl.rules.errors import BeflError

MARKER = "BEFL_TEST_SESSION"
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")

settings.register_profile("befl", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("befl")

skipped_key = pytest.StashKey[list[str]]()
complaints_key = pytest.StashKey[list[str]]()


def forbid_suicide() -> None:
    """Refuse a signal to the process group of the tests: os.kill(0, ...), for a pid not known yet, would end CI.

    No audit hook: one written in Python lets other threads run in the middle of every audited call, and two that begin
    under a tracer (coverage's) then fail with "another trace function is being installed".
    """

    def guarded(name: str, forbidden: set[int]) -> None:
        original = getattr(os, name)

        @functools.wraps(original)
        def guard(to: int, number: int) -> None:
            if to in forbidden:
                raise RuntimeError(f"os.{name}{to, number} would reach the test session itself")
            original(to, number)

        setattr(os, name, guard)

    guarded("kill", {0, -1, -os.getpgrp()})
    guarded("killpg", {0, os.getpgrp()})


def pytest_configure(config: pytest.Config) -> None:
    forbid_suicide()
    config.stash[skipped_key] = []
    config.stash[complaints_key] = []
    # inherited by whatever this session starts, so that it can be found at the end
    os.environ[MARKER] = uuid.uuid4().hex
    # started in the background, a shell leaves SIGINT ignored, and every child would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped:
        item.config.stash[skipped_key].append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if report.skipped:
        collector.config.stash[skipped_key].append(collector.nodeid)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    complaints = stash[complaints_key]
    allowed = {line for line in ALLOWED_SKIPS.read_text().splitlines() if line and not line.startswith("#")}
    complaints += [
        f"skipped, and not in tests/{ALLOWED_SKIPS.name}: {name}"
        for name in stash[skipped_key]
        if name.partition("[")[0] not in allowed
    ]
    factory = getattr(session.config, "_tmp_path_factory", None)
    folder = factory.getbasetemp() if factory is not None and factory._basetemp is not None else None
    try:
        # what was told to stop may need a moment
        wait.until(lambda: not left_running(os.environ[MARKER], folder), timeout=3, what="the end of all processes")
    except BeflError:
        complaints += [f"left running: {entry}" for entry in left_running(os.environ[MARKER], folder)]
    if complaints and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for complaint in terminalreporter.config.stash[complaints_key]:
        terminalreporter.write_line(complaint, red=True)


def left_running(session: str, folder: Path | None) -> list[str]:
    """Name the processes that this session started, or that work in its temporary folder.

    The second way finds a process that was given an environment of its own, as apps are.
    """
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) == os.getpid():
            continue
        try:
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            environment = (place / "environ").read_bytes().split(b"\0")
            uses = [command, *(str(link.readlink()) for link in (place / "cwd", *(place / "fd").iterdir()))]
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
        if not command:
            continue  # it has ended, and waits for its parent to notice
        inside = folder and any(f"{folder}/" in f"{use}/" for use in uses)  # not in pytest-55, when it is pytest-5
        if f"{MARKER}={session}".encode() in environment or inside:
            found.append(f"{place.name} {command[:200]}")
    return found
