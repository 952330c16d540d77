"""A file that is being written: its hash, and its way to the disk, beside what comes next."""

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

from atdata.system.calls import map_written, read_at, write_all

MOST_PARTS: Final = 1024
"""Pieces of memory that a system takes in one call."""
_STEP: Final = 4 << 20
"""Bytes that are written before hashing them begins, and before the disk is told to begin."""
_HELD: Final = 32 << 20
"""Bytes that may wait to be written: they stay in memory until then."""
_AHEAD: Final = 256 << 20
"""Bytes that are written and may wait to be hashed: so many does the system keep in memory."""
_PIECE: Final = 16 << 20
"""Bytes that are mapped at once: pages of maps count as memory of the process."""


@dataclass(slots=True)
class _Group:
    """Pieces of memory that follow each other."""

    parts: Sequence[Any]
    size: int
    last: bool
    written: threading.Event = field(default_factory=threading.Event)


class Trail:
    """What is written to a file, hashed and brought to the disk while the next samples are packed.

    The hash is taken from the file, whose pages are in memory still: what was written need not be
    kept, nor copied.

    Args:
        fileno: The file, empty, open for reading too; the caller's to close, when the crew does
            nothing any more.
        crew: Runs what is done meanwhile: two tasks at once.
        beside: Whether one of them writes as well, and hashes what the processor has at hand then.
            Else the caller writes, while it hashes: faster for a file that is alone, where of
            several at once each keeps a processor busy anyway.
        fsync: Whether to bring it to the disk; else the system does, when it likes to.
    """

    def __init__(self, fileno: int, crew: Executor, *, beside: bool, fsync: bool) -> None:
        self._fileno = fileno
        self._crew = crew
        self._beside = beside
        self._fsync = fsync
        self._hash = hashlib.sha256()
        self._turn = threading.Condition()
        self._queue: deque[_Group] = deque()
        self._behind = 0
        self._working = False
        self._untold = 0
        self._error: BaseException | None = None
        self._hashed = 0
        self._to_hash = 0
        self._to_sync = 0
        self._syncing: list[Future[None]] = []

    def take(self, parts: Sequence[Any], size: int, *, last: bool = False) -> threading.Event:
        """Write pieces of memory that follow each other.

        Args:
            parts: Anything that has bytes, `MOST_PARTS` at most.
            size: How many bytes they have.
            last: No more is written.

        Returns:
            Set when the pieces are written: until then they must not change.

        Raises:
            OSError: The disk could not take them, or earlier ones.
        """
        group = _Group(parts, size, last)
        self._wait((_HELD if self._beside else _AHEAD) - size)
        if not self._beside:
            self._write(group)
            # Not a task for each little piece.
            self._untold += size
            if not last and self._untold < _STEP:
                return group.written
            group.size, self._untold = self._untold, 0
        with self._turn:
            self._behind += group.size
            self._queue.append(group)
            if not self._working:
                self._working = True
                self._crew.submit(self._work)
        return group.written

    def result(self) -> str:
        """Wait until all is written and hashed, and on the disk; gives the SHA-256, in hex.

        Raises:
            OSError: The disk could not take it.
        """
        self._wait(-1)
        for task in self._syncing:
            task.result()
        return self._hash.hexdigest()

    def _wait(self, most: int) -> None:
        """Wait until no more than so many bytes are to be dealt with, or nothing is."""
        with self._turn:
            self._turn.wait_for(lambda: self._behind <= most or not self._working)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """Deal with what waits, until nothing does."""
        while True:
            with self._turn:
                if not self._queue:
                    self._working = False
                    self._turn.notify()
                    return
                group = self._queue.popleft()
            try:
                if self._beside and self._error is None:
                    self._write(group)
                self._to_hash += group.size
                if self._error is None and (group.last or self._to_hash >= _STEP):
                    self._hash_on()
            except BaseException as error:
                self._error = error
            group.written.set()
            with self._turn:
                self._behind -= group.size
                self._turn.notify()

    def _write(self, group: _Group) -> None:
        write_all(self._fileno, group.parts, group.size)
        group.parts = ()
        group.written.set()
        self._to_sync += group.size
        if self._fsync and (group.last or self._to_sync >= _STEP):
            self._sync(group.last)

    def _sync(self, last: bool) -> None:
        # A disk that fails tells it once: what an earlier one found must not be lost.
        self._syncing = [task for task in self._syncing if not _is_done(task)]
        if last or not self._syncing:
            self._syncing.append(self._crew.submit(os.fsync, self._fileno))
            self._to_sync = 0

    def _hash_on(self) -> None:
        while self._to_hash:
            size = min(self._to_hash, _PIECE)
            self._hash_piece(self._hashed, self._hashed + size)
            self._hashed += size
            self._to_hash -= size

    def _hash_piece(self, start: int, end: int) -> None:
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
