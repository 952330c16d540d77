"""The part of a tar in memory: a mapped file, or a stream chunk by chunk."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final, Protocol

from atdata._arrays import AnyArray
from atdata._shardlist import instead_of
from atdata.errors import ShardError, ShardNotFoundError, SourceError
from atdata.system.files import NotAFileError, open_number, read_into
from atdata.system.forks import at_fork

_FIRST_CHUNK_BYTES: Final = 1 << 18
_CHUNK_BYTES: Final = 1 << 23
_ROOM_BYTES: Final = 1 << 20
"""Room before a chunk, for what is left of the chunk before it."""
_RELEASED_BYTES: Final = 1 << 25
"""Bytes of a mapped file that are given back at once; a multiple of every page size."""
_HALVED_BYTES: Final = 1 << 22
"""Bytes of rows from which on two threads read a half each."""
_MOST_BUFFERS: Final = 1024
"""Most buffers of one `preadv`; Linux takes as many."""


class Window(Protocol):
    """A part of a tar that is in memory, and the way to the next part."""

    view: memoryview
    """The bytes."""
    base: int
    """Where in the tar they begin."""
    final: bool
    """Whether the tar ends with them."""

    def move(self, to: int, need: int) -> None:
        """Continue from ``to``, counted from the start of the view; it may lie after its end.

        The view then begins there and is longer, or is final. Memory that was handed out of the
        view before does not change.

        Args:
            to: Where to continue.
            need: Bytes wanted from there on; read as they arrive, not reserved in advance.
        """

    def release(self, before: int) -> None:
        """Give back memory before an offset, which has been read; it can still be read again."""

    def rest(self, at: int) -> Iterator[memoryview]:
        """Everything from ``at`` to the end of the tar, in order."""


class MappedFile:
    """A whole file as one window. It stays mapped as long as a view of it exists.

    Large rows are read from the file itself: one copy, without the page faults of a map.

    Raises:
        ShardNotFoundError: There is no such file.
        ShardError: It is a folder, a pipe or a device.
        SourceError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.number = open_number(path)
            """The file's descriptor."""
            size = self.stat().st_size
            mapped = mmap.mmap(self.number, 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            raise ShardNotFoundError(
                f"There is no shard {str(path)!r}.{instead_of(path)}"
            ) from None
        except IsADirectoryError:
            raise ShardError("a folder, not a tar") from None
        except NotAFileError as error:
            raise ShardError(f"{error.strerror}") from None
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
        self._path = path
        self._map = mapped
        self._released = 0
        self.view = memoryview(mapped)
        self.base = 0
        self.final = True

    # When the interpreter ends, modules may be gone before this.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "number"):
            close(self.number)

    def stat(self) -> os.stat_result:
        """The file as it is now."""
        return os.fstat(self.number)

    def move(self, to: int, need: int) -> None:
        raise ValueError("a mapped file has nothing after its end")

    def release(self, before: int) -> None:
        # The pages count as memory of this process until they are given back. They can still be
        # read: they come from the system's file cache.
        size = (before - self._released) // _RELEASED_BYTES * _RELEASED_BYTES
        if size > 0 and isinstance(self._map, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, self._released, size)
            self._released += size

    def rest(self, at: int) -> Iterator[memoryview]:
        for start in range(at, len(self.view), _CHUNK_BYTES):
            yield self.view[start : start + _CHUNK_BYTES]

    def copy_rows(self, out: AnyArray, first: int, stride: int) -> None:
        """Fill an array with rows of the file.

        Args:
            out: Shape (n, size), uint8, in C order.
            first: Where the first row begins.
            stride: Bytes from the start of one row to that of the next, at least ``size``.

        Raises:
            ShardError: The file ends before.
        """
        half = len(out) // 2 if out.nbytes >= _HALVED_BYTES else 0
        first_half: Future[None] | None = None
        if half:
            first_half = _helper().submit(self.read_rows, list(out[:half]), first, stride)
        try:
            self.read_rows(list(out[half:]), first + half * stride, stride)
        finally:
            if first_half is not None:
                first_half.result()

    def read_rows(self, rows: Sequence[AnyArray], first: int, stride: int) -> None:
        """As `copy_rows`, for rows that are separate arrays of one size."""
        # preadv cannot skip bytes: those between the rows go to one buffer, which is not used.
        between = bytearray(stride - rows[0].nbytes if len(rows) else 0)
        most = _MOST_BUFFERS // 2
        for start in range(0, len(rows), most):
            parts: list[Any] = []
            for row in rows[start : start + most]:
                parts += (row, between)
            parts.pop()
            self._fill(parts, first + start * stride)

    def _fill(self, parts: list[Any], at: int) -> None:
        """Read until every part is full: one read may give less than was asked for."""
        while parts:
            count = read_into(self.number, parts, at)
            if not count:
                raise ShardError("cut short while it was read", shard=str(self._path), offset=at)
            at += count
            done = 0
            while done < len(parts) and count >= len(parts[done]):
                count -= len(parts[done])
                done += 1
            del parts[:done]
            if count:
                parts[0] = memoryview(parts[0])[count:]


@cache
def _helper() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "atdata-copy")


