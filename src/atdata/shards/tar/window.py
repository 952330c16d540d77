"""Windows of a tar's bytes: a whole file mapped into memory, or a stream chunk by chunk."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from atdata._registry import slash_missing
from atdata.errors import ShardError, ShardNotFoundError
from atdata.shards.tar.file_rows import FileRows
from atdata.system.regular_files import NotAFileError

_FIRST_CHUNK: Final = 1 << 18
_CHUNK: Final = 1 << 23
_ROOM: Final = 1 << 20
"""Bytes before a chunk, into which what is left of the one before it is copied."""
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
        ShardError: It is a folder, a pipe or a device.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file = FileRows(path)
            size = self.file.size
            mapped = mmap.mmap(self.file.number, 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            raise ShardNotFoundError(
                f"There is no shard {str(path)!r}.{slash_missing(path)}"
            ) from None
        except IsADirectoryError:
            raise ShardError("a folder, not a tar") from None
        except NotAFileError as error:
            raise ShardError(f"{error.strerror}") from None
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
        if size > 0 and isinstance(self._map, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, self._released, size)
            self._released += size

    def rest(self, at: int) -> Iterator[memoryview]:
        for start in range(at, len(self.view), _CHUNK):
            yield self.view[start : start + _CHUNK]


class StreamChunks:
    """A stream as one chunk of memory after the other, small ones first.

    Args:
        stream: Read to its end, or until `close`.
        ahead: Whether a thread reads the next chunk while this one is used, from now on.
    """

    def __init__(self, stream: IO[bytes], *, ahead: bool = False) -> None:
        self._stream = stream
        self._size = _FIRST_CHUNK
        self.view = memoryview(b"")
        self.base = 0
        self.final = False
        self._reader = ThreadPoolExecutor(1, "atdata-ahead") if ahead else None
        self._waiting: Future[_Piece] | None = None
        self._go_on()

    def move(self, to: int, need: int) -> None:
        kept = self.view[to:]
        skip = max(0, to - len(self.view))
        self.base += to
        piece = self._piece()
        while skip >= piece.end - piece.begin and not piece.final:
            skip -= piece.end - piece.begin
            piece = self._piece()
        piece.begin = min(piece.begin + skip, piece.end)
        have = len(kept) + piece.end - piece.begin
        if len(kept) <= piece.begin and (have >= need or piece.final):
            piece.begin -= len(kept)
            piece.chunk[piece.begin : piece.begin + len(kept)] = kept
        else:
            # What a header claims is believed as far as bytes arrive, never reserved at once.
            more = 0 if piece.final else min(max(0, need - have), have + _CHUNK)
            chunk = bytearray(have + more)
            chunk[: len(kept)] = kept
            chunk[len(kept) : have] = memoryview(piece.chunk)[piece.begin : piece.end]
            end, final = self._fill(memoryview(chunk), have) if more else (have, piece.final)
            piece = _Piece(chunk, 0, end, final)
        self.view = memoryview(piece.chunk)[piece.begin : piece.end].toreadonly()
        self.final = piece.final
        self._go_on()

    def release(self, before: int) -> None:
        """Chunks go when nobody holds them."""

    def rest(self, at: int) -> Iterator[memoryview]:
        yield self.view[at:]
        while not self.final:
            piece = self._piece()
            self.final = piece.final
            yield memoryview(piece.chunk)[piece.begin : piece.end]

    def close(self) -> None:
        """Read no more, and close the stream: at once, or when a read that is under way ends."""
        if self._reader is not None:
            self._reader.shutdown(wait=False, cancel_futures=True)
        if self._waiting is not None and not self._waiting.cancelled():
            self._waiting.add_done_callback(lambda _: self._stream.close())
        else:
            self._stream.close()

    def _go_on(self) -> None:
        if self._reader is not None and not self.final:
            self._waiting = self._reader.submit(self._read)

    def _piece(self) -> _Piece:
        waiting, self._waiting = self._waiting, None
        return self._read() if waiting is None else waiting.result()

    def _read(self) -> _Piece:
        size, self._size = self._size, min(2 * self._size, _CHUNK)
        # Pages of the room that are never written take no memory.
        chunk = bytearray(_ROOM + size)
        end, final = self._fill(memoryview(chunk), _ROOM)
        return _Piece(chunk, _ROOM, end, final)

    def _fill(self, chunk: memoryview, at: int) -> tuple[int, bool]:
        """Read until a chunk is full; where what was read ends, and whether the stream does."""
        readinto = getattr(self._stream, "readinto", None)
        while at < len(chunk):
            if readinto is not None:
                count = readinto(chunk[at:])
            else:
                piece = self._stream.read(len(chunk) - at)
                count = len(piece)
                chunk[at : at + count] = piece
            if not count:
                return at, True
            at += count
        return at, False


@dataclass(slots=True)
class _Piece:
    """What was read of a stream: a part of a chunk, with room for what is kept of the last one."""

    chunk: bytearray
    begin: int
    end: int
    final: bool


def open_window(source: IO[bytes] | Path) -> Window:
    """The first window of a shard.

    Raises:
        ShardNotFoundError: There is no such file.
    """
    return MappedFile(source) if isinstance(source, Path) else StreamChunks(source)
