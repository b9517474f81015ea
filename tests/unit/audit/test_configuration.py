"""The channel's configuration: policies and principals as Fabric evaluates them, and updates as it accepts them."""

from __future__ import annotations

import functools

import pytest
from fabric_protos.common import common_pb2, configtx_pb2, policies_pb2
from fabric_protos.msp import msp_principal_pb2

from befl.audit.configuration import Configuration, InvalidConfigurationError, Signed, first, follow, signature_policy
from befl.audit.msp import InvalidIdentityError

from .factory import Channel, any_of, group, implicit, pem

Principal = msp_principal_pb2.MSPPrincipal


@functools.cache
def channel() -> Channel:
    return Channel()


def configuration(root=None) -> Configuration:
    return Configuration("befl", configtx_pb2.Config(channel_group=root or channel().root))


def identities(*who):
    return [configuration().identity(each.creator) for each in who]


def policy(n: int, *principals, rules=None) -> policies_pb2.SignaturePolicyEnvelope:
    made = policies_pb2.SignaturePolicyEnvelope(identities=principals)
    made.rule.n_out_of.n = n
    for number in rules if rules is not None else range(len(principals)):
        made.rule.n_out_of.rules.add(signed_by=number)
    return made


def role(msp_id: str, name: str) -> Principal:
    value = msp_principal_pb2.MSPRole(
        msp_identifier=msp_id, role=msp_principal_pb2.MSPRole.MSPRoleType.Value(name.upper())
    )
    return Principal(principal=value.SerializeToString())


def test_an_identity_counts_once():
    first = channel().members[0]
    both = policy(2, role("Org1MSP", "peer"), role("Org1MSP", "peer"))
    assert not signature_policy(both, identities(first.peer))
    assert signature_policy(both, identities(first.peer, first.other_peer))


def test_a_gate_that_fails_uses_up_nobody():
    """``OR(AND(A, B), A)``: A alone satisfies it, though the first branch had taken A."""
    made = policy(1, role("Org1MSP", "peer"), role("Org2MSP", "peer"), rules=[])
    inner = made.rule.n_out_of.rules.add()
    inner.n_out_of.n = 2
    inner.n_out_of.rules.add(signed_by=0)
    inner.n_out_of.rules.add(signed_by=1)
    made.rule.n_out_of.rules.add(signed_by=0)
    assert signature_policy(made, identities(channel().members[0].peer))


@pytest.mark.parametrize("change", ["version", "index", "empty"])
def test_a_policy_that_fabric_does_not_compile(change):
    made = policy(0, role("Org1MSP", "peer"))
    assert signature_policy(made, [])
    if change == "version":
        made.version = 1
    elif change == "index":
        made.rule.n_out_of.rules.add(signed_by=1)
    else:
        made.rule.n_out_of.rules.add()
    assert not signature_policy(made, [])


@pytest.mark.parametrize(
    ("rule", "signers", "expected"),
    [("ANY", 0, False), ("ANY", 1, True), ("MAJORITY", 1, False), ("MAJORITY", 2, True), ("ALL", 2, False)],
)
def test_an_implicit_policy_counts_groups(rule, signers, expected):
    members = channel().members
    root = group({}, {"Some": implicit(rule, "Endorsement")}, channel().root.groups["Application"].groups)
    who = identities(*(each.peer for each in members[:signers]))
    assert configuration(group({}, {}, {"Application": root})).satisfied("/Channel/Application/Some", who) == expected


def test_an_implicit_policy_over_nobody_is_satisfied():
    assert configuration(group({}, {"Some": implicit("MAJORITY", "Admins")})).satisfied("/Channel/Some", [])


@pytest.mark.parametrize("path", ["/Channel/Nothing", "/Channel/Other/Admins", "/Other/Admins", "", "/Channel"])
def test_a_policy_that_is_missing_is_satisfied_by_nobody(path):
    everybody = identities(*(each.admin for each in channel().members))
    assert not configuration().satisfied(path, everybody)


@pytest.mark.parametrize("kind", [0, 2, 3, 9])
def test_a_policy_of_an_unknown_kind_or_that_cannot_be_read(kind):
    root = group({}, {"Some": policies_pb2.Policy(type=kind, value=b"\xff")})
    assert not configuration(root).satisfied("/Channel/Some", [])


def test_principals():
    first = channel().members[0]
    [peer] = identities(first.peer)
    unit = msp_principal_pb2.OrganizationUnit(
        msp_identifier="Org1MSP", organizational_unit_identifier="peer", certifiers_identifier=peer.certifiers
    )
    anonymous = msp_principal_pb2.MSPIdentityAnonymity(anonymity_type="ANONYMOUS")
    member, other = role("Org1MSP", "member"), role("Org2MSP", "member")
    both = msp_principal_pb2.CombinedPrincipal(principals=[member, role("Org1MSP", "peer")])
    contradiction = msp_principal_pb2.CombinedPrincipal(principals=[member, other])
    yes = [
        member,
        role("Org1MSP", "peer"),
        Principal(principal_classification="ORGANIZATION_UNIT", principal=unit.SerializeToString()),
        Principal(principal_classification="IDENTITY", principal=first.peer.creator),
        Principal(principal_classification="COMBINED", principal=both.SerializeToString()),
        Principal(principal_classification="ANONYMITY"),
    ]
    unit.certifiers_identifier = b"another chain"
    no = [
        other,
        role("Org1MSP", "client"),
        Principal(principal_classification="ORGANIZATION_UNIT", principal=unit.SerializeToString()),
        Principal(principal_classification="IDENTITY", principal=first.other_peer.creator),
        Principal(principal_classification="IDENTITY", principal=b""),
        Principal(principal_classification="COMBINED", principal=contradiction.SerializeToString()),
        Principal(principal_classification="COMBINED"),
        Principal(principal_classification="ANONYMITY", principal=anonymous.SerializeToString()),
        Principal(principal=b"\xff"),
    ]
    assert [peer.is_a(each) for each in yes] == [True] * len(yes)
    assert [peer.is_a(each) for each in no] == [False] * len(no)


