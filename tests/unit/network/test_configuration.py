"""Pure functions on a channel's configuration: institutions in and out, revocations, who must sign what."""

from __future__ import annotations

import base64
import copy
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from befl.network import configuration
from befl.network.configuration import Change
from befl.network.definition import fingerprint
from befl.rules.errors import BeflError

from .test_definition import make


def group(**groups: dict) -> dict:
    return {"groups": groups, "values": {}, "policies": {}, "mod_policy": "Admins", "version": "0"}


@pytest.fixture
def four(authority) -> dict:
    """A channel of four institutions, made by adding them to an empty one."""
    consensus = {"type": "etcdraft", "metadata": {"consenters": [], "options": {}}}
    now = {"sequence": "3", "channel_group": group(Application=group(), Orderer=group())}
    now["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"] = {"value": consensus, "version": "0"}
    for number, name in enumerate(("a", "b", "c", "d")):
        now = configuration.add(now, make(authority, name, 21_000 + 10 * number))
    return now


def test_an_institution_comes_and_goes(four, authority):
    before = copy.deepcopy(four)
    north = make(authority)
    five = configuration.add(four, north)
    assert four == before
    assert [one.msp_id for one in configuration.present(five)] == ["AMSP", "BMSP", "CMSP", "DMSP", "NorthMSP"]
    found = configuration.present(five)[-1]
    assert (found.peers, found.orderers, found.tls_cas) == ((north.peer,), (north.orderer,), (north.tls_ca,))
    groups = five["channel_group"]["groups"]
    assert (
        groups["Orderer"]["groups"]["NorthMSP"]["values"]["MSP"]
        == (groups["Application"]["groups"]["NorthMSP"]["values"]["MSP"])
    )
    consenters = groups["Orderer"]["values"]["ConsensusType"]["value"]["metadata"]["consenters"]
    assert [one["port"] for one in consenters] == [21_001, 21_011, 21_021, 21_031, 20_001]

    assert configuration.add(five, north) == five
    assert configuration.remove(five, "NorthMSP") == four
    assert configuration.remove(four, "NorthMSP") == four


def test_somebody_elses_name_or_endpoint_is_refused(four, authority, another_authority):
    stranger = another_authority.pem.decode()
    with pytest.raises(BeflError, match="BEFL-N-013: AMSP is in the channel already, with other"):
        configuration.add(four, make(authority, "a", ca=stranger))
    for where in ("peer", "orderer"):
        with pytest.raises(BeflError, match=r"BEFL-N-013: 127\.0\.0\.1:21001 is an endpoint of AMSP"):
            configuration.add(four, make(authority, **{where: "127.0.0.1:21001"}))


def test_the_last_one_stays(four):
    for msp_id in ("AMSP", "BMSP", "CMSP"):
        four = configuration.remove(four, msp_id)
    with pytest.raises(BeflError, match="BEFL-N-014: DMSP is the last institution"):
        configuration.remove(four, "DMSP")


def test_another_consensus_is_left_alone(four, authority):
    four["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"]["value"]["type"] = "BFT"
    with pytest.raises(BeflError, match="BEFL-N-014: the channel's consensus is BFT"):
        configuration.add(four, make(authority))


def test_a_revocation_list_goes_into_both_groups(four):
    after = configuration.revoke(four, "BMSP", ["LIST"])
    assert [one.revocations for one in configuration.present(after)] == [(), ("LIST",), (), ()]
    for name in configuration.GROUPS:
        groups = after["channel_group"]["groups"][name]["groups"]
        assert groups["BMSP"]["values"]["MSP"]["value"]["config"]["revocation_list"] == ["TElTVA=="]
    assert configuration.revoke(four, "NobodyMSP", ["LIST"]) == four


