"""Is a transaction valid? As each of Fabric's peers decides it, from the blocks alone.

Follows ``core/common/validation``, ``core/committer/txvalidator/v20`` and ``core/common/validation/statebased`` of
Fabric 3.1. All transactions of a block are judged on their own first, as state and configuration stood before the
block; then, one after another, by what they had read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fabric_protos.common import policies_pb2
from google.protobuf.message import DecodeError

from befl.audit.block import Block, Code, Stage, Transaction
from befl.audit.configuration import Configuration, Signed, signature_policy
from befl.audit.definition import Definition, definition
from befl.audit.msp import Identity, InvalidIdentityError
from befl.audit.report import Report
from befl.audit.state import Namespace, Space, State, named, namespaces
from befl.ledger import Version


class Judgement(NamedTuple):
    """What a transaction is.

    Parameters
    ----------
    code : int
        Fabric's validation code.
    check : str
        The check that decided it; empty when it is valid.
    why : str
        In words.
    """

    code: int
    check: str = ""
    why: str = ""


VALID: Final = Judgement(Code.VALID)

_Keys = set[tuple[Space, bytes]]


@dataclass(slots=True)
class Validator:
    """Judges the transactions of one channel, block by block.

    Parameters
    ----------
    report : Report
        Counts what is looked at.
    state : State
        As the blocks so far have made it.
    """

    report: Report
    state: State = field(default_factory=State)
    _txids: set[str] = field(default_factory=set)

    def judge(self, block: Block, configuration: Configuration) -> list[Judgement]:
        """Judge a block's transactions, and write what the valid ones write."""
        self.state.begin()
        repoliced: _Keys = set()
        judged = [self._alone(each, configuration, repoliced) for each in block.transactions]
        self._refuse_twins(block, judged)
        for index, transaction in enumerate(block.transactions):
            if judged[index].code == Code.VALID and transaction.read_write_set is not None:
                parts = list(namespaces(transaction.read_write_set))
                judged[index] = self._read(parts)
                if judged[index].code == Code.VALID:
                    self.state.apply(parts, Version(block.number, index))
        self._txids.update(each.txid for each in block.transactions if each.txid)
        return judged

    def _alone(self, transaction: Transaction, configuration: Configuration, repoliced: _Keys) -> Judgement:
        """Judge a transaction without regard to what it read, in Fabric's order."""
        self.report.looks("form")
        refused = self._faulty(transaction, "envelope") or self._refuse(
            "submitter", Code.BAD_CREATOR_SIGNATURE, _submitter(transaction, configuration)
        )
        if refused or transaction.kind != "endorser":
            return refused or self._faulty(transaction, "transaction") or VALID
        return (
            self._refuse("transaction_id", Code.BAD_PROPOSAL_TXID, _transaction_id(transaction))
            or self._faulty(transaction, "transaction")
            or self._refuse("proposal", Code.INVALID_ENDORSER_TRANSACTION, _proposal(transaction))
            or self._refuse("duplicate", Code.DUPLICATE_TXID, self._duplicate(transaction))
            or self._faulty(transaction, "dispatch")
            or self._endorsed(transaction, configuration, repoliced)
        )

    def _refuse(self, check: str, code: int, why: str) -> Judgement | None:
        return Judgement(code, check, why) if self.report.looks(check) and why else None

    def _faulty(self, transaction: Transaction, stage: Stage) -> Judgement | None:
        fault = transaction.fault
        if fault is None or fault.stage != stage:
            return None
        return VALID if "form" in self.report.switched_off else Judgement(fault.code, "form", fault.why)

    def _duplicate(self, transaction: Transaction) -> str:
        return "a transaction of this id stands in an earlier block" if transaction.txid in self._txids else ""

    def _refuse_twins(self, block: Block, judged: list[Judgement]) -> None:
        """Let only the first valid transaction of an id in a block be valid."""
        seen: set[str] = set()
        for index, transaction in enumerate(block.transactions):
            if judged[index].code == Code.VALID and transaction.kind == "endorser":
                why = "a transaction of this id stands in the same block" if transaction.txid in seen else ""
                judged[index] = self._refuse("duplicate", Code.DUPLICATE_TXID, why) or judged[index]
                seen.add(transaction.txid)

    def _endorsed(self, transaction: Transaction, configuration: Configuration, repoliced: _Keys) -> Judgement:
        """Judge the endorsements, by the policies of each namespace that is called or written."""
        signers = configuration.signers(
            Signed(each.endorser, each.signed, each.signature) for each in transaction.endorsements
        )
        parts = {part.name: part for part in namespaces(transaction.read_write_set)}
        writes = {name: list(part.writes()) for name, part in parts.items()}
        for name in sorted({transaction.chaincode, *(name for name in writes if writes[name])}):
            found = definition(name, self.state)
            undefined = "" if found else f"chaincode {name!r} has no definition"
            if refused := self._refuse("definition", Code.INVALID_CHAINCODE, undefined):
                return refused
            if found is None:
                continue
            for collection in found.expiring:
                self.report.cannot(f"reads of collection {collection} of {name}", "its values expire (blockToLive)")
            if found.plugin != "vscc":
                self.report.cannot(f"endorsements of chaincode {name}", f"a plugin {found.plugin} judges them")
                continue
            needed = _Needed(found, configuration, self.state, signers, repoliced)
            why = needed.missing(name, [(space, key) for space, key, _ in writes.get(name, ())])
            if refused := self._refuse("endorsements", Code.ENDORSEMENT_POLICY_FAILURE, why):
                return refused
        for written in writes.values():
            repoliced.update((space, key) for space, key, write in written if write.policy is not None)
        return VALID

    def _read(self, parts: Sequence[Namespace]) -> Judgement:
        """Judge what a transaction read, in Fabric's order."""
        for part in parts:
            refused = (
                self._refuse("reads", Code.MVCC_READ_CONFLICT, self.state.conflict(part, private=False))
                or self._refuse("ranges", Code.PHANTOM_READ_CONFLICT, self.state.phantom(part))
                or self._refuse("reads", Code.MVCC_READ_CONFLICT, self.state.conflict(part, private=True))
            )
            if refused:
                return refused
        return VALID


