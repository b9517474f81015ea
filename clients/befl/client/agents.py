"""How the agent of this machine is: what it wrote down, and what its health says; no ledger is needed."""

from __future__ import annotations

import dataclasses
import http.client
import json
import ssl
from pathlib import Path
from typing import Final

from befl.agent.config import AgentConfig, load
from befl.agent.status import AgentStatus, Failure, TaskStatus, Waiting, read, waiting
from befl.rules.errors import BeflError

__all__ = ["AgentStatus", "Failure", "TaskStatus", "Waiting", "agent_status", "waiting"]

_PATIENCE_S: Final = 5.0
_OK: Final = 200


def agent_status(config: str | Path) -> AgentStatus:
    """Say how the agent of a configuration is.

    Parameters
    ----------
    config : path
        Its AGENT.toml.

    Raises
    ------
    BeflError
        ``BEFL-C-...`` when configuration or state folder cannot be read.
    """
    agent = load(Path(config))
    found = read(agent.state_dir)
    if not found.running or not found.health:
        return found
    complaint = _complaint(agent, found.health)
    return dataclasses.replace(found, healthy=not complaint, complaint=complaint)


def _complaint(agent: AgentConfig, address: str) -> str:
    """Ask the agent's health; return what is wrong, empty when nothing is."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens, as others say it
        connection = _connection(agent, host, int(port))
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            said = json.loads(answer.read())
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"it does not answer: {error}"
    except BeflError as error:
        return str(error)
    if answer.status == _OK:
        return ""
    return (
        "; ".join(f"{each['component']}: {each['reason']}" for each in said.get("failed_checks", [])) or "not healthy"
    )


def _connection(agent: AgentConfig, host: str, port: int) -> http.client.HTTPConnection:
    tls = agent.metrics_tls()
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    context = ssl.create_default_context(cafile=str(tls.certificate))  # this very certificate, whoever signed it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=context)
