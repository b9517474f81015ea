"""What an app cannot reach, tried by apps in the real child: keys, the agent's state and environment, the ledger.

What the kernel of this machine cannot refuse, :func:`befl.training.confine.weaknesses` says in words: there these tests
hold that the app can do it, so that no sentence is missing and none is too much.
"""

from __future__ import annotations

import grp
import os
import platform
import pwd
import re
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from befl.rules.errors import BeflError
from befl.training import AppCode, Problem, Trainer, confine

APP = """
import os, socket, subprocess, sys
import numpy as np
def init(settings, problem, seed):
    return {"w": np.zeros(1, np.float32)}
def train(model, x, y, settings, problem, seed):
    TRY
    return model
def predict(model, x, settings, problem):
    return np.full((len(x), 2), 0.5, np.float32)
"""

PROBLEM = Problem((1,), 2)

NO_LANDLOCK = "the kernel has no Landlock: an app can read every file that its user can read"
NO_SCOPES = "the kernel's Landlock is older than Linux 6.12: an app can send signals to its user's processes"
NO_SECCOMP = "there is no seccomp filter for this machine: an app can open connections"
OPEN = confine.weaknesses()
"""What this machine leaves open."""
DONE = "ValueError: it was done"


def attempt(line: str, **options) -> str:
    """Run a line in a child and return what the agent is told."""
    code = AppCode.of("curious", APP.replace("TRY", line).encode())
    with Trainer(code, {}, PROBLEM, timeout=60, **options) as trainer, pytest.raises(BeflError) as caught:
        trainer.train(*trainer.init(0), np.zeros((1, 1), np.float32), np.zeros(1, np.int64), 0)
    assert caught.value.code == "BEFL-M-102"
    return caught.value.message


def done(line: str) -> str:
    """Run a line that nothing refuses."""
    return attempt(f"{line}\n    raise ValueError('it was done')")


@pytest.fixture
def victim():
    """A process of the same user, beside the agent's."""
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(300)"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_only_what_is_known_is_left_open():
    assert set(OPEN) <= {NO_LANDLOCK, NO_SCOPES, NO_SECCOMP}
    assert len({NO_LANDLOCK, NO_SCOPES} & set(OPEN)) < 2
    if (*map(int, re.findall(r"\d+", platform.release())[:2]),) >= (6, 12) and _has_landlock():
        assert not {NO_LANDLOCK, NO_SCOPES} & set(OPEN)


def _has_landlock() -> bool:
    """Whether the running kernel was told to use Landlock, where it says so."""
    try:
        return "landlock" in Path("/sys/kernel/security/lsm").read_text().split(",")
    except OSError:
        return False


@pytest.fixture
def agent(tmp_path):
    """An agent's folder: a key, a state folder, rows of another institution."""
    (tmp_path / "state" / "tasks").mkdir(parents=True, mode=0o700)
    for name in ("key_sk", "state/approvals.json", "rows.csv"):
        (tmp_path / name).write_text("secret")
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("name", ["key_sk", "state/approvals.json", "rows.csv"])
@pytest.mark.parametrize("how", ["open({!r}).read()", "open('/proc/self/root' + {!r}).read()"])
def test_an_app_cannot_read_the_agents_files(agent, name, how):
    line = how.format(str(agent / name))
    if NO_LANDLOCK in OPEN:
        assert DONE in done(f"assert {line} == 'secret'")
        return
    assert "PermissionError: [Errno 13]" in attempt(line)


@pytest.mark.parametrize(
    "line",
    [
        "os.listdir({folder!r})",
        "os.listdir({folder!r} + '/state')",
        "os.listdir('/')",
        "open({folder!r} + '/state/approvals.json', 'w')",
        "open({folder!r} + '/new', 'w')",
        "os.unlink({folder!r} + '/key_sk')",
        "os.rename({folder!r} + '/key_sk', 'key_sk')",
        "os.link({folder!r} + '/key_sk', 'key_sk')",
        "os.symlink({folder!r} + '/key_sk', 'key_sk'); open('key_sk').read()",
        "open('/etc/passwd').read()",
        "open('/usr/mine', 'w')",
    ],
)
def test_nor_look_around_nor_change_anything(agent, line):
    if NO_LANDLOCK in OPEN:
        if "{folder!r} + '/" in line and "link(" not in line and "rename(" not in line:  # those may cross file systems
            assert DONE in done(line.format(folder=str(agent)))
        return
    assert "Error: [Errno 1" in attempt(line.format(folder=str(agent)))  # 13, or 18 of a link across
    assert (agent / "key_sk").read_text() == (agent / "state/approvals.json").read_text() == "secret"


