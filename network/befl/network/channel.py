"""Fabric's channel verbs for one institution: fetch, propose, sign, submit, join.

What travels between institutions is public files: a definition (:mod:`befl.network.definition`), a configuration update
and a configuration block. The update is Fabric's own envelope (``common.Envelope`` of type CONFIG_UPDATE), so that
whoever has stock tools signs it with ``peer channel signconfigtx``. What an update does is decided by the pure
functions of :mod:`befl.network.configuration`; here is the I/O around them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from befl.gateway import wait
from befl.network import commands, configuration
from befl.network.configuration import Change, Configuration, Present
from befl.network.definition import Definition
from befl.network.institution import READY, Member
from befl.rules import canonical
from befl.rules.errors import BeflError

MOST_BYTES: Final = 10_000_000
_CONFIG_UPDATE: Final = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did.

    Parameters
    ----------
    message : str
        What happened, in one line.
    details : tuple of str
        More, a line each.
    changed : bool
        False when all that was asked for was so already.
    """

    message: str
    details: tuple[str, ...] = ()
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Update:
    """A configuration update as it travels: the update's bytes, and who has signed them."""

    channel: str
    update: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """MSP ID and ``common.ConfigSignature``, each once."""

    @property
    def signers(self) -> tuple[str, ...]:
        """Return the MSP IDs that have signed."""
        return tuple(sorted({msp_id for msp_id, _ in self.signatures}))

    def dump(self) -> bytes:
        """Write the file: Fabric's envelope."""
        envelope = configtx_pb2.ConfigUpdateEnvelope(config_update=self.update)
        for _, signature in self.signatures:
            envelope.signatures.add().ParseFromString(signature)
        header = common_pb2.ChannelHeader(type=_CONFIG_UPDATE, channel_id=self.channel)
        payload = common_pb2.Payload(
            header=common_pb2.Header(channel_header=header.SerializeToString()), data=envelope.SerializeToString()
        )
        return bytes(common_pb2.Envelope(payload=payload.SerializeToString()).SerializeToString())


def load(path: Path) -> Update:
    """Read a configuration update that somebody handed over.

    Raises
    ------
    BeflError
        ``BEFL-N-015`` when it cannot be read or is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BeflError("BEFL-N-015", f"{path}: {error.strerror}") from None
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(data[:MOST_BYTES]).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        envelope = configtx_pb2.ConfigUpdateEnvelope.FromString(payload.data)
        inner = configtx_pb2.ConfigUpdate.FromString(envelope.config_update)
        signatures = tuple((_signer(one), one.SerializeToString()) for one in envelope.signatures)
    except DecodeError:
        raise BeflError("BEFL-N-015", f"{path}: this is no configuration update") from None
    if header.type != _CONFIG_UPDATE or not inner.channel_id or inner.channel_id != header.channel_id:
        raise BeflError("BEFL-N-015", f"{path}: this is no configuration update")
    return Update(inner.channel_id, bytes(envelope.config_update), signatures)


def merge(updates: Sequence[Update]) -> Update:
    """Bring the signatures of several copies of one update together.

    Raises
    ------
    BeflError
        ``BEFL-N-015`` when they are copies of different updates.
    """
    first = updates[0]
    if any((one.channel, one.update) != (first.channel, first.update) for one in updates):
        raise BeflError("BEFL-N-015", "the files hold different updates; only signatures of one update go together")
    signatures = dict.fromkeys(signature for one in updates for signature in one.signatures)
    return dataclasses.replace(first, signatures=tuple(signatures))


def fetch(member: Member, output: Path) -> Outcome:
    """Write the channel's latest configuration block, for an institution that joins."""
    block = _fetch(member)
    write_public(output, block)
    return Outcome(f"the configuration block is in {output}")


def current(member: Member) -> Configuration:
    """Return the channel's present configuration, as the own peer knows it."""
    return _configuration(_decode(member, "common.Block", _fetch(member)))


