"""``atdata promote``: publishes a dataset of the local index on the network."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata._registry import STORES
from atdata._shardlist import total
from atdata.capabilities import shards_of_entry
from atdata.cli.login import Handle, signed_in
from atdata.cli.options import Description, IndexUrl, Json, License, Tags, dataset_argument
from atdata.cli.output import emit, progress
from atdata.cli.plain import plain
from atdata.cli.resolve import index_with
from atdata.errors import OptionError
from atdata.promote import plan_promotion, promote_to_atmosphere
from atdata.stores.open_store import open_store


def promote(
    dataset: Annotated[
        str, dataset_argument("A name or CID in the local index, or @local/NAME@VERSION.")
    ],
    handle: Handle,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="PLACE",
            help="Copy the shards: 'blobs' to the account's own server, s3://bucket with "
            "credentials from the AWS environment variables, or the URL of a store that another "
            "package adds. Without it their URLs are published unchanged.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Publish under this name.")
    ] = None,
    description: Description = None,
    tags: Tags = None,
    license: License = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="URI",
            help="AT URI of a dataset that this one was made from; can be repeated.",
        ),
    ] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split", help="Rewrite shards that are too large for the server as smaller ones."
        ),
    ] = False,
    newer: Annotated[
        bool,
        typer.Option("--newer", help="Write records of the newer family, science.alt.dataset."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would happen, and write nothing.")
    ] = False,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Publish a dataset on the network and print its AT URI.

    Idempotent: after a failure, run it again; nothing is sent twice.
    """
    if store is not None and "://" not in store and store not in STORES:
        raise _not_public(store)
    found_in = index_with(dataset, index)
    entry = found_in.get_dataset(dataset)
    client = signed_in(handle)
    data_store, prefix = (None, None) if store is None else open_store(store, client=client)
    if store is not None and prefix is not None:
        raise _not_public(store)
    arguments: dict[str, Any] = {
        "name": name,
        "description": description,
        "tags": tags,
        "license": license,
        "sources": source,
        "data_store": data_store,
        "oversize": "split" if split else "refuse",
        "family": "science.alt.dataset" if newer else "ac.foundation.dataset",
    }
    if dry_run:
        plan = plan_promotion(entry, found_in, client, **arguments)
        if as_json:
            emit(plan.to_dict())
        else:
            print(plain(str(plan), lines=True))
        plan.check()
        return
    size = total(shard.bytes for shard in shards_of_entry(entry))
    with progress(f"promoting {entry.name}", size if store is not None else None) as advance:
        uri = promote_to_atmosphere(entry, found_in, client, progress=advance, **arguments)
    if as_json:
        emit({"uri": uri})
    else:
        print(uri)


def _not_public(store: str) -> OptionError:
    return OptionError(
        f"--store {store}: give 'blobs' or s3://bucket, where others can read the shards. "
        "Their keys in the bucket are made from the name and the content."
    )
