"""``befl org``: one institution's own folder, and its public definition."""

from __future__ import annotations

from pathlib import Path

import click

from befl.cli.acting import as_option, network_option, progress
from befl.cli.common import emit, format_option


@click.group()
def org() -> None:
    """Found one institution's own folder, and hand its public definition to others."""


@org.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--name", required=True, help="The institution's short name: small letters, digits, hyphens.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where its processes listen: an address or a name of this machine, as the others reach it.",
)
@click.option("--channel", default="befl", show_default=True, help="The channel that it will join.")
@format_option
def init(directory: Path, name: str, host: str, channel: str, form: str) -> None:
    """Found an institution in DIR: its certificate authority, identities, orderer, peer and chaincode server.

    DIR (0700) holds only what is the institution's own. The processes run under a supervisor until
    `befl network down --network DIR`; `befl network up --network DIR` resumes. Afterwards: `befl org export`.

    \b
    Example:
      befl org init north --name north --host fl.north.example
    """  # noqa: D301  # click wants the character itself
    from befl.network import consortium

    definition = consortium.init(directory, name, host, progress, channel=channel)
    emit(
        definition,
        form,
        lambda one: f"{one.name} ({one.msp_id}) runs in {directory}: peer {one.peer}, orderer {one.orderer}",
    )


@org.command()
@network_option
@as_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file to write.",
)
@format_option
def export(directory: Path, institution: str, output: Path, form: str) -> None:
    """Write the institution's public definition, the one file that others need to let it in.

    It holds names, endpoints and certificates, and no secret. Compare its SHA-256 over another way than the file goes.
    The SHA-256 of its certificates are what `befl channel sign` shows to the members who let the institution in.

    \b
    Example:
      befl org export --network north --output north.json
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel, consortium

    definition = consortium.export(directory, institution.partition("/")[0])
    channel.write_public(output, definition.dump())
    emit(
        {
            "msp_id": definition.msp_id,
            "file": output,
            "digest": definition.digest,
            "fingerprints": definition.fingerprints,
        },
        form,
        lambda made: "\n".join(
            [
                f"{made['msp_id']} is in {made['file']}, SHA-256 {made['digest']}",
                *(f"  {what} SHA-256 {digest}" for what, digest in made["fingerprints"].items()),
            ]
        ),
    )