def propose(member: Member, change: Callable[[Configuration], Configuration], output: Path) -> Outcome:
    """Write the update that makes a change, to be signed; nothing when the channel is so already.

    Parameters
    ----------
    member : Member
        Who proposes.
    change : callable
        A pure function from the present configuration to the wanted one.
    output : Path
        The file that is written.

    Raises
    ------
    BeflError
        What ``change`` refuses, ``BEFL-N-007`` when Fabric does.
    """
    now = current(member)
    update = _computed(member, now, change)
    if update is None:
        return Outcome("nothing to change: the channel is so already", changed=False)
    write_public(output, update.dump())
    decoded = _decode(member, "common.ConfigUpdate", update.update)
    needed, who = configuration.required(now, configuration.changes(now, decoded))
    return Outcome(
        f"the update is in {output}; {needed} of {len(who)} institutions must sign it",
        configuration.shown(now, decoded),
    )


def sign(member: Member, path: Path, output: Path) -> Outcome:
    """Add the own institution's signature to an update, after saying what it changes.

    Raises
    ------
    BeflError
        ``BEFL-N-015`` when the file is no update of this channel, ``BEFL-N-017`` when it is out of date.
    """
    update = load(path)
    now = current(member)
    if _in_force(member, now, update):
        return _already_in_force()
    _examined(member, now, update)
    lines = configuration.shown(now, _decode(member, "common.ConfigUpdate", update.update))
    me = member.institution.msp_id
    if me in update.signers:
        return Outcome(f"nothing to change: {me} has signed it already", lines, changed=False)
    signed = _signed(member, update)
    write_public(output, signed.dump())
    return Outcome(f"{output} is signed by {', '.join(signed.signers)}", lines)


def submit(member: Member, paths: Sequence[Path]) -> Outcome:
    """Submit an update, with the own signature and those of all files, and wait until the own peer has it.

    Raises
    ------
    BeflError
        ``BEFL-N-015`` when a file is no update of this channel, ``BEFL-N-016`` when too few have signed,
        ``BEFL-N-017`` when it is out of date.
    """
    update = merge([load(path) for path in paths])
    now = current(member)
    if _in_force(member, now, update):
        return _already_in_force()
    found = _examined(member, now, update)
    lines = configuration.shown(now, _decode(member, "common.ConfigUpdate", update.update))
    _submit(member, now, update, found)
    return Outcome("the update is in force", lines)


def apply(member: Member, change: Callable[[Configuration], Configuration]) -> bool:
    """Propose, sign and submit a change that is the own institution's matter; return whether there was one."""
    now = current(member)
    update = _computed(member, now, change)
    if update is None:
        return False
    _submit(member, now, update, _examined(member, now, update))
    return True


def join(member: Member, block: Path | None, source: Definition | None) -> Outcome:
    """Let the own orderer and peer join the channel, and wait until both have all of it.

    Parameters
    ----------
    member : Member
        Who joins.
    block : Path, optional
        The channel's latest configuration block, as a member handed it over.
    source : Definition, optional
        Instead: the member whose orderer is asked for it.

    Raises
    ------
    BeflError
        ``BEFL-N-018`` when the block is not that of a channel with this institution in it.
    """
    name, me = member.topology.channel.name, member.institution
    with tempfile.TemporaryDirectory(prefix=".join-", dir=member.home.folder) as work:
        latest, genesis = Path(work) / "config.block", Path(work) / "genesis.block"
        if block is not None:
            try:
                latest.write_bytes(block.read_bytes())
            except OSError as error:
                raise BeflError("BEFL-N-018", f"{block}: {error.strerror}") from None
        elif source is not None:
            try:
                latest.write_bytes(_fetch_from(member, source.orderer, source.tls_ca, "config", work))
            except BeflError as error:  # it refuses whoever is not in the channel
                raise BeflError("BEFL-N-018", f"{source.msp_id} does not hand out the block: {error.message}") from None
        try:
            decoded = _decode(member, "common.Block", latest.read_bytes())
            now = _configuration(decoded)
            header = decoded["data"]["data"][0]["payload"]["header"]["channel_header"]
            number = int(decoded["header"].get("number") or 0)
            others = configuration.present(now)
        except (BeflError, KeyError, IndexError, TypeError):
            raise BeflError("BEFL-N-018", f"{block}: this is no configuration block") from None
        if header["channel_id"] != name:
            raise BeflError("BEFL-N-018", f"the block is of channel {header['channel_id']}, not {name}")
        if all((one.msp_id, one.tls_cas) != (me.msp_id, (member.tls_ca,)) for one in others):
            raise BeflError(
                "BEFL-N-018",
                f"the channel of this block ({number}) does not have {me.msp_id} with this folder's certificates",
            )
        already = member.joined()
        member.join_orderer(latest)
        member.await_orderer(number + 1)
        member.await_leader()
        # a peer joins with the first block and reads the rest; the own orderer has them all now
        genesis.write_bytes(_fetch_soon(member, work))
        member.join_peer(genesis)
        member.await_height(number + 1)
    now = current(member)
    picture(member, now)
    member.await_members(min(1, len(configuration.present(now)) - 1))
    members = ", ".join(one.msp_id for one in configuration.present(now))
    return Outcome(f"{me.msp_id} is in channel {name} with {members}", changed=not already)


