"""``atdata label``: gives a dataset a permanent name and version."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.login import OwnHandle, signed_in
from atdata.cli.options import IndexUrl, Json, dataset_argument
from atdata.cli.output import emit
from atdata.cli.plain import plain
from atdata.cli.resolve import index_with
from atdata.errors import OptionError


def label(
    dataset: Annotated[
        str,
        dataset_argument(
            "A name or CID in the local index, or at://… or @handle/name to label a dataset of "
            "the network."
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Usually the dataset's own name.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="As major.minor.patch.")],
    handle: OwnHandle = None,
    move: Annotated[
        bool, typer.Option("--move", help="Move the label if it points to another dataset.")
    ] = False,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Make NAME@VERSION mean this dataset, whatever revisions follow.

    A dataset of the local index is labelled there, as @local/NAME@VERSION. A dataset of the
    network is labelled by a record of the account, as @handle/NAME@VERSION.
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
            f"{dataset} is on the network: give the account that labels it with --handle."
        )
    made: str = AtmosphereIndex(signed_in(handle)).label(name, version, dataset, move=move)
    return made
