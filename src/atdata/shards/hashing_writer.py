"""A file that is hashed, and synced to the disk, while it is being written."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Final

from atdata.system.files import map_written, read_at, write_all

MOST_BUFFERS: Final = 1024
"""Buffers that the system takes in one call."""
_STEP_BYTES: Final = 4 << 20
"""Bytes to write before hashing them and starting their write-back to the disk."""
_UNWRITTEN_BYTES: Final = 32 << 20
"""Bytes that may wait to be written; they stay in memory meanwhile."""
_UNHASHED_BYTES: Final = 256 << 20
"""Written bytes that may wait to be hashed; the system keeps so many in memory."""
_MAPPED_BYTES: Final = 16 << 20
"""Bytes that are mapped at once: pages of maps count as memory of the process."""


@dataclass(slots=True)
class _Write:
    """Buffers that follow each other in the file."""

    buffers: Sequence[Any]
    size: int
    last: bool
    done: threading.Event = field(default_factory=threading.Event)


class HashingWriter:
    """Writes a file, and hashes and syncs it while the next samples are packed.

    The hash is taken from the file, whose pages are still in memory: written bytes need not be
    kept, nor copied.

    Args:
        fileno: The file, empty, also open for reading. The caller closes it, once the executor is
            at rest.
        executor: Runs up to two tasks of this file at once.
        in_background: Whether one of them writes, too, and hashes what is still in the
            processor's cache. If not, the caller writes while it hashes: faster for one file,
            whereas several files keep every processor busy anyway.
        fsync: Whether to wait for the disk; if not, the system writes when it likes to.
    """

    def __init__(
        self, fileno: int, executor: Executor, *, in_background: bool, fsync: bool
    ) -> None:
        self._fileno = fileno
        self._executor = executor
        self._in_background = in_background
        self._fsync = fsync
        self._hash = hashlib.sha256()
        self._turn = threading.Condition()
        self._queue: deque[_Write] = deque()
        self._pending = 0
        self._working = False
        self._unqueued = 0
        self._error: BaseException | None = None
        self._hashed = 0
        self._to_hash = 0
        self._to_sync = 0
        self._syncing: list[Future[None]] = []

    def write(self, buffers: Sequence[Any], size: int, *, last: bool = False) -> threading.Event:
        """Append bytes to the file.

        Args:
            buffers: Anything that has bytes, `MOST_BUFFERS` at most. Not copied.
            size: How many bytes they have.
            last: Nothing is written after them.

        Returns:
            Set when they are written: until then they must not change.

        Raises:
            OSError: The disk could not take them, or earlier ones.
        """
        write = _Write(buffers, size, last)
        self._wait((_UNWRITTEN_BYTES if self._in_background else _UNHASHED_BYTES) - size)
        if not self._in_background:
            self._write(write)
            # A task for each little write would cost more than hashing it.
            self._unqueued += size
            if not last and self._unqueued < _STEP_BYTES:
                return write.done
            write.size, self._unqueued = self._unqueued, 0
        with self._turn:
            self._pending += write.size
            self._queue.append(write)
            if not self._working:
                self._working = True
                self._executor.submit(self._work)
        return write.done

    def result(self) -> str:
        """Wait until all is written, hashed and synced; gives the SHA-256, in lower-case hex.

        Raises:
            OSError: The disk could not take it.
        """
        self._wait(-1)
        for task in self._syncing:
            task.result()
        return self._hash.hexdigest()

    def _wait(self, most: int) -> None:
        """Wait until at most so many bytes are pending, or nothing is."""
        with self._turn:
            self._turn.wait_for(lambda: self._pending <= most or not self._working)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """Write and hash what is queued, until nothing is."""
        while True:
            with self._turn:
                if not self._queue:
                    self._working = False
                    self._turn.notify()
                    return
                write = self._queue.popleft()
            try:
                if self._in_background and self._error is None:
                    self._write(write)
                self._to_hash += write.size
                if self._error is None and (write.last or self._to_hash >= _STEP_BYTES):
                    self._hash_pending()
            except BaseException as error:
                self._error = error
            write.done.set()
            with self._turn:
                self._pending -= write.size
                self._turn.notify()

    def _write(self, write: _Write) -> None:
        write_all(self._fileno, write.buffers, write.size)
        write.buffers = ()
        write.done.set()
        self._to_sync += write.size
        if self._fsync and (write.last or self._to_sync >= _STEP_BYTES):
            self._sync(write.last)

    def _sync(self, last: bool) -> None:
        # A failing disk reports an error to one fsync only: none of their results may be lost.
        self._syncing = [task for task in self._syncing if not _is_done(task)]
        if last or not self._syncing:
            self._syncing.append(self._executor.submit(os.fsync, self._fileno))
            self._to_sync = 0

    def _hash_pending(self) -> None:
        while self._to_hash:
            size = min(self._to_hash, _MAPPED_BYTES)
            self._hash_range(self._hashed, self._hashed + size)
            self._hashed += size
            self._to_hash -= size

    def _hash_range(self, start: int, end: int) -> None:
        skipped = start % mmap.ALLOCATIONGRANULARITY
        size, first = end - start + skipped, start - skipped
        try:
            pages = map_written(self._fileno, size, first)
        except (OSError, ValueError):
            # Some file systems have no maps.
            while start < end:
                read = read_at(self._fileno, end - start, start)
                if not read:
                    raise OSError("it became shorter while it was written") from None
                self._hash.update(read)
                start += len(read)
            return
        with pages, memoryview(pages) as whole, whole[skipped:] as data:
            self._hash.update(data)


def _is_done(task: Future[None]) -> bool:
    """Whether there is nothing to wait for; raises what the task raised."""
    if not task.done():
        return False
    task.result()
    return True
