"""write_samples and write_columns: samples or columns → shards → Dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from atdata._shardlist import Layout, ShardInfo
from atdata.dataset.dataset import Dataset
from atdata.dataset.shard_folder import ShardFolder
from atdata.errors import NoDataUrlsError, SampleTypeError
from atdata.samples.codec import check_sample_type, codec_of, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.schema.schema_file import schema_file
from atdata.shards.columns.packers import Values
from atdata.shards.members_writer import packed_members
from atdata.shards.row_sources import BatchRows, ColumnRows, RowSource, SampleRows
from atdata.shards.tar.table import check_layout
from atdata.shards.writer import write_keyed, write_numbered

T = TypeVar("T")


def write_samples(
    samples: Iterable[T],
    path: str | Path,
    *,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
    layout: Layout = "msgpack",
) -> Dataset[T]:
    """Write samples to tar shards and return them as a dataset.

    Nothing appears under ``path`` until every sample has been written. The same samples give
    the same bytes. Shards of an earlier call with the same path are replaced: a reader finds all
    the new ones or none, even if this process is killed while it replaces them. A small file next
    to the shards, ``digits.tar.atdata.json`` or ``digits.atdata.json``, has the type of the
    samples, so that `load_dataset` knows it.

    Args:
        samples: Instances of one packable class, or `DictSample`; read once, in order.
        path: ``digits.tar`` for one shard; with ``maxcount`` or ``maxsize``, or as
            ``digits-%06d.tar``, for ``digits-000000.tar``, ``digits-000001.tar``, …  Any other
            path is a folder, and the shards in it are named after it. Compressed shards, such as
            ``digits.tar.gz``, are refused.
        maxcount: Most samples in a shard.
        maxsize: Largest shard, in bytes (10**6 = 1 MB), padding included. A sample is never split.
        fsync: Wait until the disk has the bytes and the name of every shard, and the new folders.
            Without, the system writes them later, even if this process ends; after a power cut a
            shard may be empty, cut short or missing, or old and new ones mixed. Readers see whole
            shards in any case, and `atdata verify` finds damaged ones by their recorded SHA-256.
        layout: ``"msgpack"``, one member a sample, which is read fastest; or ``"members"``, as
            WebDataset has them: ``000000000.jpg``, ``000000000.txt``. `Member` names the member of
            a field, ``__key__`` the key; without, the field's name and kind do.

    Returns:
        The dataset of the shards, with their counts, sizes and hashes.

    Raises:
        EncodeError: A value does not fit its field; names the sample and the path.
        SampleTypeError: Something that is not a sample, or samples of two types.
        NoDataUrlsError: There are no samples.
        OptionError: A limit below 1, a sample larger than ``maxsize``, a URL instead of a path, or
            the name of a compressed tar.
        StoreError: Shards of an earlier call would be left over, and be read together with the
            new ones; or the disk is full or cannot be written.
    """
    folder = ShardFolder(path, numbered=maxcount is not None or maxsize is not None, fsync=fsync)
    iterator = _iterated(samples)
    try:
        first = next(iterator)
    except StopIteration:
        raise NoDataUrlsError(f"There are no samples to write to {path}.") from None
    sample_type = type(first)
    if type(samples) not in (list, tuple):
        samples = chain([first], iterator)
    check_layout(layout)
    if layout == "members":
        options: dict[str, Any] = {"stem": folder.stem, "fsync": folder.fsync}
        packed = packed_members(samples, codec_of(sample_type))
        shards = write_keyed(packed, folder, maxcount=maxcount, maxsize=maxsize, **options).shards
        return _published(sample_type, folder, shards)
    source = SampleRows(samples, codec_of(sample_type))
    return _written(source, sample_type, folder, maxcount, maxsize)


def write_columns(
    columns: Mapping[str, Values],
    path: str | Path,
    *,
    sample_type: type[T],
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> Dataset[T]:
    """Write samples given field by field; much faster than one by one.

    The shards are those that `write_samples` writes, byte for byte: sample ``i`` has
    ``column[i]`` of each column. Without ``fsync`` several shards are written at the same time.

    Args:
        columns: Field name → one value a sample: an array of shape (n, *S) for an array field,
            an array of shape (n,) for numbers, a list of n values for any field. A field with a
            default needs no column. Read, not copied. Columns of other libraries that convert to
            NumPy (``__array__``, ``to_numpy``) are accepted, as in ``dict(df)`` of a pandas
            DataFrame, unless they mark values as missing.
        path: As for `write_samples`.
        sample_type: The packable class of the samples.
        maxcount: Most samples in a shard.
        maxsize: Largest shard, in bytes (10**6 = 1 MB), padding included. A sample is never split.
        fsync: As for `write_samples`.

    Raises:
        EncodeError: A value does not fit its field, a field has no column, or columns differ in
            their number of values.
        SampleTypeError: ``sample_type`` is not a packable class, or is `DictSample`.
        NoDataUrlsError: There are no samples.
        OptionError: As for `write_samples`.
        StoreError: As for `write_samples`.
    """
    check_sample_type(sample_type)
    if issubclass(sample_type, DictSample):
        raise SampleTypeError(
            "DictSample does not say what type a column has: pass a packable class as sample_type. "
            "write_samples takes DictSample."
        )
    folder = ShardFolder(path, numbered=maxcount is not None or maxsize is not None, fsync=fsync)
    source = ColumnRows(columns, codec_of(sample_type))
    return _written(source, sample_type, folder, maxcount, maxsize)


def write_batches(
    batches: Iterable[Mapping[str, Values]],
    path: str | Path,
    *,
    sample_type: type[T],
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> Dataset[T]:
    """`write_columns` of columns that come in batches, which are read once, in order.

    Args:
        batches: Of each its columns. Where a batch is an array, it is not copied.
        path: As for `write_samples`.
        sample_type: The packable class of the samples.
        maxcount: Most samples in a shard.
        maxsize: Largest shard, in bytes.
        fsync: As for `write_samples`.

    Raises:
        AtdataError: As for `write_columns`; nothing was written.
    """
    check_sample_type(sample_type)
    folder = ShardFolder(path, numbered=maxcount is not None or maxsize is not None, fsync=fsync)
    source = BatchRows(batches, codec_of(sample_type))
    return _written(source, sample_type, folder, maxcount, maxsize)


def _written(
    source: RowSource,
    sample_type: type[T],
    folder: ShardFolder,
    maxcount: int | None,
    maxsize: int | None,
) -> Dataset[T]:
    shards = write_numbered(
        source, folder, stem=folder.stem, maxcount=maxcount, maxsize=maxsize, fsync=folder.fsync
    ).shards
    return _published(sample_type, folder, shards)


def _published(
    sample_type: type[T], folder: ShardFolder, shards: Sequence[ShardInfo]
) -> Dataset[T]:
    folder.publish(schema_file(sample_type))
    return Dataset.of(sample_type, [Path(shard.url) for shard in shards], shards=shards)


def _iterated(samples: Any) -> Iterator[Any]:
    """An iterator over samples; refuses what is often passed in their place."""
    if is_sample_type(type(samples)):
        problem = f"found one {type(samples).__name__}. Put it into a list: write_samples([sample]"
        raise SampleTypeError(f"Expected several samples, {problem}, path).")
    # Iterating over a table gives names of columns, or rows of plain values.
    if isinstance(samples, Mapping) or hasattr(samples, "__dataframe__") or _is_table(samples):
        columns = "table" if isinstance(samples, Mapping) else "dict(table)"
        raise SampleTypeError(
            f"Expected samples, found a table of columns, a {type(samples).__name__}. Write it "
            f"with atdata.write_columns({columns}, path, sample_type=…); or, with a type of its "
            "own, atdata.from_pandas(table).write(path), and so from_polars, from_arrow or from_hf."
        )
    if not isinstance(samples, Iterable) or isinstance(samples, str | bytes | os.PathLike | type):
        raise SampleTypeError(
            f"Expected an iterable of samples, found {type(samples).__name__}: "
            "write_samples([sample, …], 'data.tar')."
        )
    return iter(samples)


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")
