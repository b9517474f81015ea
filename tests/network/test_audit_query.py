"""An auditor asks the real ledger who did what and when, the invalid included."""

from __future__ import annotations

import csv
import io

import pytest

from befl.client import connect
from befl.gateway import CommitError, Profile
from befl.gateway import connect as open_gateway

from .hospitals import befl, befl_json


def test_an_auditor_sees_who_did_what_and_when(consortium):
    network = ("--network", consortium.directory)
    befl("identity", "enroll", "watcher", "--role", "auditor", *network, "--as", "org3")
    with connect(network=consortium.directory, identity="org2") as client:
        done = client.members.announce("watched.example:7443", "")
    with (
        open_gateway(Profile.load(consortium.profile("org1")), consortium.user("org1")) as gateway,
        pytest.raises(CommitError) as caught,
    ):
        gateway.network("befl").contract("befl").submit(
            "MemberContract:Announce", "alone.example:7443", "", endorsing_organizations=["Org1MSP"]
        )

    consortium.level()
    asked = (*network, "--as", "org3/watcher", "--kind", "Announce", "--after", f"{done.block - 1}:9999")
    found = befl_json("audit", "query", *asked)
    by = {each["txid"]: each for each in found["entries"]}
    valid, invalid = by[done.txid], by[caught.value.txid]
    assert (valid["msp_id"], valid["identity"], valid["transaction"]) == ("Org2MSP", "agent", "MemberContract:Announce")
    assert (valid["block"], valid["code"], valid["arguments"]) == (done.block, "VALID", ["watched.example:7443", ""])
    assert len(set(valid["endorsers"])) >= 2, "a majority of three"
    assert (invalid["msp_id"], invalid["code"]) == ("Org1MSP", "ENDORSEMENT_POLICY_FAILURE")
    assert invalid["endorsers"] == ["Org1MSP"]

    assert [each["code"] for each in befl_json("audit", "query", *asked, "--msp", "Org1MSP")["entries"]] == [
        "ENDORSEMENT_POLICY_FAILURE"
    ]
    page = befl_json("audit", "query", *asked, "--limit", "1")
    assert page["bookmark"] == f"{valid['block']}:{valid['index']}"
    rows = list(
        csv.DictReader(io.StringIO(befl("audit", "query", *network, "--as", "org3/watcher", "--format", "csv")))
    )
    assert (rows[0]["block"], rows[0]["transaction"]) == ("0", "config")
    assert {"_lifecycle:CommitChaincodeDefinition", "MemberContract:Register"} <= {row["transaction"] for row in rows}
