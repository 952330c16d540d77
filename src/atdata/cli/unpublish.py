"""``atdata unpublish``: taking back what was published."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from atdata.cli.account import Handle, signed_in
from atdata.cli.options import Json
from atdata.cli.output import emit


def unpublish(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            show_default=False,
            help="A name or @handle/name of a dataset, or the AT URI of a dataset, schema, lens or "
            "label.",
        ),
    ],
    handle: Handle,
    as_json: Json = False,
) -> None:
    """Delete a record of one's own from the network, and say what goes with it.

    A name means its newest revision; older ones stay. A schema that is in use is refused. Who has
    read a dataset has it still.
    """
    from atdata.atmosphere import AtmosphereIndex

    gone = AtmosphereIndex(signed_in(handle)).unpublish(target)
    if as_json:
        emit(asdict(gone))
        return
    for what in (gone.uri, *gone.labels, *gone.blobs):
        print(what)