def picture(member: Member, now: Configuration) -> None:
    """Write the institution's picture of the channel's members: for people and their tools, always made anew."""
    members = [dataclasses.asdict(one) for one in configuration.present(now)]
    content = {"kind": "channel", "v": 1, "channel": member.topology.channel.name, "institutions": members}
    write_public(member.layout.directory / "public" / "channel.json", canonical.dumps(content) + b"\n")


def present(member: Member) -> tuple[Present, ...]:
    """Return the institutions that are in the channel now."""
    return configuration.present(current(member))


# --- below: Fabric's commands ---------------------------------------------------------------------------------------


def _signer(signature: Any) -> str:
    header = common_pb2.SignatureHeader.FromString(signature.signature_header)
    return str(identities_pb2.SerializedIdentity.FromString(header.creator).mspid)


def _configuration(block: Mapping[str, Any]) -> Configuration:
    found: Configuration = block["data"]["data"][0]["payload"]["data"]["config"]
    return found


def _computed(member: Member, now: Configuration, change: Callable[[Configuration], Configuration]) -> Update | None:
    wanted = change(now)
    if wanted == now:
        return None
    name = member.topology.channel.name
    with _work(member) as work:
        for stem, content in (("original", now), ("updated", wanted)):
            (work / f"{stem}.pb").write_bytes(_encode(member, "common.Config", content))
        commands.run(
            [
                member.fabric.command("configtxlator"),
                "compute_update",
                f"--channel_id={name}",
                f"--original={work / 'original.pb'}",
                f"--updated={work / 'updated.pb'}",
                f"--output={work / 'update.pb'}",
            ],
            what="computing the configuration update",
        )
        return Update(name, (work / "update.pb").read_bytes(), ())


def _in_force(member: Member, now: Configuration, update: Update) -> bool:
    if update.channel != member.topology.channel.name:
        return False
    return configuration.in_force(now, _decode(member, "common.ConfigUpdate", update.update))


def _already_in_force() -> Outcome:
    return Outcome("nothing to change: the update is in force already", changed=False)


def _examined(member: Member, now: Configuration, update: Update) -> tuple[Change, ...]:
    """Return what an update changes; refuse one of another channel or of another time."""
    name = member.topology.channel.name
    if update.channel != name:
        raise BeflError("BEFL-N-015", f"the update is for channel {update.channel}, not {name}")
    decoded = _decode(member, "common.ConfigUpdate", update.update)
    stale = configuration.stale(now, decoded)
    if stale:
        raise BeflError("BEFL-N-017", f"{'/'.join(stale)} has changed since the update was proposed")
    return configuration.changes(now, decoded)


