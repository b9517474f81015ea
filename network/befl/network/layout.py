"""Where things lie in a network folder: names only, nothing is read or written here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TOPOLOGY: Final = "network.toml"
PUBLIC: Final = "public"
SUPERVISOR: Final = "supervisor"


@dataclass(frozen=True, slots=True)
class Public:
    """The public files of one institution: what it hands to the others, no secrets."""

    folder: Path

    @property
    def msp(self) -> Path:
        """The MSP definition: CA certificates and node OUs."""
        return self.folder / "msp"

    @property
    def tls_ca(self) -> Path:
        """The certificate of its TLS CA."""
        return self.folder / "msp" / "tlscacerts" / "tlsca.pem"

    @property
    def orderer_certificate(self) -> Path:
        """The TLS certificate of its orderer, as the channel configuration lists it."""
        return self.folder / "orderer-tls.crt"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one institution; everything in it is its own and private (0700)."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The Fabric CA server's home."""
        return self.folder / "ca"

    @property
    def ca_certificate(self) -> Path:
        """The TLS certificate of the CA server, which its clients trust."""
        return self.ca / "server.crt"

    @property
    def msp(self) -> Path:
        """The institution's MSP definition."""
        return self.folder / "msp"

    @property
    def tls_ca(self) -> Path:
        """The certificate of the TLS CA."""
        return self.ca / "tlsca" / "ca-cert.pem"

    @property
    def operations_ca(self) -> Path:
        """The certificate of the CA for admin and operations endpoints."""
        return self.ca / "opsca" / "ca-cert.pem"

    @property
    def orderer(self) -> Path:
        """The orderer's ``msp``, ``tls`` and ``data``."""
        return self.folder / "orderer"

    @property
    def peer(self) -> Path:
        """The peer's ``msp``, ``tls`` and ``data``."""
        return self.folder / "peer"

    @property
    def chaincode(self) -> Path:
        """The chaincode server's ``tls`` and configuration, and the package."""
        return self.folder / "chaincode"

    @property
    def builder(self) -> Path:
        """The peer's external builder for chaincode as a service."""
        return self.folder / "builder"

    @property
    def services(self) -> Path:
        """What the supervisor keeps running, one file each."""
        return self.folder / "services"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.folder / "logs"

    @property
    def profile(self) -> Path:
        """The connection profile."""
        return self.folder / "connection.json"

    @property
    def lock(self) -> Path:
        """Held while a command acts for the institution."""
        return self.folder / ".lock"

    def user(self, name: str) -> Path:
        """Return a user's folder, with ``msp`` and ``tls``."""
        return self.folder / "users" / name


@dataclass(frozen=True, slots=True)
class Layout:
    """A network folder."""

    directory: Path

    @property
    def topology(self) -> Path:
        """The topology file."""
        return self.directory / TOPOLOGY

    @property
    def genesis(self) -> Path:
        """The channel's first block, which the founder made."""
        return self.directory / PUBLIC / "genesis.block"

    @property
    def supervisor(self) -> Path:
        """The supervisor's lock, state and log."""
        return self.directory / SUPERVISOR

    @property
    def fabric(self) -> Path:
        """Version and origin of the programs that run here."""
        return self.directory / "fabric.txt"

    @property
    def lock(self) -> Path:
        """Held while a command changes the network."""
        return self.directory / ".lock"

    def home(self, name: str) -> Home:
        """Return an institution's own folder."""
        return Home(self.directory / name)

    def public(self, name: str) -> Public:
        """Return an institution's folder of public files."""
        return Public(self.directory / PUBLIC / name)
