"""Pure functions from the topology to the files and environments that Fabric reads.

Nothing here touches the disk; ``tests/unit/network/golden`` holds what they make of one topology. Configuration that
Fabric wants as YAML is written as JSON, which is YAML.
"""

from __future__ import annotations

import gzip
import io
import json
import shlex
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from befl.network.layout import Home, Layout
from befl.network.topology import Institution, Topology
from befl.rules.reader import milliseconds

COLLECTIONS: Final = ("updates", "models")
NODE_OUS: Final = ("client", "peer", "admin", "orderer")
PROFILE: Final = "befl"

_ECDSA: Final = {"algo": "ecdsa", "size": 256}


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One certificate of one identity of an institution.

    Parameters
    ----------
    identity : str
        The enrolment id.
    kind : str
        The identity's type at the CA, which becomes its OU: client, peer, admin or orderer.
    ca : str
        ``ca`` (identity), ``tlsca`` or ``opsca``.
    folder : str
        Where the result goes, below the institution's folder.
    stem : str
        For TLS: the name of the certificate's file, ``server`` or ``client``; empty for an MSP folder.
    role : str
        The attribute ``befl.role``; empty for none.
    """

    identity: str
    kind: str
    ca: str
    folder: str
    stem: str = ""
    role: str = ""


def user_enrolments(name: str, kind: str, role: str) -> tuple[Enrolment, ...]:
    """Return the certificates of a user: to sign, and for TLS."""
    return (
        Enrolment(name, kind, "ca", f"users/{name}/msp", role=role),
        Enrolment(name, kind, "tlsca", f"users/{name}/tls", stem="client"),
    )


ENROLMENTS: Final = (
    Enrolment("orderer", "orderer", "ca", "orderer/msp"),
    Enrolment("orderer", "orderer", "tlsca", "orderer/tls", stem="server"),
    Enrolment("peer", "peer", "ca", "peer/msp"),
    Enrolment("peer", "peer", "tlsca", "peer/tls", stem="server"),
    Enrolment("chaincode", "client", "tlsca", "chaincode/tls", stem="server"),
    *user_enrolments("admin", "admin", "operator"),
    *user_enrolments("issuer", "client", "issuer"),
    *user_enrolments("agent", "client", "trainer"),
    Enrolment("operations", "client", "opsca", "users/admin/operations", stem="client"),
)
"""All certificates that an institution's first ``up`` obtains."""


def render(document: Any) -> str:
    """Write a document as JSON for people and for YAML readers."""
    return json.dumps(document, indent=2) + "\n"


def ca_name(institution: Institution, ca: str) -> str:
    """Return the name by which a CA of the institution is addressed (``--caname``)."""
    return f"{ca}.{institution.name}"


