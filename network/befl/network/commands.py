"""Running Fabric's commands, and asking its processes over HTTPS: every failure becomes a coded error."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from befl.rules.errors import BeflError

SERVICE_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What every process of a network gets: the same from whichever shell `up` is called, or it would be started anew."""

_KEPT: Final = ("PATH", "HOME", "TMPDIR", "LANG")


def run(argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120, what: str) -> str:
    """Run a command and return its standard output.

    The environment is the given one and nothing of the caller's but PATH and the like, so that a user's own FABRIC_*
    and CORE_* settings change nothing.

    Parameters
    ----------
    argv : sequence of str
        The command; never a secret, because everybody on the machine can read it.
    env : mapping, optional
        Its environment.
    timeout : float
        Seconds.
    what : str
        What it does, for messages.

    Raises
    ------
    BeflError
        ``BEFL-N-007`` when it fails, does not end in time or cannot be started.
    """
    try:
        done = subprocess.run(
            list(argv),
            env={**clean_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BeflError("BEFL-N-007", f"{what}: {Path(argv[0]).name} did not end within {timeout:g} s") from None
    except OSError as error:
        raise BeflError("BEFL-N-007", f"{what}: {Path(argv[0]).name} cannot be started: {error}") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        shown = [line for line in lines if line.startswith("Error")] or lines[-3:]
        raise BeflError("BEFL-N-007", f"{what}: {' | '.join(shown) or f'status {done.returncode}'}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return what of this process's environment a child may have."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def python_environment() -> dict[str, str]:
    """Return what a child that is Python needs to find this befl, when it was found by PYTHONPATH."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths)} if paths else {}


def tls_context(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Make a TLS client that trusts one CA and may show a certificate."""
    context = ssl.create_default_context(cafile=str(ca))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def get(host: str, port: int, path: str, context: ssl.SSLContext, timeout: float = 2) -> tuple[int, str]:
    """Ask a process over HTTPS; return status and body, or status 0 when it does not answer.

    Parameters
    ----------
    host, port, path
        The endpoint.
    context : ssl.SSLContext
        See :func:`tls_context`.
    timeout : float
        Seconds for each step.
    """
    status, _, body = ask(host, port, path, context, timeout)
    return status, body


def ask(
    host: str, port: int, path: str, context: ssl.SSLContext, timeout: float = 2
) -> tuple[int, Mapping[str, str], str]:
    """Ask as :func:`get` does; return status, headers and body."""
    connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    try:
        connection.sock = _connected(host, port, context, timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers.items()), answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, {}, ""
    finally:
        connection.close()


def post(host: str, port: int, path: str, context: ssl.SSLContext, body: str, user: str, *, what: str) -> str:
    """Send JSON to a process over HTTPS as ``user`` (``name:password``) and return its answer.

    Raises
    ------
    BeflError
        ``BEFL-N-007`` when it refuses or does not answer.
    """
    connection = http.client.HTTPSConnection(host, port, timeout=30, context=context)
    try:
        connection.sock = _connected(host, port, context, 30)
        secret = base64.b64encode(user.encode()).decode()
        connection.request("POST", path, body, {"Authorization": f"Basic {secret}"})
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise BeflError("BEFL-N-007", f"{what}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status // 100 != 2:  # HTTP's success
        raise BeflError("BEFL-N-007", f"{what}: {' '.join(said.split()) or answer.status}")
    return said


def _connected(host: str, port: int, context: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """Connect with TLS; wrapped before it connects, for Python 3.11 loses one that is reset between the two."""
    plain = socket.socket()
    plain.settimeout(timeout)
    wrapped = context.wrap_socket(plain, server_hostname=host)
    try:
        wrapped.connect((host, port))
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def listens(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def metric(text: str, name: str, labels: str = "") -> float | None:
    """Return the value of a metric in Prometheus text, of the first series whose labels contain ``labels``."""
    for line in text.splitlines():
        if line.startswith(name) and line[len(name) : len(name) + 1] in ("{", " ") and labels in line:
            return float(line.rpartition(" ")[2])
    return None
