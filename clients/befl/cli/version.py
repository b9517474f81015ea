"""``befl version``."""

from __future__ import annotations

import click

from befl.cli.common import emit, format_option


@click.command()
@format_option
def version(form: str) -> None:
    """Say which befl, which code its chaincode is made of, which Fabric, which Python and libraries."""
    from befl.network.versions import versions

    emit(versions(), form, lambda found: "\n".join(f"{name:<10} {value}" for name, value in found.items()))