@dataclass(frozen=True, slots=True)
class _Needed:
    """The policies that the writes of a transaction into one namespace need (``statebased/v20.go``)."""

    definition: Definition
    configuration: Configuration
    state: State
    signers: Sequence[Identity]
    repoliced: _Keys

    def missing(self, name: str, keys: Sequence[tuple[Space, bytes]]) -> str:
        """Say which policy the signers do not satisfy; empty when there is none.

        A key with a policy of its own needs that one, any other key its collection's, or else the chaincode's; and what
        writes nothing but keys with their own policies needs no more.
        """
        collections: set[str] = set()
        own = False
        for space, key in keys:
            if (space, key) in self.repoliced:
                return f"the policy of key {named(space, key)} was changed in the same block"
            entry = self.state.get(space, key)
            if entry is None or not entry.policy:
                collections.add(space[1])
            elif self._satisfied(entry.policy):
                own = True
            else:
                return f"the policy of key {named(space, key)} wants more than {self._names()}"
        for collection in sorted(collections) if own or collections else [""]:
            policy = (
                self.definition.collection_policy(collection, self.configuration)
                if collection
                else self.definition.policy
            )
            if policy is None:
                return f"chaincode {name} has no collection {collection}"
            if not self.configuration.endorsed(policy, self.signers):
                whose = f"collection {collection} of chaincode {name}" if collection else f"chaincode {name}"
                return f"the policy of {whose} wants more than {self._names()}"
        return ""

    def _satisfied(self, policy: bytes) -> bool:
        try:
            return signature_policy(policies_pb2.SignaturePolicyEnvelope.FromString(policy), self.signers)
        except DecodeError:
            return False

    def _names(self) -> str:
        return " and ".join(map(str, self.signers)) or "nobody"


def _submitter(transaction: Transaction, configuration: Configuration) -> str:
    try:
        identity = configuration.identity(transaction.creator)
    except InvalidIdentityError as error:
        return f"the submitter is refused: {error}"
    right = identity.signed(transaction.payload, transaction.signature)
    return "" if right else f"the signature is not that of {identity}"


def _transaction_id(transaction: Transaction) -> str:
    right = hashlib.sha256(transaction.nonce + transaction.creator).hexdigest() == transaction.txid
    return "" if right else "the transaction id is not the hash of nonce and creator"


def _proposal(transaction: Transaction) -> str:
    return "" if transaction.bound else "the endorsers signed the answer to another proposal"
