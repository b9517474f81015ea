"""What a certificate does not allow on the real network: signing blocks, opening admin endpoints, deciding alone."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from cryptography import x509

import befl.network
from befl.agent import chains
from befl.gateway import CommitError, Profile, connect, wait
from befl.gateway.ask import PeerQuestions
from befl.network import channel, commands, lifecycle
from befl.network import consortium as running
from befl.network.configuration import Configuration
from befl.network.files import COLLECTIONS
from befl.network.layout import Layout
from befl.rules.errors import BeflError


def script(*steps):
    return json.dumps(steps)


def test_only_orderers_sign_blocks(consortium):
    """BlockValidation is ANY Writers of the Orderer group; there Writers is the orderer alone, at each institution."""
    with running.acting(consortium.directory, "org1") as member:
        now = channel.current(member)
    orderers = now["channel_group"]["groups"]["Orderer"]
    assert orderers["policies"]["BlockValidation"]["policy"]["value"] == {"rule": "ANY", "sub_policy": "Writers"}
    for msp_id, group in orderers["groups"].items():
        identities = group["policies"]["Writers"]["policy"]["value"]["identities"]
        assert [one["principal"] for one in identities] == [{"msp_identifier": msp_id, "role": "ORDERER"}]


def test_a_block_that_a_client_signed_is_refused(tmp_path):
    """An institution lets its orderer sign with an agent's certificate: no peer takes the block."""
    directory = tmp_path / "network"
    befl.network.up(directory, befl.network.make(["alone"]), owner=os.getpid())
    try:
        with running.acting(directory, "alone") as member:
            home, before = member.home, channel.current(member)
            with connect(Profile.load(home.profile), home.user("agent")) as gateway:
                contract = gateway.network("befl").contract("befl")
                last = contract.submit("MemberContract:Announce", "", "").block
                for name in ("signcerts", "keystore"):
                    shutil.rmtree(home.orderer / "msp" / name)
                    shutil.copytree(home.user("agent") / "msp" / name, home.orderer / "msp" / name)
                member.restart("orderer")
                member.await_leader()
                contract.submit_async("MemberContract:Announce", "", "")  # the ordering service takes it
            log = home.logs / "peer.log"
            wait.until(
                lambda: "implicit policy evaluation failed" in log.read_text(errors="replace"),
                timeout=20,
                what="the peer's refusal",
            )
            assert befl.network.status(directory).institutions[0].height == last + 1
            member.await_orderer(last + 2)  # the orderer has written one more
            assert channel.current(member) == before
    finally:
        befl.network.down(directory)


@pytest.mark.parametrize("collection", ["", *COLLECTIONS])
def test_one_institution_alone_writes_nothing(conformance, collection):
    steps = ["put_private", collection, "alone", "v"] if collection else ["put", "alone", "v"]
    with pytest.raises(CommitError, match="BEFL-G-008") as caught:
        conformance.contract().submit(
            "Run", script(steps), transient={"v": b"v"}, endorsing_organizations=[conformance.msp_ids[0]]
        )
    assert caught.value.validation_code == "ENDORSEMENT_POLICY_FAILURE"
    if collection:
        assert conformance.evaluate(["hash_private", collection, "alone"], by=1) == [""]


def test_one_institutions_endorsement_makes_no_record_of_befl(consortium):
    home = Layout(consortium.directory).home("org1")
    with connect(Profile.load(home.profile), home.user("agent")) as gateway:
        contract = gateway.network("befl").contract("befl")
        before = contract.evaluate("MemberContract:Get", "Org1MSP")
        with pytest.raises(CommitError, match="BEFL-G-008") as caught:
            contract.submit("MemberContract:Announce", "", "", endorsing_organizations=["Org1MSP"])
        assert caught.value.validation_code == "ENDORSEMENT_POLICY_FAILURE"
        assert contract.evaluate("MemberContract:Get", "Org1MSP") == before


