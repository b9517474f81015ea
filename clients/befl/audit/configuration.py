"""The channel's configuration as of a block: who is in it, which policies hold, and how it may change.

Follows ``common/policies``, ``common/cauthdsl`` and ``common/configtx`` of Fabric 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import policy_pb2
from google.protobuf.message import DecodeError

from befl.audit.msp import Identity, InvalidIdentityError, Msp

WRITERS: Final = "/Channel/Writers"
BLOCK_VALIDATION: Final = "/Channel/Orderer/BlockValidation"
LIFECYCLE_ENDORSEMENT: Final = "/Channel/Application/LifecycleEndorsement"

_ROOT: Final = "Channel"
_CAPABILITIES: Final = ("values", (_ROOT, "Orderer", "Capabilities"))

Place = tuple[str, tuple[str, ...]]
"""Kind (``groups``, ``values``, ``policies``) and path of an element."""


class InvalidConfigurationError(Exception):
    """A configuration, or a change of one, that Fabric does not accept, and why."""


class Signed(NamedTuple):
    """A signature with what it stands under.

    Parameters
    ----------
    identity : bytes
        Whose it should be: ``SerializedIdentity``.
    message, signature : bytes
        What is signed, and the signature.
    """

    identity: bytes
    message: bytes
    signature: bytes


class Configuration:
    """A channel's configuration.

    Parameters
    ----------
    channel : str
        The channel.
    config : common.Config
        Fabric's message.

    Raises
    ------
    InvalidConfigurationError
        When it is none.
    """

    def __init__(self, channel: str, config: Any) -> None:
        self.channel = channel
        self.sequence = int(config.sequence)
        self.root = config.channel_group
        self._msps = dict(_msps(self.root))
        self._known: dict[bytes, Identity | InvalidIdentityError] = {}

    @property
    def msp_ids(self) -> tuple[str, ...]:
        """Return the institutions that may use the channel, in order."""
        groups = self.root.groups["Application"].groups if "Application" in self.root.groups else {}
        return tuple(sorted(groups))

    def identity(self, serialized: bytes) -> Identity:
        """Return whom a ``SerializedIdentity`` means.

        Raises
        ------
        InvalidIdentityError
            When it is nobody that this configuration knows.
        """
        if serialized not in self._known:
            try:
                self._known[serialized] = self._identity(serialized)
            except InvalidIdentityError as error:
                self._known[serialized] = error
        found = self._known[serialized]
        if isinstance(found, InvalidIdentityError):
            raise InvalidIdentityError(str(found))
        return found

    def signers(self, signatures: Iterable[Signed]) -> tuple[Identity, ...]:
        """Return whose signatures are right, each identity once."""
        found: dict[tuple[str, bytes], Identity] = {}
        for each in signatures:
            try:
                identity = self.identity(each.identity)
            except InvalidIdentityError:
                continue
            if identity.unique not in found and identity.signed(each.message, each.signature):
                found[identity.unique] = identity
        return tuple(found.values())

    def satisfied(self, path: str, signers: Sequence[Identity]) -> bool:
        """Whether signers satisfy a policy of the channel, such as ``/Channel/Writers``; a missing one nobody does."""
        names = path.strip("/").split("/")
        return names[0] == _ROOT and _satisfied(self.root, names[1:], signers)

    def endorsed(self, policy: bytes, signers: Sequence[Identity]) -> bool:
        """Whether signers satisfy a chaincode's or a collection's policy (``protos.ApplicationPolicy``)."""
        try:
            application = policy_pb2.ApplicationPolicy.FromString(policy)
        except DecodeError:
            return False
        if application.WhichOneof("Type") == "signature_policy":
            return signature_policy(application.signature_policy, signers)
        return self.satisfied(application.channel_config_policy_reference, signers)

    def consenter(self, number: int) -> bytes:
        """Return the ``SerializedIdentity`` of the orderer with a number (V3_0 signatures may name only that)."""
        values = self.root.groups["Orderer"].values if "Orderer" in self.root.groups else {}
        try:
            orderers = configuration_pb2.Orderers.FromString(values["Orderers"].value if "Orderers" in values else b"")
        except DecodeError:
            return b""
        for each in orderers.consenter_mapping:
            if each.id == number:
                identity = identities_pb2.SerializedIdentity(mspid=each.msp_id, id_bytes=each.identity)
                return bytes(identity.SerializeToString())
        return b""

    def _identity(self, serialized: bytes) -> Identity:
        try:
            message = identities_pb2.SerializedIdentity.FromString(serialized)
        except DecodeError:
            raise InvalidIdentityError("the identity cannot be read") from None
        if message.mspid not in self._msps:
            raise InvalidIdentityError(f"{message.mspid or 'nobody'} is no institution of the channel")
        return self._msps[message.mspid].identity(message.id_bytes)


def first(channel: str, payload: bytes) -> Configuration:
    """Return the configuration that a configuration transaction holds, believing it: the trust root.

    Raises
    ------
    InvalidConfigurationError
        When there is none.
    """
    return Configuration(channel, _envelope(payload).config)


def follow(before: Configuration, payload: bytes) -> Configuration:
    """Return the next configuration, if it is one.

    Parameters
    ----------
    before : Configuration
        The one in force.
    payload : bytes
        What the configuration transaction's envelope holds.

    Raises
    ------
    InvalidConfigurationError
        When the next one is not what the update makes of the one before, or too few signed the update.
    """
    envelope = _envelope(payload)
    if envelope.config.sequence != before.sequence + 1:
        raise InvalidConfigurationError(f"it is number {envelope.config.sequence}, and {before.sequence} is in force")
    update = _read(configtx_pb2.ConfigUpdateEnvelope, _payload(envelope.last_update.payload).data)
    if _updated(before, update) != envelope.config.channel_group:
        raise InvalidConfigurationError("it is not what its update makes of the one before")
    return Configuration(before.channel, envelope.config)


def signature_policy(policy: Any, signers: Sequence[Identity]) -> bool:
    """Whether signers satisfy a ``SignaturePolicyEnvelope``, each counted once (``cauthdsl``)."""
    if policy.version != 0 or not _sound(policy.rule, len(policy.identities)):
        return False
    return _gate(policy.rule, policy.identities, signers, [False] * len(signers))


def _sound(rule: Any, principals: int) -> bool:
    kind = rule.WhichOneof("Type")
    if kind == "n_out_of":
        return all(_sound(each, principals) for each in rule.n_out_of.rules)
    return bool(kind == "signed_by" and 0 <= rule.signed_by < principals)


def _gate(rule: Any, principals: Sequence[Any], signers: Sequence[Identity], used: list[bool]) -> bool:
    if rule.WhichOneof("Type") == "signed_by":
        for index, signer in enumerate(signers):
            if not used[index] and signer.is_a(principals[rule.signed_by]):
                used[index] = True
                return True
        return False
    count = 0
    for each in rule.n_out_of.rules:
        tried = list(used)
        if _gate(each, principals, signers, tried):
            used[:] = tried
            count += 1
    return bool(count >= rule.n_out_of.n)


def _satisfied(group: Any, path: Sequence[str], signers: Sequence[Identity]) -> bool:
    found = _policy(group, path)
    if found is None:
        return False
    owner, policy = found
    try:
        if policy.type == policies_pb2.Policy.SIGNATURE:
            return signature_policy(policies_pb2.SignaturePolicyEnvelope.FromString(policy.value), signers)
        if policy.type != policies_pb2.Policy.IMPLICIT_META:
            return False
        meta = policies_pb2.ImplicitMetaPolicy.FromString(policy.value)
    except DecodeError:
        return False
    count = sum(_satisfied(each, meta.sub_policy.split("/"), signers) for each in owner.groups.values())
    least = {
        policies_pb2.ImplicitMetaPolicy.ANY: min(1, len(owner.groups)),
        policies_pb2.ImplicitMetaPolicy.ALL: len(owner.groups),
        policies_pb2.ImplicitMetaPolicy.MAJORITY: len(owner.groups) // 2 + 1 if owner.groups else 0,
    }
    return bool(count >= least[meta.rule])


def _policy(group: Any, path: Sequence[str]) -> tuple[Any, Any] | None:
    """Return the policy at a path, and the group it stands in."""
    for name in path[:-1]:
        if name not in group.groups:
            return None
        group = group.groups[name]
    return (group, group.policies[path[-1]].policy) if path and path[-1] in group.policies else None


def _msps(root: Any) -> Iterator[tuple[str, Msp]]:
    """Make the MSPs of all institutions; one that orders and endorses is defined twice, in the same words."""
    defined: dict[str, bytes] = {}
    for part in ("Application", "Orderer"):
        members = root.groups[part].groups.values() if part in root.groups else ()
        for member in members:
            definition = member.values["MSP"].value if "MSP" in member.values else b""
            try:
                msp = Msp(definition)
            except ValueError as error:
                raise InvalidConfigurationError(str(error)) from None
            if defined.setdefault(msp.id, definition) != definition:
                raise InvalidConfigurationError(f"{msp.id} has two differing definitions")
            yield msp.id, msp


def _updated(before: Configuration, update: Any) -> Any:
    """Return what an update makes of a configuration (``configtx.authorizeUpdate``)."""
    change = _read(configtx_pb2.ConfigUpdate, update.config_update)
    if change.channel_id != before.channel:
        raise InvalidConfigurationError(f"its update is of channel {change.channel_id!r}")
    now, read, written = (_elements(group) for group in (before.root, change.read_set, change.write_set))
    for place, element in read.items():
        if place not in now or now[place].version != element.version:
            raise InvalidConfigurationError(f"its update was made from another version of {_name(place)}")
    changed = {
        place: element
        for place, element in written.items()
        if place not in read or read[place].version != element.version
    }
    if not changed:
        raise InvalidConfigurationError("its update changes nothing")
    signers = before.signers(_signatures(update))
    for place, element in changed.items():
        _allow(before, place, now.get(place), element, signers)
    result = {**now, **changed}
    if missing := [place for place in written if place not in result]:
        raise InvalidConfigurationError(f"its update writes {_name(missing[0])}, which is not in the result")
    return _rebuilt(result, (_ROOT,), repair=_CAPABILITIES in result)


def _allow(before: Configuration, place: Place, now: Any, element: Any, signers: Sequence[Identity]) -> None:
    """Refuse a change whose version does not follow, or that too few signed."""
    if not element.mod_policy:
        raise InvalidConfigurationError(f"{_name(place)} names no modification policy")
    if now is None:
        if element.version != 0:
            raise InvalidConfigurationError(f"{_name(place)} is new and has version {element.version}")
        return
    if element.version != now.version + 1:
        raise InvalidConfigurationError(f"{_name(place)} has version {element.version}, and {now.version} is in force")
    kind, path = place
    owner = path if kind == "groups" else path[:-1]
    policy = now.mod_policy if now.mod_policy.startswith("/") else "/" + "/".join((*owner, now.mod_policy))
    if not before.satisfied(policy, signers):
        names = ", ".join(map(str, signers)) or "nobody"
        raise InvalidConfigurationError(f"{_name(place)} was changed by {names}; {policy} wants others")


def _elements(group: Any) -> dict[Place, Any]:
    """Return each group, value and policy of a configuration by its place."""
    found: dict[Place, Any] = {}

    def walk(path: tuple[str, ...], group: Any) -> None:
        found["groups", path] = group
        for kind in ("values", "policies"):
            for name, element in getattr(group, kind).items():
                found[kind, (*path, name)] = element
        for name, child in group.groups.items():
            walk((*path, name), child)

    walk((_ROOT,), group)
    return found


def _rebuilt(elements: dict[Place, Any], path: tuple[str, ...], *, repair: bool) -> Any:
    """Put a group together again from the elements that it names (``configtx.configMapToConfig``)."""
    if ("groups", path) not in elements:
        raise InvalidConfigurationError(f"its update leaves out {_name(('groups', path))}")
    named = elements["groups", path]
    group = configtx_pb2.ConfigGroup(version=named.version, mod_policy=named.mod_policy)
    for name in named.groups:
        group.groups[name].CopyFrom(_rebuilt(elements, (*path, name), repair=repair))
    for kind in ("values", "policies"):
        for name in getattr(named, kind):
            if (kind, (*path, name)) not in elements:
                raise InvalidConfigurationError(f"its update leaves out {_name((kind, (*path, name)))}")
            getattr(group, kind)[name].CopyFrom(elements[kind, (*path, name)])
    if repair:  # since 1.1 Fabric gives elements without a modification policy this one, whenever it rewrites them
        for element in (group, *group.values.values(), *group.policies.values()):
            element.mod_policy = element.mod_policy or "Admins"
    return group


def _signatures(update: Any) -> Iterator[Signed]:
    for each in update.signatures:
        header = _read(common_pb2.SignatureHeader, each.signature_header)
        yield Signed(bytes(header.creator), bytes(each.signature_header + update.config_update), bytes(each.signature))


def _envelope(payload: bytes) -> Any:
    envelope = _read(configtx_pb2.ConfigEnvelope, _payload(payload).data)
    if not envelope.HasField("config") or not envelope.config.HasField("channel_group"):
        raise InvalidConfigurationError("the transaction holds no configuration")
    return envelope


def _payload(data: bytes) -> Any:
    return _read(common_pb2.Payload, data)


def _read(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise InvalidConfigurationError(f"its {message.DESCRIPTOR.name} cannot be read") from None


def _name(place: Place) -> str:
    return f"{place[0].removesuffix('s')} {'/'.join(place[1])}".replace("policie ", "policy ")
