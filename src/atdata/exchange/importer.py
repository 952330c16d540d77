"""Importer: data of another program, ready to be read or written as samples."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from atdata._protocols import AbstractIndex
from atdata._secrets import redacted
from atdata.dataset.dataset import Dataset
from atdata.dataset.shard_folder import ShardFolder
from atdata.dataset.write import write_batches
from atdata.errors import OptionError, StoreError
from atdata.samples.batch import SampleBatch
from atdata.samples.codec import codec_of
from atdata.schema.model import Schema
from atdata.schema.reflect import schema_of
from atdata.shards.columns.packers import Values
from atdata.system.scratch import Scratch

T = TypeVar("T")

MODULE: Final = "imported"
"""The module in the names of types that are made of what is imported."""


class Importer(Generic[T]):
    """Rows of a table, pictures of a folder or the like, as samples of one type.

    Nothing is copied until it is written or read; then it streams, a batch at a time.

    Args:
        sample_type: Type of the samples.
        batches: Begins to read: gives columns of consecutive samples, as `write_columns` takes
            them.
        source: What is imported, for people.
        count: How many samples there are; None: not known before they are read.
        notes: What differs from the source, for people, such as renamed columns.

    Example:
        >>> digits = atdata.from_parquet("digits.parquet")
        >>> digits.sample_type, digits.notes
        >>> dataset = digits.write("digits-%06d.tar", maxcount=10_000)
    """

    def __init__(
        self,
        sample_type: type[T],
        batches: Callable[[], Iterator[Mapping[str, Values]]],
        *,
        source: str,
        count: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.sample_type = sample_type
        """Type of the samples: the caller's, or one made from the source's own schema."""
        self.notes = notes
        """What differs from the source, one sentence each."""
        self.count = count
        """How many samples there are; None: not known before they are read."""
        self._batches = batches
        self._source = source

    @property
    def schema(self) -> Schema:
        """The schema of the samples, which prints as one line a field."""
        return schema_of(self.sample_type)

    def batches(self) -> Iterator[SampleBatch[T]]:
        """The samples in batches, of a size that the source suggests.

        Raises:
            EncodeError: A value does not fit its field; names the column.
        """
        start = 0
        for columns in self._batches():
            codec: Any = codec_of(self.sample_type)
            count = len(next(iter(columns.values())))
            filled = {name: columns[name] for name in codec.by_name if name in columns}
            for name in codec.by_name:
                if name not in filled:
                    filled[name] = [codec.missing(name) for _ in range(count)]
            keys = [f"{number:09d}" for number in range(start, start + count)]
            yield SampleBatch(self.sample_type, keys, {**filled})  # type: ignore[dict-item]
            start += count

    def __iter__(self) -> Iterator[T]:
        for batch in self.batches():
            yield from batch

    def head(self, count: int = 5) -> list[T]:
        """The first samples."""
        return list(itertools.islice(self, count))

    def write(
        self,
        path: str | Path,
        *,
        maxcount: int | None = None,
        maxsize: int | None = None,
        fsync: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Dataset[T]:
        """Write the samples to shards, as `write_samples` does: all of them or nothing.

        Args:
            path: ``digits.tar``, ``digits-%06d.tar`` for several shards, or a folder.
            maxcount: Most samples in a shard.
            maxsize: Largest shard, in bytes.
            fsync: Wait until the disk has the shards.
            progress: Called with the number of samples of each batch, when it is written.

        Raises:
            EncodeError: A value does not fit its field; names the sample and the path.
            NoDataUrlsError: There are no samples.
            StoreError: The disk is full, or cannot be written.
        """

        def counted() -> Iterator[Mapping[str, Values]]:
            for columns in self._batches():
                yield columns
                if progress is not None:
                    progress(len(next(iter(columns.values()))))

        return write_batches(
            counted(),
            path,
            sample_type=self.sample_type,
            maxcount=maxcount,
            maxsize=maxsize,
            fsync=fsync,
        )

    def insert(
        self,
        index: AbstractIndex,
        *,
        name: str,
        path: str | Path | None = None,
        maxcount: int | None = None,
        maxsize: int | None = None,
        **described: Any,
    ) -> Any:
        """Write the samples, and record them in an index as a dataset.

        Args:
            index: The index.
            name: Name of the dataset.
            path: Where the shards go, as for `write`; shards that are there, which an index may
                name, are not replaced. None: into the data store of the index.
            maxcount: Most samples in a shard.
            maxsize: Largest shard, in bytes.
            described: Description, tags and the like, as for `insert_dataset`.

        Returns:
            The entry.

        Raises:
            OptionError: The index has no data store, and ``path`` is not given.
            StoreError: At ``path`` are shards already.
        """
        sharding: dict[str, Any] = {"maxcount": maxcount, "maxsize": maxsize}
        if path is not None:
            refuse_earlier(path, numbered=maxcount is not None or maxsize is not None)
            return index.insert_dataset(self.write(path, **sharding), name=name, **described)
        if getattr(index, "data_store", None) is None:
            raise OptionError(
                f"insert(…, name={name!r}): this index has no data store to put shards into. Say "
                f'where they go: path="{name}-%06d.tar".'
            )
        kept = {key: value for key, value in sharding.items() if value is not None}
        with Scratch(_scratch_place()) as scratch:
            dataset = self.write(scratch.path / "import.tar", fsync=False)
            return index.insert_dataset(dataset, name=name, **kept, **described)

    def __repr__(self) -> str:
        count = "" if self.count is None else f"{self.count:,} × "
        return redacted(f"<Importer of {self._source}: {count}{self.sample_type.__name__}>")


def refuse_earlier(path: str | Path, *, numbered: bool) -> None:
    """Refuse a path at which shards are already, since an entry of an index may name them.

    Args:
        path: As for `Importer.write`.
        numbered: Whether there may be several shards.

    Raises:
        StoreError: Names the first of them.
    """
    folder = ShardFolder(path, numbered=numbered, fsync=False)
    if earlier := folder.earlier():
        raise StoreError(
            f"{folder.folder.absolute()} holds {earlier[0]} already, which a dataset of an index "
            "may name. Write to another path, or remove it. Nothing was written."
        )


def free_path(name: str) -> str:
    """A path for the shards of a dataset of this name at which there are none yet."""
    for number in itertools.count(1):
        path = f"{name}-%06d.tar" if number == 1 else f"{name}-{number}-%06d.tar"
        if not ShardFolder(path, numbered=True, fsync=False).earlier():
            break
    return path


def _scratch_place() -> Path:
    return Path(tempfile.gettempdir()) / "atdata-import"


def samples_of(count: int) -> str:
    """A number of samples, for people."""
    return f"{count:,} sample{'' if count == 1 else 's'}"
