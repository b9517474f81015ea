"""``AGENT.toml``: what one institution's agent uses, and what its operator agrees to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from befl.agent.store import named, read_whole
from befl.rules.errors import BeflError
from befl.rules.names import MSP_ID
from befl.rules.reader import Boolean, Choice, Either, Integer, Mapped, Sequence, Table, Text, parse_toml, read, setting
from befl.rules.schemes import SCHEMES
from befl.rules.spec import MOST_INSTITUTIONS

if TYPE_CHECKING:
    from befl.operations.server import Tls

_PATH: Final = Text(most=1_000, pattern=r"[^\x00-\x1f\x7f]+", expects="a path")
_WORD: Final = Text(most=64, pattern=r"[A-Za-z][A-Za-z0-9_\-]*", expects="a word (letters, digits, _ and -)")


@dataclass(frozen=True)
class NetworkTable:
    """``[network]``: where the institution's peer is."""

    profile: str = setting(_PATH, "the connection profile of the institution")
    channel: str = setting(_WORD, "the channel", default="befl")
    chaincode: str = setting(_WORD, "the chaincode's name", default="befl")
    endpoint: str = setting(
        Text(most=259, pattern=r"(?:[A-Za-z0-9][A-Za-z0-9.\-]{0,252}:[1-9][0-9]{0,4})?", expects="HOST:PORT, or empty"),
        "where other institutions find the agent; it says so on the ledger when it starts; empty: it says only that it "
        "is there, and leaves an address that stands there already",
        default="",
    )


@dataclass(frozen=True)
class IdentityTable:
    """``[identity]``: as whom the agent acts."""

    msp_dir: str = setting(
        _PATH, "the MSP folder of an identity with befl.role = trainer; its `tls` folder lies beside"
    )


@dataclass(frozen=True)
class DataTable:
    """``[data.ALIAS]``: the file behind one alias."""

    path: str = setting(_PATH, "a CSV file, or a .npz or .safetensors file of arrays")


@dataclass(frozen=True)
class Policy:
    """``[policy]``: what the institution agrees to; evaluated before each round."""

    apply: str = setting(
        Choice(("ask", "always")),
        '"ask": the operator applies with `befl task apply`; "always": the agent applies by itself',
        default="ask",
    )
    issuers: str | tuple[str, ...] = setting(
        Either(Choice(("any",)), Sequence(MSP_ID, 1, MOST_INSTITUTIONS, unique=True)),
        "whose tasks are accepted",
        default="any",
    )
    schemes: tuple[str, ...] = setting(
        Sequence(Choice(SCHEMES.names()), 0, 10, unique=True),
        'accepted privacy schemes; "none" must be named to be accepted',
        default=(),
    )
    least: int = setting(Integer(1, MOST_INSTITUTIONS), "least number of trainers of a task", default=3)
    statistics: bool = setting(
        Boolean(),
        "whether count, sum and sum of squares of a column may stand on the ledger, where a task asks for them",
        default=False,
    )


@dataclass(frozen=True)
class TrainingTable:
    """``[training]``: where the app runs."""

    python: str = setting(Text(most=1_000), "the Python interpreter with torch; empty for the agent's own", default="")
    threads: int = setting(Integer(1, 1024), "threads of the training process", default=1)
    device: str = setting(
        Choice(("cpu", "cuda", "auto")),
        'where torch computes; "auto" takes a GPU when there is one; only a processor gives the same bytes again',
        default="cpu",
    )
    timeout: int = setting(Integer(1, 7 * 86_400), "seconds that one call of the app may take", default=3_600)
    memory: int = setting(
        Integer(0, 2**24),
        "MiB that the training process, and each that it starts, may allocate; torch alone takes about 800; "
        "0 for no limit: when the machine's memory is short, the kernel ends this process before others",
        default=0,
    )
    user: str = setting(
        Text(most=32, pattern=r"(?:[a-z_][a-z0-9_\-]*)?", expects="the name of a user of this system"),
        "as which user of the system the app runs, where the agent runs as root; empty for the agent's own",
        default="",
    )
    confine: bool = setting(
        Boolean(),
        "whether the kernel keeps the app from files other than Python's and the system's, from connections and from "
        "other processes, as far as it can",
        default=True,
    )


