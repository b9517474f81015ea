"""Forgeries: what somebody could change on a ledger, and the finding that each must give.

The forger has whatever keys a row needs, up to those of all orderers together: what is changed is hashed, linked and
signed anew, so that each row meets the one check that it is for. Every check in the table has a row that nothing else
finds: a test switches each one off and sees it pass.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import msp_config_pb2

from befl.audit.block import Code
from befl.audit.chain import verify
from befl.audit.checks import CHECKS
from befl.audit.report import Report
from befl.gateway.identity import ORDERS
from befl.rules.errors import BeflError

from .factory import DAY, NOW, ROLES, Authority, Channel, Institution, any_of, definition, envelope, ledger, pem, sign

CHAIN = tuple(CHECKS)[: tuple(CHECKS).index("commit_hash") + 1]
"""The checks of this half; those of the replay come behind."""

Row = tuple[str, int, Callable[[Channel], None]]
ROWS: dict[str, Row] = {}


def row(check: str, block: int) -> Callable[[Callable[[Channel], None]], Callable[[Channel], None]]:
    """Enter a forgery: the check that must find it, and in which block."""

    def enter(forge: Callable[[Channel], None]) -> Callable[[Channel], None]:
        ROWS[forge.__name__] = (check, block, forge)
        return forge

    return enter


def forged(forge: Callable[[Channel], None]) -> Channel:
    """The ledger of the factory after a forgery; the next one begins anew."""
    channel = ledger()
    forge(channel)
    return channel


def audited(channel: Channel, switched_off: frozenset[str] = frozenset()) -> Report:
    report = Report(switched_off)
    for _ in verify(channel.blocks(), report):
        pass
    return report


def places(report: Report) -> set[tuple[str, int]]:
    return {(each.check, each.block) for each in report.findings}


# --- the chain ---


@row("sequence", 9)
def a_block_left_out_and_the_chain_linked_again(channel):
    del channel.messages[8]
    channel.seal(8)


@row("previous_hash", 9)
def a_block_left_out(channel):
    del channel.messages[8]


@row("previous_hash", 9)
def a_block_that_follows_another_one(channel):
    channel.messages[9].block.header.previous_hash = bytes(32)
    channel.sign(9)


@row("data_hash", 9)
def a_hash_of_other_transactions(channel):
    channel.messages[9].block.header.data_hash = bytes(32)
    channel.sign(9)


@row("data_hash", 2)
def a_byte_flipped_in_a_transaction(channel):
    flip(channel, 2)


@row("data_hash", 9)
def bytes_behind_a_transaction(channel):
    channel.messages[9].block.data.data[0] += b"\x12\x00"
    channel.seal(9)


@row("orderer", 2)
def a_byte_flipped_and_the_hashes_made_anew(channel):
    block = channel.messages[2].block
    signatures = block.metadata.metadata[0]
    flip(channel, 2)
    channel.seal(2)
    block.metadata.metadata[0] = signatures


@row("orderer", 9)
def a_block_that_a_client_signed(channel):
    channel.seal(9, by=channel.members[0].client)


@row("orderer", 9)
def a_block_that_an_admin_signed(channel):
    channel.seal(9, by=channel.members[0].admin)


@row("orderer", 9)
def a_block_that_a_strangers_orderer_signed(channel):
    channel.seal(9, by=channel.stranger.orderer)


@row("orderer", 9)
def a_block_without_signatures(channel):
    channel.messages[9].block.metadata.metadata[0] = b""


@row("orderer", 9)
def a_block_whose_metadata_are_none(channel):
    channel.messages[9].block.metadata.metadata[0] = b"\xff"


@row("orderer", 9)
def a_block_of_an_orderer_without_a_number(channel):
    channel.seal(9, number=7)


@row("orderer", 9)
def a_block_signed_by_another_orderer_than_it_says(channel):
    channel.seal(9, by=channel.members[0].orderer, number=2)


@row("last_configuration", 9)
def a_block_that_names_an_older_configuration(channel):
    channel.seal(9, last=0)


@row("channel", 9)
def a_transaction_of_another_channel(channel):
    channel.change(9, channel="other")


@row("form", 9)
def something_that_is_no_transaction(channel):
    channel.messages[9].block.data.data[0] = sign(b"\xff", channel.members[0].client)
    channel.seal(9)


@row("form", 9)
def an_event_of_another_chaincode(channel):
    channel.change(9, event_of="other")


# --- the configuration ---


@row("configuration", 4)
def a_configuration_of_another_channel(channel):
    reconfigure(channel, ledger("other", channel.members).messages[4].block.data.data[0])


@row("configuration", 4)
def an_update_for_another_channel(channel):
    again(channel, channel="other")


@row("configuration", 4)
def an_update_that_nobody_signed(channel):
    again(channel, signers=[])


@row("configuration", 4)
def an_update_that_another_institution_signed(channel):
    again(channel, signers=[channel.members[0].admin, channel.members[1].admin])


@row("configuration", 4)
def an_update_that_a_client_signed(channel):
    again(channel, signers=[channel.members[2].client])


@row("configuration", 4)
def a_configuration_that_its_update_does_not_make(channel):
    again(channel, after=lambda made: made.root.groups["Application"].groups["Org3MSP"].policies.clear())


@row("configuration", 4)
def a_configuration_left_out(channel):
    again(channel, after=lambda made: setattr(made, "sequence", 2))


@row("configuration", 4)
def a_configuration_without_an_update(channel):
    reconfigure(channel, channel.configuration())


# --- who submitted ---


@row("submitter", 9)
def a_transaction_that_another_one_signed(channel):
    channel.change(9, signer=channel.members[0].other_client)


@row("submitter", 9)
def a_transaction_of_somebody_revoked(channel):
    channel.change(9, submitter=channel.members[2].other_client)


@row("submitter", 9)
def a_transaction_of_a_stranger(channel):
    channel.change(9, submitter=channel.stranger.client)


@row("submitter", 9)
def a_transaction_of_a_member_of_nothing(channel):
    channel.change(9, submitter=Institution("Org9").client)


@row("submitter", 9)
def a_transaction_of_one_with_two_roles(channel):
    channel.change(9, submitter=channel.members[0].ca.issue("Org1MSP", "client", "admin"))


@row("submitter", 9)
def a_transaction_of_one_without_a_role(channel):
    channel.change(9, submitter=channel.members[0].ca.issue("Org1MSP"))


@row("submitter", 9)
def a_transaction_of_anothers_institution(channel):
    channel.change(9, submitter=channel.members[0].ca.issue("Org2MSP", "client"))


@row("writer", 9)
def a_transaction_of_a_peer(channel):
    channel.change(9, submitter=channel.members[0].peer)


@row("expiry", 9)
def a_transaction_after_the_certificate_expired(channel):
    channel.change(9, time=NOW + 2 * DAY)


@row("expiry", 9)
def a_transaction_before_the_certificate_began(channel):
    channel.change(9, time=NOW - 2 * DAY)


@row("transaction_id", 9)
def a_transaction_with_an_id_of_its_own(channel):
    channel.change(9, txid="0" * 64)


@row("duplicate", 9)
def a_transaction_that_counts_twice(channel):
    recipe = channel.recipes[8, 0]
    channel.messages[9].block.data.data[0] = envelope(recipe)
    channel.seal(9)


@row("duplicate", 9)
def a_transaction_that_counts_twice_in_one_block(channel):
    data = channel.messages[9].block.data.data
    data.append(data[0])
    channel.mark(9, [Code.VALID, Code.VALID])
    channel.seal(9)


@row("duplicate", 9)
def an_invalid_transaction_that_comes_again(channel):
    channel.messages[9].block.data.data[0] = envelope(channel.recipes[6, 0])
    channel.seal(9)


# --- what it did ---


@row("proposal", 9)
def an_answer_to_another_proposal(channel):
    channel.change(9, after_proposal=b"\x12\x00")


@row("definition", 9)
def a_chaincode_without_a_definition(channel):
    channel.change(9, chaincode="other", event_of="other")


@row("definition", 2)
def a_chaincode_before_its_definition(channel):
    first, second = (channel.messages[number].block for number in (1, 2))
    data = list(first.data.data), list(second.data.data)
    del first.data.data[:], second.data.data[:]
    first.data.data.extend([envelope(channel.recipe(writes={"other": b"1"}))])
    second.data.data.extend([*data[1]])
    channel.seal(1)


def writes_something_else(action) -> None:
    action.results = action.results.replace(b"last2", b"lost2")


@row("endorsements", 9)
def a_write_set_changed_and_all_hashes_made_anew(channel):
    channel.change(9, after_endorsing=writes_something_else)


@row("endorsements", 9)
def an_endorsement_too_few(channel):
    channel.change(9, endorsers=[channel.members[0].peer])


@row("endorsements", 9)
def the_same_endorser_twice(channel):
    channel.change(9, endorsers=[channel.members[0].peer] * 2)


@row("endorsements", 9)
def the_same_endorser_in_other_bytes(channel):
    peer = channel.members[0].peer
    again_ = type(peer)(peer.msp_id, peer.certificate + b"\n", peer.sign)
    channel.change(9, endorsers=[peer, again_])


@row("endorsements", 9)
def two_endorsers_of_one_institution(channel):
    channel.change(9, endorsers=[channel.members[0].peer, channel.members[0].other_peer])


@row("endorsements", 9)
def an_endorsement_by_a_revoked_certificate(channel):
    channel.change(9, endorsers=[channel.members[0].peer, channel.members[2].other_peer])


@row("endorsements", 9)
def an_endorsement_by_a_foreign_certificate(channel):
    channel.change(9, endorsers=[channel.members[1].peer, channel.stranger.peer])


@row("endorsements", 9)
def an_endorsement_by_a_client(channel):
    channel.change(9, endorsers=[channel.members[0].peer, channel.members[1].client])


@row("endorsements", 9)
def an_endorsement_by_nobody_with_a_high_s(channel):
    peer = channel.members[1].peer

    def high(message: bytes) -> bytes:
        r, s = decode_dss_signature(peer.sign(message))
        return encode_dss_signature(r, ORDERS["secp256r1"] - s)

    channel.change(9, endorsers=[channel.members[0].peer, type(peer)(peer.msp_id, peer.certificate, high)])


@row("endorsements", 9)
def a_write_into_no_collection(channel):
    channel.change(9, private={"p3": b"3"}, collection="other")
    channel.messages[9].private_data_map[0].SetInParent()


@row("endorsements", 9)
def a_write_into_a_collection_without_a_name(channel):
    """What one member alone can have ordered; its hash is no text."""
    channel.change(9, private={"p3": b"3"}, collection="", endorsers=[channel.members[0].peer])
    channel.messages[9].private_data_map[0].SetInParent()


@row("endorsements", 9)
def a_write_into_a_collection_with_a_policy_of_its_own(channel):
    channel.change(9, private={"p3": b"3"}, collection="own")


@row("endorsements", 11)
def a_write_of_a_key_with_a_policy_of_its_own(channel):
    channel.add(channel.recipe(writes={"own": b"1"}, policies={"own": any_of("Org3MSP", "peer").value}))
    channel.add(channel.recipe(writes={"own": b"2"}))


@row("endorsements", 10)
def a_write_of_a_key_whose_policy_changes_in_the_same_block(channel):
    policies = {"own": any_of("Org1MSP", "peer").value}
    channel.add(channel.recipe(writes={"own": b"1"}, policies=policies), channel.recipe(writes={"own": b"2"}))


@row("endorsements", 11)
def a_policy_of_a_key_that_cannot_be_read(channel):
    channel.add(channel.recipe(writes={"own": b"1"}, policies={"own": b"\xff"}))
    channel.add(channel.recipe(writes={"own": b"2"}))


@row("endorsements", 6)
def a_transaction_marked_valid_that_has_too_few_endorsements(channel):
    channel.mark(6, [Code.VALID])


@row("reads", 3)
def a_transaction_marked_valid_that_came_second(channel):
    channel.mark(3, [Code.VALID, Code.VALID])


@row("reads", 7)
def a_private_read_of_another_version(channel):
    channel.change(7, private_reads={"p1": (1, 0)})


@row("reads", 9)
def a_private_read_of_another_version_in_a_collection_named_twice(channel):
    channel.change(9, private_reads={"p2": (1, 0)}, twice=True)


@row("private_data", 10)
def a_private_value_left_out_of_a_collection_named_twice(channel):
    """Peers write both; only the second one's value comes along."""
    channel.add(channel.recipe(private={"p8": b"8"}, twice=True))
    channel.messages[10].private_data_map[0].Clear()
    channel.messages[10].private_data_map[0].ns_pvt_rwset.add(namespace="befl").collection_pvt_rwset.add(
        collection_name="updates"
    )


