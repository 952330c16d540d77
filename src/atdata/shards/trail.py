"""What follows the writing of a file: its hash and its way to the disk, beside the writer."""

from __future__ import annotations

import hashlib
import mmap
import os
from concurrent.futures import Executor, Future
from typing import Any, Final

_STEP: Final = 4 << 20
"""Bytes that are written before hashing them begins, and before the disk is told to begin."""
_AHEAD: Final = 256 << 20
"""Bytes that may wait to be hashed: about so many does the system keep in memory."""
_PIECE: Final = 16 << 20
"""Bytes that are mapped at once: pages of maps count as memory of the process."""


class Trail:
    """The hash of a file that is being written, and its way to the disk.

    Both run in threads while the next samples are packed. The hash is taken from the file,
    whose pages are in memory still: what was written need not be kept, nor copied.

    Args:
        fileno: The file, open for reading too; the caller's to close, after `close`.
        crew: Runs the threads, tasks in the order in which they are given.
        fsync: Whether to bring it to the disk; else the system does, when it likes to.
    """

    def __init__(self, fileno: int, crew: Executor, *, fsync: bool = True) -> None:
        self._fileno = fileno
        self._crew = crew
        self._fsync = fsync
        self._hash = hashlib.sha256()
        self._written = 0
        self._hash_to = 0
        self._sync_to = 0
        self._hashing: Future[None] | None = None
        self._syncing: list[Future[Any]] = []

    def follow(self, size: int) -> None:
        """Take note of bytes that were written.

        Raises:
            OSError: The disk could not take earlier ones.
        """
        self._written += size
        behind = self._written - self._hash_to
        if behind >= _STEP and (_is_done(self._hashing) or behind > _AHEAD):
            self._begin_hashing()
        if not self._fsync:
            return
        if self._written - self._sync_to >= _STEP and all(map(_is_done, self._syncing)):
            self._begin_syncing()

    def end(self) -> None:
        """No more is written: begin with what is left. Does not wait."""
        if self._fsync:
            self._begin_syncing()
        self._begin_hashing()

    def result(self) -> str:
        """Wait until all is on the disk, and hashed; gives the SHA-256, in hex.

        Raises:
            OSError: The disk could not take it.
        """
        for task in (*self._syncing, self._hashing):
            if task is not None:
                task.result()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Wait until nothing uses the file any more, whatever became of it."""
        for task in (*self._syncing, self._hashing):
            if task is not None and not task.cancel():
                task.exception()

    def _begin_hashing(self) -> None:
        before, start = self._hashing, self._hash_to
        if before is not None and self._written - start > _AHEAD:
            before.result()
        self._hash_to = self._written
        self._hashing = self._crew.submit(self._hash_on, before, start, self._written)

    def _begin_syncing(self) -> None:
        # A disk that fails tells it once: what an earlier one found must not be lost.
        self._syncing = [task for task in self._syncing if not _is_done(task)]
        self._sync_to = self._written
        self._syncing.append(self._crew.submit(os.fsync, self._fileno))

    def _hash_on(self, before: Future[None] | None, start: int, end: int) -> None:
        if before is not None:
            before.result()
        for at in range(start, end, _PIECE):
            self._hash_piece(at, min(at + _PIECE, end))

    def _hash_piece(self, start: int, end: int) -> None:
        skipped = start % mmap.ALLOCATIONGRANULARITY
        size, first = end - start + skipped, start - skipped
        try:
            pages = mmap.mmap(self._fileno, size, access=mmap.ACCESS_READ, offset=first)
        except (OSError, ValueError):
            # Some file systems have no maps.
            while start < end:
                read = os.pread(self._fileno, end - start, start)
                if not read:
                    raise OSError("it became shorter while it was written") from None
                self._hash.update(read)
                start += len(read)
            return
        with pages, memoryview(pages) as whole, whole[skipped:] as data:
            self._hash.update(data)


def _is_done(task: Future[Any] | None) -> bool:
    """Whether there is nothing to wait for; raises what the task raised."""
    if task is None:
        return True
    if not task.done():
        return False
    task.result()
    return True
