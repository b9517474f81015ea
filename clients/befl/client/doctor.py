"""What is wrong with an agent's configuration, identity, folders and data, and what to do.

Facts are gathered first, then judged by one pure function a check. ``befl.network.doctor`` has the checks of an
installation and a network.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509

from befl.agent.config import AgentConfig, Policy, load
from befl.agent.ledger import Ledger
from befl.agent.start import weaknesses_of
from befl.agent.store import Store
from befl.client.tasks import read_spec
from befl.gateway import Identity, Profile, connect
from befl.operations.findings import Finding
from befl.operations.server import check_address
from befl.rules.errors import BeflError
from befl.training import data as rows

ATTRIBUTES: Final = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
WARN_DAYS: Final = 30
ROLE: Final = "trainer"
DISK_PROBLEM: Final = 1_000_000_000
_GPU_SECONDS: Final = 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an identity's certificate says.

    Parameters
    ----------
    begins, ends : datetime
        From when until when it is valid (UTC).
    roles : tuple of str
        Its values of ``befl.role``.
    """

    begins: dt.datetime
    ends: dt.datetime
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """Facts about one agent; a field is an error where something could not be had, None where it was not reached.

    Parameters
    ----------
    file : str
        The AGENT.toml.
    config : BeflError or None
        Why the configuration cannot be read; None when it can.
    profile : BeflError or None
        The same of the connection profile.
    identity : Credentials, BeflError or None
        The identity's certificate.
    ledger : int, BeflError or None
        How many tasks the institution's peer lists.
    state : str
        What keeps the agent from writing its state folder; empty when nothing does.
    approvals : int, BeflError or None
        How many apps the operator has approved.
    policy : Policy or None
        What the operator agrees to.
    confinement : sequence of str
        What an app could reach that it should not.
    python : str
        A Python for training that is configured and is not there; else empty.
    gpu : bool
        False when a GPU is configured and torch of that Python sees none.
    metrics : BeflError or None
        What is wrong with the address for metrics.
    data : mapping
        What keeps each alias's file from being read; empty text when nothing does.
    task : str
        The task whose columns were held against a file; empty when none was named.
    columns : int, BeflError or None
        Rows of the file that fits the task.
    free : int
        Bytes free at the state folder.
    now : datetime
        When.
    """

    file: str
    now: dt.datetime
    config: BeflError | None = None
    profile: BeflError | None = None
    identity: Credentials | BeflError | None = None
    ledger: int | BeflError | None = None
    state: str = ""
    approvals: int | BeflError | None = None
    policy: Policy | None = None
    confinement: Sequence[str] = ()
    python: str = ""
    gpu: bool = True
    metrics: BeflError | None = None
    data: Mapping[str, str] | None = None
    task: str = ""
    columns: int | BeflError | None = None
    free: int | None = None


