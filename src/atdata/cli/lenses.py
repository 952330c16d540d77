"""``atdata lenses``: lists the lenses of an account, and where their code is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from atdata.cli.options import Json
from atdata.cli.output import listing
from atdata.cli.resolve import check_account, network_index


def lenses(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Handle or DID.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="URI", help="Only lenses from this schema.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="URI", help="Only lenses to this schema.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the lenses of an account, and where to read their code.

    The code is never fetched.
    """
    check_account(account)
    found = network_index().list_lenses(account, source=source, target=target)
    listing(
        map(asdict, found) if as_json else found,
        ("name", "source", "target", "code", "way back"),
        lambda lens: (
            *(lens.name, lens.source_schema, lens.target_schema),
            *(str(lens.getter), str(lens.putter)),
        ),
        as_json,
    )
