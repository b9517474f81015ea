"""What holds for a command, and where each value comes from; files are named, what stands in keys never."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from befl.agent.config import load
from befl.agent.store import read_whole
from befl.client.connection import find
from befl.gateway import Profile
from befl.rules.errors import BeflError
from befl.rules.reader import parse_toml


@dataclass(frozen=True)
class Setting:
    """One value that holds.

    Parameters
    ----------
    name : str
        What it is; of an agent's configuration the key, as ``agent.policy.apply``.
    value : text, number, truth value, list or None
        The value; None when there is none.
    origin : str
        Where it comes from: an option, an environment variable, a file, or ``default``.
    problem : str
        Why it cannot be used; empty when it can, or nobody has looked.
    """

    name: str
    value: Any
    origin: str
    problem: str = ""


def connection_settings(
    *,
    network: Path | None,
    identity: str | None,
    profile: Path | None,
    user: Path | None,
    origins: Mapping[str, str],
) -> Iterator[Setting]:
    """Say which peer a command would ask, and as whom, when it is called with this.

    Parameters
    ----------
    network, identity, profile, user : path or str, optional
        As of :func:`befl.client.connect`.
    origins : mapping of str to str
        Where each of those four comes from.
    """
    yield Setting("network", _text(network), origins["network"])
    yield Setting("as", identity, origins["identity"])
    if profile is not None and user is not None:
        found = profile, user
        yield Setting("profile", str(profile), origins["profile"])
        yield Setting("user", str(user), origins["user"], "" if user.is_dir() else "there is no such folder")
    else:
        try:
            if network is None:
                raise BeflError("BEFL-C-009", "neither a network folder nor a profile with a user folder is given")
            found = find(network, identity, "agent")
        except BeflError as error:
            yield Setting("profile", None, "network and as", f"{error.code}: {error.message}")
            return
        named = "as" if "/" in (identity or "") else "default; issuer or admin where a command needs one"
        yield Setting("profile", str(found[0]), "network and as")
        yield Setting("user", str(found[1]), f"network and {named}")
    try:
        read = Profile.load(found[0])
    except BeflError as error:
        yield Setting("peer", None, str(found[0]), f"{error.code}: {error.message}")
        return
    yield Setting("institution", read.msp_id, str(found[0]))
    yield Setting("peer", read.peers[0].address, str(found[0]))
    yield Setting("channel", "befl", "default")
    yield Setting("chaincode", "befl", "default")


def agent_settings(path: str | Path) -> Iterator[Setting]:
    """Say what holds for the agent of an AGENT.toml, key by key.

    Raises
    ------
    BeflError
        ``BEFL-C-002`` to ``BEFL-C-006`` when the file is none.
    """
    file = Path(path)
    config, written = load(file), parse_toml(read_whole(file), file.name)
    yield from _keys(config, written, "agent", str(file))


def _keys(table: Any, written: Mapping[str, Any], prefix: str, file: str) -> Iterator[Setting]:
    for field in dataclasses.fields(table):
        if "parse" not in field.metadata:
            continue
        value, name = getattr(table, field.name), f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _keys(value, written.get(field.name, {}), name, file)
        elif isinstance(value, Mapping):
            for key, below in value.items():
                yield from _keys(below, written[field.name][key], f"{name}.{key}", file)
        else:
            yield Setting(name, value, file if field.name in written else "default")


def _text(value: Path | None) -> str | None:
    return None if value is None else str(value)
