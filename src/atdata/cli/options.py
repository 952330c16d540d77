"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import typer

from atdata.cli.completion import names_of_datasets

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON: one document, or one a line for a list.")
]

IndexUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="URL",
        help="The local index: a path, sqlite:///…, redis://… or postgresql://…. "
        "Default: ATDATA_INDEX, or else a file in the user's data folder.",
    ),
]


def dataset_argument(help: str) -> Any:
    """A required argument DATASET, which the shell completes."""
    return typer.Argument(metavar="DATASET", help=help, autocompletion=names_of_datasets)


Entry: TypeAlias = Annotated[
    str, dataset_argument("A name in the local index, @handle/name, or at://….")
]
ShardsOrEntry: TypeAlias = Annotated[
    str,
    dataset_argument(
        "A name in the local index, a path or URL of shards, @handle/name, or at://…. "
        "A word that is both a name and a path means the name; write ./PATH for the path."
    ),
]

Description: TypeAlias = Annotated[
    str | None,
    typer.Option("--description", metavar="TEXT", help="Text that describes the dataset."),
]
Tags: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; can be repeated.")
]
License: TypeAlias = Annotated[
    str | None, typer.Option("--license", metavar="SPDX", help="An SPDX expression, such as MIT.")
]
