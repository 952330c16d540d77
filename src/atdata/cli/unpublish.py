"""``atdata unpublish``: deletes a published record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from atdata.cli.login import Handle, signed_in
from atdata.cli.options import Json
from atdata.cli.output import emit


def unpublish(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="A name or @handle/name of a dataset, or the AT URI of a dataset, schema, lens or "
            "label.",
        ),
    ],
    handle: Handle,
    as_json: Json = False,
) -> None:
    """Delete one of your records from the network.

    Prints what is deleted: the record, its labels and its blobs. A name means its newest revision;
    older ones stay. A schema that is in use is refused. Copies that others have made stay.
    """
    from atdata.atmosphere import AtmosphereIndex

    deleted = AtmosphereIndex(signed_in(handle)).unpublish(target)
    if as_json:
        emit(asdict(deleted))
        return
    for what in (deleted.uri, *deleted.labels, *deleted.blobs):
        print(what)