@row("reads", 9)
def a_read_of_a_key_as_if_it_were_not_there(channel):
    channel.change(9, reads={"last": None})


@row("ranges", 5)
def a_transaction_marked_valid_whose_range_has_changed(channel):
    channel.mark(5, [Code.VALID, Code.VALID])


@row("ranges", 5)
def a_range_that_leaves_out_a_key(channel):
    channel.change(5, ranges=[("k", "l", {"k1": (3, 0)})])


@row("flags", 9)
def a_transaction_marked_invalid_that_is_valid(channel):
    channel.mark(9, [Code.MVCC_READ_CONFLICT])


@row("flags", 6)
def a_transaction_marked_invalid_for_another_reason(channel):
    channel.mark(6, [Code.BAD_CREATOR_SIGNATURE])


@row("flags", 9)
def a_block_without_marks(channel):
    channel.mark(9, [])


@row("private_data", 2)
def a_byte_flipped_in_a_private_value(channel):
    [collection] = channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset
    collection.rwset = collection.rwset.replace(b"model", b"modem")


@row("private_data", 2)
def a_private_value_left_out(channel):
    del channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset[0]
    channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset.add(collection_name="updates")


@row("private_data", 2)
def a_private_value_that_is_in_no_block(channel):
    [collection] = channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset
    more = kv_rwset_pb2.KVRWSet(writes=[kv_rwset_pb2.KVWrite(key="p9", value=b"9")])
    collection.rwset += more.SerializeToString()


