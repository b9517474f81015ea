"""Every decoder of foreign bytes, with seeds made by code: what may leave one is a value or its refusal.

A target takes bytes as they might come from another institution, an app, a file or a peer, and calls the decoder as
befl does. Whatever else than its refusals leaves it is a crash. ``run.py`` looks for one with atheris, the test beside
it with hypothesis.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import grpc
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.common import common_pb2, configtx_pb2, ledger_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2
from fabric_protos.peer import (
    chaincode_pb2,
    events_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from fabric_protos.peer import configuration_pb2 as peer_configuration_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf import any_pb2
from tests.fuzz import ledgers

from befl.agent import config as agent_config
from befl.audit import block as blocks
from befl.audit import configuration, query, source
from befl.audit.chain import verify
from befl.audit.msp import InvalidIdentityError, Msp
from befl.audit.report import Report
from befl.client.models import verify_folder
from befl.contracts.context import Context
from befl.contracts.stub import Creator
from befl.gateway import FileCheckpointer, Profile
from befl.gateway.ask import AnsweredError, PeerQuestions
from befl.gateway.errors import EndorseError, from_rpc
from befl.gateway.identity import check_pair, key_signer
from befl.gateway.steps import PendingCommit, PreparedTransaction, Proposal
from befl.network import channel, csr, definition, topology
from befl.rules import artefact, canonical, codec, parameters, spec
from befl.rules.errors import BeflError
from befl.rules.layout import read_layout
from befl.rules.metrics import METRICS
from befl.rules.reader import read, to_record
from befl.rules.statistics import read_sums
from befl.training import arrays, data, wire
from befl.training.app import AppCode, open_archive, read_app
from befl.training.predict import load_model


@dataclass(frozen=True)
class Target:
    """One decoder.

    Parameters
    ----------
    decode : callable
        Takes the bytes.
    seeds : sequence of bytes
        Some that it takes, or nearly.
    memory : int
        How much it may hold at once, bytes; inputs have at most ``longest``.
    refusals : tuple of type
        What may leave it.
    """

    decode: Callable[[bytes], object]
    seeds: Sequence[bytes]
    memory: int = 32 * 2**20
    refusals: tuple[type[Exception], ...] = (BeflError,)

    def accepts(self, content: bytes) -> bool:
        """Whether the bytes are what the decoder reads; raises what should not have left it."""
        try:
            self.decode(content)
        except self.refusals:
            return False
        return True


LONGEST: Final = 64 * 1024
"""The longest input, in bytes: limits of size have tests of their own."""
MOST_BYTES: Final = 4 * 2**20
"""What a decoder may unpack that has a limit of its own for it, instead of the megabytes or gigabytes of befl."""

# --- things to decode -------------------------------------------------------------------------------------------------

_EXAMPLES = Path(__file__).parents[2] / "examples"
TASK = (_EXAMPLES / "heart" / "task.toml").read_bytes()
DATA = read(
    spec.DataSpec,
    {
        "alias": "ward",
        "label": "ill",
        "columns": {
            "age": {"type": "number", "centre": "50", "spread": "10", "statistics": "pooled"},
            "sex": {"type": "category", "values": ["f", "m"]},
        },
    },
)
IMAGES = read(spec.DataSpec, {"alias": "ward", "label": "y", "form": "array", "shape": [2, 2], "classes": ["0", "1"]})
LAYOUT = [{"name": "w", "shape": [2, 2]}, {"name": "b", "shape": [1]}]
VALUES = np.array([1, -2, 3, -4, 5], dtype=np.int64)
COUNTS = {"correct": 9, "loss_micro": 5_000, "negatives": [6, *[0] * 63], "positives": [1, *[0] * 62, 3], "rows": 10}
KEY = ec.derive_private_key(0x5EED, ec.SECP256R1())
APP = AppCode.of("forest", b"def init(settings, problem, seed): return {}\n")
ROWS = b'age,sex,ill\n51,f,0\n,m,1\n"62.5",f,1\n' + b"40,m,0\n" * 9


def certificate(*attributes: bytes, ou: str = "client") -> bytes:
    """Make a certificate that the authority signed; with the OU ``ca`` its own."""

    def name(unit: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
                x509.NameAttribute(NameOID.COMMON_NAME, "somebody"),
            ]
        )

    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(
        name("ca"), name(ou), KEY.public_key(), 1, start, start + dt.timedelta(days=9_999)
    ).add_extension(x509.BasicConstraints(ca=ou == "ca", path_length=None), critical=True)
    key = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
    builder = builder.add_extension(key, critical=False)
    for value in attributes:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1"), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(serialization.Encoding.PEM)


KEY_PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
SIGN = key_signer(KEY)
CERTIFICATE = certificate(b'{"attrs":{"befl.role":"trainer|issuer"}}')
AUTHORITY = certificate(ou="ca")
IDENTITY = identities_pb2.SerializedIdentity(mspid="AlphaMSP", id_bytes=CERTIFICATE).SerializeToString()


def envelope() -> bytes:
    """Return a transaction of our chaincode, as it stands in a block."""
    call = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode_pb2.ChaincodeID(name="befl"),
            input=chaincode_pb2.ChaincodeInput(args=[b"TaskContract:Apply", b"f" * 16, b"{}"]),
        )
    )
    writes = kv_rwset_pb2.KVRWSet(
        reads=[kv_rwset_pb2.KVRead(key="task", version=kv_rwset_pb2.Version(block_num=1))],
        writes=[kv_rwset_pb2.KVWrite(key="application", value=b"{}")],
    )
    hashed = kv_rwset_pb2.HashedRWSet(
        hashed_writes=[kv_rwset_pb2.KVWriteHash(key_hash=b"k" * 32, value_hash=b"v" * 32)]
    )
    results = rwset_pb2.TxReadWriteSet(
        ns_rwset=[
            rwset_pb2.NsReadWriteSet(
                namespace="befl",
                rwset=writes.SerializeToString(),
                collection_hashed_rwset=[
                    rwset_pb2.CollectionHashedReadWriteSet(
                        collection_name="updates", hashed_rwset=hashed.SerializeToString()
                    )
                ],
            )
        ]
    )
    answer = proposal_response_pb2.ProposalResponsePayload(
        proposal_hash=b"h" * 32,
        extension=proposal_pb2.ChaincodeAction(
            results=results.SerializeToString(),
            response=proposal_response_pb2.Response(status=200, payload=b"{}"),
            chaincode_id=chaincode_pb2.ChaincodeID(name="befl", version="1"),
        ).SerializeToString(),
    )
    signed = answer.SerializeToString() + IDENTITY
    action = transaction_pb2.ChaincodeActionPayload(
        chaincode_proposal_payload=proposal_pb2.ChaincodeProposalPayload(
            input=call.SerializeToString()
        ).SerializeToString(),
        action=transaction_pb2.ChaincodeEndorsedAction(
            proposal_response_payload=answer.SerializeToString(),
            endorsements=[proposal_response_pb2.Endorsement(endorser=IDENTITY, signature=SIGN(signed))],
        ),
    )
    header = common_pb2.Header(
        channel_header=common_pb2.ChannelHeader(
            type=common_pb2.HeaderType.ENDORSER_TRANSACTION,
            channel_id="befl",
            tx_id=hashlib.sha256(b"n" * 24 + IDENTITY).hexdigest(),
            extension=proposal_pb2.ChaincodeHeaderExtension(
                chaincode_id=chaincode_pb2.ChaincodeID(name="befl")
            ).SerializeToString(),
        ).SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=IDENTITY, nonce=b"n" * 24).SerializeToString(),
    )
    transaction = transaction_pb2.Transaction(
        actions=[transaction_pb2.TransactionAction(payload=action.SerializeToString())]
    )
    payload = common_pb2.Payload(header=header, data=transaction.SerializeToString()).SerializeToString()
    return bytes(common_pb2.Envelope(payload=payload, signature=SIGN(payload)).SerializeToString())


def genesis() -> bytes:
    """Return block 0, with the channel's configuration."""
    made = common_pb2.Envelope(payload=config_payload()).SerializeToString()
    content = common_pb2.Block(
        header=common_pb2.BlockHeader(data_hash=hashlib.sha256(made).digest()), data=common_pb2.BlockData(data=[made])
    )
    return bytes(events_pb2.BlockAndPrivateData(block=content).SerializeToString())


