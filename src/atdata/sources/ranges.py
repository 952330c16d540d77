"""Parts of a shard by their position, and how they are read from a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from atdata.errors import IntegrityError, ShardNotFoundError, SourceError


class NoRangesError(SourceError):
    """The server gives whole files only."""


class ShardBytes(Protocol):
    """Bytes of one shard, by their position."""

    gap: int
    """Bytes between two parts that are read along, because asking twice costs more."""
    most: int
    """Largest part that is worth one request, in bytes."""
    size: int | None
    """Bytes of the shard, where they are known; another size is an error."""

    def read_into(self, view: memoryview, start: int) -> None:
        """Fill ``view`` with the bytes from ``start`` on.

        Raises:
            IntegrityError: The shard ends before that, or was changed.
            SourceError: It cannot be read.
        """
        ...


class FileBytes:
    """A file of this machine, without a map: truncating it is an error, not a crash."""

    gap: int = 8 << 10
    most: int = 1 << 30

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise ShardNotFoundError(f"{path}: there is no such file.") from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
        self.path = path
        self.size: int | None = os.fstat(self._file.fileno()).st_size

    def read_into(self, view: memoryview, start: int) -> None:
        """See `ShardBytes`."""
        number = self._file.fileno()
        while (count := os.preadv(number, [view], start)) < len(view):
            if not count:
                raise IntegrityError(
                    "the file ends here: it was cut short", shard=str(self.path), offset=start
                )
            view, start = view[count:], start + count
