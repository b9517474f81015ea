"""A connection profile: where an institution's peer is, and by which CA it is known.

The format is Fabric's common connection profile (the one that fabric-sdk-node, hfc and ``test-network`` read), as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

from befl.gateway.identity import UNREADABLE
from befl.rules.errors import BeflError

_HINT: Final = "`befl network up` writes one an institution: DIR/ORG/connection.json."


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """One peer of the profile.

    Parameters
    ----------
    name : str
        Its name in the profile.
    address : str
        ``host:port``.
    tls_ca : bytes
        The CA certificates, PEM, that its TLS certificate is checked against.
    server_name : str
        The name its certificate must carry, when that is not the host; else empty.
    """

    name: str
    address: str
    tls_ca: bytes
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A connection profile, checked.

    Parameters
    ----------
    organization : str
        The institution whose file it is (``client.organization``).
    msp_id : str
        Its MSP id.
    peers : tuple of PeerAddress
        Its peers, in the order of the file; the first is the gateway peer.
    msp_ids : mapping of str to str
        All institutions of the file, name to MSP id.
    """

    organization: str
    msp_id: str
    peers: tuple[PeerAddress, ...]
    msp_ids: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Read a connection profile; paths in it are relative to its folder.

        Raises
        ------
        BeflError
            ``BEFL-G-022`` naming the place.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BeflError("BEFL-G-022", f"{path} cannot be read ({error.strerror})", _HINT) from None
        except (ValueError, RecursionError):
            raise BeflError("BEFL-G-022", f"{path} is no JSON", _HINT) from None
        reader = _Reader(path)
        name = reader.text(raw, "client", "organization")
        organizations = reader.table(raw, "organizations")
        if name not in organizations:
            raise reader.bad(f"client.organization is {name}, which organizations does not hold")
        names = organizations[name].get("peers") if isinstance(organizations[name], dict) else None
        if not isinstance(names, list) or not names:
            raise reader.bad(f"organizations.{name}.peers is no list of names")
        return cls(
            organization=name,
            msp_id=reader.text(raw, "organizations", name, "mspid"),
            peers=tuple(reader.peer(raw, str(peer)) for peer in names),
            msp_ids={each: reader.text(raw, "organizations", each, "mspid") for each in organizations},
        )


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path

    def bad(self, what: str) -> BeflError:
        return BeflError("BEFL-G-022", f"{self._path}: {what}", _HINT)

    def value(self, raw: Any, *keys: str) -> Any:
        for key in keys:
            raw = raw.get(key) if isinstance(raw, dict) else None
        return raw

    def text(self, raw: Any, *keys: str) -> str:
        value = self.value(raw, *keys)
        if not isinstance(value, str) or not value:
            raise self.bad(f"{'.'.join(keys)} is missing or no text")
        return value

    def table(self, raw: Any, *keys: str) -> dict[str, Any]:
        value = self.value(raw, *keys)
        if not isinstance(value, dict):
            raise self.bad(f"{'.'.join(keys)} is missing or no object")
        return value

    def peer(self, raw: Any, name: str) -> PeerAddress:
        try:
            url = urlsplit(self.text(raw, "peers", name, "url"))
            valid = url.scheme == "grpcs" and bool(url.hostname) and url.port is not None
        except ValueError:
            valid = False
        if not valid:
            raise self.bad(f"peers.{name}.url is not grpcs://host:port")
        options = self.value(raw, "peers", name, "grpcOptions")
        server_name = options.get("ssl-target-name-override", "") if isinstance(options, dict) else ""
        return PeerAddress(name, url.netloc, self._tls_ca(raw, name), str(server_name))

    def _tls_ca(self, raw: Any, name: str) -> bytes:
        pem = self.value(raw, "peers", name, "tlsCACerts", "pem")
        if isinstance(pem, list):
            pem = "".join(str(each) for each in pem)
        if not isinstance(pem, str):
            file = self._path.parent / self.text(raw, "peers", name, "tlsCACerts", "path")
            try:
                pem = file.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise self.bad(f"peers.{name}.tlsCACerts: {file} cannot be read ({error.strerror})") from None
        data = pem.encode()
        try:
            x509.load_pem_x509_certificates(data)
        except UNREADABLE:
            raise self.bad(f"peers.{name}.tlsCACerts holds no PEM certificate") from None
        return data