@row("private_data", 2)
def private_data_that_cannot_be_read(channel):
    [collection] = channel.messages[2].private_data_map[0].ns_pvt_rwset[0].collection_pvt_rwset
    collection.rwset = b"\xff"


@row("private_data", 9)
def private_data_of_a_transaction_without_any(channel):
    channel.messages[9].private_data_map[0].CopyFrom(channel.messages[2].private_data_map[0])


@row("commit_hash", 9)
def another_commit_hash(channel):
    channel.messages[9].block.metadata.metadata[4] = common_pb2.Metadata(value=bytes(32)).SerializeToString()


# --- what the rows need ---


def flip(channel: Channel, number: int) -> None:
    data = bytearray(channel.messages[number].block.data.data[0])
    data[-1] ^= 1  # in the submitter's signature
    channel.messages[number].block.data.data[0] = bytes(data)


def reconfigure(channel: Channel, transaction: bytes) -> None:
    channel.messages[4].block.data.data[0] = transaction
    channel.seal(4)


def again(
    made: Channel, *, signers=None, channel: str = "", after: Callable[[Channel], object] = lambda made: None
) -> None:
    """Make block 4 anew, from the configuration before it."""
    third = made.members[2]
    made.root, made.sequence = made.first_root(), 0
    update = made.revocation(third, third.other_peer, third.other_client, channel=channel)
    after(made)
    reconfigure(made, made.configuration(update, [third.admin] if signers is None else signers))