@pytest.mark.parametrize("what", ["environ", "mem", "maps", "fd", "cwd/state", "root/etc/passwd"])
def test_nor_see_into_the_agents_process(what, monkeypatch):
    if NO_LANDLOCK in OPEN:  # what is refused then depends on the user and on Yama
        return
    monkeypatch.setenv("BEFL_SECRET", "hunter2")
    told = attempt(f"print(os.listdir('/proc/{os.getpid()}')); open('/proc/{os.getpid()}/{what}', 'rb').read(10)")
    assert "PermissionError: [Errno 13]" in told


@pytest.mark.parametrize(
    ("line", "status"),
    [("os.kill({pid}, 0)", None), ("os.kill({pid}, 9)", -9), ("os.killpg(os.getpgid({pid}), 15)", -15)],
)
def test_nor_send_signals_to_a_process_of_its_user(victim, line, status):
    line = line.format(pid=victim.pid)
    if {NO_LANDLOCK, NO_SCOPES} & set(OPEN):
        assert DONE in done(line)
        if status is not None:
            assert victim.wait(20) == status
        return
    assert "PermissionError: [Errno 1]" in attempt(line)
    assert victim.poll() is None


@pytest.mark.parametrize(
    "line",
    [
        "socket.create_connection(('127.0.0.1', {port}))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'rows', ('127.0.0.1', {port}))",
        "socket.socket(socket.AF_UNIX).connect('docker.sock')",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], check=True)",
    ],
)
def test_nor_reach_the_ledger_or_anybody(line):
    with socket.create_server(("127.0.0.1", 0)) as peer:
        line = line.format(port=peer.getsockname()[1])
        if NO_SECCOMP in OPEN:
            assert "AF_INET, socket.SOCK_DGRAM" not in line or DONE in done(line)
            return
        told = attempt(line)
    assert "PermissionError: [Errno 13]" in told or "returned non-zero exit status 1" in told


@pytest.mark.parametrize("line", ["os.setpgid(0, 0)", "subprocess.run(['id'], start_new_session=True)"])
def test_nor_leave_the_process_group_that_is_killed_as_a_whole(line):
    if NO_SECCOMP in OPEN:
        assert "[Errno 13]" not in done(line)  # the first of a session cannot leave it all the same
        return
    assert "PermissionError: [Errno 13]" in attempt(line)


def test_nor_undo_any_of_it():
    assert "PermissionError" in attempt("os.setuid(12345)")
    assert "PermissionError" in attempt("os.chroot('/')")
    status = "open('/proc/self/status').read()"
    told = attempt(f"raise ValueError([line for line in {status}.splitlines() if line[:6] in ('CapEff', 'NoNewP')])")
    assert r"CapEff:\t0000000000000000" in told
    assert r"NoNewPrivs:\t1" in told


def test_its_own_folder_is_its_to_use():
    line = "os.mkdir('a'); open('a/b', 'w').write('x'); os.rename('a/b', 'a/c'); raise ValueError(os.listdir('a'))"
    assert "ValueError: ['c']" in attempt(line)


def test_torch_trains_all_the_same():
    line = """import torch
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    loss = net(torch.ones(8, 1, 8, 8)).pow(2).mean()
    loss.backward()
    torch.optim.Adam(net.parameters()).step()
    raise ValueError(f"trained {loss.item() > 0}")"""
    assert "ValueError: trained True" in attempt(line)


def test_without_confinement_it_is_no_prison(agent):
    """What the operator may choose, and what it means."""
    told = attempt(f"raise ValueError(open({str(agent / 'key_sk')!r}).read())", confined=False)
    assert "ValueError: secret" in told