def test_signers_are_those_whose_signatures_are_right_each_once():
    first, second, third = channel().members
    signed = [
        Signed(first.peer.creator, b"m", first.peer.sign(b"m")),
        Signed(first.peer.creator, b"m", first.peer.sign(b"m")),
        Signed(second.peer.creator, b"m", second.peer.sign(b"n")),
        Signed(channel().stranger.peer.creator, b"m", channel().stranger.peer.sign(b"m")),
        Signed(b"\xff", b"m", b""),
        Signed(third.peer.creator, b"m", third.peer.sign(b"m")),
    ]
    assert [str(each) for each in configuration().signers(signed)] == ["peer@Org1MSP", "peer@Org3MSP"]


@pytest.mark.parametrize("serialized", [b"", b"\xff", b"\x0a\x07Org1MSP", b"\x0a\x07Org1MSP\x12\x03pem"])
def test_what_is_no_identity(serialized):
    for _ in range(2):  # the second answer is a remembered one
        with pytest.raises(InvalidIdentityError):
            configuration().identity(serialized)


def test_an_authority_is_no_identity():
    first = channel().members[0]
    peer = first.peer
    with pytest.raises(InvalidIdentityError, match="authority's"):
        configuration().identity(type(peer)(peer.msp_id, pem(first.ca.certificate), peer.sign).creator)


def test_any_of_the_roles():
    made = policies_pb2.SignaturePolicyEnvelope.FromString(any_of("Org1MSP", "client", "admin").value)
    first = channel().members[0]
    assert signature_policy(made, identities(first.admin))
    assert not signature_policy(made, identities(first.peer))


def third(update):
    return update.groups["Application"].groups["Org3MSP"]


def read_another_version(update):
    update.read_set.version = 1


def read_what_is_not_there(update):
    update.read_set.values["Other"].version = 0


def change_nothing(update):
    update.write_set.CopyFrom(update.read_set)


def skip_a_version(update):
    third(update.write_set).values["MSP"].version = 2


def begin_above_zero(update):
    third(update.write_set).values["Other"].version = 1
    third(update.write_set).values["Other"].mod_policy = "Admins"


def name_no_policy(update):
    third(update.write_set).values["MSP"].mod_policy = ""


REFUSED = {
    read_another_version: "made from another version of group Channel",
    read_what_is_not_there: "made from another version of value Channel/Other",
    change_nothing: "changes nothing",
    skip_a_version: "has version 2, and 0 is in force",
    begin_above_zero: "is new and has version 1",
    name_no_policy: "names no modification policy",
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_an_update_that_is_refused(mistake):
    made = Channel()
    before = Configuration("befl", configtx_pb2.Config(channel_group=made.root))
    member = made.members[2]
    update = configtx_pb2.ConfigUpdate.FromString(made.revocation(member, member.other_peer))
    mistake(update)
    payload = envelope_payload(made.configuration(update.SerializeToString(), [member.admin]))
    with pytest.raises(InvalidConfigurationError, match=REFUSED[mistake]):
        follow(before, payload)


def test_an_update_of_everything_wants_a_majority():
    """A policy of the channel itself is changed: the group's version stays, the policy's goes up."""
    made = Channel()
    before = Configuration("befl", configtx_pb2.Config(channel_group=made.root))
    update = configtx_pb2.ConfigUpdate(channel_id="befl")
    element = made.root.policies["Readers"]
    element.version, element.policy.type = 1, policies_pb2.Policy.MSP
    update.write_set.policies["Readers"].CopyFrom(element)
    update.read_set.SetInParent()
    made.sequence = 1
    admins = [each.admin for each in made.members]

    def signed_by(*signers):
        return envelope_payload(made.configuration(update.SerializeToString(), signers))

    with pytest.raises(InvalidConfigurationError, match="policy Channel/Readers was changed by admin@Org1MSP"):
        follow(before, signed_by(admins[0]))
    assert follow(before, signed_by(*admins[:2])).sequence == 1


@pytest.mark.parametrize("definition", [b"", b"\xff", b"\x12\x01\xff"])
def test_an_institution_without_certificates_that_can_be_read(definition):
    root = Channel().root
    root.groups["Application"].groups["Org1MSP"].values["MSP"].value = definition or b"\x12\x02\x12\x00"
    with pytest.raises(InvalidConfigurationError, match="definition"):
        configuration(root)


def test_an_institution_with_two_definitions():
    root = Channel().root
    root.groups["Orderer"].groups["Org1MSP"].values["MSP"].value = channel().members[0].msp()
    with pytest.raises(InvalidConfigurationError, match="two differing definitions"):
        configuration(root)


@pytest.mark.parametrize("payload", [b"\xff", b"", b"\x12\x01\xff", b"\x12\x02\x0a\x00"])
def test_a_payload_without_a_configuration(payload):
    with pytest.raises(InvalidConfigurationError):
        first("befl", payload)


def envelope_payload(data: bytes) -> bytes:
    return bytes(common_pb2.Envelope.FromString(data).payload)
