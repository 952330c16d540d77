"""write_samples and write_columns: samples or columns → shards → Dataset."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from atdata._shardlist import ShardInfo
from atdata.dataset.dataset import Dataset
from atdata.errors import NoDataUrlsError, OptionError, SampleTypeError, StoreError
from atdata.samples.codec import check_sample_type, codec_of, is_sample_type
from atdata.samples.dict_sample import DictSample
from atdata.schema.schema_file import SUFFIX as SCHEMA_SUFFIX
from atdata.schema.schema_file import schema_file
from atdata.shards.columns.packers import Values
from atdata.shards.members_writer import packed_members
from atdata.shards.replacing import place_together, scratch_next_to
from atdata.shards.row_sources import ColumnRows, RowSource, SampleRows
from atdata.shards.tar.table import SUFFIX, Layout
from atdata.shards.writer import write_keyed, write_numbered
from atdata.sources.nearby import COMPRESSED
from atdata.system.durable import make_folders, sync_files, sync_folder
from atdata.system.files import user_path
from atdata.system.scratch import Scratch

T = TypeVar("T")

_PATTERN: Final = re.compile(r"(.+?)([-_.]?%\d*d)\.tar")
_SCHEMA: Final = "schema"
"""The name of the schema file while it has no name next to the shards."""
_NUMBER: Final = re.compile(r"-\d{6}\.tar")


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
    folder = _ShardFolder(path, numbered=maxcount is not None or maxsize is not None, fsync=fsync)
    iterator = _iterated(samples)
    try:
        first = next(iterator)
    except StopIteration:
        raise NoDataUrlsError(f"There are no samples to write to {path}.") from None
    sample_type = type(first)
    if type(samples) not in (list, tuple):
        samples = chain([first], iterator)
    if layout not in get_args(Layout):
        raise OptionError(f'layout={layout!r:.80}: expected "msgpack" or "members".')
    if layout == "members":
        options: dict[str, Any] = {"stem": folder.stem, "fsync": folder.fsync, "layout": layout}
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
    folder = _ShardFolder(path, numbered=maxcount is not None or maxsize is not None, fsync=fsync)
    source = ColumnRows(columns, codec_of(sample_type))
    return _written(source, sample_type, folder, maxcount, maxsize)


def _written(
    source: RowSource,
    sample_type: type[T],
    folder: _ShardFolder,
    maxcount: int | None,
    maxsize: int | None,
) -> Dataset[T]:
    shards = write_numbered(
        source, folder, stem=folder.stem, maxcount=maxcount, maxsize=maxsize, fsync=folder.fsync
    ).shards
    return _published(sample_type, folder, shards)


def _published(
    sample_type: type[T], folder: _ShardFolder, shards: Sequence[ShardInfo]
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
            f"with atdata.write_columns({columns}, path, sample_type=…)."
        )
    if not isinstance(samples, Iterable) or isinstance(samples, str | bytes | os.PathLike | type):
        raise SampleTypeError(
            f"Expected an iterable of samples, found {type(samples).__name__}: "
            "write_samples([sample, …], 'data.tar')."
        )
    return iter(samples)


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _parse_path(named: str | Path, *, numbered: bool) -> tuple[Path, str, bool]:
    """The folder of shards, the start of their names, and whether there is just one shard."""
    if isinstance(named, str) and "://" in named:
        raise OptionError(
            f"{named!r} is a URL; samples are written to a path. To a bucket: "
            "S3DataStore(bucket=…).write_shards(dataset, prefix=…). Nothing was written."
        )
    if not isinstance(named, str | os.PathLike):
        raise SampleTypeError(
            f"Expected the path of a shard, such as 'data.tar', found {type(named).__name__}. "
            "The samples, or columns, come first, then the path."
        )
    path = user_path(named)
    compressed = COMPRESSED.search(path.name)
    stem = path.name[: compressed.start()] if compressed else path.stem
    if compressed or (path.suffix != ".tar" and path.suffix.lower() == ".tar"):
        raise OptionError(
            f"{str(named)!r}: shards are plain files named .tar, not compressed, so that each "
            f"sample is found by its position. Write {stem}.tar."
        )
    pattern = _PATTERN.fullmatch(path.name)
    if pattern is not None:
        # A pattern as webdataset takes it.
        if pattern[2] != "-%06d":
            raise OptionError(
                f"{str(named)!r}: shards are numbered with six digits after a hyphen. Write "
                f"{pattern[1]}-%06d.tar, or {pattern[1]}.tar with maxcount or maxsize."
            )
        path, numbered = path.with_name(f"{pattern[1]}.tar"), True
    is_tar = path.suffix == ".tar"
    folder, stem = (path.parent, path.stem) if is_tar else (path, path.name)
    if not stem or "\0" in str(path):
        raise OptionError(f"{str(path)!r} names no shard; write a path such as 'digits.tar'.")
    return folder, stem, is_tar and not numbered


class _ShardFolder:
    """The folder that shards are written to. They get their names in it once all are finished."""

    def __init__(self, named: str | Path, *, numbered: bool, fsync: bool) -> None:
        self.folder, self.stem, self._single = _parse_path(named, numbered=numbered)
        self.fsync = fsync
        self._names: dict[str, str] = {}
        """File in the scratch folder → its name to be: the shards."""
        self._table_names: dict[str, str] = {}
        """The same for their tables."""
        self._scratch: Scratch | None = None

    def scratch(self) -> Path:
        """A hidden folder next to the shards, on the same file system."""
        if self._scratch is None:
            try:
                make_folders(self.folder, sync=self.fsync)
                self._scratch = scratch_next_to(self.folder)
            except OSError as error:
                raise StoreError(
                    f"Shards cannot be written to {self.folder.absolute()}: {error}."
                ) from error
        return self._scratch.path

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Keep a finished shard until all are finished."""
        self._names[file.name] = self._name_of(name)
        return str((self.folder / self._name_of(name)).absolute())

    def accept_table(self, name: str, table: bytes) -> None:
        """Keep the table of a shard until all are finished."""
        file = self.scratch() / f"{len(self._table_names)}{SUFFIX}"
        file.write_bytes(table)
        self._table_names[file.name] = self._name_of(name) + SUFFIX

    def _name_of(self, name: str) -> str:
        return f"{self.stem}.tar" if self._single else name

    def discard(self) -> None:
        """Delete the shards that have no name yet."""
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def publish(self, schema: bytes) -> None:
        """Give every shard its name, its table the name next to it, and all the schema of their
        samples.
        """
        try:
            (self.scratch() / _SCHEMA).write_bytes(schema)
            if self.fsync:
                sync_files(self.scratch() / kept for kept in (*self._table_names, _SCHEMA))
            self._place_all(schema)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"Shards cannot be placed in {self.folder}: {error}") from error
        finally:
            self.discard()

    def _place_all(self, schema: bytes) -> None:
        assert self._scratch is not None
        described = self.folder / (f"{self.stem}.tar" if self._single else self.stem)
        described = described.with_name(described.name + SCHEMA_SUFFIX)
        # Tables after shards: a table that is older than its shard is not used.
        moves = {**self._names, **self._table_names, _SCHEMA: described.name}
        if self._single:
            # Until the new one is in place, the shard has no schema rather than another's.
            if _differs(described, schema):
                described.unlink(missing_ok=True)
            for kept, name in moves.items():
                (self._scratch.path / kept).replace(self.folder / name)
            if self.fsync:
                sync_folder(self.folder)
            return
        self._refuse_leftovers()
        place_together(
            self._scratch,
            moves,
            folder=self.folder,
            stem=self.stem,
            check=self._refuse_leftovers,
            sync=self.fsync,
        )

    def _refuse_leftovers(self) -> None:
        names = set(self._names.values())
        left = sorted(
            found.name
            for found in self.folder.glob(f"{glob.escape(self.stem)}-*.tar")
            if _NUMBER.fullmatch(found.name.removeprefix(self.stem)) and found.name not in names
        )
        if left:
            raise StoreError(
                f"{self.folder.absolute()} holds {len(left)} shards of an earlier dataset, such as "
                f"{left[0]}, that would be read together with these. Remove them or write to "
                "another path. Nothing was written."
            )


def _differs(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() != data
    except OSError:
        return True
