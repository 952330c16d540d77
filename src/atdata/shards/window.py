"""Windows of a tar's bytes: a whole file mapped into memory, or a stream chunk by chunk."""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Protocol

from atdata.errors import ShardError, ShardNotFoundError
from atdata.shards.lazy import FileRows

_FIRST_CHUNK: Final = 1 << 18
_CHUNK: Final = 1 << 23
_RELEASE: Final = 1 << 25
"""Bytes of a mapped file that are given back at once; a multiple of every page size."""


class Window(Protocol):
    """A part of a tar that is in memory, and the way to the part behind it."""

    view: memoryview
    """The bytes."""
    base: int
    """Where in the tar they begin."""
    final: bool
    """Whether the tar ends with them."""

    def move(self, to: int, need: int) -> None:
        """Go on from ``to``, counted from the start of the view; it may lie behind its end.

        Afterwards the view begins there and is longer, or is final. What was handed out of
        the view before stays as it was.

        Args:
            to: Where to go on.
            need: Bytes wanted from there on; read as they arrive, not reserved beforehand.
        """

    def release(self, before: int) -> None:
        """Told that the bytes before a place were read; they stay readable all the same."""

    def rest(self, at: int) -> Iterator[memoryview]:
        """Everything from ``at`` to the end of the tar, in pieces."""


class MappedFile:
    """A whole file as one window. The map lives as long as views of it do.

    Raises:
        ShardNotFoundError: There is no such file.
        ShardError: It is a folder.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                size = file.seek(0, io.SEEK_END)
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
            self.file = FileRows(path)
        except FileNotFoundError:
            raise ShardNotFoundError(f"There is no shard {str(path)!r}.") from None
        except IsADirectoryError:
            raise ShardError("a folder, not a tar") from None
        self._map = mapped
        self._released = 0
        self.view = memoryview(mapped)
        self.base = 0
        self.final = True

    def move(self, to: int, need: int) -> None:
        raise ValueError("a mapped file has nothing behind its end")

    def release(self, before: int) -> None:
        # The pages count as this process's memory until they are given back. Reading them
        # again is no error: they come from the file's cache.
        size = (before - self._released) // _RELEASE * _RELEASE
        if size and isinstance(self._map, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, self._released, size)
            self._released += size

    def rest(self, at: int) -> Iterator[memoryview]:
        for start in range(at, len(self.view), _CHUNK):
            yield self.view[start : start + _CHUNK]


class StreamChunks:
    """A stream as one chunk of memory after the other, small ones first."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._size = _FIRST_CHUNK
        self.view = memoryview(b"")
        self.base = 0
        self.final = False

    def move(self, to: int, need: int) -> None:
        kept = self.view[to:]
        skip = max(0, to - len(self.view))
        self.base += to
        while skip and (piece := self._stream.read(min(skip, _CHUNK))):
            skip -= len(piece)
        if skip:
            self.view, self.final = memoryview(b""), True
            return
        # What a header claims is believed as far as bytes arrive, never reserved at once.
        size = max(self._size, min(need, 2 * len(kept) + _CHUNK))
        self._size = min(2 * self._size, _CHUNK)
        chunk = bytearray(max(size, len(kept) + _FIRST_CHUNK))
        chunk[: len(kept)] = kept
        filled = self._fill(memoryview(chunk), len(kept))
        self.view = memoryview(chunk)[:filled].toreadonly()

    def release(self, before: int) -> None:
        """Chunks go when nobody holds them."""

    def _fill(self, chunk: memoryview, at: int) -> int:
        readinto = getattr(self._stream, "readinto", None)
        while at < len(chunk):
            if readinto is not None:
                count = readinto(chunk[at:])
            else:
                piece = self._stream.read(len(chunk) - at)
                count = len(piece)
                chunk[at : at + count] = piece
            if not count:
                self.final = True
                break
            at += count
        return at

    def rest(self, at: int) -> Iterator[memoryview]:
        yield self.view[at:]
        while not self.final and (piece := self._stream.read(_CHUNK)):
            yield memoryview(piece)


def open_window(source: IO[bytes] | Path) -> Window:
    """The first window of a shard.

    Raises:
        ShardNotFoundError: There is no such file.
    """
    return MappedFile(source) if isinstance(source, Path) else StreamChunks(source)
