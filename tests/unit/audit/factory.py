"""A channel whose every private key the test has: institutions, configuration, transactions and blocks, without Fabric.

A forger in these tests may be anybody, up to all orderers together: :meth:`Channel.seal` hashes, links and signs anew.
Each transaction is made from a recipe, so that one thing in it can be changed and all the rest be right.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2, policies_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import msp_config_pb2, msp_principal_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    collection_pb2,
    events_pb2,
    policy_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2

from befl.audit.block import Block, Code, header_bytes, parse
from befl.gateway import Identity, key_signer

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
ROLES = ("client", "peer", "admin", "orderer")


def pem(certificate: Any) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """A certificate authority; one with ``above`` is an intermediate one."""

    def __init__(self, name: str, above: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = above or self
        self.certificate = (
            self._builder(self.name, self.key, NOW - 30 * DAY, NOW + 3650 * DAY)
            .issuer_name(issuer.name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )

    @staticmethod
    def _builder(name: x509.Name, key: Any, begin: dt.datetime, end: dt.datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    def issue(self, msp_id: str, *units: str, begin: dt.datetime = NOW - DAY, end: dt.datetime = NOW + DAY) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, "-".join(units) or "nobody")])
        certificate = (
            self._builder(subject, key, begin, end)
            .issuer_name(self.name)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return Identity(msp_id, pem(certificate), key_signer(key))

    def revoke(self, *identities: Identity) -> bytes:
        serials = [x509.load_pem_x509_certificate(each.certificate).serial_number for each in identities]
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW).next_update(NOW + DAY)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
            )
        return pem(builder.sign(self.key, hashes.SHA256()))


class Institution:
    """One institution: a certificate authority, and an identity of each kind."""

    def __init__(self, name: str) -> None:
        self.msp_id = f"{name}MSP"
        self.ca = Authority(f"ca.{name}")
        self.client, self.peer, self.admin, self.orderer = (self.ca.issue(self.msp_id, role) for role in ROLES)
        self.other_peer, self.other_client = self.ca.issue(self.msp_id, "peer"), self.ca.issue(self.msp_id, "client")

    def msp(self, *revocations: bytes) -> bytes:
        config = msp_config_pb2.FabricMSPConfig(
            name=self.msp_id, root_certs=[pem(self.ca.certificate)], revocation_list=revocations
        )
        config.fabric_node_ous.enable = True
        for role in ROLES:
            unit = getattr(config.fabric_node_ous, f"{role}_ou_identifier")
            unit.organizational_unit_identifier, unit.certificate = role, pem(self.ca.certificate)
        return bytes(msp_config_pb2.MSPConfig(config=config.SerializeToString()).SerializeToString())


@dataclass(frozen=True)
class Recipe:
    """What a transaction is made of."""

    submitter: Identity
    endorsers: Sequence[Identity]
    nonce: bytes
    chaincode: str = "befl"
    channel: str = "befl"
    args: Sequence[str] = ("TaskContract:Publish", "one")
    reads: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    writes: Mapping[str, bytes] = field(default_factory=dict)
    policies: Mapping[str, bytes] = field(default_factory=dict)
    ranges: Sequence[tuple[str, str, Mapping[str, tuple[int, int]]]] = ()
    private: Mapping[str, bytes] = field(default_factory=dict)
    private_reads: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    purged: Sequence[str] = ()
    collection: str = "updates"
    twice: bool = False
    """Whether the collection is named once more, behind it and empty; peers apply both."""
    time: dt.datetime = NOW
    signer: Identity | None = None
    txid: str = ""
    event_of: str = "befl"
    results: bytes | None = None
    """The read-write set as bytes that may be none; the fields above make it otherwise."""
    delivered: bytes | None = None
    """The private data that come with the block, as bytes."""
    proposal: bytes | None = None
    """What was called, as bytes."""
    event: bytes | None = None
    moment: tuple[int, int] | None = None
    """Seconds and nanoseconds instead of ``time``."""
    after_proposal: bytes = b""
    """Appended to the proposal once its hash is taken."""
    after_endorsing: Callable[[Any], None] | None = None
    """Changes the chaincode's action once it is signed."""


def version(at: tuple[int, int] | None) -> Any:
    return kv_rwset_pb2.Version(block_num=at[0], tx_num=at[1]) if at else None


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def stamp(time: dt.datetime, moment: tuple[int, int] | None = None) -> Any:
    header = common_pb2.ChannelHeader()
    if moment is not None:
        header.timestamp.seconds, header.timestamp.nanos = moment
        return header.timestamp
    header.timestamp.FromDatetime(time)
    return header.timestamp


