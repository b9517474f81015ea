"""The institution's say: a pure function from policy and task to the reasons against taking part."""

from __future__ import annotations

from collections.abc import Container

from befl.agent.config import Policy
from befl.rules.view import TaskView


def objections(policy: Policy, view: TaskView, aliases: Container[str], approved: Container[str]) -> list[str]:
    """Return every reason why the institution does not take part in a task; empty when it does.

    Parameters
    ----------
    policy : Policy
        What the operator agreed to.
    view : TaskView
        The task.
    aliases : container of str
        Data that the agent has a file for.
    approved : container of str
        Digests of the apps that the operator approved.
    """
    found = []
    issuer, app, scheme = view.record["issuer"], view.record["app"], view.spec.privacy.scheme
    if policy.issuers != "any" and issuer not in policy.issuers:
        found.append(f"policy.issuers does not list {issuer}")
    if scheme not in policy.schemes:
        found.append(f"policy.schemes does not list {scheme!r}")
    if view.spec.participants.least < policy.least:
        found.append(f"the task starts with {view.spec.participants.least} trainers, policy.least is {policy.least}")
    if app["digest"] not in approved:
        found.append(
            f"app {app['name']} {app['digest'][:16]} is not approved "
            f"(befl app approve {app['digest'][:16]} --config AGENT.toml)"
        )
    if view.spec.data.pooled and not policy.statistics:
        found.append(
            f"the task asks for count, sum and sum of squares of {', '.join(view.spec.data.pooled)}; "
            "policy.statistics is false"
        )
    if view.spec.data.alias not in aliases:
        found.append(f"no file is configured for data {view.spec.data.alias!r}")
    return found
