"""Partial files: written by one process, which may be killed at any time."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from atdata.errors import SourceError
from atdata.system.forks import at_fork
from atdata.system.locks import unlock

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def room_for(shard: str) -> Iterator[None]:
    """Turn a full disk, in a block that writes a temporary copy of a shard, into our error.

    Raises:
        SourceError: There is no room for the copy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SourceError(
            f"{shard}: there is no room for a temporary copy of it in {tempfile.gettempdir()} "
            f"({error.strerror}). Free some, or name a larger folder by TMPDIR."
        ) from error


class PartialFile:
    """A copy that is being written. Its lock is released when the process ends, however it ends.

    Args:
        path: The file's path.
        file: The file, open for writing and locked.
        room: Most bytes to write.
    """

    def __init__(self, path: Path, file: Any, room: int) -> None:
        self._path = path
        self._file = file
        self._room = room
        self.size = 0
        _parts.add(self)

    @property
    def open(self) -> bool:
        """Whether more can be written."""
        return not self._file.closed

    def add(self, data: bytes | memoryview) -> bool:
        """Append bytes. False if there is no room: then the file is removed."""
        if not self.open:
            return False
        try:
            rest = memoryview(data)
            if self.size + len(rest) > self._room:
                self.drop()
                return False
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self.drop()
            return False
        self.size += len(data)
        return True

    def sync(self) -> None:
        """Wait until the bytes are on the disk."""
        os.fsync(self._file.fileno())

    def place(self, path: Path) -> None:
        """Rename it to its final path, and close it."""
        self._path.replace(path)
        self._close()

    def drop(self) -> None:
        """Remove it, unless it was placed."""
        if self.open:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        unlock(self._file.fileno())
        self._file.close()

    def forget(self) -> None:
        """Close it without unlocking: it belongs to the process that this one was forked from."""
        self._file.close()


_parts: WeakSet[PartialFile] = WeakSet()


def _after_fork() -> None:
    for part in list(_parts):
        part.forget()


at_fork(after_in_child=_after_fork)
