"""Start an agent on a real network."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from befl.agent.config import load
from befl.agent.daemon import Agent
from befl.agent.ledger import Ledger
from befl.agent.participant import AppParticipant
from befl.gateway import Gateway, Network, Profile, connect
from befl.rules.errors import BeflError

log = logging.getLogger("befl.agent")

_AGAIN_S: Final = 2.0


def serve(path: Path, stopped: threading.Event) -> None:
    """Run the agent of a configuration until ``stopped`` is set.

    Raises
    ------
    BeflError
        When configuration, profile or identity cannot be used, or another agent uses the state folder.
    """
    config = load(path)
    profile = Profile.load(config.profile)
    with connect(profile, config.user_dir) as gateway:
        network = gateway.network(config.network.channel)
        ledger = Ledger(network.contract(config.network.chaincode))
        agent = Agent(config, profile.msp_id, ledger, AppParticipant, stopped)
        follower = threading.Thread(
            target=_follow, args=(network, config.network.chaincode, agent, stopped), name="events", daemon=True
        )
        ender = threading.Thread(target=_end, args=(stopped, agent, gateway), name="end", daemon=True)
        follower.start()
        ender.start()
        try:
            agent.run()
        finally:
            stopped.set()
            ender.join(timeout=5)
            follower.join(timeout=5)


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