def block(number: int = 7) -> bytes:
    content = [envelope()]
    previous = hashlib.sha256(blocks.header_bytes(blocks.read(genesis()).raw.header)).digest()
    private = kv_rwset_pb2.KVRWSet(writes=[kv_rwset_pb2.KVWrite(key="update", value=b"\0" * 20)])
    message = events_pb2.BlockAndPrivateData(
        block=common_pb2.Block(
            header=common_pb2.BlockHeader(
                number=number, previous_hash=previous, data_hash=hashlib.sha256(content[0]).digest()
            ),
            data=common_pb2.BlockData(data=content),
            metadata=common_pb2.BlockMetadata(metadata=[b"", b"", bytes(len(content)), b"", b""]),
        )
    )
    message.private_data_map[0].CopyFrom(
        rwset_pb2.TxPvtReadWriteSet(
            ns_pvt_rwset=[
                rwset_pb2.NsPvtReadWriteSet(
                    namespace="befl",
                    collection_pvt_rwset=[
                        rwset_pb2.CollectionPvtReadWriteSet(
                            collection_name="updates", rwset=private.SerializeToString()
                        )
                    ],
                )
            ]
        )
    )
    return bytes(message.SerializeToString())


def config_payload() -> bytes:
    group = configtx_pb2.ConfigGroup()
    group.groups["Application"].groups["AlphaMSP"].values["MSP"].value = msp()
    group.groups["Application"].policies["Writers"].policy.type = 3
    config = configtx_pb2.ConfigEnvelope(config=configtx_pb2.Config(sequence=1, channel_group=group))
    header = common_pb2.Header(
        channel_header=common_pb2.ChannelHeader(
            type=common_pb2.HeaderType.CONFIG, channel_id="befl"
        ).SerializeToString()
    )
    return bytes(common_pb2.Payload(header=header, data=config.SerializeToString()).SerializeToString())