def update_of(now: dict, wanted: dict) -> dict:
    """The update from one configuration to another one, as configtxlator computes it."""

    def compare(before: dict, after: dict) -> tuple[dict, dict, bool]:
        kinds = ("groups", "values", "policies")
        keys_differ = any(set(before[kind]) != set(after[kind]) for kind in kinds)
        read = {"version": before["version"], "groups": {}, "values": {}, "policies": {}, "mod_policy": ""}
        write = copy.deepcopy(read)
        touched = keys_differ
        for kind in kinds:
            for name, element in after[kind].items():
                if name not in before[kind]:
                    write[kind][name] = element
                elif kind == "groups":
                    below_read, below_write, changed = compare(before[kind][name], element)
                    if changed or keys_differ:
                        read[kind][name], write[kind][name] = below_read, below_write
                    touched |= changed
                elif element != before[kind][name]:
                    write[kind][name] = {**element, "version": str(int(before[kind][name]["version"]) + 1)}
                    touched = True
                elif keys_differ:
                    read[kind][name] = write[kind][name] = {"version": element["version"]}
        if keys_differ:
            write["version"] = str(int(before["version"]) + 1)
        return read, write, touched

    read, write, _ = compare(now["channel_group"], wanted["channel_group"])
    return {"channel_id": "befl", "read_set": read, "write_set": write}


def committed(now: dict, wanted: dict) -> dict:
    """The configuration after that update: versions count what has changed."""
    after = copy.deepcopy(wanted)

    def count(before: dict, now: dict) -> None:
        for kind in ("values", "policies"):
            for name, element in now[kind].items():
                if name in before[kind] and element != before[kind][name]:
                    element["version"] = str(int(element["version"]) + 1)
        if any(set(before[kind]) != set(now[kind]) for kind in ("groups", "values", "policies")):
            now["version"] = str(int(before["version"]) + 1)
        for name in set(before["groups"]) & set(now["groups"]):
            count(before["groups"][name], now["groups"][name])

    count(now["channel_group"], after["channel_group"])
    return after


def test_what_an_update_changes_and_who_must_sign(four, authority):
    five = configuration.add(four, make(authority))
    update = update_of(four, five)
    found = configuration.changes(four, update)
    assert [str(one) for one in found] == [
        "added: group Channel/Application/NorthMSP",
        "added: group Channel/Orderer/NorthMSP",
        "changed: value Channel/Orderer/ConsensusType",
    ]
    assert configuration.required(four, found) == (3, frozenset({"AMSP", "BMSP", "CMSP", "DMSP"}))
    assert not configuration.in_force(four, update)
    assert configuration.stale(four, update) == ()

    after = committed(four, five)
    assert configuration.in_force(after, update)
    assert configuration.stale(after, update) == ("Channel", "Application")

    away = update_of(after, configuration.remove(after, "NorthMSP"))
    assert [str(one) for one in configuration.changes(after, away)] == [
        "removed: group Channel/Application/NorthMSP",
        "removed: group Channel/Orderer/NorthMSP",
        "changed: value Channel/Orderer/ConsensusType",
    ]
    gone = committed(after, configuration.remove(after, "NorthMSP"))
    assert configuration.in_force(gone, away)
    assert not configuration.in_force(gone, update)


def test_an_institutions_own_matter_takes_its_own_signature(four):
    revoked = configuration.revoke(four, "BMSP", ["LIST"])
    found = configuration.changes(four, update_of(four, revoked))
    assert [change.path[-2:] for change in found] == [("BMSP", "MSP")] * 2
    assert configuration.required(four, found) == (1, frozenset({"BMSP"}))
    other = update_of(four, configuration.revoke(four, "BMSP", ["OTHER"]))
    assert configuration.stale(four, other) == ()
    assert configuration.stale(committed(four, revoked), other) == ("Channel", "Application", "BMSP", "MSP")
    both = configuration.changes(four, update_of(four, configuration.revoke(revoked, "CMSP", ["LIST"])))
    assert configuration.required(four, both)[0] == 3
    policy = Change("changed", ("Channel", "Orderer", "BlockValidation"), "policy")
    assert configuration.required(four, (*found, policy))[0] == 3


