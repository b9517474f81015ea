"""Pure functions on a decoded channel configuration: who is in the channel, and what would change.

The configuration is what ``configtxlator proto_decode --type common.Config`` makes of it, plain JSON values. Every
function returns a new configuration and leaves the given one alone; asked for what is there already, it returns an
equal one. An institution has one MSP and stands in two groups, so whatever changes its MSP changes both: Fabric refuses
two differing definitions of one MSP ID ("Channel Configuration" in Fabric's documentation).
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from befl.network.definition import Definition, fingerprint
from befl.network.files import NODE_OUS
from befl.rules.errors import BeflError

Configuration = dict[str, Any]

GROUPS: Final = ("Application", "Orderer")
_INSTITUTION_PATH: Final = 2
_CONSENSUS: Final = ("Channel", "Orderer", "ConsensusType")
_CAS: Final = {
    "root_certs": "CA",
    "intermediate_certs": "intermediate CA",
    "tls_root_certs": "TLS CA",
    "tls_intermediate_certs": "intermediate TLS CA",
    "admins": "admin",
}
_OWN_PATH: Final = 4
"""Channel, group, institution, and something in it: such a change is the institution's own matter."""


@dataclass(frozen=True, slots=True)
class Present:
    """An institution as the channel configuration knows it.

    Parameters
    ----------
    msp_id : str
        Its MSP ID.
    peers, orderers : tuple of str
        ``host:port`` of its anchor peers and of its orderers.
    tls_cas : tuple of str
        The certificates of its TLS CAs, PEM.
    revocations : tuple of str
        Its certificate revocation lists, PEM.
    """

    msp_id: str
    peers: tuple[str, ...]
    orderers: tuple[str, ...]
    tls_cas: tuple[str, ...]
    revocations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an update would change.

    Parameters
    ----------
    what : str
        ``added``, ``changed`` or ``removed``.
    path : tuple of str
        Where in the configuration, for example ``("Channel", "Application", "Org5MSP")``.
    kind : str
        ``group``, ``value`` or ``policy``.
    """

    what: str
    path: tuple[str, ...]
    kind: str

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.what}: {self.kind} {'/'.join(self.path)}"


def present(configuration: Configuration) -> tuple[Present, ...]:
    """Return the institutions of the channel, in order of MSP ID."""
    groups = configuration["channel_group"]["groups"]
    found = []
    for msp_id, member in sorted(groups["Application"]["groups"].items()):
        orderer = groups["Orderer"]["groups"].get(msp_id, {"values": {}})
        msp = member["values"]["MSP"]["value"]["config"]
        anchors = _value(member, "AnchorPeers").get("anchor_peers") or ()
        found.append(
            Present(
                msp_id,
                tuple(f"{anchor['host']}:{anchor['port']}" for anchor in anchors),
                tuple(_value(orderer, "Endpoints").get("addresses") or ()),
                tuple(base64.b64decode(pem).decode() for pem in msp["tls_root_certs"]),
                tuple(base64.b64decode(pem).decode() for pem in msp["revocation_list"]),
            )
        )
    return tuple(found)


def add(configuration: Configuration, definition: Definition) -> Configuration:
    """Bring an institution into the channel: both groups, orderer address, consenter, anchor peer.

    Raises
    ------
    BeflError
        ``BEFL-N-013`` when the MSP ID or an endpoint belongs to another one there.
    """
    changed = copy.deepcopy(configuration)
    groups = changed["channel_group"]["groups"]
    wanted = {"Application": _application_group(definition), "Orderer": _orderer_group(definition)}
    for name in GROUPS:
        there = groups[name]["groups"].get(definition.msp_id)
        if there is None:
            groups[name]["groups"][definition.msp_id] = wanted[name]
        elif _trust(there) != _trust(wanted[name]):
            raise BeflError(
                "BEFL-N-013", f"{definition.msp_id} is in the channel already, with other certificate authorities"
            )
    _refuse_taken(changed, definition)
    consenters = _consenters(changed)
    consenter = _consenter(definition)
    if all((one["host"], one["port"]) != (consenter["host"], consenter["port"]) for one in consenters):
        consenters.append(consenter)
    return changed


def remove(configuration: Configuration, msp_id: str) -> Configuration:
    """Take an institution out of the channel: both groups and its consenters; nothing when it is not there.

    Raises
    ------
    BeflError
        ``BEFL-N-014`` when nobody would be left.
    """
    changed = copy.deepcopy(configuration)
    groups = changed["channel_group"]["groups"]
    addresses: set[str] = set()
    for one in present(configuration):
        if one.msp_id == msp_id:
            addresses = set(one.orderers)
    for name in GROUPS:
        groups[name]["groups"].pop(msp_id, None)
        if not groups[name]["groups"]:
            raise BeflError("BEFL-N-014", f"{msp_id} is the last institution of the channel")
    consenters = _consenters(changed)
    consenters[:] = [one for one in consenters if f"{one['host']}:{one['port']}" not in addresses]
    return changed


def revoke(configuration: Configuration, msp_id: str, revocations: Sequence[str]) -> Configuration:
    """Put an institution's certificate revocation lists (PEM) into its MSP definition, in both groups."""
    changed = copy.deepcopy(configuration)
    groups = changed["channel_group"]["groups"]
    for name in GROUPS:
        if msp_id in groups[name]["groups"]:
            msp = groups[name]["groups"][msp_id]["values"]["MSP"]["value"]["config"]
            msp["revocation_list"] = [_b64(pem) for pem in revocations]
    return changed


