"""The hooks of tests/conftest.py do fail a session: tried on small sessions of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]


def run(folder: Path, *tests: str, allowed: str = "") -> subprocess.CompletedProcess[str]:
    shutil.copy(TESTS / "conftest.py", folder)
    (folder / "allowed_skips.txt").write_text(allowed)
    for number, test in enumerate(tests):
        (folder / f"test_{number}.py").write_text(test)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "-c", "/dev/null", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_every_kind_of_skip_fails_the_session(tmp_path):
    done = run(
        tmp_path,
        "import pytest\ndef test_a(): pytest.skip('no')",
        "import pytest\n@pytest.mark.skip\ndef test_a(): pass",
        "import pytest\npytest.skip('all of it', allow_module_level=True)",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): assert False",
    )
    assert done.returncode == 1, done.stdout
    for name in ("test_0.py::test_a", "test_1.py::test_a", "test_2.py", "test_3.py::test_a"):
        assert f"skipped, and not in tests/allowed_skips.txt: {name}\n" in done.stdout


def test_allowed_skips_and_ended_processes_do_not(tmp_path):
    done = run(
        tmp_path,
        "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_a(n): pytest.skip('no')",
        "import subprocess, sys\n"
        "def test_it():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    child.terminate()\n"
        "    child.communicate()",
        allowed="# why\ntest_0.py::test_a\n",
    )
    assert done.returncode == 0, done.stdout


def test_a_process_left_running_fails_the_session(tmp_path):
    # the children end with this session, whose end of the pipe is the last one
    done = run(
        tmp_path,
        "import subprocess, sys\n"
        "children = []\n"
        "def start(number, **options):\n"
        "    command = [sys.executable, '-c', f'input() #{number}']\n"
        "    children.append(subprocess.Popen(command, stdin=subprocess.PIPE, **options))\n"
        "def test_environment(): start(1, cwd='/')\n"
        "def test_folder(tmp_path): start(2, cwd=tmp_path, env={})\n",
    )
    assert done.returncode == 1, done.stdout
    for number in (1, 2):
        assert f"-c input() #{number}\n" in done.stdout


def test_what_runs_in_a_folder_with_a_longer_name_is_somebody_elses(tmp_path):
    done = run(
        tmp_path,
        "import subprocess, sys\n"
        "from conftest import left_running\n"
        "def test_it(tmp_path):\n"
        "    own, other = tmp_path / 'pytest-5', tmp_path / 'pytest-55'\n"
        "    own.mkdir(), other.mkdir()\n"
        "    child = [sys.executable, '-c', 'input()']\n"
        "    with subprocess.Popen(child, stdin=subprocess.PIPE, cwd=other, env={}) as started:\n"
        "        assert left_running('none', own) == []\n"
        "        assert [each.split()[0] for each in left_running('none', other)] == [str(started.pid)]\n"
        "        started.kill()\n",
    )
    assert done.returncode == 0, done.stdout


def test_a_signal_to_the_session_itself_fails_the_test_and_nothing_else(tmp_path):
    done = run(
        tmp_path,
        "import os\n"
        "def test_own_group(): os.kill(0, 9)\n"
        "def test_everybody(): os.kill(-1, 9)\n"
        "def test_group_0(): os.killpg(0, 9)\n"
        "def test_group_by_name(): os.killpg(os.getpgrp(), 9)\n"
        "def test_other(): os.kill(os.getpid(), 0)\n",
    )
    assert done.returncode == 1, done.stdout
    assert "4 failed, 1 passed" in done.stdout
    assert done.stdout.count("would reach the test session itself") >= 4