# --- as another user -------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder():
    """A folder that every user of the machine reaches."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_as_another_user(agent, open_folder):
    """What stands in for the interpreter says who it is and tries: tests may run where nobody else reaches Python."""
    python = open_folder / "python"
    looks = f'#!/bin/sh\nexec >&2\nid -un\nid -Gn\npwd\ncat "{agent}/key_sk"\necho x > mine && cat mine\nexit 3\n'
    python.write_text(looks)
    python.chmod(0o755)
    lines: list[str] = []
    options = {"python": str(python), "user": "nobody", "log": lines.append}
    code = AppCode.of("quiet", APP.encode())
    if os.getuid() != 0:  # only root becomes somebody else
        with pytest.raises(BeflError, match=r"BEFL-M-101: .* cannot run as nobody: Operation not permitted"):
            Trainer(code, {}, PROBLEM, **options)
        return
    with (
        Trainer(code, {}, PROBLEM, **options) as trainer,
        pytest.raises(BeflError, match=r"BEFL-M-105: .* ended with status 3"),
    ):
        trainer.check()
    user, groups, folder, denied, own = lines
    assert (user, own) == ("nobody", "x")
    assert groups == grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    assert "befl-train-" in folder
    assert denied.endswith("Permission denied")
    assert not Path(folder).exists()


def test_a_user_that_does_not_exist():
    with pytest.raises(BeflError, match=r"BEFL-M-101: .* cannot run as nemo: there is no such user"):
        Trainer(AppCode.of("quiet", b""), {}, PROBLEM, user="nemo")


# --- what a machine leaves open --------------------------------------------------------------------------------------


def test_what_this_machine_leaves_open_is_said(tmp_path):
    assert confine.weaknesses([tmp_path, tmp_path / "state"]) == OPEN
    assert confine.weaknesses([Path("/usr/local/befl/state")]) == [
        *OPEN,
        "/usr/local/befl/state lies in /usr, which an app can read",
    ]


@pytest.mark.parametrize(
    ("version", "machine", "said"),
    [
        (0, "riscv64", [NO_LANDLOCK, NO_SECCOMP]),
        (3, "riscv64", [NO_SCOPES, NO_SECCOMP]),
        (6, "riscv64", [NO_SECCOMP]),
        (1, "x86_64", [NO_SCOPES]),
        (5, "x86_64", [NO_SCOPES]),
        (6, "x86_64", []),
        (7, "aarch64", []),
    ],
)
def test_what_another_machine_leaves_open_is_said(tmp_path, monkeypatch, version, machine, said):
    monkeypatch.setattr(confine, "_landlock_version", lambda: version)
    monkeypatch.setattr(confine.platform, "machine", lambda: machine)
    if not Path("/proc/sys/kernel/seccomp").exists():
        said = [*said, NO_SECCOMP] if NO_SECCOMP not in said else said
    assert confine.weaknesses([tmp_path]) == said


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_an_older_kernel_is_asked_for_what_it_has(version, agent, tmp_path):
    """A ruleset with a right that the kernel does not know would be refused as a whole."""
    program = (
        "import importlib.util, os, sys\n"
        f"spec = importlib.util.spec_from_file_location('confine', {confine.__file__!r})\n"
        "confine = importlib.util.module_from_spec(spec); spec.loader.exec_module(confine)\n"
        f"confine._landlock_version = lambda: {version}\n"
        "os.mkdir('own'); confine.confine('own')\n"
        "open('own/x', 'w').write('x')\n"
        "try: open('key_sk')\n"
        "except PermissionError: sys.exit(7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=agent,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if version <= confine._landlock_version():
        assert ended.returncode == 7, ended.stderr
    else:  # it has less than that
        assert "Landlock: " in ended.stderr


# --- other processes of the user, and what outlives a process ---------------------------------------------------------


@pytest.fixture
def other():
    """Another process of the same user, as the institution's peer may be one."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("limit", ["CPU", "NOFILE", "AS"])
def test_an_app_cannot_set_limits_of_other_processes(other, limit):
    """A limit of one second of processor time would end whatever works."""
    kind = getattr(resource, f"RLIMIT_{limit}")
    before = resource.prlimit(other.pid, kind)
    told = attempt(f"import resource; resource.prlimit({other.pid}, resource.RLIMIT_{limit}, (20, 20))")
    assert "PermissionError: [Errno 13]" in told
    assert resource.prlimit(other.pid, kind) == before


def test_nor_those_of_the_agent_and_may_set_its_own():
    assert "PermissionError: [Errno 13]" in attempt("import resource; resource.prlimit(os.getppid(), 7)")
    told = attempt("import resource; resource.setrlimit(7, (50, 50)); raise ValueError(resource.getrlimit(7))")
    assert "ValueError: (50, 50)" in told


CALLED = """import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    made = {call}
    if made < 0:
        raise OSError(ctypes.get_errno(), "refused")
    {after}"""
NUMBERS = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("libc.syscall({0}, b'user', b'befl-test', b'row', ctypes.c_size_t(3), -2)", ""),  # of the process alone
        ("libc.syscall({1}, b'user', b'befl-test', None, 0)", ""),
        ("libc.syscall({2}, 0, -4, 1)", ""),  # the user's keyring
        ("libc.shmget(0x5EC2E7, 4096, 0o1600)", "libc.shmctl(made, 0, None)"),
        ("libc.semget(0x5EC2E7, 1, 0o1600)", "libc.semctl(made, 0, 0)"),
        ("libc.msgget(0x5EC2E7, 0o1600)", "libc.msgctl(made, 0, None)"),
        ("libc.mq_open(b'/befl-test', os.O_CREAT | os.O_RDWR, 0o600, None)", "libc.mq_unlink(b'/befl-test')"),
    ],
)
def test_nor_read_keyrings_nor_leave_rows_for_the_next_app(call, after):
    """Keys of the user and the shared memory of System V are no files: Landlock does not know them."""
    told = attempt(CALLED.format(call=call.format(*NUMBERS[platform.machine()]), after=after or "pass"))
    assert "PermissionError: [Errno 13] refused" in told
