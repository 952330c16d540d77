"""Arrays at a constant stride, copied once to their final place, or never."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from atdata._arrays import AnyArray
from atdata.samples.ndarray import ArrayHeader
from atdata.shards.columns.buffers import Buffers
from atdata.shards.tar.file_rows import FileRows

SMALL_ROW_BYTES: Final = 4096
"""Bytes up to which copying an array twice is cheaper than handling it separately."""
READ_ROW_BYTES: Final = 1 << 16
"""Bytes from which on a row is read from its file: a map would fault on each page."""
buffers: Final = Buffers()
"""Memory for the arrays of batches, which are dropped as fast as new ones are made."""


class StridedRows:
    """n arrays of one dtype and shape (*S) at a constant stride, not copied yet.

    Args:
        buffer: The memory that they are in, read-only.
        header: Their dtype and shape.
        first: Offset of the data of the first one.
        stride: Bytes from the data of one to the data of the next, at least the size of one.
        count: n.
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
        """Consecutive rows; not copied."""
        start, stop, _ = place.indices(self._count)
        first = self._first + start * self._stride
        count = max(0, stop - start)
        return StridedRows(self._buffer, self.header, first, self._stride, count, self._file)

    @property
    def row_bytes(self) -> int:
        """Bytes of the data of one row."""
        return self.header.data_bytes

    @property
    def is_large(self) -> bool:
        """Whether it is worth waiting to copy each row just once, to where it stays."""
        return self.row_bytes > SMALL_ROW_BYTES

    def view(self) -> AnyArray:
        """All rows as an array of shape (n, *S): a read-only view that keeps the buffer."""
        shape, dtype = self.header.shape, self.header.dtype
        inner = reversed(shape) if self.header.fortran else shape
        sizes = (self._count, *inner)
        strides = [self._stride] + [dtype.itemsize] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis] = strides[axis + 1] * sizes[axis + 1]
        made = np.ndarray(sizes, dtype, self._buffer, self._first, tuple(strides))
        return self._turned(made)

    def copied(self) -> AnyArray:
        """All rows as an array of shape (n, *S); a copy."""
        return joined_rows([self])

    def each(self) -> Iterator[AnyArray]:
        """The rows one by one, each copied to its own memory when it is asked for."""
        if self._file is not None and self.row_bytes >= READ_ROW_BYTES:
            return self._each_read(self._file)
        # Rows in a shard are not aligned, which halves the speed of NumPy's copies.
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
        """Copy all rows to an array of shape (n, bytes of one)."""
        if self._file is not None and self.row_bytes >= READ_ROW_BYTES:
            self._file.read(out, self._first, self._stride)
        else:
            out[...] = np.ndarray(out.shape, np.uint8, self._buffer, self._first, (self._stride, 1))

    def _turned(self, rows: AnyArray) -> AnyArray:
        """Rows with their axes in order; arrays in Fortran order have them reversed in memory."""
        if not self.header.fortran:
            return rows
        return rows.transpose(0, *range(rows.ndim - 1, 0, -1))


def joined_rows(parts: list[StridedRows]) -> AnyArray:
    """Rows of several parts as one array; one copy.

    Args:
        parts: At least one; all with the same header.
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