def msp() -> bytes:
    node = msp_config_pb2.FabricNodeOUs(
        enable=True, client_ou_identifier=msp_config_pb2.FabricOUIdentifier(organizational_unit_identifier="client")
    )
    config = msp_config_pb2.FabricMSPConfig(name="AlphaMSP", root_certs=[AUTHORITY], fabric_node_ous=node)
    return bytes(msp_config_pb2.MSPConfig(config=config.SerializeToString()).SerializeToString())


def update_envelope() -> bytes:
    """Return a configuration update as one institution hands it to another."""
    inner = configtx_pb2.ConfigUpdate(channel_id="befl")
    signature = configtx_pb2.ConfigSignature(
        signature_header=common_pb2.SignatureHeader(creator=IDENTITY, nonce=b"n" * 24).SerializeToString(),
        signature=b"s" * 70,
    )
    update = configtx_pb2.ConfigUpdateEnvelope(config_update=inner.SerializeToString(), signatures=[signature])
    header = common_pb2.ChannelHeader(type=common_pb2.HeaderType.CONFIG_UPDATE, channel_id="befl")
    payload = common_pb2.Payload(
        header=common_pb2.Header(channel_header=header.SerializeToString()), data=update.SerializeToString()
    )
    return bytes(common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString())


def recorded(*messages: bytes) -> bytes:
    return gzip.compress(source.MAGIC + b"".join(len(each).to_bytes(4, "big") + each for each in messages), 6, mtime=0)


def requests() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    made = b""
    for scalar in (0x5EED, 0xFEED):
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        signed = request.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
        made += signed.public_bytes(serialization.Encoding.PEM)
    return made