def test_a_newcomer_is_shown_with_the_certificates_that_it_reads_out_itself(four, authority):
    north = make(authority)
    update = update_of(four, configuration.add(four, north))
    ca, tls_ca, orderer = north.fingerprints.values()
    certificate = x509.load_pem_x509_certificate(north.orderer_certificate.encode())
    assert orderer == hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    cas = [f"  CA SHA-256 {ca}", f"  TLS CA SHA-256 {tls_ca}"]
    assert configuration.shown(four, update) == (
        "added: group Channel/Application/NorthMSP",
        *cas,
        "added: group Channel/Orderer/NorthMSP",
        *cas,
        "changed: value Channel/Orderer/ConsensusType",
        f"  orderer added: 127.0.0.1:20001, SHA-256 {orderer}",
    )
    five = configuration.add(four, north)
    after = committed(four, five)
    away = configuration.shown(after, update_of(after, configuration.remove(after, "NorthMSP")))
    assert away[-1] == f"  orderer removed: 127.0.0.1:20001, SHA-256 {orderer}"
    assert not any("CA SHA" in line for line in away)
    revoked = configuration.shown(four, update_of(four, configuration.revoke(four, "BMSP", ["LIST"])))
    assert revoked == ("changed: value Channel/Application/BMSP/MSP", "changed: value Channel/Orderer/BMSP/MSP")


def endorses_for_it(groups, other):
    policy = groups["Application"]["groups"]["NorthMSP"]["policies"]["Endorsement"]["policy"]
    policy["value"]["identities"][0]["principal"]["msp_identifier"] = "DMSP"


def is_fulfilled_by_nobody_at_all(groups, other):
    policy = groups["Application"]["groups"]["NorthMSP"]["policies"]["Admins"]["policy"]
    policy["value"]["rule"]["n_out_of"]["n"] = 0


def has_a_policy_of_another_kind(groups, other):
    policies = groups["Application"]["groups"]["NorthMSP"]["policies"]
    policies["Admins"]["policy"] = {"type": 3, "value": {"rule": "ALL", "sub_policy": "Admins"}}


def has_a_second_ca(groups, other):
    groups["Application"]["groups"]["NorthMSP"]["values"]["MSP"]["value"]["config"]["root_certs"].append(other)


def is_governed_by_another_one(groups, other):
    groups["Application"]["groups"]["NorthMSP"]["mod_policy"] = "/Channel/Application/DMSP/Admins"


def has_a_value_that_another_one_may_change(groups, other):
    groups["Application"]["groups"]["NorthMSP"]["values"]["MSP"]["mod_policy"] = "/Channel/Application/DMSP/Admins"


def has_no_admins_by_its_cas_word(groups, other):
    groups["Application"]["groups"]["NorthMSP"]["values"]["MSP"]["value"]["config"]["fabric_node_ous"]["enable"] = False


def has_a_group_below(groups, other):
    groups["Application"]["groups"]["NorthMSP"]["groups"]["Below"] = group()


@pytest.mark.parametrize(
    ("change", "strange"),
    [
        (endorses_for_it, "policy Endorsement"),
        (is_fulfilled_by_nobody_at_all, "policy Admins"),
        (has_a_policy_of_another_kind, "policy Admins"),
        (has_a_second_ca, "value MSP"),
        (is_governed_by_another_one, "modification policy"),
        (has_a_value_that_another_one_may_change, "value MSP"),
        (has_no_admins_by_its_cas_word, "value MSP"),
        (has_a_group_below, "group Below"),
    ],
)
def test_a_newcomer_that_is_not_as_befl_makes_it_stands_out(four, authority, another_authority, change, strange):
    """Its certificates are right, and its voice would be another one's."""
    five = configuration.add(four, make(authority))
    change(five["channel_group"]["groups"], base64.b64encode(another_authority.pem).decode())
    lines = configuration.shown(four, update_of(four, five))
    assert [line for line in lines if "ATTENTION" in line] == [f"  ATTENTION, not as befl makes it: {strange}"]
    if change is has_a_second_ca:
        assert f"  CA SHA-256 {fingerprint(another_authority.pem.decode())}" in lines