def private_set(recipe: Recipe) -> Any:
    """The private writes as they come with the block."""
    if recipe.delivered is not None:
        return rwset_pb2.TxPvtReadWriteSet.FromString(recipe.delivered)
    writes = [kv_rwset_pb2.KVWrite(key=key, value=value) for key, value in recipe.private.items()]
    writes += [kv_rwset_pb2.KVWrite(key=key, is_delete=True) for key in recipe.purged]
    found = rwset_pb2.TxPvtReadWriteSet()
    if writes:
        space = found.ns_pvt_rwset.add(namespace=recipe.chaincode)
        data = kv_rwset_pb2.KVRWSet(writes=writes).SerializeToString()
        space.collection_pvt_rwset.add(collection_name=recipe.collection, rwset=data)
    return found


def read_write_set(recipe: Recipe) -> bytes:
    if recipe.results is not None:
        return recipe.results
    public = kv_rwset_pb2.KVRWSet(
        reads=[kv_rwset_pb2.KVRead(key=key, version=version(at)) for key, at in recipe.reads.items()],
        writes=[kv_rwset_pb2.KVWrite(key=key, value=value) for key, value in recipe.writes.items()],
    )
    for key, policy in recipe.policies.items():
        public.metadata_writes.add(key=key).entries.add(name="VALIDATION_PARAMETER", value=policy)
    for start, end, found in recipe.ranges:
        query = public.range_queries_info.add(start_key=start, end_key=end, itr_exhausted=True)
        query.raw_reads.SetInParent()
        for key, at in found.items():
            query.raw_reads.kv_reads.add(key=key, version=version(at))
    result = rwset_pb2.TxReadWriteSet()
    space = result.ns_rwset.add(namespace=recipe.chaincode, rwset=public.SerializeToString())
    if recipe.private or recipe.private_reads or recipe.purged:
        hashed = kv_rwset_pb2.HashedRWSet()
        for key, at in recipe.private_reads.items():
            hashed.hashed_reads.add(key_hash=digest(key.encode()), version=version(at))
        for key, value in recipe.private.items():
            hashed.hashed_writes.add(key_hash=digest(key.encode()), value_hash=digest(value))
        for key in recipe.purged:
            hashed.hashed_writes.add(key_hash=digest(key.encode()), is_delete=True, is_purge=True)
        spaces = private_set(recipe).ns_pvt_rwset
        space.collection_hashed_rwset.add(
            collection_name=recipe.collection,
            hashed_rwset=hashed.SerializeToString(),
            pvt_rwset_hash=digest(spaces[0].collection_pvt_rwset[0].rwset) if spaces else b"",
        )
        if recipe.twice:
            space.collection_hashed_rwset.add(collection_name=recipe.collection)
    return bytes(result.SerializeToString())


def envelope(recipe: Recipe) -> bytes:
    """Make a whole signed and endorsed transaction."""
    creator = recipe.submitter.creator
    chaincode = chaincode_pb2.ChaincodeID(name=recipe.chaincode, version="1")
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.HeaderType.ENDORSER_TRANSACTION,
        channel_id=recipe.channel,
        tx_id=recipe.txid or hashlib.sha256(recipe.nonce + creator).hexdigest(),
        timestamp=stamp(recipe.time, recipe.moment),
        extension=proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode).SerializeToString(),
    ).SerializeToString()
    signature_header = common_pb2.SignatureHeader(creator=creator, nonce=recipe.nonce).SerializeToString()
    spec = chaincode_pb2.ChaincodeInvocationSpec()
    spec.chaincode_spec.input.args.extend(word.encode() for word in recipe.args)
    proposal = proposal_pb2.ChaincodeProposalPayload(input=spec.SerializeToString()).SerializeToString()
    proposal = proposal if recipe.proposal is None else recipe.proposal
    action = proposal_pb2.ChaincodeAction(results=read_write_set(recipe), chaincode_id=chaincode)
    action.response.status = 200
    action.events = chaincode_event_pb2.ChaincodeEvent(
        chaincode_id=recipe.chaincode if recipe.event_of == "befl" else recipe.event_of, event_name="done"
    ).SerializeToString()
    action.events = action.events if recipe.event is None else recipe.event
    response = proposal_response_pb2.ProposalResponsePayload(
        proposal_hash=digest(channel_header + signature_header + proposal), extension=action.SerializeToString()
    )
    signed = response.SerializeToString()
    content = transaction_pb2.ChaincodeActionPayload(chaincode_proposal_payload=proposal + recipe.after_proposal)
    for endorser in recipe.endorsers:
        content.action.endorsements.add(endorser=endorser.creator, signature=endorser.sign(signed + endorser.creator))
    if recipe.after_endorsing is not None:
        recipe.after_endorsing(action)
        response.extension = action.SerializeToString()
    content.action.proposal_response_payload = response.SerializeToString()
    transaction = transaction_pb2.Transaction()
    transaction.actions.add(header=signature_header, payload=content.SerializeToString())
    payload = common_pb2.Payload(data=transaction.SerializeToString())
    payload.header.channel_header, payload.header.signature_header = channel_header, signature_header
    return sign(payload.SerializeToString(), recipe.signer or recipe.submitter)