def institution() -> bytes:
    pem = AUTHORITY.decode()
    made = definition.Definition("org1", "Org1MSP", "127.0.0.1", "127.0.0.1:7051", "127.0.0.1:7050", pem, pem, pem)
    return made.dump()


def model_files() -> dict[str, bytes]:
    task = {
        "id": "f" * 16,
        "layout": LAYOUT,
        "app": {"name": "tabular", "digest": "ab" * 32},
        "spec": {
            "app": {"name": "tabular", "settings": {"epochs": 5}},
            "data": to_record(DATA),
            "aggregation": {"rule": "fedavg", "scale_bits": 16, "clip": "8"},
            "mode": "horizontal",
            "name": "ward",
        },
        "contributors": {},
        "finished_ms": 2,
        "preparation": {},
        "published_ms": 1,
        "issuer": "AlphaMSP",
        "model": "0" * 64,
        "rules": {"metrics": "binary/1", "scheme": "none/1"},
    }
    pooled = {"rows": 1, "accuracy_ppm": 1, "auc_ppm": None, "auc_bound_ppm": None, "loss_micro": 1}
    last = {"model": "0" * 64, "round": 1, "metrics": {"institutions": {}, "pooled": pooled}}
    return artefact.files(task, last, VALUES)


def frame(header: dict[str, Any], content: dict[str, Any]) -> bytes:
    return b"".join(bytes(piece) for piece in wire.pack(header, content))


def hostile_archives() -> list[bytes]:
    """Return archives that lead out of a folder, link, are no files, or unpack to much more than they are."""
    made = [gzip.compress(bytes(8 * 2**20), mtime=0)]
    for name, kind, size in (
        ("../app.py", tarfile.REGTYPE, 0),
        ("/etc/app.py", tarfile.REGTYPE, 0),
        ("app.py", tarfile.SYMTYPE, 0),
        ("app.py", tarfile.LNKTYPE, 0),
        ("app.py", tarfile.CHRTYPE, 0),
        ("app", tarfile.DIRTYPE, 0),
        ("app.py", tarfile.REGTYPE, 8 * 2**30 - 1),
        ("app.py", tarfile.GNUTYPE_SPARSE, 2**20),
    ):
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", size
        made.append(entry.tobuf(tarfile.USTAR_FORMAT) + APP.archive)
    return made


def array_file(kind: str) -> bytes:
    x, y = np.arange(16, dtype=np.float32).reshape(4, 2, 2), np.array([0, 1, 0, 1])
    if kind == "npz":
        made = io.BytesIO()
        np.savez_compressed(made, x=x, y=y)
        return made.getvalue()
    from safetensors.numpy import save

    return save({"x": x, "y": y})


# --- calling the decoders as befl does --------------------------------------------------------------------------------

_stack = ExitStack()
_FOLDER = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="befl-fuzz-")))


