"""Identities of a simulated consortium look like Fabric CA's."""

from __future__ import annotations

import json

from cryptography import x509

from befl.ledger import make_creator
from befl.ledger.identities import ATTRIBUTES_OID


def attributes(creator):
    certificate = x509.load_pem_x509_certificate(creator.certificate)
    extension = certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID)
    return certificate, json.loads(extension.value.value)["attrs"]


def test_role_unit_and_enrolment_id_stand_in_the_certificate():
    creator = make_creator("Org1MSP", "trainer|validator", ou="client", name="agent")
    certificate, attrs = attributes(creator)
    assert creator.msp_id == "Org1MSP"
    assert attrs == {
        "befl.role": "trainer|validator",
        "hf.Affiliation": "",
        "hf.EnrollmentID": "agent",
        "hf.Type": "client",
    }
    assert certificate.subject.rfc4514_string() == "CN=agent,OU=client"
    assert certificate.issuer.rfc4514_string() == "CN=ca.Org1MSP,O=Org1MSP"


def test_without_a_role_there_is_no_attribute():
    certificate, attrs = attributes(make_creator("Org1MSP", ou="admin"))
    assert "befl.role" not in attrs
    assert attrs["hf.EnrollmentID"] == "admin"
    assert certificate.subject.rfc4514_string() == "CN=admin,OU=admin"


def test_identities_are_stable_and_distinct():
    assert make_creator("Org1MSP", "trainer") is make_creator("Org1MSP", "trainer")
    assert make_creator("Org1MSP", "trainer") != make_creator("Org2MSP", "trainer")