def sign(payload: bytes, by: Identity) -> bytes:
    return bytes(common_pb2.Envelope(payload=payload, signature=by.sign(payload)).SerializeToString())


def any_of(msp_id: str, *roles: str) -> policies_pb2.Policy:
    """``OR('X.role', ...)``."""
    policy = policies_pb2.SignaturePolicyEnvelope()
    policy.rule.n_out_of.n = 1
    for number, role in enumerate(roles):
        principal = msp_principal_pb2.MSPRole(
            msp_identifier=msp_id, role=msp_principal_pb2.MSPRole.MSPRoleType.Value(role.upper())
        )
        policy.identities.add(principal=principal.SerializeToString())
        policy.rule.n_out_of.rules.add(signed_by=number)
    return policies_pb2.Policy(type=policies_pb2.Policy.SIGNATURE, value=policy.SerializeToString())


def implicit(rule: str, name: str) -> policies_pb2.Policy:
    meta = policies_pb2.ImplicitMetaPolicy(sub_policy=name, rule=policies_pb2.ImplicitMetaPolicy.Rule.Value(rule))
    return policies_pb2.Policy(type=policies_pb2.Policy.IMPLICIT_META, value=meta.SerializeToString())


def group(values: Mapping[str, bytes], policies: Mapping[str, Any], groups: Mapping[str, Any] | None = None) -> Any:
    made = configtx_pb2.ConfigGroup(mod_policy="Admins")
    for name, value in values.items():
        made.values[name].CopyFrom(configtx_pb2.ConfigValue(mod_policy="Admins", value=value))
    for name, policy in policies.items():
        made.policies[name].CopyFrom(configtx_pb2.ConfigPolicy(mod_policy="Admins", policy=policy))
    for name, each in (groups or {}).items():
        made.groups[name].CopyFrom(each)
    return made