def test_what_comes_with_the_orderers_stands_out(four, authority, another_authority):
    five = configuration.add(four, make(authority))
    value = five["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"]["value"]
    value["metadata"]["options"] = {"election_tick": 999}
    value["metadata"]["consenters"][-1]["server_tls_cert"] = "no certificate"
    lines = configuration.shown(four, update_of(four, five))
    assert lines[-1] == "  ATTENTION: more than the orderers is changed"
    assert lines[-2].startswith("  orderer added: 127.0.0.1:20001, SHA-256 ")
    assert lines[-2].endswith(" and unreadable")


def test_a_group_that_befl_does_not_make_stands_out(four):
    wanted = copy.deepcopy(four)
    wanted["channel_group"]["groups"]["Consortiums"] = group()
    assert configuration.shown(four, update_of(four, wanted)) == (
        "added: group Channel/Consortiums",
        "  ATTENTION, not as befl makes it: group",
    )


TAKEN = "/Channel/Application/DMSP/Admins"
"""A policy that D alone fulfils."""


@pytest.mark.parametrize("beside", [False, True])
def test_who_may_change_a_group_is_not_changed_unseen(four, authority, beside):
    """An update that lets an institution in may hand the group to one of the others, byte by byte beside it."""
    wanted = configuration.add(four, make(authority)) if beside else copy.deepcopy(four)
    update = update_of(four, wanted)
    group_ = update["write_set"]["groups"].setdefault("Application", {"groups": {}, "values": {}, "policies": {}})
    before = update["read_set"]["groups"].setdefault("Application", {"groups": {}, "values": {}, "policies": {}})
    before["version"], group_["version"] = "0", "1"
    group_["mod_policy"] = "Admins"
    if not beside:  # as it would be written out: a group that is touched names all that stays in it
        for name in four["channel_group"]["groups"]["Application"]["groups"]:
            before["groups"][name] = group_["groups"][name] = {"version": "0"}
    honest = [str(one) for one in configuration.changes(four, update)]
    assert not any("modification" in line for line in honest)

    group_["mod_policy"] = TAKEN
    found = configuration.changes(four, update)
    said = f"changed: modification policy (now {TAKEN}) of group Channel/Application"
    assert [str(one) for one in found] == [said, *honest]
    assert configuration.required(four, found)[0] == 3
    assert not configuration.in_force(four, update)
    after = committed(four, wanted)
    assert not configuration.in_force(after, update)
    after["channel_group"]["groups"]["Application"]["mod_policy"] = TAKEN
    assert configuration.in_force(after, update)


def test_an_own_groups_policy_is_shown_too(four):
    """Its own matter, and still said."""
    groups = {"BMSP": {"version": "1", "mod_policy": "/Channel/Admins", "groups": {}, "values": {}, "policies": {}}}
    theirs = four["channel_group"]["groups"]["Application"]["groups"]["BMSP"]
    for kind in ("values", "policies"):
        groups["BMSP"][kind] = {name: {"version": "0"} for name in theirs[kind]}
    read = {"BMSP": {**groups["BMSP"], "version": "0", "mod_policy": ""}}
    update = {
        "read_set": {"groups": {"Application": {"groups": read}}},
        "write_set": {"groups": {"Application": {"groups": groups}}},
    }
    assert [str(one) for one in configuration.changes(four, update)] == [
        "changed: modification policy (now /Channel/Admins) of group Channel/Application/BMSP"
    ]


def test_a_majority_is_more_than_half():
    assert [configuration.majority(count) for count in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
