"""``atdata import``: makes shards of a table, pictures or arrays, and records them."""

from __future__ import annotations

from typing import Annotated

import typer

from atdata.cli.entry_facts import entry_facts
from atdata.cli.options import Description, IndexUrl, Json, License, Tags
from atdata.cli.output import emit, facts, note, progress
from atdata.cli.resolve import find_type, local_index
from atdata.exchange.importer import free_path, refuse_earlier
from atdata.exchange.recognise import importer_of_path


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A Parquet, CSV, JSON lines, .npz or .npy file, a pattern or folder of them, or a "
            "folder of pictures. What it is is recognised.",
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the dataset.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PATH",
            help="Where the shards go: data.tar, data-%06d.tar, or a folder. Default: "
            "NAME-%06d.tar in the current folder, or NAME-2-%06d.tar where that exists. Shards "
            "that are there are never replaced.",
        ),
    ] = None,
    sample_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="MODULE:CLASS",
            help="Type of the samples: a class of yours, whose module is imported. Without it one "
            "is made of the columns.",
        ),
    ] = None,
    maxcount: Annotated[
        int | None, typer.Option("--maxcount", metavar="N", min=1, help="Most samples a shard.")
    ] = None,
    maxsize: Annotated[
        int | None,
        typer.Option(
            "--maxsize",
            metavar="BYTES",
            min=1,
            help="Largest shard. Default, where shards are numbered: 500,000,000.",
        ),
    ] = None,
    description: Description = None,
    tags: Tags = None,
    license: License = None,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Make shards of a table, pictures or arrays, and record them as a dataset.

    They are recorded in the local index. Shards are written whole or not at all.
    """
    chosen = None if sample_type is None else find_type(sample_type)
    found = importer_of_path(source, chosen)
    into = local_index(index)
    path = to or free_path(name)
    if maxcount is None and maxsize is None and "%" in path:
        maxsize = 500_000_000
    if to is not None:
        refuse_earlier(path, numbered=maxcount is not None or maxsize is not None)
    for line in found.notes:
        note(line)
    with progress(f"importing {name}", found.count, unit="samples") as advance:
        dataset = found.write(path, maxcount=maxcount, maxsize=maxsize, progress=advance)
    entry = into.insert_dataset(
        dataset, name=name, description=description, tags=tags, license=license
    )
    known = entry_facts(entry)
    if as_json:
        emit(known)
    else:
        facts((key, known[key]) for key in ("name", "cid", "schema_ref"))