def changes(configuration: Configuration, update: Mapping[str, Any]) -> tuple[Change, ...]:
    """Say what an update (``common.ConfigUpdate``, decoded) would change of a configuration.

    Versions say what is touched: an element that is not in the read set, or has another version there. A removal shows
    only against the configuration: a group that is touched no longer lists what it has now.
    """
    return tuple(
        _changes(("Channel",), configuration["channel_group"], update.get("read_set") or {}, update["write_set"])
    )


def shown(configuration: Configuration, update: Mapping[str, Any]) -> tuple[str, ...]:
    """Say for people, line by line, what an update changes; and of whom it lets in, who that is.

    Of an institution's group these are the SHA-256 of its CAs' certificates, which the institution itself reads out
    (`befl org export`), and whatever else is not as befl makes it of them: a policy could name somebody else. Of the
    orderers it is which ones come and go.
    """
    lines = []
    for change in changes(configuration, update):
        lines.append(str(change))
        now, wanted = (_at(root, change.path[1:]) for root in (configuration["channel_group"], update["write_set"]))
        if change.kind == "group" and change.what != "removed":
            lines += [f"  {line}" for line in _introduced(change.path[1:], wanted)]
        elif change.path == _CONSENSUS:
            lines += [f"  {line}" for line in _orderers(now, wanted)]
    return tuple(lines)


def in_force(configuration: Configuration, update: Mapping[str, Any]) -> bool:
    """Whether all that an update would change is the configuration already."""

    def holds(path: tuple[str, ...], now: Mapping[str, Any], read: Mapping[str, Any], write: Mapping[str, Any]) -> bool:
        touched = _version(write) != _version(read) or not read
        if touched and _governed_anew(now, write):
            return False
        for kind in ("groups", "values", "policies"):
            there, wanted = now.get(kind) or {}, write.get(kind) or {}
            if touched and set(there) != set(wanted):
                return False
            for name, element in wanted.items():
                before = (read.get(kind) or {}).get(name) or {}
                if name not in there:
                    return False
                if kind == "groups":
                    if not holds((*path, name), there[name], before, element):
                        return False
                elif (_version(element) != _version(before) or not before) and element != there[name]:
                    return False
        return True

    return holds(("Channel",), configuration["channel_group"], update.get("read_set") or {}, update["write_set"])


