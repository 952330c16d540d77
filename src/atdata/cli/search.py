"""``atdata search``: finds datasets of an index by words, tags, licence and schema."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.cli.entry_facts import entry_facts, list_entries
from atdata.cli.options import IndexUrl, Json
from atdata.cli.output import note
from atdata.cli.resolve import index_to_list


def search(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD...", help="Words, all of which must match.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only with this tag; can be repeated."),
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="Only under this licence.")
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="SCHEMA",
            help="Only of this schema: a reference, or a class in any version.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="List at most N.")
    ] = 100,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Search the local index, best match first.

    Datasets mirrored from the network are included. Words match the beginnings of words in names,
    tags, classes, licences and descriptions.
    """
    found_in = index_to_list(index)
    found: list[Any] = []
    if found_in is not None:
        with found_in:
            found = found_in.search(
                " ".join(words or ()), tags=tag, license=license, schema=schema, limit=limit
            )
    facts = [{**entry_facts(entry), "title": entry.title} for entry in found]
    if not (as_json or facts or found_in is None):
        note("no dataset matches")
    list_entries(facts, ("name", "samples", "tags", "license", "description"), as_json)
