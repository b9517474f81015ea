"""The chaincode ``befl``: several contracts, called as Fabric names them (``TaskContract:Publish``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from befl.contracts import app, member, model, parameter, task
from befl.contracts import round as rounds
from befl.contracts.context import Context, Transaction
from befl.contracts.stub import Stub
from befl.rules.errors import BeflError
from befl.rules.parameters import ROLES

CONTRACTS: Final[Mapping[str, Mapping[str, Transaction]]] = {
    "TaskContract": task.TRANSACTIONS,
    "RoundContract": rounds.TRANSACTIONS,
    "ModelContract": model.TRANSACTIONS,
    "AppContract": app.TRANSACTIONS,
    "MemberContract": member.TRANSACTIONS,
    "ParameterContract": parameter.TRANSACTIONS,
}


_MOST_ARGUMENT: Final = 1_000_000


class BeflChaincode:
    """Dispatches a transaction to its contract; implements ``befl.contracts.stub.Chaincode``."""

    def invoke(self, stub: Stub) -> bytes:
        """Run one transaction.

        Raises
        ------
        BeflError
            ``BEFL-T-008`` for an unknown function, a wrong number of arguments or one beyond a million characters,
            ``BEFL-A-001`` for a caller, or an institution, without the role, ``BEFL-A-006`` for an institution that is
            no member, and whatever the transaction refuses.
        """
        name, arguments = stub.get_function_and_parameters()
        contract, _, function = name.partition(":")
        transaction = CONTRACTS.get(contract, {}).get(function)
        if transaction is None:
            raise BeflError("BEFL-T-008", f"there is no transaction {name[:80]!r}")
        if len(arguments) != len(transaction.arguments):
            raise BeflError(
                "BEFL-T-008",
                f"{name} takes {len(transaction.arguments)} arguments ({', '.join(transaction.arguments)}), "
                f"not {len(arguments)}",
            )
        for argument, text in zip(transaction.arguments, arguments, strict=True):
            if len(text) > _MOST_ARGUMENT:  # no argument is long: bulk travels transiently
                raise BeflError("BEFL-T-008", f"{argument}: {len(text)} characters, {_MOST_ARGUMENT} at most are taken")
        context = Context(stub)
        if transaction.role is not None:
            context.require_role(transaction.role)
            if transaction.role in ROLES:  # an operator speaks for the institution, which gave itself that role
                member.require_role(context, transaction.role)
        return transaction.run(context, *arguments)
