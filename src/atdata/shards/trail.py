"""What follows the writing of a file: its hash and its way to the disk, beside the writer."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

_SYNC: Final = 2 << 20
"""Bytes that are written before the disk is told to begin with them."""


class Trail:
    """The hash of a file that is being written, and its way to the disk.

    Both run in threads while the next samples are packed: hashing takes as long as packing
    does, and a disk that begins at the end of a shard keeps the writer waiting.

    Args:
        fileno: The file, which stays the caller's to close, after `close`.
        ahead: Bytes that may wait to be hashed, besides those that came last.
    """

    def __init__(self, fileno: int, *, ahead: int = 0) -> None:
        self._fileno = fileno
        self._ahead = ahead
        self._hash = hashlib.sha256()
        # One thread for each: pieces are hashed in their order.
        self._hasher = ThreadPoolExecutor(1, "atdata-hash")
        self._syncer = ThreadPoolExecutor(1, "atdata-sync")
        self._hashing: deque[tuple[Future[None], int]] = deque()
        self._waiting = 0
        self._syncing: Future[Any] | None = None
        self._unsynced = 0

    def follow(self, data: bytes | memoryview) -> None:
        """Take note of bytes that the caller writes next.

        Before, not after: a thread starts when the writer lets go of Python's lock, which it
        does while it writes, and not while it packs. Without ``ahead`` they must stay as they
        are until the next call, or `finish`, has returned.

        Raises:
            OSError: The disk could not take earlier ones.
        """
        while self._hashing and (self._waiting > self._ahead or self._hashing[0][0].done()):
            self._hashed()
        self._hashing.append((self._hasher.submit(self._hash.update, data), len(data)))
        self._waiting += len(data)
        if self._unsynced >= _SYNC and (self._syncing is None or self._syncing.done()):
            self._sync()
        self._unsynced += len(data)

    def finish(self) -> str:
        """Wait until all is on the disk, and hashed; gives the SHA-256, in hex.

        Raises:
            OSError: The disk could not take it.
        """
        self._sync()
        self._wait(self._syncing)
        while self._hashing:
            self._hashed()
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Wait until nothing uses the file any more."""
        self._hasher.shutdown()
        self._syncer.shutdown()

    def _hashed(self) -> None:
        future, size = self._hashing.popleft()
        future.result()
        self._waiting -= size

    def _sync(self) -> None:
        self._wait(self._syncing)
        self._syncing = self._syncer.submit(os.fsync, self._fileno)
        self._unsynced = 0

    @staticmethod
    def _wait(future: Future[Any] | None) -> None:
        if future is not None:
            future.result()