# --- the tests ---


def test_the_ledger_without_a_forgery_passes():
    report = audited(ledger())
    assert report.findings == []
    assert report.verdict == "PASS"
    assert report.impossible == []
    assert {check for check in CHAIN if not report.looked[check]} == {"commit_hash"}


@pytest.mark.parametrize("name", ROWS)
def test_a_forgery_is_found(name):
    check, block, forge = ROWS[name]
    report = audited(forged(forge))
    assert (check, block) in places(report)
    assert report.verdict.startswith("FAIL (")


@pytest.mark.parametrize("check", CHAIN)
def test_without_a_check_a_forgery_passes(check):
    """Each check is needed: there is a forgery that no other one finds."""
    off = frozenset({check})
    untouched = places(audited(ledger(), off))  # a transaction that the check alone makes invalid is marked invalid
    rows = {name: forge for name, (found_by, _, forge) in ROWS.items() if found_by == check}
    undetected = [name for name, forge in rows.items() if places(audited(forged(forge), off)) == untouched]
    assert undetected, f"whatever {check} finds, others find too: {sorted(rows)}"


def test_one_institution_alone_where_the_policy_says_so():
    """A key and a collection with policies of their own need no majority; anything else in the transaction does."""
    channel = ledger()
    third = channel.members[2].peer
    channel.add(channel.recipe(writes={"own": b"1"}, policies={"own": any_of("Org3MSP", "peer").value}))
    channel.add(channel.recipe(writes={"own": b"2"}, endorsers=[third]))
    channel.add(channel.recipe(private={"p3": b"3"}, collection="own", endorsers=[third]))
    channel.add(channel.recipe(endorsers=[third]), flags=[Code.ENDORSEMENT_POLICY_FAILURE])
    more = channel.recipe(private={"p4": b"4"}, collection="own", writes={"own": b"3", "x": b"4"}, endorsers=[third])
    channel.add(more, flags=[Code.ENDORSEMENT_POLICY_FAILURE])
    assert audited(channel).findings == []


