"""A local file read by position: into memory, or as a map."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import IO

from atdata._shardlist import instead_of
from atdata.errors import IntegrityError, ShardNotFoundError, SourceError
from atdata.system.files import open_file, read_into


class NoRangesError(SourceError):
    """The server gives whole files only."""


class FileBytes:
    """A file of this machine.

    Args:
        path: Where it is.
        file: The file, open; None: it is opened.
        name: What errors call it; None: by its path.

    Raises:
        ShardNotFoundError: There is no such file.
        SourceError: It cannot be read, or is not a file.
    """

    max_gap_bytes: int = 8 << 10
    max_read_bytes: int = 1 << 30

    def __init__(
        self, path: Path, file: IO[bytes] | None = None, *, name: str | None = None
    ) -> None:
        try:
            self._file = open_file(path, 0) if file is None else file
        except FileNotFoundError as error:
            raise ShardNotFoundError(f"{path}: there is no such file.{instead_of(path)}") from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
        self.name = name or str(path)
        self.size: int | None = self.stat().st_size
        self._map: mmap.mmap | None = None

    def __del__(self) -> None:
        # Many read from it, none of whom is known to be the last.
        if hasattr(self, "_file"):
            self._file.close()

    def read_into(self, view: memoryview, start: int) -> None:
        """See `ByteRanges`. A file that was truncated is an error, not a crash."""
        number = self._file.fileno()
        while (count := read_into(number, [view], start)) < len(view):
            if not count:
                raise IntegrityError(
                    "the file ends here: it was cut short", shard=self.name, offset=start
                )
            view, start = view[count:], start + count

    def stat(self) -> os.stat_result:
        """The file as it is now."""
        return os.fstat(self._file.fileno())

    def mapped(self) -> mmap.mmap:
        """The whole file as memory, one map for all who ask.

        Raises:
            IntegrityError: It was truncated before now; afterwards, that ends the process.
        """
        number = self._file.fileno()
        if not self.size or self.stat().st_size < self.size:
            raise IntegrityError("the file was cut short", shard=self.name)
        if self._map is None:
            self._map = mmap.mmap(number, self.size, access=mmap.ACCESS_READ)
        return self._map

    def prefetch(self, start: int, end: int) -> None:
        """Have a part of the map read, without waiting for it."""
        mapped = self._map or self.mapped()
        if hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            size = min(end, len(mapped)) - start
            # That the file ends before, reading says.
            if size > 0:
                mapped.madvise(mmap.MADV_WILLNEED, start, size)

    def release_pages(self) -> None:
        """Give the memory of the map back; what is used again is still in the file's cache."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
