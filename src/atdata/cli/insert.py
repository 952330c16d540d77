"""``atdata insert``: records shards as a dataset of the local index."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from atdata._protocols import DataSource
from atdata.cli.entry_facts import entry_facts
from atdata.cli.infer_type import infer_type, published_like
from atdata.cli.options import Description, IndexUrl, Json, License, Tags
from atdata.cli.output import emit, facts, note, progress
from atdata.cli.resolve import find_type, local_index
from atdata.dataset.dataset import Dataset
from atdata.dataset.recorded_type import check_recorded, recorded_type
from atdata.errors import OptionError, UnknownKindError
from atdata.schema.reflect import schema_of
from atdata.sources.hashed_stream import HashedStream
from atdata.sources.url import URLSource
from atdata.stores.open_store import open_store

_BUFFER_BYTES: Final = 1 << 20


def insert(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Shards: files, folders or URLs. Braces and globs are expanded."
        ),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the dataset.")],
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="REF",
            help="Schema of the samples, from the index: a reference or Class@1.0.0.",
        ),
    ] = None,
    sample_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="MODULE:CLASS",
            help="Type of the samples: a class of yours, whose module is imported. Without --type "
            "and --schema it is the one that was recorded next to the shards when atdata wrote "
            "them. If there is none, it is inferred by reading all samples once, and a published "
            "schema with the same fields is used.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="PLACE",
            help="Copy the shards here first: a folder, s3://bucket/prefix with credentials from "
            "the AWS environment variables, or the URL of a store that another package adds. "
            "Without it they stay where they are.",
        ),
    ] = None,
    maxcount: Annotated[
        int | None,
        typer.Option("--maxcount", metavar="N", min=1, help="With --store: most samples a shard."),
    ] = None,
    description: Description = None,
    tags: Tags = None,
    license: License = None,
    index: IndexUrl = None,
    as_json: Json = False,
) -> None:
    """Record shards as a dataset of the local index."""
    if schema is not None and sample_type is not None:
        raise OptionError("Give either --schema or --type: each says what a sample is.")
    if maxcount is not None and store is None:
        raise OptionError("--maxcount needs --store: shards are cut only when they are copied.")
    data_store, prefix = open_store(store) if store is not None else (None, None)
    into = local_index(index, data_store=data_store)
    source = URLSource(list(paths))
    schema_ref = None
    if schema is not None:
        schema_ref = schema if "://" in schema else f"atdata://local/sampleSchema/{schema}"
        chosen = into.decode_schema(schema_ref)
        check_recorded(source, chosen)
    elif sample_type is not None:
        chosen = find_type(sample_type)
        check_recorded(source, chosen)
    elif (recorded := _recorded(source)) is not None:
        chosen = recorded
    else:
        chosen = _inferred(source, name)
        schema_ref = published_like(schema_of(chosen), into)
        if schema_ref is not None:
            note(f"the samples fit the published schema {schema_ref}; it is recorded as theirs")
            chosen = into.decode_schema(schema_ref)
    # Read one sample, so that a type that does not fit fails before anything is recorded.
    next(iter(Dataset.of(chosen, source)), None)
    sharding = {"prefix": prefix, "maxcount": maxcount}
    entry = _insert(
        into,
        source,
        chosen,
        copied=data_store is not None,
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


def _recorded(source: URLSource) -> type | None:
    """The type that was recorded next to the shards when they were written, if one was."""
    try:
        return recorded_type(source)
    except UnknownKindError as error:
        note(f"{error} The type is inferred from the samples.")
        return None


def _inferred(source: URLSource, name: str) -> type:
    with progress(f"reading {name}", _total_bytes(source.shard_list)) as advance:
        return infer_type(_CountedSource(source, advance), name, note)


def _insert(
    into: Any, source: URLSource, sample_type: type, *, copied: bool, name: str, **more: Any
) -> Any:
    if not copied:
        return into.insert_dataset(Dataset.of(sample_type, source), name=name, **more)
    with progress(f"copying {name}", _total_bytes(source.shard_list)) as advance:
        dataset: Dataset[Any] = Dataset.of(sample_type, _CountedSource(source, advance))
        return into.insert_dataset(dataset, name=name, **more)


def _total_bytes(paths: Sequence[str]) -> int | None:
    """The size of all shards together; None unless each is a file on this machine."""
    files = [Path(path) for path in paths]
    return sum(f.stat().st_size for f in files) if all(f.is_file() for f in files) else None


class _CountedSource:
    """A source whose bytes are reported as they are read."""

    def __init__(self, source: DataSource, advance: Callable[[int], None]) -> None:
        self._source, self._advance = source, advance

    @property
    def shard_list(self) -> list[str]:
        return self._source.shard_list

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        for shard in self.shard_list:
            with self.open_shard(shard) as stream:
                yield shard, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        counted = HashedStream(
            self._source.open_shard(shard_id),
            hashed=False,
            on_bytes=lambda piece: self._advance(len(piece)),
        )
        return io.BufferedReader(counted, _BUFFER_BYTES)
