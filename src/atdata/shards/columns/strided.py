"""Arrays of many rows that are copied when it is known where to: once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import ShardError
from atdata.samples.ndarray import ArrayHeader
from atdata.shards.columns.buffers import Buffers
from atdata.system.calls import read_into
from atdata.system.forks import at_fork
from atdata.system.regular_files import open_number

SMALL: Final = 4096
"""Bytes up to which copying an array twice is cheaper than handling it by itself."""
BY_READING: Final = 1 << 16
"""Bytes of a row from which on it is read from its file: a map would fault on each page."""
_IN_HALVES: Final = 1 << 22
"""Bytes from which on two threads share the reading."""
_VECTORS: Final = 1024
"""Most buffers of one `preadv`; Linux takes as many."""
buffers: Final = Buffers()
"""What the arrays of batches are in, which are let go as fast as new ones are made."""


class FileRows:
    """Rows of a file, read straight into arrays: one copy, without a map's page faults.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.number = open_number(path)
        """The file's descriptor."""
        self.size = os.fstat(self.number).st_size
        """Bytes of the file when it was opened."""

    # When the interpreter ends, modules may be gone before this.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "number"):
            close(self.number)

    def read(self, out: AnyArray, first: int, stride: int) -> None:
        """Fill an array with rows of the file.

        Args:
            out: Shape (n, size), uint8, in C order.
            first: Where the first row begins.
            stride: Bytes from the start of one row to that of the next, at least ``size``.

        Raises:
            ShardError: The file ends before.
        """
        half = len(out) // 2 if out.nbytes >= _IN_HALVES else 0
        beside: Future[None] | None = None
        if half:
            beside = _helper().submit(self._read, out[:half], first, stride)
        try:
            self._read(out[half:], first + half * stride, stride)
        finally:
            if beside is not None:
                beside.result()

    def _read(self, out: AnyArray, first: int, stride: int) -> None:
        self.read_rows(list(out), first, stride)

    def read_rows(self, rows: Sequence[AnyArray], first: int, stride: int) -> None:
        """The same for rows that are arrays each, of one size."""
        between = bytearray(stride - rows[0].nbytes if len(rows) else 0)
        most = _VECTORS // 2
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


# Threads do not come along into a forked child.
at_fork(after_in_child=_helper.cache_clear)


class StridedRows:
    """Arrays of one dtype and shape (*S) at a constant stride, not copied yet.

    Args:
        buffer: The memory that they are in, read-only.
        header: Their dtype and shape.
        first: Where the data of the first one begin.
        stride: Bytes from the data of one to those of the next, at least the data's bytes.
        count: How many there are.
        file: The file that the buffer is a map of.
    """

    __slots__ = ("_buffer", "_count", "_file", "_first", "_stride", "header")

    def __init__(
        self,
        buffer: memoryview,
        header: ArrayHeader,
        first: int,
        stride: int,
        count: int,
        file: FileRows | None,
    ) -> None:
        self._buffer = buffer
        self.header = header
        self._first = first
        self._stride = stride
        self._count = count
        self._file = file

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: slice) -> StridedRows:
        """Consecutive ones of them."""
        start, stop, _ = place.indices(self._count)
        first = self._first + start * self._stride
        count = max(0, stop - start)
        return StridedRows(self._buffer, self.header, first, self._stride, count, self._file)

    @property
    def row_bytes(self) -> int:
        """Bytes of the data of one."""
        return self.header.data_bytes

    @property
    def is_large(self) -> bool:
        """Whether copying each to its last place is worth waiting until that is known."""
        return self.row_bytes > SMALL

    def view(self) -> AnyArray:
        """All of them, shape (n, *S): a read-only view of the buffer, which it keeps."""
        shape, dtype = self.header.shape, self.header.dtype
        inner = reversed(shape) if self.header.fortran else shape
        sizes = (self._count, *inner)
        strides = [self._stride] + [dtype.itemsize] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis] = strides[axis + 1] * sizes[axis + 1]
        made = np.ndarray(sizes, dtype, self._buffer, self._first, tuple(strides))
        return self._turned(made)

    def copied(self) -> AnyArray:
        """All of them, shape (n, *S), in memory that nobody else holds."""
        return joined_rows([self])

    def each(self) -> Iterator[AnyArray]:
        """One after the other, each in memory of its own, copied when it is asked for."""
        if self._file is not None and self.row_bytes >= BY_READING:
            return self._each_read(self._file)
        # Rows of a shard lie at odd addresses, from where NumPy copies one at half the speed.
        rows = self.view() if self.is_large else self.copied()
        if self.header.shape and not self.header.fortran:
            return map(np.ndarray.copy, rows)
        return (rows[row, ...].copy("K") for row in range(self._count))

    def _each_read(self, file: FileRows) -> Iterator[AnyArray]:
        header = self.header
        for row in range(self._count):
            made = np.empty(self.row_bytes, np.uint8)
            file.read_rows([made], self._first + row * self._stride, self.row_bytes)
            yield made.view(header.dtype).reshape(header.shape, order=header.order)

    def _copy_to(self, out: AnyArray) -> None:
        """Copy them to an array of shape (n, bytes of one)."""
        if self._file is not None and self.row_bytes >= BY_READING:
            self._file.read(out, self._first, self._stride)
        else:
            out[...] = np.ndarray(out.shape, np.uint8, self._buffer, self._first, (self._stride, 1))

    def _turned(self, rows: AnyArray) -> AnyArray:
        """Rows of arrays in Fortran order, as they lie in memory, as they are meant."""
        if not self.header.fortran:
            return rows
        return rows.transpose(0, *range(rows.ndim - 1, 0, -1))


def joined_rows(parts: list[StridedRows]) -> AnyArray:
    """Rows of several parts as one array, copied once.

    Args:
        parts: At least one; all of one header.
    """
    first, count = parts[0], sum(map(len, parts))
    header, size = first.header, first.row_bytes
    out = buffers.take(count * size).reshape(count, size)
    at = 0
    for part in parts:
        part._copy_to(out[at : at + len(part)])
        at += len(part)
    inner = tuple(reversed(header.shape)) if header.fortran else header.shape
    return first._turned(out.reshape(-1).view(header.dtype).reshape(count, *inner))
