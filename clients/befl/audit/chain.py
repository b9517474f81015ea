"""The chain of blocks, followed and judged from its first one on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from befl.audit import configuration, private
from befl.audit.block import Block, Code, Transaction, code_name, header_bytes
from befl.audit.configuration import BLOCK_VALIDATION, WRITERS, Configuration, InvalidConfigurationError, Signed
from befl.audit.msp import InvalidIdentityError
from befl.audit.report import Report
from befl.audit.state import varint
from befl.audit.validation import Judgement, Validator
from befl.rules.errors import BeflError

_METADATA: Final = common_pb2.BlockMetadataIndex


@dataclass(frozen=True, slots=True)
class Verified:
    """A block, and what follows from it.

    Parameters
    ----------
    block : Block
        The block.
    flags : tuple of int
        The validation code of each transaction, recomputed.
    configuration : Configuration
        The channel's configuration after the block.
    """

    block: Block
    flags: tuple[int, ...]
    configuration: Configuration


def verify(blocks: Iterable[Block], report: Report) -> Iterator[Verified]:
    """Check block after block, as the channel stood before each; what is wrong is found in the report.

    Hashes, signatures, certificates, revocations and policies are checked, and the validation code of each transaction
    is computed anew; where the peer's code differs, what follows goes on from the right one. The first block is
    believed: ``report.genesis`` is its hash, to be compared with that of the institutions' own genesis block.

    Parameters
    ----------
    blocks : iterable of Block
        From block 0 on.
    report : Report
        Filled on the way.

    Raises
    ------
    BeflError
        ``BEFL-G-035`` when the first block holds no channel configuration: then nothing can be judged.
    """
    chain: _Chain | None = None
    for block in blocks:
        if chain is None:
            chain = _Chain(report, _genesis(block, report))
        yield chain.take(block)
    if chain is not None:
        chain.secrets.end()


def _genesis(block: Block, report: Report) -> Configuration:
    report.genesis = block.hash
    try:
        if len(block.transactions) != 1 or block.transactions[0].kind != "config":
            raise InvalidConfigurationError("it is not one configuration transaction")
        [transaction] = block.transactions
        return configuration.first(transaction.channel, transaction.payload)
    except InvalidConfigurationError as error:
        raise BeflError(
            "BEFL-G-035",
            f"block {block.number} comes first and is no genesis block: {error}",
            "An audit begins with block 0, which holds the channel's first configuration.",
        ) from None


@dataclass(slots=True)
class _Chain:
    report: Report
    configuration: Configuration
    previous: Block | None = None
    validator: Validator = field(init=False)
    secrets: private.Delivered = field(init=False)
    commit_hash: bytes = b""
    configured: int = 0
    """The last block with a configuration."""

    def __post_init__(self) -> None:
        self.validator = Validator(self.report)
        self.secrets = private.Delivered(self.report)

    def take(self, block: Block) -> Verified:
        self._linked(block)
        self._whole(block)
        if self.previous is None:
            judged = [Judgement(Code.VALID)]
            self.validator.state.begin()
        else:
            self._ordered(block)
            for transaction in block.transactions:
                self._sent(transaction)
            judged = self.validator.judge(block, self.configuration)
            self._reconfigured(block, judged)
        self._compare(block, judged)
        flags = tuple(each.code for each in judged)
        self.secrets.take(block, flags)
        self._committed(block, flags)
        self.previous = block
        return Verified(block, flags, self.configuration)

    def _find(self, check: str, block: Block, message: str) -> None:
        self.report.find(check, block.number, "", message)

    def _linked(self, block: Block) -> None:
        """Check a block's number and the hash it names."""
        number = 0 if self.previous is None else self.previous.number + 1
        if self.report.looks("sequence") and block.number != number:
            self._find("sequence", block, f"block {block.number} stands where block {number} belongs")
        named = b"" if self.previous is None else self.previous.hash
        if self.report.looks("previous_hash") and block.previous_hash != named:
            self._find("previous_hash", block, "it names another block as the one before it")

    def _whole(self, block: Block) -> None:
        """Check the hash of a block's transactions; without lengths in it, each must also have its one encoding."""
        if not self.report.looks("data_hash"):
            return
        if hashlib.sha256(b"".join(block.raw.data.data)).digest() != block.data_hash:
            self._find("data_hash", block, "its transactions are not those that its header names")
            return
        for index, data in enumerate(block.raw.data.data):
            try:
                same = common_pb2.Envelope.FromString(data).SerializeToString() == data
            except DecodeError:
                same = False
            if not same:
                self._find("data_hash", block, f"transaction {index} is not in its one encoding")

    def _ordered(self, block: Block) -> None:
        """Check the orderers' signatures, and that they name the last configuration."""
        metadata = block.raw.metadata.metadata
        try:
            signed = common_pb2.Metadata.FromString(metadata[_METADATA.SIGNATURES] if metadata else b"")
            last = common_pb2.OrdererBlockMetadata.FromString(signed.value).last_config.index
            signatures = list(self._signatures(signed, header_bytes(block.raw.header)))
        except DecodeError:
            signatures, last = [], -1
        signers = self.configuration.signers(signatures)
        if self.report.looks("orderer") and not self.configuration.satisfied(BLOCK_VALIDATION, signers):
            names = " and ".join(map(str, signers)) or "nobody whom the channel knows"
            self._find("orderer", block, f"it is signed by {names}, and the BlockValidation policy wants others")
        if any(each.kind == "config" for each in block.transactions):
            self.configured = block.number
        if self.report.looks("last_configuration") and last != self.configured:
            message = f"it names block {last}, and block {self.configured} holds the configuration"
            self._find("last_configuration", block, message)

    def _signatures(self, signed: Any, header: bytes) -> Iterator[Signed]:
        """Return a block's signatures; one may name its orderer by number (``protoutil.BlockSignatureVerifier``)."""
        for each in signed.signatures:
            if each.identifier_header and not each.signature_header:
                number = common_pb2.IdentifierHeader.FromString(each.identifier_header).identifier
                words, creator = each.identifier_header, self.configuration.consenter(number)
            else:
                words = each.signature_header
                creator = common_pb2.SignatureHeader.FromString(words).creator
            yield Signed(bytes(creator), bytes(signed.value + words + header), bytes(each.signature))

    def _sent(self, transaction: Transaction) -> None:
        """Check what the orderers check before they order a transaction, and peers not any more."""
        report, where = self.report, (transaction.block, transaction.txid)
        if transaction.kind == "unreadable":
            return
        if report.looks("channel") and transaction.channel != self.configuration.channel:
            report.find("channel", *where, f"it is of channel {transaction.channel!r}")
        try:
            identity = self.configuration.identity(transaction.creator)
        except InvalidIdentityError:
            return
        if report.looks("writer") and not self.configuration.satisfied(WRITERS, [identity]):
            report.find("writer", *where, f"the channel does not let {identity} write")
        if report.looks("expiry") and not identity.valid_at(transaction.timestamp):
            report.find("expiry", *where, f"the certificate of {identity} was not valid when the transaction was made")

    def _reconfigured(self, block: Block, judged: list[Judgement]) -> None:
        """Take over a new configuration, if it follows from the one in force."""
        for index, transaction in enumerate(block.transactions):
            if transaction.kind != "config" or judged[index].code != Code.VALID:
                continue
            try:
                if self.report.looks("configuration"):
                    following = configuration.follow(self.configuration, transaction.payload)
                else:
                    following = configuration.first(self.configuration.channel, transaction.payload)
            except InvalidConfigurationError as error:
                judged[index] = Judgement(
                    Code.INVALID_CONFIG_TRANSACTION, "configuration", f"the configuration is refused: {error}"
                )
            else:
                self.configuration = following

    def _compare(self, block: Block, judged: list[Judgement]) -> None:
        """Compare the codes of the block's metadata with those that follow from the blocks."""
        for transaction, right in zip(block.transactions, judged, strict=True):
            if transaction.flag == Code.VALID and right.code != Code.VALID:
                self.report.find(right.check, block.number, transaction.txid, f"{right.why} ({code_name(right.code)})")
            elif self.report.looks("flags") and transaction.flag != right.code:
                why = f": {right.why}" if right.why else ""
                message = f"it is marked {code_name(transaction.flag)} and is {code_name(right.code)}{why}"
                self.report.find("flags", block.number, transaction.txid, message)

    def _committed(self, block: Block, flags: tuple[int, ...]) -> None:
        """Check the peer's hash over all that it has committed; the first block has none, nor have older peers."""
        metadata = block.raw.metadata.metadata
        stated = metadata[_METADATA.COMMIT_HASH] if len(metadata) > _METADATA.COMMIT_HASH else b""
        if block.number == 0 or not stated:
            return
        written = varint(len(flags)) + bytes(flags) + self.validator.state.written()
        right = hashlib.sha256(written + self.commit_hash).digest()
        try:
            self.commit_hash = bytes(common_pb2.Metadata.FromString(stated).value)
        except DecodeError:
            self.commit_hash = b""
        if self.report.looks("commit_hash") and self.commit_hash != right:
            self._find("commit_hash", block, "what the peer committed is not what follows from the blocks")
