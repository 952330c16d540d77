"""``atdata label``: a version of a name that leads to one dataset for good."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.account import OwnHandle, signed_in
from atdata.cli.complete import names_of_datasets
from atdata.cli.options import IndexUrl, Json
from atdata.cli.output import emit, plain
from atdata.cli.targets import index_with
from atdata.errors import OptionError


def label(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            show_default=False,
            help="A name or CID in the local index; or at://… or @handle/name, to be labelled "
            "on the network.",
            autocompletion=names_of_datasets,
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", show_default=False, help="Mostly the dataset's own name."),
    ],
    version: Annotated[
        str, typer.Argument(metavar="VERSION", show_default=False, help="major.minor.patch")
    ],
    handle: OwnHandle = None,
    move: Annotated[
        bool, typer.Option("--move", help="Move a label that leads to another dataset.")
    ] = False,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Let NAME@VERSION mean this dataset, whatever comes later.

    A dataset of the local index, or of the one that --index names, is labelled there, as
    @local/NAME@VERSION; one of the network by a record of the account, as @handle/NAME@VERSION.
    """
    if index is None and dataset.startswith(("at://", "@")) and not dataset.startswith("@local/"):
        made = _on_the_network(dataset, name, version, handle, move)
    else:
        with index_with(dataset, index) as local:
            local.label(name, version, local.get_dataset(dataset), move=move)
        made = f"@local/{name}@{version}"
    if as_json:
        emit({"uri" if made.startswith("at://") else "name": made})
    else:
        print(plain(made))


def _on_the_network(dataset: str, name: str, version: str, handle: str | None, move: bool) -> str:
    from atdata.atmosphere import AtmosphereIndex

    if handle is None:
        raise OptionError(
            f"{dataset} is on the network: name the account that labels it, --handle."
        )
    made: str = AtmosphereIndex(signed_in(handle)).label(name, version, dataset, move=move)
    return made