def check_config(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the configuration can be read."""
    yield _judged("configuration", facts.config, f"{facts.file} can be read")


def check_profile(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the connection profile can be read."""
    if facts.config is None:
        yield _judged("connection profile", facts.profile, "can be read")


def check_identity(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the identity can be used, is valid, and may train."""
    found = facts.identity
    if isinstance(found, BeflError):
        yield _judged("identity", found, "")
    if not isinstance(found, Credentials):
        return
    renew = "befl identity renew; the CA renews expired certificates too."
    if found.ends <= facts.now:
        yield _problem("identity", f"the certificate has expired on {found.ends:%Y-%m-%d %H:%M}", renew)
    elif found.begins > facts.now:
        said = f"the certificate is valid only from {found.begins:%Y-%m-%d %H:%M}"
        yield _problem("identity", said, "Check the clock of this machine and of the CA's.")
    elif (days := (found.ends - facts.now).days) < WARN_DAYS:
        yield Finding("agent", "identity", "warning", f"the certificate expires in {days} days", renew)
    else:
        yield _ok("identity", f"valid for {days} days")
    if ROLE in found.roles:
        yield _ok("role", f"befl.role is {'|'.join(found.roles)}")
    else:
        had = "|".join(found.roles) or "missing"
        advice = f"Have the institution's CA issue one: `befl identity enroll`, with the attribute befl.role = {ROLE}."
        yield _problem("role", f"the certificate's befl.role is {had}; an agent needs {ROLE}", advice)


def check_ledger(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the institution's peer answers, and that it and we agree what time it is."""
    if facts.ledger is None:
        return
    if isinstance(facts.ledger, BeflError) and (
        facts.ledger.code == "BEFL-G-011" or "timestamp" in facts.ledger.message
    ):
        advice = "Set the clocks of this machine and of the peer's by NTP."
        yield _problem("clock", f"this machine's clock is off: {facts.ledger.message}", advice)
        return
    yield _judged("ledger", facts.ledger, f"the peer answers; there are {facts.ledger} tasks")


def check_state(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the agent can write its records."""
    if facts.free is None:
        return
    if facts.state:
        advice = "The agent's user must own the folder; or name another one in AGENT.toml (state)."
        yield _problem("state folder", f"cannot be written: {facts.state}", advice)
    elif facts.free < DISK_PROBLEM:
        yield _problem("state folder", f"disk full or nearly: {facts.free / 1e9:.1f} GB free", "Free some.")
    else:
        yield _ok("state folder", f"can be written, {facts.free / 1e9:.1f} GB free")


def check_approvals(facts: AgentFacts) -> Iterable[Finding]:
    """Check that an app is approved and a privacy scheme accepted: else the agent takes no task."""
    if isinstance(facts.approvals, BeflError):
        yield _judged("approvals", facts.approvals, "")
    elif facts.approvals == 0:
        advice = "Read the code (befl app show NAME), then: befl app approve NAME --config AGENT.toml."
        yield Finding("agent", "approvals", "warning", "no app is approved: the agent takes no task", advice)
    elif facts.approvals is not None:
        yield _ok("approvals", f"{facts.approvals} apps are approved")
    if facts.policy is None:
        return
    if facts.policy.schemes:
        yield _ok("policy", f"accepts the privacy schemes {', '.join(facts.policy.schemes)}")
    else:
        advice = 'Name those that you accept: [policy] schemes = ["..."].'
        yield Finding("agent", "policy", "warning", "no privacy scheme is accepted: the agent takes no task", advice)


def check_training(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the Python which trains is there, and that an app is kept from what is none of its business."""
    if facts.python:
        advice = "Name a Python that has torch in AGENT.toml ([training] python), or leave it out."
        yield _problem("training", f"{facts.python} is not there or may not be run", advice)
    elif not facts.gpu:
        advice = 'See that this Python has a torch for the GPU; or let it be: [training] device = "auto" or "cpu".'
        yield _problem("training", "a GPU is asked for ([training] device), and torch sees none", advice)
    for weakness in facts.confinement:
        advice = "See docs/explanation/trust; or let apps run as another user: [training] user."
        yield Finding("agent", "training", "warning", weakness, advice)


def check_metrics(facts: AgentFacts) -> Iterable[Finding]:
    """Check that the address for metrics shows nothing to strangers."""
    if facts.metrics is not None:
        yield _judged("metrics", facts.metrics, "")


def check_data(facts: AgentFacts) -> Iterable[Finding]:
    """Check that each alias has a file that can be read, and that a task's columns fit."""
    if facts.data is None:
        return
    for alias, wrong in facts.data.items():
        if wrong:
            advice = f"Name a CSV file that the agent's user can read: [data.{alias}] path."
            yield Finding("data", f"data.{alias}", "problem", wrong, advice)
        else:
            yield Finding("data", f"data.{alias}", "ok", "the file can be read")
    if not facts.data:
        advice = "Map an alias to a file: [data.ALIAS] path = ..."
        yield Finding("data", "data", "warning", "no data is configured: the agent takes no task", advice)
    if isinstance(facts.columns, BeflError):
        error = facts.columns
        advice = error.hint or f"befl explain {error.code}"
        yield Finding("data", "columns", "problem", f"{facts.task}: {error.code}: {error.message}", advice)
    elif facts.columns is not None:
        yield Finding("data", "columns", "ok", f"{facts.columns} rows fit {facts.task}")


AGENT: Final[tuple[Callable[[AgentFacts], Iterable[Finding]], ...]] = (
    check_config,
    check_profile,
    check_identity,
    check_ledger,
    check_state,
    check_approvals,
    check_training,
    check_metrics,
    check_data,
)


def examine_agent(config: str | Path, task: str | Path | None = None) -> list[Finding]:
    """Look at an agent.

    Parameters
    ----------
    config : path
        Its AGENT.toml.
    task : path or str, optional
        A TASK.toml, or the id of a published task, whose columns the data file is held against.
    """
    facts = gather(Path(config), task, dt.datetime.now(dt.UTC))
    return [finding for check in AGENT for finding in check(facts)]


def gather(path: Path, task: str | Path | None, now: dt.datetime) -> AgentFacts:
    """Gather the facts about an agent; nothing is changed."""
    config = _try(lambda: load(path))
    if isinstance(config, BeflError):
        return AgentFacts(str(path), now, config=config)
    profile = _try(lambda: Profile.load(config.profile))
    identity: Credentials | BeflError | None = None
    listed: int | BeflError | None = None
    if not isinstance(profile, BeflError):
        msp_id = profile.msp_id
        identity = _try(lambda: credentials(Identity.load(config.user_dir / "msp", msp_id).certificate))
        if not isinstance(identity, BeflError):
            listed = _try(lambda: _tasks(config, profile))
    wrong, free = _writable(config.state_dir)
    approvals = _try(lambda: len(Store(config.state_dir).approvals())) if config.state_dir.is_dir() else 0
    python = config.python
    return AgentFacts(
        str(path),
        now,
        profile=profile if isinstance(profile, BeflError) else None,
        identity=identity,
        ledger=listed,
        state=wrong,
        approvals=approvals,
        policy=config.policy,
        confinement=weaknesses_of(config),
        python=python if python and shutil.which(python) is None else "",
        gpu=config.training.device != "cuda" or _sees_gpu(python or sys.executable),
        metrics=_metrics(config),
        data={alias: _readable(config.data_path(alias)) for alias in config.data},
        task=str(task or ""),
        columns=_try(lambda: _columns(config, profile, str(task))) if task else None,
        free=free,
    )


def credentials(pem: bytes) -> Credentials:
    """Read validity and roles from an enrolment certificate; raises ``BEFL-G-024`` when it is none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise BeflError("BEFL-G-024", f"the identity's certificate cannot be read: {error}") from None
    roles: tuple[str, ...] = ()
    try:
        extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES).value
        if isinstance(extension, x509.UnrecognizedExtension):
            said = str(json.loads(extension.value)["attrs"].get("befl.role", ""))
            roles = tuple(filter(None, said.split("|")))
    except (x509.ExtensionNotFound, ValueError, KeyError, TypeError, AttributeError):
        roles = ()
    return Credentials(certificate.not_valid_before_utc, certificate.not_valid_after_utc, roles)


def _tasks(config: AgentConfig, profile: Profile) -> int:
    with connect(profile, config.user_dir) as gateway:
        contract = gateway.network(config.network.channel).contract(config.network.chaincode)
        return sum(1 for _ in Ledger(contract).tasks())


def _columns(config: AgentConfig, profile: Profile | BeflError, task: str) -> int:
    if not re.fullmatch("[0-9a-f]{16}", task) or Path(task).exists():  # else it is the id of a task on the ledger
        spec = read_spec(task)
    elif isinstance(profile, BeflError):
        raise profile
    else:
        with connect(profile, config.user_dir) as gateway:
            contract = gateway.network(config.network.channel).contract(config.network.chaincode)
            spec = Ledger(contract).view(task).spec
    return len(rows.load(config.data_path(spec.data.alias), spec.data).x)


def _writable(folder: Path) -> tuple[str, int]:
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    wrong = "" if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else str(place)
    return wrong, shutil.disk_usage(place).free


def _readable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _sees_gpu(python: str) -> bool:
    program = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    try:
        done = subprocess.run(
            [python, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, timeout=_GPU_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _metrics(config: AgentConfig) -> BeflError | None:
    if not config.metrics.listen:
        return None
    found = _try(lambda: check_address(config.metrics.listen, tls=config.metrics_tls() is not None))
    return found if isinstance(found, BeflError) else None


def _try(action: Callable[[], T]) -> T | BeflError:
    try:
        return action()
    except BeflError as error:
        return error


def _judged(check: str, error: object, good: str) -> Finding:
    if isinstance(error, BeflError):
        return _problem(check, f"{error.code}: {error.message}", error.hint or f"befl explain {error.code}")
    return _ok(check, good)


def _ok(check: str, found: str) -> Finding:
    return Finding("agent", check, "ok", found)


def _problem(check: str, found: str, advice: str) -> Finding:
    return Finding("agent", check, "problem", found, advice)
