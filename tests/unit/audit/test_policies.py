"""Policies and principals, as Fabric evaluates them: who counts, and how often."""

from __future__ import annotations

import functools

import pytest
from fabric_protos.common import configtx_pb2, policies_pb2
from fabric_protos.msp import msp_principal_pb2

from befl.audit.configuration import Configuration, Signed, signature_policy
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
