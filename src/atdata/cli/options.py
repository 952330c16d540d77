"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer

from atdata.cli.complete import names_of_datasets

SHARDS_OR_DATASET: Final = (
    "A name in the local index, a path or URL of shards, @handle/name, or at://…. "
    "Where a name is also a path, it is the name; ./PATH is the path."
)

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

IndexUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="URL",
        show_default=False,
        help="The local index: a path, sqlite:///…, redis://… or postgresql://…. "
        "By default ATDATA_INDEX, else a file in the user's data folder.",
    ),
]

Target: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        show_default=False,
        help="A name in the local index, @handle/name, or at://….",
        autocompletion=names_of_datasets,
    ),
]

Description: TypeAlias = Annotated[
    str | None,
    typer.Option("--description", metavar="TEXT", show_default=False, help="What it is."),
]
Tags: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", show_default=False, help="A tag; can be repeated."),
]
License: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--license", metavar="SPDX", show_default=False, help="An SPDX name, such as MIT."
    ),
]