def from_file(name: str, decode: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Make a decoder of bytes of one of files."""

    def decode_bytes(content: bytes) -> object:
        path = _FOLDER / name
        path.write_bytes(content)
        return decode(path)

    return decode_bytes


def _update(content: bytes) -> object:
    """Read an update; the first byte says of which task: values of 8 to 32 bits."""
    bits, body = 8 + content[0] % 25 if content else 8, content[1:]
    return codec.read_update(body, len(body) * 8 // bits, codec.bound(16, "8"), bits)


def _model(content: bytes) -> object:
    made = codec.read_model(content, len(content) // 8)
    codec.check_initial(made)
    return made


def _caller(content: bytes) -> object:
    stub: Any = SimpleNamespace(get_creator=lambda: Creator("AlphaMSP", content))
    return Context(stub).caller


def _counts(rule: str, target: spec.DataSpec) -> Callable[[bytes], object]:
    return lambda content: METRICS[rule].read_counts(canonical.loads(content), target)


def _received(content: bytes) -> object:
    given = io.BytesIO(content)

    def exactly(count: int) -> bytes:
        piece = given.read(count)
        if len(piece) < count:
            raise EOFError
        return piece

    return wire.receive(exactly)


_PARTS = ("model.safetensors", "preparation.json", "card.json", "card.md", artefact.MANIFEST)


def _folder(content: bytes) -> object:
    """Read a model folder: files in the order of ``_PARTS``, each behind its length; a first byte makes them agree."""
    files, place = {}, 1
    for name in _PARTS:
        length = int.from_bytes(content[place : place + 3], "big")
        files[name] = content[place + 3 : place + 3 + length]
        place += 3 + length
    if content[:1] == b"\0":  # whoever alters a file can write a manifest for it
        listed = {name: codec.digest(files[name]) for name in _PARTS[:-1]}
        manifest = {"befl": 1, "files": listed, "model": "0" * 64, "task": "f" * 16}
        files[artefact.MANIFEST] = canonical.dumps(manifest)
    folder = _FOLDER / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, each in files.items():
        (folder / name).write_bytes(each)
    with suppress(BeflError):  # that one refuses does not excuse the other
        verify_folder(folder)
    return load_model(folder)


def _folder_bytes(first: bytes) -> bytes:
    files = model_files()
    return first + b"".join(len(files[name]).to_bytes(3, "big") + files[name] for name in _PARTS)


def _listed(content: bytes) -> object:
    read_block = blocks.read(content)
    return list(query.entries([read_block]))


def _step(kind: Any) -> Callable[[bytes], object]:
    def decode(content: bytes) -> object:
        step = kind.from_bytes(SimpleNamespace(), content)
        return step.txid, step.digest, getattr(step, "channel", None), getattr(step, "result", None)

    return decode


def _judged(content: bytes) -> object:
    """Audit a ledger whose blocks stand each behind its length."""
    report = Report()
    verified = list(verify(map(blocks.read, ledgers.pieces(content)), report))
    return verified, report.verdict


def limited(module: Any, decode: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Make a decoder that takes no more than a small part of what befl lets pass: what it holds grows with that."""

    def decode_bytes(content: bytes) -> object:
        with mock.patch.object(module, "MOST_BYTES", MOST_BYTES):
            return decode(content)

    return decode_bytes


def _ledger(path: Path) -> object:
    return sum(len(each.transactions) for each in source.from_files([path]))


def ledger_bombs() -> list[bytes]:
    """Return ledgers that are much larger unpacked than they are: beyond the limit, and as much as it allows."""
    filled = common_pb2.Payload(header=common_pb2.Header(), data=bytes(MOST_BYTES - 100)).SerializeToString()
    large, many = (
        events_pb2.BlockAndPrivateData(
            block=common_pb2.Block(
                header=common_pb2.BlockHeader(number=1), data=common_pb2.BlockData(data=transactions)
            )
        ).SerializeToString()
        for transactions in (
            [common_pb2.Envelope(payload=filled).SerializeToString()],
            [b""] * (blocks.MOST_TRANSACTIONS + 1),
        )
    )
    return [recorded(bytes(60 * 2**20)), recorded(bytes(MOST_BYTES)), recorded(large), recorded(many)]


def array_bomb() -> bytes:
    """Return a file of arrays of sixty megabytes, all zeros."""
    made = io.BytesIO()
    np.savez_compressed(made, x=np.zeros((4_000_000, 2, 2), np.float32), y=np.zeros(4_000_000, np.int8))
    return made.getvalue()


def _proposal() -> bytes:
    header = common_pb2.ChannelHeader(channel_id="befl", tx_id="ab" * 32)
    proposal = proposal_pb2.Proposal(
        header=common_pb2.Header(channel_header=header.SerializeToString()).SerializeToString()
    )
    signed = proposal_pb2.SignedProposal(proposal_bytes=proposal.SerializeToString(), signature=b"s" * 70)
    return bytes(gateway_pb2.ProposedTransaction(transaction_id="ab" * 32, proposal=signed).SerializeToString())


def _prepared() -> bytes:
    message = gateway_pb2.PreparedTransaction(
        transaction_id="ab" * 32, envelope=common_pb2.Envelope.FromString(envelope())
    )
    return bytes(message.SerializeToString())


def _pending() -> bytes:
    request = gateway_pb2.CommitStatusRequest(transaction_id="ab" * 32, channel_id="befl", identity=IDENTITY)
    return bytes(gateway_pb2.SignedCommitStatusRequest(request=request.SerializeToString()).SerializeToString())


def _rpc_error(content: bytes) -> object:
    """Read an error of the gateway service with these details."""
    error: Any = SimpleNamespace(
        code=lambda: grpc.StatusCode.ABORTED,
        details=lambda: "failed to endorse",
        trailing_metadata=lambda: [("other", "x"), ("grpc-status-details-bin", content)],
    )
    return str(from_rpc(EndorseError, error, "ab" * 32))


def rpc_status(detail: bytes) -> bytes:
    packed = any_pb2.Any(type_url="type.googleapis.com/gateway.ErrorDetail", value=detail)
    return b"\x1a" + bytes((len(packed.SerializeToString()),)) + packed.SerializeToString()


def _answered(content: bytes) -> object:
    """Read what a peer answers to one of the questions; the first byte says which."""
    peer: Any = SimpleNamespace(ask=lambda *_: content[1:], _channel="befl")
    ask = (
        PeerQuestions.chain,
        PeerQuestions.members,
        lambda peer: PeerQuestions.block_hash(peer, 1),
        lambda peer: PeerQuestions.definition(peer, "befl"),
    )
    return ask[content[0] % 4 if content else 0](peer)


def config_block() -> bytes:
    """Return block 0 with anchor peers in it, as a peer answers."""
    payload = common_pb2.Payload.FromString(config_payload())
    config = configtx_pb2.ConfigEnvelope.FromString(payload.data)
    anchors = peer_configuration_pb2.AnchorPeers(
        anchor_peers=[peer_configuration_pb2.AnchorPeer(host="alpha.example", port=7051)]
    )
    member = config.config.channel_group.groups["Application"].groups["AlphaMSP"]
    member.values["AnchorPeers"].value = anchors.SerializeToString()
    payload.data = config.SerializeToString()
    made = common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString()
    return bytes(common_pb2.Block(data=common_pb2.BlockData(data=[made])).SerializeToString())


_MSP = Msp(msp())
PROFILE = {
    "client": {"organization": "org1"},
    "organizations": {"org1": {"mspid": "Org1MSP", "peers": ["p"]}},
    "peers": {"p": {"url": "grpcs://127.0.0.1:7051", "tlsCACerts": {"pem": AUTHORITY.decode()}}},
}
AGENT = b"""befl = 1
[network]
profile = "connection.json"
[identity]
msp_dir = "users/agent/msp"
[data.ward]
path = "rows.csv"
[policy]
apply = "always"
"""

TARGETS: Final[dict[str, Target]] = {
    "task_toml": Target(spec.from_toml, [TASK]),
    "task_json": Target(
        lambda content: spec.from_json(content.decode("utf-8", "surrogateescape")),
        [spec.to_json(spec.from_toml(TASK)).encode()],
    ),
    "canonical": Target(canonical.loads, [b'{"a":[1,null,true,"\xc3\xa9"],"b":{}}', b"[" * 200, b"9" * 5_000]),
    "parameters": Target(lambda content: parameters.read_parameters(canonical.loads(content)), [b'{"most_rounds":9}']),
    "layout": Target(lambda content: read_layout(canonical.loads(content)), [canonical.dumps(LAYOUT)]),
    "sums": Target(
        lambda content: read_sums(canonical.loads(content), DATA), [b'{"age":{"squares":9,"total":3,"values":1}}']
    ),
    "counts_binary": Target(_counts("binary/1", DATA), [canonical.dumps(COUNTS)]),
    "update": Target(_update, [bytes([bits]) + b"\0" * (bits + 8) for bits in (0, 4, 8, 16, 24)]),
    "model": Target(_model, [codec.model_bytes(VALUES)]),
    "app_archive": Target(open_archive, [APP.archive, *hostile_archives()]),
    "app_file": Target(from_file("app.befl-app", read_app), [APP.archive, *hostile_archives()]),
    "model_folder": Target(_folder, [_folder_bytes(b"\0"), _folder_bytes(b"\1")]),
    "certificate": Target(
        _caller, [CERTIFICATE, certificate(), certificate(b'{"attrs":["befl.role"]}'), certificate(b"[" * 900)]
    ),
    "identity": Target(_MSP.identity, [CERTIFICATE, AUTHORITY], refusals=(InvalidIdentityError,)),
    "msp": Target(Msp, [msp()], refusals=(ValueError,)),
    "block": Target(_listed, [block()]),
    "audit": Target(_judged, [ledgers.joined(genesis(), block(1), block(2))]),
    "audit_parts": Target(ledgers.audited, ledgers.audited_seeds()),
    "replayed_parts": Target(ledgers.replayed, ledgers.replayed_seeds()),
    "ledger_file": Target(
        limited(source, from_file("ledger", _ledger)), [recorded(), recorded(block(), block()), *ledger_bombs()]
    ),
    "configuration": Target(
        lambda content: configuration.first("befl", content),
        [config_payload()],
        refusals=(configuration.InvalidConfigurationError,),
    ),
    "configuration_update": Target(from_file("update.pb", channel.load), [update_envelope()]),
    "definition": Target(lambda content: definition.parse(content, "org1.json"), [institution()]),
    "certificate_requests": Target(from_file("request.pem", lambda path: csr.load(path, "agent")), [requests()]),
    "user_certificate": Target(lambda content: check_pair(content, KEY_PEM, "users/agent"), [CERTIFICATE]),
    "user_key": Target(lambda content: check_pair(CERTIFICATE, content, "users/agent"), [KEY_PEM]),
    "topology": Target(lambda content: topology.parse(content, "network.toml"), [b"befl = 1\n[institutions.org1]\n"]),
    "profile": Target(from_file("connection.json", Profile.load), [json.dumps(PROFILE).encode(), b"[" * 2_000]),
    "checkpoint": Target(from_file("checkpoint", FileCheckpointer), [b'{"block":7,"txid":"ab"}', b"[" * 2_000]),
    "agent_toml": Target(from_file("AGENT.toml", agent_config.load), [AGENT]),
    "rows": Target(from_file("rows.csv", lambda path: data.load(path, DATA)), [ROWS]),
    "arrays_npz": Target(
        limited(arrays, lambda content: arrays.read(content, Path("x.npz"), IMAGES, labelled=True)),
        [array_file("npz"), array_bomb()],
    ),
    "arrays_safetensors": Target(
        lambda content: arrays.read(content, Path("x.safetensors"), IMAGES, labelled=True),
        [array_file("safetensors")],
    ),
    "trainer_frame": Target(
        _received,
        [frame({"ok": True}, {"w": np.ones((2, 2), np.float32)}), frame({"ok": False, "kind": "result"}, {})],
        refusals=(ValueError, EOFError),
    ),
    "proposal": Target(_step(Proposal), [_proposal()]),
    "prepared": Target(_step(PreparedTransaction), [_prepared()]),
    "pending": Target(_step(PendingCommit), [_pending()]),
    "error_details": Target(
        _rpc_error,
        [
            rpc_status(gateway_pb2.ErrorDetail(address="a:1", msp_id="A", message="no").SerializeToString()),
            rpc_status(b"\xff\xff"),
            b"\xff\xff\xff",
        ],
    ),
    "peer_answers": Target(
        _answered,
        [
            b"\0" + ledger_pb2.BlockchainInfo(height=7, currentBlockHash=bytes(32)).SerializeToString(),
            b"\1" + config_block(),
            b"\1",
            b"\2" + common_pb2.Block(header=common_pb2.BlockHeader(previous_hash=bytes(32))).SerializeToString(),
            b"\3" + lifecycle_pb2.QueryChaincodeDefinitionResult(sequence=1, version="0.1.0").SerializeToString(),
        ],
        refusals=(AnsweredError,),
    ),
}
