"""Start an agent on a real network."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from befl.agent.chains import ChainWatch
from befl.agent.config import AgentConfig, load
from befl.agent.daemon import Agent
from befl.agent.ledger import Ledger
from befl.agent.participant import AppParticipant
from befl.gateway import Gateway, Network, Profile, connect
from befl.gateway.ask import PeerQuestions
from befl.operations.watch import AgentWatch
from befl.rules.errors import BeflError
from befl.rules.version import __version__
from befl.training.confine import weaknesses

log = logging.getLogger("befl.agent")

_AGAIN_S: Final = 2.0
_SILENT_S: Final = 60.0
"""The agent reads the ledger every ten seconds: a minute without success is not healthy."""


def run_agent(path: Path, stopped: threading.Event) -> None:
    """Run the agent of a configuration until ``stopped`` is set.

    Raises
    ------
    BeflError
        When configuration, profile or identity cannot be used, or another agent uses the state folder; ``BEFL-G-036``
        when the institutions' peers have different chains.
    """
    config = load(path)
    profile = Profile.load(config.profile)
    with contextlib.ExitStack() as stack:
        watch, health = stack.enter_context(_watched(config)) if config.metrics.listen else (None, "")
        gateway = stack.enter_context(connect(profile, config.user_dir))
        network = gateway.network(config.network.channel)
        ledger = Ledger(network.contract(config.network.chaincode))
        make = functools.partial(AppParticipant, ledger=ledger)
        agent = Agent(config, profile.msp_id, ledger, make, stopped, watch, health)
        for weakness in weaknesses_of(config):
            log.warning("training: %s", weakness)
        follower = threading.Thread(
            target=_follow, args=(network, config.network.chaincode, agent, stopped), name="events", daemon=True
        )
        chains = ChainWatch(
            lambda peer: PeerQuestions(
                peer or profile.peers[0], config.user_dir, profile.msp_id, config.network.channel
            ),
            stopped,
        )
        ender = threading.Thread(target=_end, args=(stopped, agent, gateway), name="end", daemon=True)
        follower.start()
        ender.start()
        chains.start()
        try:
            agent.run()
        finally:
            stopped.set()
            ender.join(timeout=5)
            follower.join(timeout=5)
        chains.end()


def weaknesses_of(config: AgentConfig) -> list[str]:
    """Say what an app could reach that it should not, with this configuration on this machine."""
    if config.training.confine:
        return weaknesses([config.state_dir, config.user_dir, *(config.data_path(alias) for alias in config.data)])
    if config.training.user:
        return []
    return ["[training] confine is off and no user is named: an app can read the agent's keys"]


@contextlib.contextmanager
def _watched(config: AgentConfig) -> Iterator[tuple[AgentWatch, str]]:
    """Show health, version and metrics while the agent runs; yields what counts, and the address."""
    from befl.operations.metrics import AgentMetrics  # noqa: PLC0415  # only who wants metrics pays for them
    from befl.operations.server import OperationsServer  # noqa: PLC0415  # see above

    metrics = AgentMetrics()
    began = time.time()

    def health() -> dict[str, str]:
        silent = time.time() - (metrics.last_success or began)
        return {"ledger": f"nothing has worked for {silent:.0f} s"} if silent > _SILENT_S else {}

    server = OperationsServer(
        config.metrics.listen,
        health=health,
        version={"Version": __version__},
        registry=lambda: metrics.registry,
        tls=config.metrics_tls(),
    )
    log.info("health and metrics at %s", server.address)
    try:
        yield metrics, server.address
    finally:
        server.stop()


def _end(stopped: threading.Event, agent: Agent, gateway: Gateway) -> None:
    """Break off whatever waits for training or for a peer that does not answer, once the agent shall stop."""
    stopped.wait()
    agent.stop()
    gateway.close()


def _follow(network: Network, chaincode: str, agent: Agent, stopped: threading.Event) -> None:
    """Wake the agent by events, and subscribe again when the stream cannot be had; polling covers what is missed."""
    while not stopped.is_set():
        try:
            with network.chaincode_events(chaincode) as events:
                agent.follow(event.payload for event in events)
        except BeflError as error:
            if not stopped.is_set():
                log.warning("no events: %s", str(error).replace("\n", " "))
        stopped.wait(_AGAIN_S)