def stale(configuration: Configuration, update: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the configuration is no longer what an update was made from; empty when it is.

    As Fabric's orderers check it: what was read has the version it has now, and what is changed has the next one.
    """

    def differs(
        path: tuple[str, ...], now: Mapping[str, Any], read: Mapping[str, Any], write: Mapping[str, Any]
    ) -> tuple[str, ...]:
        for kind in ("groups", "values", "policies"):
            was, wanted, there = (side.get(kind) or {} for side in (read, write, now))
            for name in {**was, **wanted}:
                before, after, present = was.get(name), wanted.get(name), there.get(name)
                if before is not None and (present is None or _version(present) != _version(before)):
                    return (*path, name)
                touched = after is not None and (before is None or _version(after) != _version(before))
                if touched and _version(after or {}) != _following(present):
                    return (*path, name)
                if kind == "groups" and present is not None and before is not None:
                    deeper = differs((*path, name), present, before, after or {})
                    if deeper:
                        return deeper
        return ()

    return differs(("Channel",), configuration["channel_group"], update.get("read_set") or {}, update["write_set"])


def majority(count: int) -> int:
    """Return how many of ``count`` institutions are a majority."""
    return count // 2 + 1


def required(configuration: Configuration, found: Sequence[Change]) -> tuple[int, frozenset[str]]:
    """Return how many institutions must sign these changes, and which ones may.

    What lies within one institution's own groups is its own matter (modification policy: its Admins); the rest takes a
    majority of the institutions.
    """
    owners = {change.path[2] for change in found if len(change.path) >= _OWN_PATH and change.path[1] in GROUPS}
    if owners and len(owners) == 1 and all(len(change.path) >= _OWN_PATH for change in found):
        return 1, frozenset(owners)
    everybody = frozenset(one.msp_id for one in present(configuration))
    return majority(len(everybody)), everybody


def _changes(
    path: tuple[str, ...], now: Mapping[str, Any], read: Mapping[str, Any], write: Mapping[str, Any]
) -> Iterator[Change]:
    touched = _version(write) != _version(read)
    if touched and _governed_anew(now, write):
        yield Change("changed", path, f"modification policy (now {write['mod_policy']}) of group")
    for kind, word in (("groups", "group"), ("values", "value"), ("policies", "policy")):
        there, wanted = now.get(kind) or {}, write.get(kind) or {}
        for name, element in sorted(wanted.items()):
            before = (read.get(kind) or {}).get(name)
            if before is None:
                yield Change("changed" if name in there else "added", (*path, name), word)
            elif kind == "groups":
                yield from _changes((*path, name), there.get(name) or {}, before, element)
            elif _version(element) != _version(before):
                yield Change("changed", (*path, name), word)
        if touched:
            yield from (Change("removed", (*path, name), word) for name in sorted(set(there) - set(wanted)))


def _at(root: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """Return the element at a path: groups, and at its end whatever has the name."""
    element = root
    for name in path:
        kinds = (element.get(kind) or {} for kind in ("groups", "values", "policies"))
        element = next((kind[name] for kind in kinds if name in kind), {})
    return element


def _introduced(path: tuple[str, ...], group: Mapping[str, Any]) -> Iterator[str]:
    """Say who a group is of, and what of it is not as befl makes it."""
    msp = _value(group, "MSP").get("config") or {}
    for key, word in _CAS.items():
        for encoded in msp.get(key) or ():
            yield f"{word} SHA-256 {fingerprint(_text(encoded))}"
    strange = ["group"]
    if len(path) == _INSTITUTION_PATH and path[0] in GROUPS:
        anchors = _value(group, "AnchorPeers").get("anchor_peers") or [{}]
        usual = _USUAL[path[0]](
            Definition(
                name="",
                msp_id=path[1],
                host="",
                peer=f"{anchors[0].get('host', '')}:{anchors[0].get('port', 0)}",
                orderer=str((_value(group, "Endpoints").get("addresses") or [""])[0]),
                ca=_text((msp.get("root_certs") or [""])[0]),
                tls_ca=_text((msp.get("tls_root_certs") or [""])[0]),
                orderer_certificate="",
            )
        )
        strange = ["modification policy"] if group.get("mod_policy") != usual["mod_policy"] else []
        for kind, word in (("groups", "group"), ("values", "value"), ("policies", "policy")):
            found, wanted = group.get(kind) or {}, usual[kind]
            names = sorted({*found, *wanted})
            strange += [f"{word} {name}" for name in names if _lean(found.get(name)) != _lean(wanted.get(name))]
    if strange:
        yield f"ATTENTION, not as befl makes it: {', '.join(strange)}"


def _orderers(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Say which orderers come and go, and whether more is changed."""
    rest, consenters = [], []
    for element in (now, wanted):
        value = dict(element.get("value") or {})
        metadata = dict(value.pop("metadata", None) or {})
        found = metadata.pop("consenters", None) or []
        consenters.append([_lean(one) for one in found])
        rest.append((_lean(value), _lean(metadata), element.get("mod_policy")))
    for word, there, other in (("added", consenters[1], consenters[0]), ("removed", consenters[0], consenters[1])):
        for one in there:
            if one not in other:
                prints = {fingerprint(_text(one.get(f"{side}_tls_cert", ""))) for side in ("client", "server")}
                address = f"{one.get('host', '')}:{one.get('port', 0)}"
                yield f"orderer {word}: {address}, SHA-256 {' and '.join(sorted(prints))}"
    if rest[0] != rest[1]:
        yield "ATTENTION: more than the orderers is changed"


def _lean(element: Any) -> Any:
    """Leave out what has its default value: what travelled as protobuf has it, or has it not."""
    if isinstance(element, Mapping):
        lean = {name: _lean(one) for name, one in element.items()}
        return {name: one for name, one in lean.items() if one not in (None, "", "0", 0, [], {})}
    return [_lean(one) for one in element] if isinstance(element, list) else element


def _text(encoded: Any) -> str:
    """Return a certificate's text; what is none stays unreadable."""
    try:
        return base64.b64decode(str(encoded)).decode()
    except ValueError:
        return ""


def _governed_anew(now: Mapping[str, Any], write: Mapping[str, Any]) -> bool:
    """Whether a group that is touched gets another modification policy; Fabric refuses one that names none."""
    return (write.get("mod_policy") or "") not in ("", now.get("mod_policy") or "")


def _version(element: Mapping[str, Any]) -> str:
    return str(element.get("version") or "0")


def _following(element: Mapping[str, Any] | None) -> str:
    """Return the version that an element has after its next change; 0 when it is not there yet."""
    return "0" if element is None else str(int(_version(element)) + 1)


def _value(group: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value: Mapping[str, Any] = ((group.get("values") or {}).get(name) or {}).get("value") or {}
    return value


def _trust(group: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what makes an institution that one: its certificate authorities."""
    config = group["values"]["MSP"]["value"]["config"]
    return config["root_certs"], config["tls_root_certs"]


def _refuse_taken(configuration: Configuration, definition: Definition) -> None:
    for one in present(configuration):
        if one.msp_id == definition.msp_id:
            continue
        for address in (definition.peer, definition.orderer):
            if address in (*one.peers, *one.orderers):
                raise BeflError("BEFL-N-013", f"{address} is an endpoint of {one.msp_id} already")


def _consenters(configuration: Configuration) -> list[dict[str, Any]]:
    consensus = configuration["channel_group"]["groups"]["Orderer"]["values"]["ConsensusType"]["value"]
    if consensus["type"] != "etcdraft":
        raise BeflError("BEFL-N-014", f"the channel's consensus is {consensus['type']}; befl changes etcdraft only")
    consenters: list[dict[str, Any]] = consensus["metadata"]["consenters"]
    return consenters


def _consenter(definition: Definition) -> dict[str, Any]:
    host, _, port = definition.orderer.rpartition(":")
    certificate = _b64(definition.orderer_certificate)
    return {"client_tls_cert": certificate, "host": host, "port": int(port), "server_tls_cert": certificate}


def _application_group(definition: Definition) -> dict[str, Any]:
    host, _, port = definition.peer.rpartition(":")
    return _group(
        {
            "AnchorPeers": {"anchor_peers": [{"host": host, "port": int(port)}]},
            "MSP": _msp(definition),
        },
        {
            "Readers": _signature(definition.msp_id, "PEER", "CLIENT", "ADMIN"),
            "Writers": _signature(definition.msp_id, "CLIENT", "ADMIN"),
            "Admins": _signature(definition.msp_id, "ADMIN"),
            "Endorsement": _signature(definition.msp_id, "PEER"),
        },
    )


def _orderer_group(definition: Definition) -> dict[str, Any]:
    return _group(
        {"Endpoints": {"addresses": [definition.orderer]}, "MSP": _msp(definition)},
        {
            "Readers": _signature(definition.msp_id, "ORDERER", "ADMIN"),
            "Writers": _signature(definition.msp_id, "ORDERER"),
            "Admins": _signature(definition.msp_id, "ADMIN"),
        },
    )


def _group(values: Mapping[str, Any], policies: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "groups": {},
        "mod_policy": "Admins",
        "policies": {name: {"mod_policy": "Admins", "policy": one, "version": "0"} for name, one in policies.items()},
        "values": {name: {"mod_policy": "Admins", "value": one, "version": "0"} for name, one in values.items()},
        "version": "0",
    }


def _signature(msp_id: str, *roles: str) -> dict[str, Any]:
    """Make the signature policy ``OR('MSP.role', ...)``."""
    return {
        "type": 1,
        "value": {
            "identities": [
                {"principal": {"msp_identifier": msp_id, "role": role}, "principal_classification": "ROLE"}
                for role in roles
            ],
            "rule": {"n_out_of": {"n": 1, "rules": [{"signed_by": index} for index in range(len(roles))]}},
            "version": 0,
        },
    }


def _msp(definition: Definition) -> dict[str, Any]:
    ca = _b64(definition.ca)
    ous = {f"{ou}_ou_identifier": {"certificate": ca, "organizational_unit_identifier": ou} for ou in sorted(NODE_OUS)}
    return {
        "config": {
            "admins": [],
            "crypto_config": {"identity_identifier_hash_function": "SHA256", "signature_hash_family": "SHA2"},
            "fabric_node_ous": {**ous, "enable": True},
            "intermediate_certs": [],
            "name": definition.msp_id,
            "organizational_unit_identifiers": [],
            "revocation_list": [],
            "root_certs": [ca],
            "signing_identity": None,
            "tls_intermediate_certs": [],
            "tls_root_certs": [_b64(definition.tls_ca)],
        },
        "type": 0,
    }


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_USUAL: Final = {"Application": _application_group, "Orderer": _orderer_group}