@dataclass(frozen=True)
class MetricsTable:
    """``[metrics]``: where the agent shows ``/healthz``, ``/version`` and ``/metrics``."""

    listen: str = setting(
        Text(most=300),
        'host:port, for example "127.0.0.1:9464"; empty for nowhere; an address that others reach needs TLS',
        default="",
    )
    certificate: str = setting(Text(most=1_000), "TLS: certificate of the agent's server, PEM", default="")
    key: str = setting(Text(most=1_000), "TLS: its key, PEM", default="")
    client_ca: str = setting(
        Text(most=1_000), "TLS: the CA whose certificates may read metrics, PEM; one for operators only", default=""
    )


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """The whole of ``AGENT.toml``; relative paths are relative to the file."""

    befl: int = setting(Integer(1, 1), "version of this file's form")
    network: NetworkTable = setting(Table(NetworkTable), "the network")
    identity: IdentityTable = setting(Table(IdentityTable), "the identity")
    data: Mapping[str, DataTable] = setting(Mapped(Table(DataTable), 1_000, key=_WORD), "the data", default={})
    policy: Policy = setting(Table(Policy), "the policy", default=Policy())
    training: TrainingTable = setting(Table(TrainingTable), "training", default=TrainingTable())
    metrics: MetricsTable = setting(Table(MetricsTable), "health and metrics", default=MetricsTable())
    state: str = setting(_PATH, "the folder of the agent's own records", default="state")
    folder: Path = Path()

    @property
    def state_dir(self) -> Path:
        """The folder of the agent's own records."""
        return self.folder / self.state

    @property
    def profile(self) -> Path:
        """The connection profile."""
        return self.folder / self.network.profile

    @property
    def user_dir(self) -> Path:
        """The identity's folder, with ``msp`` and ``tls``."""
        return (self.folder / self.identity.msp_dir).parent

    @property
    def python(self) -> str:
        """The interpreter with torch: a path that is relative is relative to the file, a name is looked for in PATH.

        Empty for the agent's own. A link is not followed: that of a virtual environment says which environment.
        """
        wanted = self.training.python
        return str(self.folder / wanted) if "/" in wanted else wanted

    def metrics_tls(self) -> Tls | None:
        """Return the TLS files for health and metrics, None for none; ``BEFL-C-003`` when one of the three lacks."""
        table = self.metrics
        named = {"certificate": table.certificate, "key": table.key, "client_ca": table.client_ca}
        if not any(named.values()):
            return None
        for name, value in named.items():
            if not value:
                raise BeflError("BEFL-C-003", f"metrics.{name}: missing", "TLS needs certificate, key and client_ca.")
        from befl.operations.server import Tls  # noqa: PLC0415  # only who wants metrics pays for a server

        return Tls(self.folder / table.certificate, self.folder / table.key, self.folder / table.client_ca)

    def data_path(self, alias: str) -> Path:
        """Return the file behind an alias; raises ``BEFL-C-007`` when the configuration has none."""
        if alias not in self.data:
            known = ", ".join(sorted(self.data)) or "none"
            raise BeflError("BEFL-C-007", f"no file is configured for data {alias!r}", f"Configured: {known}.")
        return self.folder / self.data[alias].path


def load(path: Path) -> AgentConfig:
    """Read an agent's configuration.

    Raises
    ------
    BeflError
        ``BEFL-C-006`` when the file cannot be read, ``BEFL-C-002`` to ``BEFL-C-005`` for its content.
    """
    with named(path):
        made = read(AgentConfig, parse_toml(read_whole(path), str(path)))
    return dataclasses.replace(made, folder=path.resolve().parent)
