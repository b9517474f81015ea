"""A process goes on under another name, in place of what had that name: how a chaincode server takes over."""

from __future__ import annotations

import os
import signal

import pytest

from befl.network import supervisor

from .test_supervisor import STAYS, describe, directory, gone, pid_of, start, until

__all__ = ["directory"]


@pytest.mark.parametrize("taken", [True, False])
def test_the_new_one_takes_the_name_of_the_old_one(directory, taken):
    if taken:
        describe(directory, "org1/chaincode")
    describe(directory, "org1/chaincode-next", f"{STAYS}  # other code")
    pid = start(directory)
    until(lambda: pid_of(directory, "org1/chaincode-next"), "the new one running")
    old, new = pid_of(directory, "org1/chaincode"), pid_of(directory, "org1/chaincode-next")
    services = directory / "org1" / "services"
    (services / "chaincode-next.json").rename(services / "chaincode.json")
    os.kill(pid, signal.SIGHUP)
    until(lambda: pid_of(directory, "org1/chaincode") == new, "the new one having the name")
    assert set(supervisor.states(directory)) == {"org1/chaincode"}
    assert supervisor.states(directory)["org1/chaincode"].restarts == 0
    assert not taken or gone(old)
    os.kill(new, signal.SIGKILL)  # and it is kept as any other
    until(lambda: pid_of(directory, "org1/chaincode") not in (0, new), "it running again")