def _signed(member: Member, update: Update) -> Update:
    with _work(member) as work:
        path = work / "update.pb"
        path.write_bytes(update.dump())
        member.peer_command("channel", "signconfigtx", f"--file={path}", what="signing the configuration update")
        return merge([update, load(path)])


def _submit(member: Member, now: Configuration, update: Update, found: Sequence[Change]) -> None:
    me = member.institution.msp_id
    if me not in update.signers:
        update = _signed(member, update)
    needed, who = configuration.required(now, found)
    signers = sorted(who.intersection(update.signers))
    if len(signers) < needed:
        raise BeflError(
            "BEFL-N-016",
            f"{needed} of {len(who)} institutions must sign; {', '.join(signers) or 'none of them'} did",
            f"Still to ask: {', '.join(sorted(who.difference(signers)))}.",
        )
    with _work(member) as work:
        path = work / "update.pb"
        path.write_bytes(update.dump())
        member.peer_command(
            "channel",
            "update",
            f"--file={path}",
            f"--channelID={update.channel}",
            *member.ordering(),
            what="submitting the configuration update",
        )
    decoded = _decode(member, "common.ConfigUpdate", update.update)
    after: list[Configuration] = []

    def arrived() -> bool:
        after[:] = [current(member)]
        return configuration.in_force(after[0], decoded)

    wait.until(arrived, timeout=READY, interval=0.2, what="the own peer having the new configuration")
    picture(member, after[0])


def _fetch(member: Member) -> bytes:
    """Return the latest configuration block, from the own peer."""
    with _work(member) as work:
        path = work / "config.block"
        member.peer_command(
            "channel",
            "fetch",
            "config",
            str(path),
            f"--channelID={member.topology.channel.name}",
            what="fetching the channel's configuration",
        )
        return path.read_bytes()


def _fetch_from(member: Member, orderer: str, tls_ca: str, which: str, work: str) -> bytes:
    """Return a block from an orderer, the own one or a member's."""
    ca, path = Path(work) / "orderer-ca.pem", Path(work) / "fetched.block"
    ca.write_text(tls_ca)
    member.peer_command(
        "channel",
        "fetch",
        which,
        str(path),
        f"--channelID={member.topology.channel.name}",
        *member.ordering(orderer, ca),
        what=f"fetching a block from {orderer}",
    )
    return path.read_bytes()


def _fetch_soon(member: Member, work: str) -> bytes:
    """Return the channel's first block from the own orderer, once it hands out blocks."""
    found: list[bytes] = []

    def fetched() -> bool:
        try:
            found[:] = [_fetch_from(member, member.institution.address("orderer"), member.tls_ca, "0", work)]
        except BeflError as error:
            if "SERVICE_UNAVAILABLE" not in error.message:  # it is, until the orderer follows a leader
                raise
        return bool(found)

    wait.until(fetched, timeout=READY, interval=0.2, what="the own orderer handing out blocks")
    return found[0]


def _decode(member: Member, kind: str, data: bytes) -> Any:
    with _work(member) as work:
        (work / "in").write_bytes(data)
        translator = member.fabric.command("configtxlator")
        argv = [translator, "proto_decode", f"--type={kind}", f"--input={work / 'in'}"]
        return json.loads(commands.run(argv, what=f"reading a {kind}"))


def _encode(member: Member, kind: str, content: Any) -> bytes:
    with _work(member) as work:
        (work / "in").write_text(json.dumps(content))
        translator = member.fabric.command("configtxlator")
        commands.run(
            [translator, "proto_encode", f"--type={kind}", f"--input={work / 'in'}", f"--output={work / 'out'}"],
            what=f"writing a {kind}",
        )
        return (work / "out").read_bytes()


@contextmanager
def _work(member: Member) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".channel-", dir=member.home.folder) as work:
        yield Path(work)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that is meant for others, as a whole."""
    try:
        descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # never through another's link
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            file.write(content)
        Path(fresh).rename(path)
    except OSError as error:
        raise BeflError("BEFL-C-006", f"{path}: {error.strerror}") from None