def test_one_institution_commits_no_definition(consortium):
    """With Fabric's own command, as its admin: neither unapproved, nor approved by itself alone."""
    with running.acting(consortium.directory, "org1") as member:
        before = member.committed()
        present = channel.present(member)
        peers = {one.peers[0]: "".join(one.tls_cas) for one in present}
        mine = {member.institution.address("peer"): member.tls_ca}
        assert mine.keys() < peers.keys()
        definition = (before.version, before.sequence + 1, sorted(before.members))
        with pytest.raises(BeflError, match=r"BEFL-N-007: .*not agreed to by this org"):
            member.commit(*definition, mine)
        member.approve(member.package(*lifecycle.code())[0], *definition)
        with pytest.raises(BeflError, match=r"BEFL-N-007: .*not agreed to by this org"):  # the others' peers
            member.commit(*definition, peers)
        with pytest.raises(BeflError, match=r"BEFL-N-007: .*ENDORSEMENT_POLICY_FAILURE"):
            member.commit(*definition, mine)
        assert member.committed() == before


@pytest.mark.parametrize("port", ["orderer_admin", "orderer_operations", "peer_operations", "chaincode_operations"])
@pytest.mark.parametrize("user", ["agent", "issuer", "admin"])
def test_a_users_tls_certificate_opens_no_operations(consortium, port, user):
    with running.acting(consortium.directory, "org1") as member:
        host, number, tls_ca = member.institution.host, member.institution.port(port), member.home.tls_ca
    folder = consortium.user("org1", user) / "tls"
    context = commands.tls_context(tls_ca, folder / "client.crt", folder / "client.key")
    path = "/participation/v1/channels" if port == "orderer_admin" else "/metrics"
    status, text = commands.get(host, number, path, context)
    assert status in (0, 401, 403), text
    issuer = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes()).issuer
    operations = consortium.user("org1", "admin") / "operations" / "client.crt"
    assert issuer != x509.load_pem_x509_certificate(operations.read_bytes()).issuer


def test_an_agent_cannot_change_the_channel(consortium, tmp_path):
    """The update is well made, but signed and submitted by a client: no Admins policy is met."""

    def slower(now: Configuration) -> Configuration:
        changed = json.loads(json.dumps(now))
        changed["channel_group"]["groups"]["Orderer"]["values"]["BatchTimeout"]["value"]["timeout"] = "51ms"
        return changed

    with running.acting(consortium.directory, "org1") as member:
        outcome = channel.propose(member, slower, tmp_path / "update.pb")
        assert outcome.details == ("changed: value Channel/Orderer/BatchTimeout",)
        with pytest.raises(BeflError, match="BEFL-N-016: 2 of 3 institutions must sign; Org1MSP did"):
            channel.submit(member, [tmp_path / "update.pb"])
        command = member.peer_command
        with pytest.MonkeyPatch.context() as patch:
            from befl.network import files

            admin = files.cli_environment
            patch.setattr(
                files,
                "cli_environment",
                lambda *each: {**admin(*each), "CORE_PEER_MSPCONFIGPATH": str(consortium.user("org1") / "msp")},
            )
            with pytest.raises(BeflError, match=r"BEFL-N-007: .*(FORBIDDEN|BAD_REQUEST|implicit policy)"):
                command(
                    "channel",
                    "update",
                    f"--file={tmp_path / 'update.pb'}",
                    "--channelID=befl",
                    *member.ordering(),
                    what="submitting",
                )
            with pytest.raises(BeflError, match=r"BEFL-N-007: .*(admin|denied|creator)"):
                command("lifecycle", "chaincode", "queryinstalled", what="asking")
        assert channel.current(member)["channel_group"]["groups"]["Orderer"]["values"]["BatchTimeout"]["value"] == {
            "timeout": "25ms"
        }


def test_an_agent_holds_its_peers_chain_against_all_others(consortium):
    """It asks every institution's peer with its own certificate; one that shows another chain stops it."""
    home = Layout(consortium.directory).home("org1")
    profile = Profile.load(home.profile)
    asked = []

    class Peer(PeerQuestions):
        def chain(self):
            height, newest = super().chain()
            asked.append((height, newest))
            return height, newest

    class Lying(PeerQuestions):
        def chain(self):
            return super().chain()[0], b"\1" * 32

        def block_hash(self, height):
            return b"\1" * 32

    def ask(peer, kind=Peer):
        return kind(peer or profile.peers[0], home.user("agent"), profile.msp_id, "befl")

    chains.compare(ask)
    assert len(asked) == 1 + len(consortium.status().institutions)
    with pytest.raises(BeflError) as caught:
        chains.compare(lambda peer: ask(peer, Lying if peer and peer.name == "Org3MSP" else Peer))
    assert caught.value.code == "BEFL-G-036"
    assert "at Org3MSP's" in caught.value.message