class Channel:
    """Three institutions, and the blocks of one channel."""

    def __init__(self, name: str = "befl", members: Sequence[Institution] = ()) -> None:
        self.name = name
        self.members = members or [Institution(f"Org{number}") for number in (1, 2, 3)]
        self.stranger = Institution("Org1")  # another CA that gives itself Org1's name
        self.messages: list[Any] = []
        self.recipes: dict[tuple[int, int], Recipe] = {}
        self.sequence = 0
        self.root = self.first_root()
        self._count = 0

    def first_root(self) -> Any:
        """The configuration of the genesis block."""
        metas = {name: implicit("ANY", name) for name in ("Readers", "Writers")}
        metas["Admins"] = implicit("MAJORITY", "Admins")
        application, orderer = {}, {}
        for each in self.members:
            policies = {"Readers": any_of(each.msp_id, *ROLES), "Admins": any_of(each.msp_id, "admin")}
            client, endorser = any_of(each.msp_id, "client", "admin"), any_of(each.msp_id, "peer")
            values = {"MSP": each.msp()}
            application[each.msp_id] = group(values, {**policies, "Writers": client, "Endorsement": endorser})
            orderer[each.msp_id] = group(values, {**policies, "Writers": any_of(each.msp_id, "orderer")})
        endorsement = implicit("MAJORITY", "Endorsement")
        return group(
            {},
            metas,
            {
                "Application": group(
                    {}, {**metas, "Endorsement": endorsement, "LifecycleEndorsement": endorsement}, application
                ),
                "Orderer": group(
                    {"Capabilities": b"", "Orderers": self._consenters()},
                    {**metas, "BlockValidation": implicit("ANY", "Writers")},
                    orderer,
                ),
            },
        )

    def _consenters(self) -> bytes:
        orderers = configuration_pb2.Orderers()
        for number, each in enumerate(self.members, 1):
            orderers.consenter_mapping.add(id=number, msp_id=each.msp_id, identity=each.orderer.certificate)
        return bytes(orderers.SerializeToString())

    # --- what is in a block ---

    def recipe(self, **given: Any) -> Recipe:
        """A transaction of Org1's client that two peers endorsed, unless it is said otherwise."""
        self._count += 1
        usual = Recipe(
            self.members[0].client, [each.peer for each in self.members[:2]], self._count.to_bytes(24, "big")
        )
        return replace(usual, channel=self.name, **given)

    def configuration(self, update: bytes = b"", signers: Sequence[Identity] = (), **other: Any) -> bytes:
        """The configuration transaction of the present ``root``; ``other`` changes ``ConfigUpdateEnvelope``."""
        content = configtx_pb2.ConfigEnvelope()
        content.config.sequence = self.sequence
        content.config.channel_group.CopyFrom(self.root)
        if update:
            change = configtx_pb2.ConfigUpdateEnvelope(config_update=update)
            for each in signers:
                header = common_pb2.SignatureHeader(creator=each.creator, nonce=b"n").SerializeToString()
                change.signatures.add(signature_header=header, signature=each.sign(header + update))
            header = common_pb2.ChannelHeader(type=common_pb2.HeaderType.CONFIG_UPDATE, channel_id=self.name)
            payload = common_pb2.Payload(data=change.SerializeToString())
            payload.header.channel_header = header.SerializeToString()
            content.last_update.payload = payload.SerializeToString()
        header = common_pb2.ChannelHeader(type=common_pb2.HeaderType.CONFIG, channel_id=self.name, timestamp=stamp(NOW))
        payload = common_pb2.Payload(data=content.SerializeToString())
        payload.header.channel_header = header.SerializeToString()
        orderer = self.members[0].orderer
        payload.header.signature_header = common_pb2.SignatureHeader(
            creator=orderer.creator, nonce=b"n"
        ).SerializeToString()
        return sign(payload.SerializeToString(), orderer)

    def revocation(self, member: Institution, *revoked: Identity, channel: str = "") -> bytes:
        """Change ``root`` by a revocation list in both groups; return the update that says so."""
        update = configtx_pb2.ConfigUpdate(channel_id=channel or self.name)
        value = member.msp(member.ca.revoke(*revoked))
        for part in ("Application", "Orderer"):
            element = self.root.groups[part].groups[member.msp_id].values["MSP"]
            for side, version_ in ((update.read_set, element.version), (update.write_set, element.version + 1)):
                side.groups[part].groups[member.msp_id].values["MSP"].version = version_
            written = update.write_set.groups[part].groups[member.msp_id].values["MSP"]
            written.value, written.mod_policy = value, "Admins"
            del update.read_set.groups[part].groups[member.msp_id].values["MSP"]
            element.CopyFrom(written)
        self.sequence += 1
        return bytes(update.SerializeToString())

    # --- the chain ---

    def add(self, *transactions: Recipe | bytes, flags: Sequence[int] | None = None) -> int:
        """Order transactions into a new block and mark them; return its number."""
        number = len(self.messages)
        message = events_pb2.BlockAndPrivateData()
        message.block.header.number = number
        message.block.metadata.metadata.extend([b""] * 5)
        self.messages.append(message)
        for index, each in enumerate(transactions):
            message.block.data.data.append(b"" if isinstance(each, Recipe) else each)
            if isinstance(each, Recipe):
                self._put(number, index, each)
        self.mark(number, flags or [Code.VALID] * len(transactions))
        self.seal(number)
        return number

    def mark(self, number: int, flags: Sequence[int]) -> None:
        """Write the validation codes, as a peer does for itself."""
        self.messages[number].block.metadata.metadata[2] = bytes(flags)

    def change(self, number: int, index: int = 0, **other: Any) -> None:
        """Make a transaction anew with something else in it, and seal from its block on."""
        self._put(number, index, replace(self.recipes[number, index], **other))
        self.seal(number)

    def _put(self, number: int, index: int, recipe: Recipe) -> None:
        message = self.messages[number]
        self.recipes[number, index] = recipe
        message.block.data.data[index] = envelope(recipe)
        message.private_data_map.pop(index, None)
        if recipe.private or recipe.purged or recipe.delivered is not None:
            message.private_data_map[index].CopyFrom(private_set(recipe))

    def seal(self, place: int, **other: Any) -> None:
        """Hash, link and sign the blocks from a place on, as the orderers could together; ``other`` as :meth:`sign`."""
        for at in range(place, len(self.messages)):
            block = self.messages[at].block
            block.header.data_hash = digest(b"".join(block.data.data))
            if at:
                block.header.previous_hash = digest(header_bytes(self.messages[at - 1].block.header))
            self.sign(at, **(other if at == place else {}))

    def sign(self, place: int, by: Identity | None = None, last: int | None = None, number: int = 0) -> None:
        """Sign a block as it is: by an orderer or by somebody else, naming the last configuration, or by a number."""
        block = self.messages[place].block
        by = by or self.members[1].orderer
        value = common_pb2.OrdererBlockMetadata()
        value.last_config.index = self.last_configuration(place) if last is None else last
        signed = common_pb2.Metadata(value=value.SerializeToString())
        signature = signed.signatures.add()
        if number:
            words = signature.identifier_header = common_pb2.IdentifierHeader(identifier=number).SerializeToString()
        else:
            words = common_pb2.SignatureHeader(creator=by.creator, nonce=b"n").SerializeToString()
            signature.signature_header = words
        signature.signature = by.sign(signed.value + words + header_bytes(block.header))
        block.metadata.metadata[0] = signed.SerializeToString()

    def last_configuration(self, place: int) -> int:
        blocks = [parse(message) for message in self.messages[: place + 1]]
        return max(block.number for block in blocks if any(each.kind == "config" for each in block.transactions))

    def blocks(self) -> list[Block]:
        return [parse(message) for message in self.messages]


