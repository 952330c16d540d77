"""``atdata insert``: shards on disk or at a URL become a dataset of the local index."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atdata.cli.entries import entry_facts
from atdata.cli.infer import infer_type
from atdata.cli.options import Description, IndexUrl, Json, License, Tags
from atdata.cli.output import emit, facts, note, progress
from atdata.cli.targets import find_type, local_index
from atdata.cli.watch import WatchedSource, size_of_files
from atdata.dataset.dataset import Dataset
from atdata.errors import OptionError
from atdata.sources.url import URLSource
from atdata.stores.open_store import open_store


def insert(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            show_default=False,
            help="Shards: files, folders or URLs; braces and globs are expanded.",
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", show_default=False, help="Name to find it by.")
    ],
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="REF",
            show_default=False,
            help="Schema of the samples, one of the index: a reference or Class@1.0.0.",
        ),
    ] = None,
    sample_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="MODULE:CLASS",
            show_default=False,
            help="Type of the samples, a class of yours; its module is imported. "
            "Without --schema and --type the fields are found by reading all samples once.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="PLACE",
            show_default=False,
            help="Copy the shards there first: a folder, or s3://bucket/prefix with access from "
            "the AWS environment. Without it they stay where they are.",
        ),
    ] = None,
    maxcount: Annotated[
        int | None,
        typer.Option(
            "--maxcount",
            metavar="N",
            min=1,
            show_default=False,
            help="With --store: samples a shard.",
        ),
    ] = None,
    description: Description = None,
    tags: Tags = None,
    license: License = None,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Record shards as a dataset of the local index."""
    if schema is not None and sample_type is not None:
        raise OptionError("--schema and --type cannot go together: each says what a sample is.")
    if maxcount is not None and store is None:
        raise OptionError("--maxcount needs --store: shards that stay where they are keep theirs.")
    data_store, prefix = open_store(store) if store is not None else (None, None)
    into = local_index(index, data_store=data_store)
    source = URLSource(list(paths))
    schema_ref = None
    if schema is not None:
        schema_ref = schema if "://" in schema else f"atdata://local/sampleSchema/{schema}"
        chosen = into.decode_schema(schema_ref)
    else:
        chosen = find_type(sample_type) if sample_type else _inferred(source, name)
    # A type that does not fit shows in the first sample, before anything is recorded.
    next(iter(Dataset.of(chosen, source)), None)
    sharding = {"prefix": prefix, "maxcount": maxcount}
    entry = _insert(
        into,
        source,
        chosen,
        watched=data_store is not None,
        name=name,
        schema_ref=schema_ref,
        description=description,
        tags=tags,
        license=license,
        **{key: value for key, value in sharding.items() if value is not None},
    )
    known = entry_facts(entry)
    if as_json:
        emit(known)
    else:
        facts((key, known[key]) for key in ("name", "cid", "schema_ref"))


def _inferred(source: URLSource, name: str) -> type:
    with progress(f"reading {name}", size_of_files(source.shard_list)) as bar:
        return infer_type(WatchedSource(source, bar), name, note)


def _insert(
    into: Any, source: URLSource, sample_type: type, *, watched: bool, name: str, **said: Any
) -> Any:
    if not watched:
        return into.insert_dataset(Dataset.of(sample_type, source), name=name, **said)
    with progress(f"copying {name}", size_of_files(source.shard_list)) as bar:
        dataset: Dataset[Any] = Dataset.of(sample_type, WatchedSource(source, bar))
        return into.insert_dataset(dataset, name=name, **said)
