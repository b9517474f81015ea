"""What a shell needs so that Fabric's own ``peer`` and ``osnadmin`` work as one of an institution's users."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from befl.network import fabric, files
from befl.network.layout import Layout
from befl.network.observe import read_topology
from befl.rules.errors import BeflError


def environment(directory: Path | str, institution: str, user: str = "admin") -> dict[str, str]:
    """Return the variables that ``peer`` and ``osnadmin`` need, by name.

    ``peer`` reads ``CORE_PEER_*`` and ``FABRIC_CFG_PATH``; ``osnadmin`` reads none, so the ``ORDERER_*`` values are for
    its options, under the names that Fabric's own samples use. ``*_OPERATIONS_ADDRESS`` is where health and metrics
    are. ``PATH`` begins with the folder of Fabric's programs.

    Parameters
    ----------
    directory : Path
        A network folder.
    institution : str
        As whose user.
    user : str
        Which user.

    Raises
    ------
    BeflError
        N-001 to N-003 no Fabric, C-009 no such institution or identity, N-009 there is no network.
    """
    layout = Layout(Path(directory).absolute())
    topology = read_topology(layout)
    one = topology.institution(institution)
    home = layout.home(institution)
    folder = home.user(user)
    if not (folder / "msp").is_dir():
        known = ", ".join(sorted(path.name for path in folder.parent.glob("*") if (path / "msp").is_dir()))
        raise BeflError("BEFL-C-009", f"{institution} has no identity {user!r} here", f"It has: {known or 'none'}.")
    programs = fabric.locate()
    operations = home.user("admin") / "operations"
    tls = folder / "tls"
    return {
        "PATH": f"{programs.folder}{os.pathsep}{os.environ.get('PATH', '')}",
        **files.cli_environment(one, home, programs.config),
        "CORE_PEER_MSPCONFIGPATH": str(folder / "msp"),
        "CORE_PEER_TLS_ROOTCERT_FILE": str(home.tls_ca),
        "CORE_PEER_TLS_CLIENTCERT_FILE": str(tls / "client.crt"),
        "CORE_PEER_TLS_CLIENTKEY_FILE": str(tls / "client.key"),
        "ORDERER_ADDRESS": one.address("orderer"),
        "ORDERER_ADMIN_LISTENADDRESS": one.address("orderer_admin"),
        "ORDERER_CA": str(home.tls_ca),
        "ORDERER_ADMIN_TLS_SIGN_CERT": str(operations / "client.crt"),
        "ORDERER_ADMIN_TLS_PRIVATE_KEY": str(operations / "client.key"),
        "PEER_OPERATIONS_ADDRESS": one.address("peer_operations"),
        "ORDERER_OPERATIONS_ADDRESS": one.address("orderer_operations"),
        "CHAINCODE_OPERATIONS_ADDRESS": one.address("chaincode_operations"),
        "CHANNEL_NAME": topology.channel.name,
        "CC_NAME": topology.chaincode.name,
        "BEFL_NETWORK": str(layout.directory),
        "BEFL_AS": f"{institution}/{user}",
    }


def exports(variables: dict[str, str]) -> str:
    """Write variables for ``eval`` in a POSIX shell."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
