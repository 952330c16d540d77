"""The folder that shards are written to: all of them get their names in it, or none."""

from __future__ import annotations

import glob
import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from atdata._shardlist import ShardInfo
from atdata.errors import OptionError, SampleTypeError, StoreError
from atdata.schema.schema_file import SUFFIX as SCHEMA_SUFFIX
from atdata.shards.replacing import place_together, scratch_next_to
from atdata.shards.tar.table import SUFFIX, is_foreign_file
from atdata.sources.nearby import COMPRESSED
from atdata.system.durable import make_folders, sync_files, sync_folder
from atdata.system.files import user_path
from atdata.system.scratch import Scratch

_PATTERN: Final = re.compile(r"(.+?)([-_.]?%\d*d)\.tar")
_SCHEMA: Final = "schema"
"""The name of the schema file while it has no name next to the shards."""
_NUMBER: Final = re.compile(r"-\d{6}\.tar")


class ShardFolder:
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

    @property
    def is_numbered(self) -> bool:
        """Whether the names of the shards have numbers."""
        return not self._single

    def path_of(self, number: int) -> Path:
        """Where the shard of this number will be."""
        return (self.folder / self._name_of(f"{self.stem}-{number:06d}.tar")).absolute()

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
        tables = {
            kept: name
            for kept, name in self._table_names.items()
            if not is_foreign_file(self.folder / name)
        }
        moves = {**self._names, **tables, _SCHEMA: described.name}
        unsynced = (*tables, _SCHEMA)
        if self._single:
            if self.fsync:
                sync_files(self._scratch.path / kept for kept in unsynced)
            # Until the new one is in place, the shard has no schema rather than another's.
            if _differs(described, schema):
                described.unlink(missing_ok=True)
            for kept, name in moves.items():
                (self._scratch.path / kept).replace(self.folder / name)
            if self.fsync:
                sync_folder(self.folder)
            return
        refuse = partial(self.refuse_leftovers, len(self._names))
        refuse()
        place_together(
            self._scratch,
            moves,
            folder=self.folder,
            stem=self.stem,
            check=refuse,
            sync=self.fsync,
            unsynced=unsynced,
        )

    def earlier(self) -> list[str]:
        """Names of the shards that have the names of this dataset already, sorted."""
        if self._single:
            return [f"{self.stem}.tar"] if (self.folder / f"{self.stem}.tar").exists() else []
        return sorted(
            found.name
            for found in self.folder.glob(f"{glob.escape(self.stem)}-*.tar")
            if _NUMBER.fullmatch(found.name.removeprefix(self.stem))
        )

    def refuse_leftovers(self, count: int) -> None:
        """Refuse numbered shards that would be read together with this many new ones.

        Raises:
            StoreError: Names the first of them.
        """
        names = {self.path_of(number).name for number in range(count)}
        left = [name for name in self.earlier() if name not in names]
        if left:
            raise StoreError(
                f"{self.folder.absolute()} holds {len(left)} shards of an earlier dataset, such as "
                f"{left[0]}, that would be read together with these. Remove them or write to "
                "another path. Nothing was written."
            )


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


def _differs(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() != data
    except OSError:
        return True
