"""DiskDataStore: shards in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from atdata._digest import sha256_of
from atdata._secrets import redacted
from atdata._shardlist import ShardInfo, exactly
from atdata.errors import AtdataError, OptionError, PrivateUrlError, StoreError, UrlError
from atdata.shards.tar.table import SUFFIX, is_foreign_file
from atdata.sources.disk import path_of
from atdata.stores.prefixes import OwnPrefix, check_prefix, name_taken
from atdata.stores.store_base import SinkStore
from atdata.system.durable import make_folders, place_file, sync_files, sync_folder
from atdata.system.files import open_file
from atdata.system.scratch import Scratch

_UNFINISHED: Final = ".unfinished"


class DiskDataStore(SinkStore):
    """Shards in a folder of this machine, or of a file system that a team shares.

    A shard gets its name when it is whole and on the disk, and keeps it: another writer of the same
    samples may have found it. When a call returns, the names of the shards and of all folders down
    from the store's are on the disk as well. What a killed process left unfinished is removed by a
    later one.

    Args:
        path: The folder. It is made, with those above it, when the first shard is written.

    Raises:
        OptionError: Not a path.
        StoreError: It is a file.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, str | os.PathLike) or not os.fspath(path):
            raise OptionError(f"DiskDataStore: expected the path of a folder, found {path!r}.")
        if "\0" in str(path):
            raise OptionError(f"DiskDataStore: {str(path)!r} has a NUL, which no path can have.")
        if "://" in os.fspath(path):
            raise OptionError(f"DiskDataStore keeps shards in a folder; {path!s} is a URL.")
        self.path = path_of(os.fspath(path))
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is not a folder. Name one for the store.")

    @classmethod
    def from_url(cls, url: str) -> tuple[DiskDataStore, None]:
        """The folder that a path or a file:// URL names."""
        return cls(path_of(url) if url.startswith("file:") else url), None

    def read_url(self, url: str) -> str:
        """The absolute path of one of this store's shards.

        Raises:
            UrlError: It is not in this store's folder.
        """
        path = path_of(url)
        if not path.is_relative_to(self.path):
            raise UrlError(f"{url!r} is not in this store, whose folder is {self.path}.")
        return exactly(str(path))

    def check_public(self, publisher: str) -> None:
        """Refuse: others cannot read a folder of this machine.

        Raises:
            PrivateUrlError: Always.
        """
        raise PrivateUrlError(
            f"{self!r} is a folder of this machine, which others cannot read. Use "
            "PDSBlobStore(client) or an S3DataStore. Nothing was published."
        )

    def __repr__(self) -> str:
        return redacted(f"DiskDataStore({str(self.path)!r})")

    @contextmanager
    def _sink(self, prefix: str, copied: Sequence[ShardInfo] = ()) -> Iterator[_FolderSink]:
        folder = self.path / check_prefix(prefix)
        with _disk_errors(self.path):
            make_folders(folder, within=self.path)
            scratch = Scratch(self.path / _UNFINISHED)
        with scratch:
            yield _FolderSink(self.path, folder, scratch.path, own=isinstance(prefix, OwnPrefix))
            with _disk_errors(folder):
                # The writer of a shard that was found may not have synced its name yet.
                sync_folder(folder)


class _FolderSink:
    """Places the finished shards of one call.

    ``own`` is whether no other writer can know the folder.
    """

    def __init__(self, root: Path, folder: Path, scratch: Path, *, own: bool) -> None:
        self._root = root
        self._folder = folder
        self._scratch = scratch
        self._own = own
        self._placed: list[Path] = []
        self.place = str(folder)

    def scratch(self) -> Path:
        """A folder on the store's own disk, so that a shard is placed by renaming."""
        return self._scratch

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The path of the shard of this name, if it has this size and hash. Reads it."""
        path = self._folder / name
        if shard.sha256 is None or not path.exists():
            return None
        return str(path) if _has_bytes(path, shard) else None

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Give a finished shard its name, unless the same shard has it."""
        path = self._folder / name
        with _disk_errors(path):
            if self._place(file, path):
                self._placed.append(path)
                sync_folder(self._folder)
            elif not _has_bytes(path, info):
                raise name_taken(str(path))
            file.unlink(missing_ok=True)
        return str(path)

    def _place(self, file: Path, path: Path) -> bool:
        while True:
            try:
                return _place(file, path)
            except FileNotFoundError:
                # A writer that failed removed the folder while it was empty.
                if not file.exists():
                    raise
                make_folders(self._folder, within=self._root)

    def accept_table(self, name: str, table: bytes) -> None:
        """Place a shard's table next to it; an existing one is replaced, unless it is another
        program's."""
        file, path = self._scratch / f"{name}{SUFFIX}", self._folder / f"{name}{SUFFIX}"
        if is_foreign_file(path):
            return
        with _disk_errors(path):
            file.write_bytes(table)
            place_file(file, path)
        if self._folder / name in self._placed:
            self._placed.append(path)

    def accept_schema(self, name: str, schema: bytes) -> None:
        """Place the schema file next to the shards; an existing one stays."""
        file, path = self._scratch / name, self._folder / name
        with _disk_errors(path):
            file.write_bytes(schema)
            sync_files([file])
            if self._place(file, path):
                self._placed.append(path)
            file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what this call placed, if no other writer can have found it."""
        if self._own:
            for path in self._placed:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()


def _place(file: Path, path: Path) -> bool:
    """Give a file a name if it is free, and return whether it was. Nothing is overwritten."""
    try:
        # Unlike a rename, a link does not overwrite an existing file.
        path.hardlink_to(file)
    except FileExistsError:
        return False
    except OSError:
        # Some file systems have no links.
        if path.exists():
            return False
        file.rename(path)
    return True


def _has_bytes(path: Path, shard: ShardInfo) -> bool:
    if shard.bytes is not None and path.stat().st_size != shard.bytes:
        return False
    with open_file(path) as stream:
        return sha256_of(stream)[0] == shard.sha256


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except AtdataError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path}: the store cannot be written ({error.strerror}). Check its rights and the "
            "space on its disk."
        ) from error