def ca_config(institution: Institution, home: Home, ca: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Make the configuration of one of the three CAs; that of ``ca`` is also the server's.

    Identities that the institution needs are registered by configuration: this saves a registrar's enrolment and a
    call for each. The registrar ``registrar`` is there for those that come later.

    Parameters
    ----------
    institution : Institution
        Whose CA it is.
    home : Home
        Its folder.
    ca : str
        ``ca``, ``tlsca`` or ``opsca``.
    secrets : mapping
        Enrolment secret by identity; the file that holds them is 0600.
    """
    registrar = {
        "hf.Registrar.Roles": "*",
        "hf.Registrar.DelegateRoles": "*",
        "hf.Registrar.Attributes": "*",
        "hf.Revoker": "true",
        "hf.GenCRL": "true",
    }
    identities = [{"name": "registrar", "pass": secrets["registrar"], "type": "client", "attrs": registrar}]
    for enrolment in ENROLMENTS:
        if enrolment.ca == ca:
            identity: dict[str, Any] = {
                "name": enrolment.identity,
                "pass": secrets[enrolment.identity],
                "type": enrolment.kind,
            }
            if enrolment.role:
                identity["attrs"] = {"befl.role": f"{enrolment.role}:ecert"}
            identities.append(identity)
    config: dict[str, Any] = {
        "version": "1.5.21",
        "ca": {"name": ca_name(institution, ca), "reenrollIgnoreCertExpiry": True},
        "crl": {"expiry": "720h"},
        "registry": {"maxenrollments": -1, "identities": identities},
        "db": {"type": "sqlite3", "datasource": "fabric-ca-server.db"},
        "affiliations": {},
        "signing": {
            "default": {"usage": ["digital signature"], "expiry": "8760h"},
            "profiles": {
                "tls": {
                    "usage": ["signing", "key encipherment", "server auth", "client auth", "key agreement"],
                    "expiry": "8760h",
                }
            },
        },
        "csr": {
            "cn": ca_name(institution, ca),
            "keyrequest": _ECDSA,
            "names": [{"O": institution.name}],
            "hosts": sans(institution),
            "ca": {"expiry": "131400h", "pathlength": 0},
        },
        "idemix": {"curve": "amcl.Fp256bn"},
        "bccsp": {"default": "SW", "sw": {"hash": "SHA2", "security": 256}},
        "cfg": {"identities": {"passwordattempts": 10}},
    }
    if ca == "ca":
        config["port"] = institution.port("ca")
        config["address"] = institution.host
        config["tls"] = {"enabled": True, "certfile": "server.crt", "keyfile": "server.key"}
        config["operations"] = {
            "listenAddress": institution.address("ca_operations"),
            "tls": {
                "enabled": True,
                "cert": {"file": "server.crt"},
                "key": {"file": "server.key"},
                "clientCACertFiles": [str(home.operations_ca)],
            },
        }
        config["metrics"] = {"provider": "disabled"}
    return config


def sans(institution: Institution) -> list[str]:
    """Return the names that the institution's TLS certificates are for."""
    return list(dict.fromkeys([institution.host, "localhost", "127.0.0.1"]))


def ca_service(home: Home, program: str) -> dict[str, Any]:
    """Describe the process of the Fabric CA server with its three CAs."""
    cafiles = ",".join(str(home.ca / name / "fabric-ca-server-config.yaml") for name in ("tlsca", "opsca"))
    return _service(home, "ca", [program, "start", "--home", str(home.ca), "--cafiles", cafiles], {})


def orderer_service(
    topology: Topology, institution: Institution, home: Home, program: str, config: Path
) -> dict[str, Any]:
    """Describe the orderer's process: no system channel, mutual TLS, admin and operations with a CA of their own."""
    tls = home.orderer / "tls"
    data = home.orderer / "data"
    server = {"PRIVATEKEY": str(tls / "server.key"), "CERTIFICATE": str(tls / "server.crt")}
    env = {
        "FABRIC_CFG_PATH": str(config),
        "FABRIC_LOGGING_SPEC": "info",
        "ORDERER_GENERAL_LISTENADDRESS": institution.host,
        "ORDERER_GENERAL_LISTENPORT": str(institution.port("orderer")),
        "ORDERER_GENERAL_LOCALMSPID": institution.msp_id,
        "ORDERER_GENERAL_LOCALMSPDIR": str(home.orderer / "msp"),
        "ORDERER_GENERAL_BOOTSTRAPMETHOD": "none",
        "ORDERER_GENERAL_AUTHENTICATION_TIMEWINDOW": _go(topology.chaincode.time_tolerance),
        "ORDERER_GENERAL_TLS_ENABLED": "true",
        **{f"ORDERER_GENERAL_TLS_{key}": value for key, value in server.items()},
        "ORDERER_GENERAL_TLS_ROOTCAS": f"[{tls / 'ca.crt'}]",
        "ORDERER_GENERAL_TLS_CLIENTAUTHREQUIRED": "true",
        "ORDERER_GENERAL_TLS_CLIENTROOTCAS": f"[{tls / 'ca.crt'}]",
        "ORDERER_GENERAL_CLUSTER_CLIENTCERTIFICATE": str(tls / "server.crt"),
        "ORDERER_GENERAL_CLUSTER_CLIENTPRIVATEKEY": str(tls / "server.key"),
        "ORDERER_CHANNELPARTICIPATION_ENABLED": "true",
        "ORDERER_FILELEDGER_LOCATION": str(data),
        "ORDERER_CONSENSUS_WALDIR": str(data / "etcdraft" / "wal"),
        "ORDERER_CONSENSUS_SNAPDIR": str(data / "etcdraft" / "snapshot"),
        "ORDERER_METRICS_PROVIDER": "prometheus",
    }
    for endpoint, port in (("ADMIN", "orderer_admin"), ("OPERATIONS", "orderer_operations")):
        env |= {
            f"ORDERER_{endpoint}_LISTENADDRESS": institution.address(port),
            f"ORDERER_{endpoint}_TLS_ENABLED": "true",
            **{f"ORDERER_{endpoint}_TLS_{key}": value for key, value in server.items()},
            # operations authorises certificate by certificate (/healthz is open), admin always asks for one
            f"ORDERER_{endpoint}_TLS_CLIENTAUTHREQUIRED": "true",
            f"ORDERER_{endpoint}_TLS_CLIENTROOTCAS": f"[{home.operations_ca}]",
        }
    env["ORDERER_OPERATIONS_TLS_CLIENTAUTHREQUIRED"] = "false"
    return _service(home, "orderer", [program], env)


def peer_service(
    topology: Topology, institution: Institution, home: Home, program: str, config: Path
) -> dict[str, Any]:
    """Describe the process of the peer: the release's core.yaml, overlaid by environment."""
    tls = home.peer / "tls"
    address = institution.address("peer")
    env = {
        "FABRIC_CFG_PATH": str(config),
        "FABRIC_LOGGING_SPEC": "info",
        "CORE_VM_ENDPOINT": "",  # or the peer looks for Docker
        "CORE_PEER_ID": f"peer.{institution.name}",
        "CORE_PEER_NETWORKID": topology.channel.name,
        "CORE_PEER_ADDRESS": address,
        "CORE_PEER_LISTENADDRESS": address,
        "CORE_PEER_CHAINCODEADDRESS": institution.address("peer_chaincode"),
        "CORE_PEER_CHAINCODELISTENADDRESS": institution.address("peer_chaincode"),
        "CORE_PEER_LOCALMSPID": institution.msp_id,
        "CORE_PEER_MSPCONFIGPATH": str(home.peer / "msp"),
        "CORE_PEER_FILESYSTEMPATH": str(home.peer / "data"),
        "CORE_LEDGER_SNAPSHOTS_ROOTDIR": str(home.peer / "data" / "snapshots"),
        "CORE_LEDGER_PVTDATASTORE_PURGEINTERVAL": "1",
        "CORE_PEER_AUTHENTICATION_TIMEWINDOW": _go(topology.chaincode.time_tolerance),
        "CORE_PEER_GATEWAY_ENDORSEMENTTIMEOUT": _go(topology.chaincode.endorsement_timeout),
        # the gateway goes on to another orderer when one does not answer; half a minute of waiting is a round's time
        "CORE_PEER_GATEWAY_BROADCASTTIMEOUT": "5s",
        "CORE_CHAINCODE_EXECUTETIMEOUT": _go(topology.chaincode.execute_timeout),
        "CORE_CHAINCODE_EXTERNALBUILDERS": f"[{{name: ccaas_builder, path: {json.dumps(str(home.builder))}}}]",
        "CORE_PEER_TLS_ENABLED": "true",
        "CORE_PEER_TLS_CERT_FILE": str(tls / "server.crt"),
        "CORE_PEER_TLS_KEY_FILE": str(tls / "server.key"),
        "CORE_PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
        "CORE_PEER_TLS_CLIENTAUTHREQUIRED": "true",
        "CORE_PEER_TLS_CLIENTROOTCAS_FILES": str(tls / "ca.crt"),
        "CORE_PEER_TLS_CLIENTCERT_FILE": str(tls / "server.crt"),
        "CORE_PEER_TLS_CLIENTKEY_FILE": str(tls / "server.key"),
        "CORE_PEER_DELIVERYCLIENT_RECONNECTBACKOFFTHRESHOLD": "5s",
        "CORE_PEER_GOSSIP_BOOTSTRAP": address,
        "CORE_PEER_GOSSIP_ENDPOINT": address,
        "CORE_PEER_GOSSIP_EXTERNALENDPOINT": address,
        "CORE_PEER_GOSSIP_ALIVETIMEINTERVAL": "1s",
        "CORE_PEER_GOSSIP_ALIVEEXPIRATIONTIMEOUT": "5s",
        "CORE_PEER_GOSSIP_RECONNECTINTERVAL": "1s",
        # more often, and of eight institutions' peers a quarter of the work is checking signatures on these
        "CORE_PEER_GOSSIP_PUBLISHSTATEINFOINTERVAL": "1s",
        "CORE_PEER_GOSSIP_REQUESTSTATEINFOINTERVAL": "2s",
        "CORE_PEER_GOSSIP_MEMBERSHIPTRACKERINTERVAL": "1s",
        # or whoever sends an old transaction again makes every peer look a minute for private data that nobody has now
        "CORE_PEER_GOSSIP_PVTDATA_SKIPPULLINGINVALIDTRANSACTIONSDURINGCOMMIT": "true",
        # or an institution that has an update endorsed, orders 20,000 blocks of its own (minutes) and then the update,
        # commits bytes that all others have thrown away: the round could be neither closed nor void. It costs disk for
        # proposals that nobody ever orders; what is ordered leaves this store at once
        "CORE_PEER_GOSSIP_PVTDATA_TRANSIENTSTOREMAXBLOCKRETENTION": "1000000",
        "CORE_OPERATIONS_LISTENADDRESS": institution.address("peer_operations"),
        "CORE_OPERATIONS_TLS_ENABLED": "true",
        "CORE_OPERATIONS_TLS_CERT_FILE": str(tls / "server.crt"),
        "CORE_OPERATIONS_TLS_KEY_FILE": str(tls / "server.key"),
        "CORE_OPERATIONS_TLS_CLIENTAUTHREQUIRED": "false",  # /metrics and /logspec ask for a certificate all the same
        "CORE_OPERATIONS_TLS_CLIENTROOTCAS_FILES": str(home.operations_ca),
        "CORE_METRICS_PROVIDER": "prometheus",
    }
    return _service(home, "peer", [program, "node", "start"], env)


def chaincode_service(home: Home, python: str, config: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Describe the process of a chaincode server with this configuration file."""
    # numpy's thread pool would hold memory for nothing: the rules are integer arithmetic
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    argv = [python, "-m", "befl.shim", "--config", str(config)]
    return _service(home, "chaincode", argv, {**threads, **env})


def chaincode_config(
    topology: Topology,
    institution: Institution,
    home: Home,
    package_id: str,
    code_digest: str,
    port: str = "chaincode",
) -> dict[str, Any]:
    """Make the configuration file of a chaincode server; ``port`` is the name of its port."""
    return {
        "chaincode_id": package_id,
        "address": institution.address(port),
        "certificate": str(home.chaincode / "tls" / "server.crt"),
        "key": str(home.chaincode / "tls" / "server.key"),
        "client_ca": str(home.chaincode / "tls" / "ca.crt"),
        "code_digest": code_digest,
        "time_tolerance_s": -(-milliseconds(topology.chaincode.time_tolerance) // 1000),
        "log_level": "INFO",
        "log_format": "text",
        "operations_address": institution.address(f"{port}_operations"),
        "operations_client_ca": str(home.operations_ca),
    }


def chaincode_connection(address: str, certificate: str, key: str, ca: str) -> dict[str, Any]:
    """Make what tells the institution's own peer how to dial its own chaincode server; holds the peer's TLS key.

    The arguments are ``host:port`` of the server, and PEM: the peer's TLS certificate and key, and the TLS CA.
    """
    return {
        "address": address,
        "dial_timeout": "10s",
        "tls_required": True,
        "client_auth_required": True,
        "client_key": key,
        "client_cert": certificate,
        "root_cert": ca,
    }


def builder_scripts(home: Home) -> dict[str, str]:
    """Make the three programs of the peer's external builder for chaincode as a service.

    The package holds no address and no secret, so every institution makes the same one; ``release`` puts in the
    institution's own connection file.
    """
    connection = shlex.quote(str(home.chaincode / "connection.json"))
    return {
        "detect": "#!/bin/sh\n# detect SOURCE METADATA\n"
        'tr -d " \\n" < "$2/metadata.json" | grep -q \'"type":"ccaas"\'\n',
        "build": "#!/bin/sh\n# build SOURCE METADATA OUTPUT: nothing to build, the server runs elsewhere\nexit 0\n",
        "release": "#!/bin/sh\n# release OUTPUT RELEASE\nset -eu\numask 077\n"
        f'mkdir -p "$2/chaincode/server"\ncp {connection} "$2/chaincode/server/connection.json"\n',
    }


def chaincode_label(name: str, version: str, code_digest: str) -> str:
    """Return the package's label: name, version and the beginning of the code digest."""
    return f"{name}_{version}-{code_digest[:16]}"


def definition_version(version: str, code_digest: str) -> str:
    """Return the version of the chaincode definition, which carries the whole code digest."""
    return f"{version}-{code_digest}"


def chaincode_package(label: str) -> bytes:
    """Make the chaincode package, the same bytes at every institution.

    ``metadata.json`` and ``code.tar.gz``, as in Fabric's page "Running Chaincode as an External Service"; the
    connection file inside is a placeholder for peers that look for one.
    """
    code = _tar_gz([("connection.json", b"{}\n")])
    metadata = json.dumps({"type": "ccaas", "label": label}, separators=(",", ":")).encode()
    return _tar_gz([("metadata.json", metadata), ("code.tar.gz", code)])


def collections(msp_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Make the collections' configuration: these institutions are members, no endorsement policy of their own.

    Secrecy comes from masks and envelopes, never from membership; so the chaincode's majority governs private keys too.
    A majority endorses, and each endorser keeps the value on disk until it is committed; the other peers pull it then.
    Pushing it to a peer before would make an endorser wait for one that has just died, and costs as much as the rest.
    """
    members = ",".join(f"'{msp_id}.member'" for msp_id in sorted(msp_ids))
    return [
        {
            "name": name,
            "policy": f"OR({members})",
            "requiredPeerCount": 0,
            "maxPeerCount": 0,
            "blockToLive": 0,
            "memberOnlyRead": True,
            "memberOnlyWrite": True,
        }
        for name in COLLECTIONS
    ]


def node_ous() -> dict[str, Any]:
    """Make an MSP's ``config.yaml``: the OU in a certificate says what its holder is."""
    ous: dict[str, Any] = {"Enable": True}
    for ou in NODE_OUS:
        ous[f"{ou.capitalize()}OUIdentifier"] = {
            "Certificate": "cacerts/ca.pem",
            "OrganizationalUnitIdentifier": ou,
        }
    return {"NodeOUs": ous}


def configtx(topology: Topology, layout: Layout) -> dict[str, Any]:
    """Make ``configtx.yaml`` with one profile: the genesis block of the channel.

    An institution has one MSP and stands in both groups with different policies: in the Orderer group only orderers
    write (the stock BlockValidation ``ANY Writers`` would otherwise let any client certificate sign valid blocks).
    """
    orderers = []
    members = []
    consenters = []
    for institution in topology.institutions:
        public = layout.public(institution.name)
        common = {"Name": institution.msp_id, "ID": institution.msp_id, "MSPDir": str(public.msp)}
        msp = institution.msp_id
        orderers.append(
            {
                **common,
                "Policies": {
                    "Readers": _signature(msp, "orderer", "admin"),
                    "Writers": _signature(msp, "orderer"),
                    "Admins": _signature(msp, "admin"),
                },
                "OrdererEndpoints": [institution.address("orderer")],
            }
        )
        members.append(
            {
                **common,
                "Policies": {
                    "Readers": _signature(msp, "peer", "client", "admin"),
                    "Writers": _signature(msp, "client", "admin"),
                    "Admins": _signature(msp, "admin"),
                    "Endorsement": _signature(msp, "peer"),
                },
                "AnchorPeers": [{"Host": institution.host, "Port": institution.port("peer")}],
            }
        )
        consenters.append(
            {
                "Host": institution.host,
                "Port": institution.port("orderer"),
                "ClientTLSCert": str(public.orderer_certificate),
                "ServerTLSCert": str(public.orderer_certificate),
            }
        )
    common_policies = {
        "Readers": _meta("ANY Readers"),
        "Writers": _meta("ANY Writers"),
        "Admins": _meta("MAJORITY Admins"),
    }
    return {
        "Profiles": {
            PROFILE: {
                "Policies": common_policies,
                "Capabilities": {"V3_0": True},
                "Orderer": {
                    "OrdererType": "etcdraft",
                    "BatchTimeout": _go(topology.channel.batch_timeout),
                    "BatchSize": {
                        "MaxMessageCount": 500,
                        "AbsoluteMaxBytes": "10 MB",
                        "PreferredMaxBytes": "2 MB",
                    },
                    "EtcdRaft": {
                        "Consenters": consenters,
                        "Options": {
                            "TickInterval": _go(topology.channel.raft_tick),
                            "ElectionTick": 10,
                            "HeartbeatTick": 1,
                            "MaxInflightBlocks": 5,
                            "SnapshotIntervalSize": "16 MB",
                        },
                    },
                    "Organizations": orderers,
                    "Policies": {**common_policies, "BlockValidation": _meta("ANY Writers")},
                    "Capabilities": {"V2_0": True},
                },
                "Application": {
                    "Organizations": members,
                    "Policies": {
                        **common_policies,
                        "LifecycleEndorsement": _meta("MAJORITY Endorsement"),
                        "Endorsement": _meta("MAJORITY Endorsement"),
                    },
                    "Capabilities": {"V2_5": True},
                },
            }
        }
    }


def connection_profile(topology: Topology, institution: Institution) -> dict[str, Any]:
    """Make the institution's connection profile: its own peer, its orderer and its CA, paths relative to the file."""
    peer = f"peer.{institution.name}"
    orderer = f"orderer.{institution.name}"
    ca = ca_name(institution, "ca")
    options = {"ssl-target-name-override": institution.host}
    tls_ca = {"path": "msp/tlscacerts/tlsca.pem"}
    return {
        "name": f"{topology.channel.name}.{institution.name}",
        "version": "1.0.0",
        "client": {"organization": institution.name},
        "channels": {topology.channel.name: {"orderers": [orderer], "peers": {peer: {}}}},
        "organizations": {
            institution.name: {"mspid": institution.msp_id, "peers": [peer], "certificateAuthorities": [ca]}
        },
        "peers": {
            peer: {"url": f"grpcs://{institution.address('peer')}", "tlsCACerts": tls_ca, "grpcOptions": options}
        },
        "orderers": {
            orderer: {"url": f"grpcs://{institution.address('orderer')}", "tlsCACerts": tls_ca, "grpcOptions": options}
        },
        "certificateAuthorities": {
            ca: {"url": f"https://{institution.address('ca')}", "caName": ca, "tlsCACerts": {"path": "ca/server.crt"}}
        },
    }


def cli_environment(institution: Institution, home: Home, config: Path) -> dict[str, str]:
    """Return the environment of the ``peer`` command as the institution's admin."""
    tls = home.user("admin") / "tls"
    return {
        "FABRIC_CFG_PATH": str(config),
        "FABRIC_LOGGING_SPEC": "error",
        "CORE_PEER_LOCALMSPID": institution.msp_id,
        "CORE_PEER_MSPCONFIGPATH": str(home.user("admin") / "msp"),
        "CORE_PEER_ADDRESS": institution.address("peer"),
        "CORE_PEER_TLS_ENABLED": "true",
        "CORE_PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
        "CORE_PEER_TLS_CLIENTAUTHREQUIRED": "true",
        "CORE_PEER_TLS_CLIENTCERT_FILE": str(tls / "client.crt"),
        "CORE_PEER_TLS_CLIENTKEY_FILE": str(tls / "client.key"),
    }


def _service(home: Home, name: str, argv: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "argv": list(argv),
        "env": dict(env),
        "cwd": str(home.folder),
        "log": str(home.logs / f"{name}.log"),
    }


def _signature(msp_id: str, *roles: str) -> dict[str, str]:
    principals = ",".join(f"'{msp_id}.{role}'" for role in roles)
    return {"Type": "Signature", "Rule": f"OR({principals})"}


def _meta(rule: str) -> dict[str, str]:
    return {"Type": "ImplicitMeta", "Rule": rule}


def _go(duration: str) -> str:
    """Write a duration in Go's units, which have no days."""
    return f"{milliseconds(duration)}ms"


def _tar_gz(entries: Sequence[tuple[str, bytes]]) -> bytes:
    """Make a tar.gz whose bytes follow from its content: fixed order, owner, mode and time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)
