"""Which endorsements a chaincode's writes need: its definition, as the channel had committed it.

Follows ``core/chaincode/lifecycle`` of Fabric 3.1: a definition is a few keys of the namespace ``_lifecycle``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2
from google.protobuf.message import DecodeError

from befl.audit.configuration import LIFECYCLE_ENDORSEMENT, Configuration
from befl.audit.state import State

LIFECYCLE: Final = "_lifecycle"
IMPLICIT: Final = "_implicit_org_"
"""How the collection begins that each institution has of its own in every chaincode."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the channel has agreed about a chaincode.

    Parameters
    ----------
    plugin : str
        Who judges endorsements; Fabric's own is ``vscc``.
    policy : bytes
        The endorsement policy, ``protos.ApplicationPolicy``.
    collections : mapping of str to StaticCollectionConfig
        Its collections by name.
    """

    plugin: str
    policy: bytes
    collections: Mapping[str, Any]

    @property
    def expiring(self) -> list[str]:
        """Return the collections whose values go after some blocks."""
        return [name for name, each in self.collections.items() if each.block_to_live]

    def collection_policy(self, name: str, configuration: Configuration) -> bytes | None:
        """Return the policy for writes into a collection; None when there is no such collection."""
        if name.startswith(IMPLICIT):
            msp_id = name.removeprefix(IMPLICIT)
            known = msp_id in configuration.msp_ids
            return _reference(f"/Channel/Application/{msp_id}/Endorsement") if known else None
        if name not in self.collections:
            return None
        collection = self.collections[name]
        if collection.HasField("endorsement_policy"):
            return bytes(collection.endorsement_policy.SerializeToString())
        return self.policy


def definition(chaincode: str, state: State) -> Definition | None:
    """Return a chaincode's definition as the state stands; None when it has none that can be read."""
    if chaincode == LIFECYCLE:
        return Definition("vscc", _reference(LIFECYCLE_ENDORSEMENT), {})
    if not state.value(LIFECYCLE, f"namespaces/metadata/{chaincode}"):
        return None
    try:
        validation = chaincode_definition_pb2.ChaincodeValidationInfo.FromString(
            _field(state, chaincode, "ValidationInfo")
        )
        package = collection_pb2.CollectionConfigPackage.FromString(_field(state, chaincode, "Collections"))
    except DecodeError:
        return None
    if not validation.validation_plugin or not validation.validation_parameter:
        return None
    collections = {each.static_collection_config.name: each.static_collection_config for each in package.config}
    return Definition(validation.validation_plugin, bytes(validation.validation_parameter), collections)


def _field(state: State, chaincode: str, name: str) -> bytes:
    data = state.value(LIFECYCLE, f"namespaces/fields/{chaincode}/{name}")
    return bytes(db_pb2.StateData.FromString(data).Bytes)


def _reference(path: str) -> bytes:
    return bytes(policy_pb2.ApplicationPolicy(channel_config_policy_reference=path).SerializeToString())
