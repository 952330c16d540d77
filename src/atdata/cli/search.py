"""``atdata search``: datasets of an index by words, tags, licence and schema."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.cli.entries import entry_facts
from atdata.cli.options import IndexUrl, Json
from atdata.cli.output import count, emit, note, table
from atdata.cli.targets import index_to_list


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD...", help="Words, all of which must fit.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="TAG", help="With this tag; can be repeated.", show_default=False
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license", metavar="SPDX", help="Under this licence, as MIT.", show_default=False
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="SCHEMA",
            help="Of this schema: a reference, or a class in any version.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Most datasets.")] = 100,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Find datasets in the local index, copies of the network's among them; best first.

    Words are looked for in names, tags, classes, licences and descriptions, from their
    beginning. With --json one JSON object a line.
    """
    found_in = index_to_list(index)
    found: list[Any] = []
    if found_in is not None:
        with found_in:
            found = found_in.search(
                " ".join(words or ()), tags=tag, license=license, schema=schema, limit=limit
            )
    facts = [{**entry_facts(entry), "title": entry.title} for entry in found]
    if as_json:
        for one in facts:
            emit(one)
    else:
        if not facts and found_in is not None:
            note("no dataset of the index fits")
        table(("name", "samples", "tags", "license", "description"), map(_row, facts))


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    return (
        facts["title"] or facts["name"],
        count(facts.get("samples")),
        ", ".join(facts.get("tags") or ()),
        facts.get("license") or "",
        (facts.get("description") or "").partition("\n")[0][:80],
    )
