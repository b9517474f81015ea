"""Shuts a training process in before anything of the app, and before numpy, is loaded: ``confine.py CHILD ARGUMENTS``.

What is left to it (docs/adr/0011): to read the interpreter, the system's libraries and its own entries in /proc; to
read and write its working folder; no sockets of its own making, no capabilities, no signals to others, no way out of
its process group, which the agent kills as a whole. Linux does it
(Landlock and seccomp) for any user. :func:`weaknesses` says what this machine's kernel leaves open.

This file is run by path, under an interpreter without befl: it imports the standard library only. It runs first because
Landlock and seccomp bind a thread and its children: numpy starts threads when it is imported.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import runpy
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

# linux/landlock.h: system calls, the same on every architecture, and rights
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_TCP_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_TCP_SINCE, _SCOPES_SINCE = 4, 6

# linux/seccomp.h, linux/filter.h; architecture: its number in linux/audit.h, that of prlimit64, and those of socket,
# setpgid, setsid, add_key, request_key, keyctl, shmget, semget, msgget and mq_open: Landlock knows none of them
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 302, (41, 109, 112, 248, 249, 250, 29, 64, 68, 240)),
    "aarch64": (0xC00000B7, 261, (198, 154, 157, 217, 218, 219, 194, 190, 186, 180)),
}
_IO_URING_SETUP = 425
_OTHER_CALLS = 0x40000000  # x32, a second way to make every call on x86_64
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_CAPABILITIES_VERSION = 0x20080522

_LIBC = ctypes.CDLL(None, use_errno=True)


def readable() -> list[str]:
    """Return what an app may read: nothing that is anybody's secret has a place below these."""
    interpreter = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    system = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/nix/store")
    linker = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
    machine = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices", "/dev/urandom", "/dev/random")
    return [*sorted(interpreter), str(Path(__file__).parent.absolute()), *system, *linker, *machine]


def weaknesses(private: Iterable[Path] = ()) -> list[str]:
    """Say in words what this machine leaves open to an app.

    Parameters
    ----------
    private : iterable of Path
        Files and folders that no app may read.
    """
    found = []
    version = _landlock_version()
    if version == 0:
        found.append("the kernel has no Landlock: an app can read every file that its user can read")
    elif version < _SCOPES_SINCE:
        found.append("the kernel's Landlock is older than Linux 6.12: an app can send signals to its user's processes")
    if not _has_seccomp():
        found.append("there is no seccomp filter for this machine: an app can open connections")
    roots = [Path(path).resolve() for path in readable() if Path(path).is_dir()]
    for path in private:
        at = path.resolve()
        found += [f"{path} lies in {root}, which an app can read" for root in roots if at.is_relative_to(root)][:1]
    return found


def confine(folder: str) -> None:
    """Confine the calling thread and all that it starts, for good.

    Parameters
    ----------
    folder : str
        Where it may write.

    Raises
    ------
    OSError
        When the kernel has what it takes and refuses.
    """
    _checked(_LIBC.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    version = _landlock_version()
    if version:
        _landlock(version, folder)
    if _has_seccomp():
        _refuse_calls(*_ARCHITECTURES[platform.machine()])
    header = struct.pack("<Ii", _CAPABILITIES_VERSION, 0)
    _checked(_LIBC.capset(header, bytes(24)), "capset")


def _landlock_version() -> int:
    version: int = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, version)


def _has_seccomp() -> bool:
    return platform.machine() in _ARCHITECTURES and Path("/proc/sys/kernel/seccomp").exists()


def _landlock(version: int, folder: str) -> None:
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack(
        "<QQQ",
        rights,
        _TCP_BIND_AND_CONNECT if version >= _TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0,
    )[: 8 if version < _TCP_SINCE else 16 if version < _SCOPES_SINCE else 24]
    ruleset = _checked(
        _LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)), "Landlock"
    )
    graphics = [str(path) for pattern in ("nvidia*", "dri", "kfd") for path in Path("/dev").glob(pattern)]
    drivers = ["/proc/driver", "/proc/devices", "/sys"] if graphics else []
    allowed = dict.fromkeys([*readable(), *drivers], _READ) | dict.fromkeys([folder, "/dev/null", *graphics], rights)
    for path, access in allowed.items():
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not on this machine, or not for this user
        kind = rights if stat.S_ISDIR(os.fstat(descriptor).st_mode) else rights & _OF_FILES
        rule = struct.pack("<Qi", access & kind, descriptor)
        _checked(
            _LIBC.syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0)), path
        )
        os.close(descriptor)
    _checked(_LIBC.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)), "Landlock")
    os.close(ruleset)


def _refuse_calls(architecture: int, limits: int, calls: tuple[int, ...]) -> None:
    """Refuse calls, and the one that can make a socket beside socket(2); pairs within the process are no way out.

    Limits may be set for the calling process (pid 0) only: a limit of no processor time ends any process of the user.
    """
    refused = (*calls, _IO_URING_SETUP)
    count = len(refused)
    steps = [
        (_LOAD, 0, 0, 4),  # the architecture
        (_EQUAL, 0, count + 6, architecture),
        (_LOAD, 0, 0, 0),  # the call's number
        (_AT_LEAST, count + 4, 0, _OTHER_CALLS),
        (_EQUAL, 0, 2, limits),
        (_LOAD, 0, 0, 16),  # its first argument: whose limits
        (_EQUAL, count, count + 1, 0),
        *((_EQUAL, count - place, 0, call) for place, call in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    described = struct.pack("@HP", len(steps), ctypes.addressof(program))
    _checked(_LIBC.prctl(_SET_SECCOMP, _FILTER, described, 0, 0), "seccomp")


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    confine(".")
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