def definition(plugin: str = "vscc", blocks_to_live: int = 0) -> dict[str, bytes]:
    """What the commit of a chaincode definition writes: a majority endorses, and Org3 alone in collection ``own``."""
    policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference="/Channel/Application/Endorsement")
    validation = chaincode_definition_pb2.ChaincodeValidationInfo(
        validation_plugin=plugin, validation_parameter=policy.SerializeToString()
    )
    collections = collection_pb2.CollectionConfigPackage()
    updates = collections.config.add().static_collection_config
    updates.name, updates.block_to_live = "updates", blocks_to_live
    own = collections.config.add().static_collection_config
    own.name = "own"
    own.endorsement_policy.signature_policy.ParseFromString(any_of("Org3MSP", "peer").value)
    fields = {"ValidationInfo": validation.SerializeToString(), "Collections": collections.SerializeToString()}
    return {
        "namespaces/metadata/befl": db_pb2.StateMetadata(datatype="ChaincodeDefinition").SerializeToString(),
        **{
            f"namespaces/fields/befl/{name}": db_pb2.StateData(Bytes=value).SerializeToString()
            for name, value in fields.items()
        },
    }


def ledger(name: str = "befl", members: Sequence[Institution] = ()) -> Channel:
    """A channel with a little of everything; each block says what it is for."""
    channel = Channel(name, members)
    first, second, third = channel.members
    channel.add(channel.configuration())  # 0: the genesis block
    channel.add(channel.recipe(chaincode="_lifecycle", writes=definition(), event_of="_lifecycle"))  # 1
    channel.add(channel.recipe(writes={"k1": b"1", "k2": b"1"}, private={"p1": b"update", "p2": b"model"}))  # 2
    channel.add(  # 3: two that read the same key; the first one wins
        channel.recipe(reads={"k1": (2, 0)}, writes={"k1": b"2"}),
        channel.recipe(reads={"k1": (2, 0)}, writes={"k1": b"3"}),
        flags=[Code.VALID, Code.MVCC_READ_CONFLICT],
    )
    update = channel.revocation(third, third.other_peer, third.other_client)
    channel.add(channel.configuration(update, [third.admin]))  # 4: a peer and a client of Org3 are revoked
    channel.add(  # 5: a range that holds, and one that does not any more
        channel.recipe(ranges=[("k", "l", {"k1": (3, 0), "k2": (2, 0)})], writes={"x": b"1"}),
        channel.recipe(ranges=[("k", "l", {"k1": (2, 0), "k2": (2, 0)})], writes={"x": b"2"}),
        flags=[Code.VALID, Code.PHANTOM_READ_CONFLICT],
    )
    channel.add(  # 6: one endorsement is too few
        channel.recipe(writes={"x": b"3"}, endorsers=[second.peer]), flags=[Code.ENDORSEMENT_POLICY_FAILURE]
    )
    channel.add(channel.recipe(private_reads={"p1": (2, 0)}, purged=["p1"]))  # 7: p1 is purged ...
    del channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset[:]  # ... and peers forget it
    writes = kv_rwset_pb2.KVRWSet(writes=[kv_rwset_pb2.KVWrite(key="p2", value=b"model")])
    channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset.add(
        collection_name="updates", rwset=writes.SerializeToString()
    )
    channel.add(channel.recipe(writes={"last": b"1"}, submitter=first.other_client))  # 8: nothing depends on it
    channel.add(channel.recipe(writes={"last2": b"1"}))  # 9: nor on this
    return channel
