"""``atdata label``: a version of a name that leads to one dataset for good."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.account import Handle, signed_in
from atdata.cli.options import Json
from atdata.cli.output import emit


def label(
    uri: Annotated[
        str, typer.Argument(metavar="URI", show_default=False, help="AT URI of the dataset.")
    ],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", show_default=False, help="Mostly the dataset's own name."),
    ],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", show_default=False, help="major.minor.patch")
    ],
    handle: Handle,
    move: Annotated[
        bool, typer.Option("--move", help="Move a label that leads to another dataset.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let @handle/NAME@VERSION mean this dataset, whatever is published later."""
    from atdata.atmosphere import AtmosphereIndex

    made = AtmosphereIndex(signed_in(handle)).label(name, version, uri, move=move)
    if as_json:
        emit({"uri": made})
    else:
        print(made)
