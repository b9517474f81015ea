"""``befl channel``: change who is in the channel, with the signatures of a majority."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from befl.cli.acting import acting

if TYPE_CHECKING:
    from befl.network.channel import Outcome
    from befl.network.institution import Member

_FILE = click.Path(path_type=Path, dir_okay=False)
_OUTPUT = click.option("--output", type=_FILE, required=True, metavar="FILE", help="The file to write.")


@click.group()
def channel() -> None:
    """Change who is in the channel, with the signatures of a majority.

    Institutions exchange public files: a definition (`befl org export`), a configuration update to sign, the
    configuration block with which a newcomer joins. Each command acts for one institution, as its admin.
    """


@channel.command()
@_OUTPUT
@acting
def fetch(member: Member, output: Path) -> Outcome:
    """Write the channel's latest configuration block: the newcomer's `befl channel join --block` takes it.

    \b
    Example:
      befl channel fetch --output latest.block
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel as verbs

    return verbs.fetch(member, output)


@channel.command()
@click.option("--add", "definition", type=_FILE, metavar="FILE", help="Let an institution in: its public definition.")
@click.option("--remove", "msp_id", metavar="MSP_ID", help="Take an institution out.")
@_OUTPUT
@acting
def propose(member: Member, definition: Path | None, msp_id: str | None, output: Path) -> Outcome:
    """Write a configuration update that lets an institution in, or takes one out.

    The file goes to the other institutions; each looks at it and signs it (`befl channel sign`), and one submits it.

    \b
    Examples:
      befl channel propose --add north.json --output update.pb
      befl channel propose --remove NorthMSP --output update.pb
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel as verbs
    from befl.network import configuration
    from befl.network import definition as definitions

    if (definition is None) == (msp_id is None):
        raise click.UsageError("one of --add and --remove is needed")
    if definition is not None:
        newcomer = definitions.load(definition)
        return verbs.propose(member, lambda now: configuration.add(now, newcomer), output)
    name = str(msp_id)
    return verbs.propose(member, lambda now: configuration.remove(now, name), output)


@channel.command()
@click.argument("file", type=_FILE)
@click.option("--output", type=_FILE, metavar="FILE", help="Where to write the signed file; over FILE when absent.")
@acting
def sign(member: Member, file: Path, output: Path | None) -> Outcome:
    """Say what an update changes, and add the institution's signature to it.

    Of an institution that it lets in, the SHA-256 of its CAs are printed: they are those that `befl org export` prints
    there. What is marked ATTENTION is not as befl makes an institution: do not let it in unasked.

    Copies that different institutions signed are brought together by `befl channel submit`.

    \b
    Example:
      befl channel sign add-north.pb --as east
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel as verbs

    return verbs.sign(member, file, output or file)


@channel.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@acting
def submit(member: Member, files: tuple[Path, ...]) -> Outcome:
    """Submit an update once a majority has signed it; several copies bring their signatures together.

    The own signature is added when it is lacking.

    \b
    Examples:
      befl channel submit add-north.pb
      befl channel submit from-east.pb from-west.pb
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel as verbs

    return verbs.submit(member, files)


@channel.command()
@click.option("--block", type=_FILE, metavar="FILE", help="The latest configuration block, from `befl channel fetch`.")
@click.option(
    "--from", "source", type=_FILE, metavar="FILE", help="Instead: a member's public definition; its orderer is asked."
)
@acting
def join(member: Member, block: Path | None, source: Path | None) -> Outcome:
    """Let the own orderer and peer join the channel, once the update that lets them in is in force.

    \b
    Example:
      befl channel join --network north --from east.json
    """  # noqa: D301  # click wants the character itself
    from befl.network import channel as verbs
    from befl.network import definition as definitions

    if (block is None) == (source is None):
        raise click.UsageError("one of --block and --from is needed")
    return verbs.join(member, block, definitions.load(source) if source is not None else None)
