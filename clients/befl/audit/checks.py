"""The table of checks: each by its name, and what it makes sure of."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

CHECKS: Final = MappingProxyType(
    {
        # --- the chain ---
        "sequence": "Blocks are numbered from 0 without a gap",
        "previous_hash": "Each block names the hash of the block before it",
        "data_hash": "A block's transactions are those that its header's hash names, each in its one encoding",
        "orderer": "A block is signed as the channel's BlockValidation policy wants it",
        "last_configuration": "The orderers name the block with the configuration that is in force",
        "channel": "Every transaction is of this channel",
        "configuration": "A new configuration is the old one and an update that the policies' signers signed",
        # --- who submitted ---
        "submitter": "The submitter's certificate is of an institution, not revoked, and its signature is right",
        "writer": "The channel lets the submitter write",
        "expiry": "The submitter's certificate was valid at the time that the transaction states",
        "transaction_id": "A transaction's id is the hash of its nonce and creator",
        "duplicate": "No transaction counts twice",
        # --- what it did ---
        "form": "A transaction can be read",
        "proposal": "What the endorsers signed is the answer to this very proposal",
        "definition": "The chaincode has a definition that the channel had committed before the block",
        "endorsements": "Different peers enough have signed the result, as the policies of all that it writes want it",
        "reads": "What a transaction had read was unchanged when it was ordered, in public and private",
        "ranges": "What a transaction had read as a range was unchanged when it was ordered",
        "flags": "A transaction that Fabric calls invalid is invalid, by the code it gives",
        "private_data": "Private data is what the hashes in the block name",
        "commit_hash": "The peer's running hash over what it wrote is what follows from the blocks",
        # --- what befl's contracts did ---
        "own_state": "Nothing but befl's chaincode has written befl's state, and that no other",
        "complete": "Nothing was kept back: private values that no transaction purged, and rules of this release",
        "accepted": "The contract accepts what was accepted, run again on the state as it stood",
        "answer": "The contract answers and announces what the endorsers signed",
        "read_set": "The contract reads what the endorsers signed that they read",
        "write_set": "The contract writes what was written, to the byte",
        # --- the task ---
        "lineage": "Each model follows from the one before and the round's updates, from the initial to the final one",
        "model": "The final model's files follow from the last integer model and the records",
        "folder": "The model folder is the one that the ledger registered",
        "peers": "Every institution's peer has these blocks",
    }
)
