"""Shards on servers, one after the other: the next is opened while the last one is still used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from atdata.shards.tar.window import StreamChunks


class OpenedAhead:
    """Opens shards as windows that read ahead.

    Args:
        open_shard: Opens the stream of a shard; called from a thread as well.
    """

    def __init__(self, open_shard: Callable[[str], IO[bytes]]) -> None:
        self._open_shard = open_shard
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[str, Future[StreamChunks]] | None = None

    def open(self, shard: str) -> StreamChunks:
        """The window of a shard, opened now or before.

        Raises:
            SourceError: It cannot be opened; told here, not where that was tried.
        """
        opened, self._next = self._next, None
        if opened is not None and opened[0] == shard:
            return opened[1].result()
        self._drop(opened)
        return self._opened(shard)

    def prepare(self, shard: str) -> None:
        """Begin to open the shard that is read next, if that was not begun."""
        if self._next is None:
            self._thread = self._thread or ThreadPoolExecutor(1, "atdata-open")
            self._next = shard, self._thread.submit(self._opened, shard)

    def close(self) -> None:
        """Close what was opened and not asked for."""
        self._drop(self._next)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _opened(self, shard: str) -> StreamChunks:
        return StreamChunks(self._open_shard(shard), ahead=True)

    def _drop(self, opened: tuple[str, Future[StreamChunks]] | None) -> None:
        if opened is not None:
            opened[1].add_done_callback(_close)


def _close(opened: Future[StreamChunks]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