def test_a_collection_without_a_name_stops_no_audit():
    """Peers judge it by the chaincode's policy and write hash and value's hash into the public state."""
    channel = ledger()
    unnamed = {"private": {"p": b"v"}, "collection": ""}
    alone = channel.recipe(**unnamed, endorsers=[channel.members[0].peer])
    channel.add(alone, flags=[Code.ENDORSEMENT_POLICY_FAILURE])
    policies = {"own": any_of("Org1MSP", "peer").value}
    channel.add(channel.recipe(**unnamed, writes={"own": b"1"}, policies=policies))
    channel.add(channel.recipe(private_reads={"p": None}, collection=""))  # never there
    channel.add(channel.recipe(private_reads={"p": (11, 0)}, collection=""), flags=[Code.MVCC_READ_CONFLICT])
    everything = {"k1": (3, 0), "k2": (2, 0), "last": (8, 0), "last2": (9, 0), "own": (11, 0), "x": (5, 0)}
    conflict = [Code.PHANTOM_READ_CONFLICT]  # the hash stands among the keys
    channel.add(channel.recipe(ranges=[("", "", everything)]), flags=conflict)
    report = audited(channel)
    assert report.findings == []


def test_the_orderers_may_sign_with_their_number():
    channel = forged(lambda channel: channel.seal(9, number=2))
    assert audited(channel).verdict == "PASS"


@pytest.mark.parametrize("damage", ["another block first", "no configuration", "two transactions"])
def test_a_ledger_that_does_not_begin_with_a_genesis_block(damage):
    channel = ledger()
    if damage == "another block first":
        del channel.messages[0]
    elif damage == "no configuration":
        channel.messages[0].block.data.data[0] = channel.configuration()[:40]
    else:
        channel.messages[0].block.data.data.append(channel.messages[0].block.data.data[0])
    with pytest.raises(BeflError, match="BEFL-G-035"):
        audited(channel)


def test_a_purge_explains_what_is_missing():
    """Without the purge the value that the peer no longer has would be a finding; with it, it is none."""
    report = audited(forged(lambda channel: channel.change(7, purged=[], private={})))
    assert places(report) == {("private_data", 2)}


def test_private_data_that_the_peer_did_not_give_is_said():
    report = audited(forged(lambda channel: channel.messages[2].private_data_map.clear()))
    assert report.verdict == "PASS"
    [(what, why)] = report.impossible
    assert what.endswith("in updates")
    assert why == "the peer did not give it"


@pytest.mark.parametrize("kind", [{"plugin": "own"}, {"blocks_to_live": 9}])
def test_what_another_definition_makes_impossible_is_said(kind):
    channel = ledger()
    channel.change(1, writes=definition(**kind))
    report = audited(channel)
    assert report.impossible
    assert {what.split()[0] for what, _ in report.impossible} <= {"endorsements", "reads"}


@pytest.mark.parametrize("told", [True, False])
def test_certificates_of_an_intermediate_authority(told):
    """``told``: node OUs name the root, so what the intermediate authority issues has none of them."""
    channel = Channel()
    member = channel.members[0]
    below = Authority("below", member.ca)
    for part in ("Application", "Orderer"):
        value = channel.root.groups[part].groups[member.msp_id].values["MSP"]
        value.value = _with_intermediate(value.value, pem(below.certificate), told)
    channel.add(channel.configuration())
    channel.add(
        channel.recipe(chaincode="_lifecycle", event_of="_lifecycle", submitter=below.issue("Org1MSP", "client"))
    )
    channel.add(channel.recipe(chaincode="_lifecycle", event_of="_lifecycle"))
    found = places(audited(channel))
    assert (("submitter", 1) in found) == told
    assert ("submitter", 2) in found  # the root issues for its intermediate authorities only


def _with_intermediate(definition: bytes, certificate: bytes, told: bool) -> bytes:
    outer = msp_config_pb2.MSPConfig.FromString(definition)
    inner = msp_config_pb2.FabricMSPConfig.FromString(outer.config)
    inner.intermediate_certs.append(certificate)
    for role in () if told else ROLES:
        getattr(inner.fabric_node_ous, f"{role}_ou_identifier").ClearField("certificate")
    outer.config = inner.SerializeToString()
    return bytes(outer.SerializeToString())
