"""What follows the writing of a file: its hash and its way to the disk, beside the writer."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

_SYNC: Final = 2 << 20
"""Bytes that are written before the disk is told to begin with them."""


class Trail:
    """The hash of a file that is being written, and its way to the disk.

    Both run in threads while the next samples are packed: hashing takes as long as packing
    does, and a disk that begins at the end of a shard keeps the writer waiting. No more than
    one piece is waiting to be hashed.

    Args:
        fileno: The file, which stays the caller's to close, after `close`.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._hash = hashlib.sha256()
        self._threads = ThreadPoolExecutor(2, "atdata-write")
        self._hashing: Future[None] | None = None
        self._syncing: Future[Any] | None = None
        self._unsynced = 0

    def follow(self, data: bytes | memoryview) -> None:
        """Take note of bytes that the caller writes next.

        Before, not after: a thread starts when the writer lets go of Python's lock, which it
        does while it writes, and not while it packs. They must stay as they are until the
        next call, or `finish`, has returned.

        Raises:
            OSError: The disk could not take earlier ones.
        """
        self._wait(self._hashing)
        self._hashing = self._threads.submit(self._hash.update, data)
        if self._unsynced >= _SYNC and (self._syncing is None or self._syncing.done()):
            self._wait(self._syncing)
            self._syncing = self._threads.submit(os.fsync, self._fileno)
            self._unsynced = 0
        self._unsynced += len(data)

    def finish(self) -> str:
        """Wait until all is on the disk, and hashed; gives the SHA-256, in hex.

        Raises:
            OSError: The disk could not take it.
        """
        self._wait(self._syncing)
        os.fsync(self._fileno)
        self.close()
        self._wait(self._hashing)
        return self._hash.hexdigest()

    def close(self) -> None:
        """Wait until nothing uses the file any more."""
        self._threads.shutdown()

    @staticmethod
    def _wait(future: Future[Any] | None) -> None:
        if future is not None:
            future.result()