# A forked child has no threads.
at_fork(after_in_child=_helper.cache_clear)


class StreamChunks:
    """A stream as one chunk of memory after the other, small ones first.

    Args:
        stream: Read to its end, or until `close`.
        ahead: Whether a thread reads the next chunk while the caller uses this one. It begins now.
    """

    def __init__(self, stream: IO[bytes], *, ahead: bool = False) -> None:
        self._stream = stream
        self._size = _FIRST_CHUNK_BYTES
        self.view = memoryview(b"")
        self.base = 0
        self.final = False
        self._reader = ThreadPoolExecutor(1, "atdata-ahead") if ahead else None
        self._waiting: Future[_Chunk] | None = None
        self._read_ahead()

    def move(self, to: int, need: int) -> None:
        kept = self.view[to:]
        skip = max(0, to - len(self.view))
        self.base += to
        chunk = self._next_chunk()
        while skip >= chunk.end - chunk.begin and not chunk.final:
            skip -= chunk.end - chunk.begin
            chunk = self._next_chunk()
        chunk.begin = min(chunk.begin + skip, chunk.end)
        have = len(kept) + chunk.end - chunk.begin
        if len(kept) <= chunk.begin and (have >= need or chunk.final):
            chunk.begin -= len(kept)
            chunk.memory[chunk.begin : chunk.begin + len(kept)] = kept
        else:
            # A header may claim any size: memory grows with the bytes that arrive.
            more = 0 if chunk.final else min(max(0, need - have), have + _CHUNK_BYTES)
            memory = bytearray(have + more)
            memory[: len(kept)] = kept
            memory[len(kept) : have] = memoryview(chunk.memory)[chunk.begin : chunk.end]
            end, final = self._fill(memoryview(memory), have) if more else (have, chunk.final)
            chunk = _Chunk(memory, 0, end, final)
        self.view = memoryview(chunk.memory)[chunk.begin : chunk.end].toreadonly()
        self.final = chunk.final
        self._read_ahead()

    def release(self, before: int) -> None:
        """A chunk is freed when nothing refers to it."""

    def rest(self, at: int) -> Iterator[memoryview]:
        yield self.view[at:]
        while not self.final:
            chunk = self._next_chunk()
            self.final = chunk.final
            yield memoryview(chunk.memory)[chunk.begin : chunk.end]

    def close(self) -> None:
        """Close the stream: at once, or when the read that is in progress ends."""
        if self._reader is not None:
            self._reader.shutdown(wait=False, cancel_futures=True)
        if self._waiting is not None and not self._waiting.cancelled():
            self._waiting.add_done_callback(lambda _: self._stream.close())
        else:
            self._stream.close()

    def _read_ahead(self) -> None:
        if self._reader is not None and not self.final:
            self._waiting = self._reader.submit(self._read)

    def _next_chunk(self) -> _Chunk:
        waiting, self._waiting = self._waiting, None
        return self._read() if waiting is None else waiting.result()

    def _read(self) -> _Chunk:
        size, self._size = self._size, min(2 * self._size, _CHUNK_BYTES)
        # Pages of the room that are never written take no memory.
        memory = bytearray(_ROOM_BYTES + size)
        end, final = self._fill(memoryview(memory), _ROOM_BYTES)
        return _Chunk(memory, _ROOM_BYTES, end, final)

    def _fill(self, memory: memoryview, at: int) -> tuple[int, bool]:
        """Read until memory is full; gives where the bytes end, and whether the stream does."""
        readinto = getattr(self._stream, "readinto", None)
        while at < len(memory):
            if readinto is not None:
                count = readinto(memory[at:])
            else:
                data = self._stream.read(len(memory) - at)
                count = len(data)
                memory[at : at + count] = data
            if not count:
                return at, True
            at += count
        return at, False


@dataclass(slots=True)
class _Chunk:
    """Bytes of a stream, in memory that has room before them."""

    memory: bytearray
    begin: int
    end: int
    final: bool


def open_window(source: IO[bytes] | Path | MappedFile | StreamChunks) -> Window:
    """The first window of a shard; a mapped file and chunks of a stream are one already.

    Raises:
        ShardNotFoundError: There is no such file.
    """
    if isinstance(source, MappedFile | StreamChunks):
        return source
    return MappedFile(source) if isinstance(source, Path) else StreamChunks(source)
