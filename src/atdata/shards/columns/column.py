"""Columns as they are read: arrays not copied yet, texts not decoded, keys not made."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, overload

import numpy as np

from atdata._arrays import AnyArray, Bytes
from atdata.samples.kinds import Array, Field, Kind, Maybe
from atdata.samples.ndarray import ArrayHeader
from atdata.samples.text_column import TextColumn
from atdata.samples.to_numpy import rows_of
from atdata.shards.tar.window import MappedFile
from atdata.system.files import fresh_memory
from atdata.system.forks import ForkLock, once

SMALL_ROW_BYTES: Final = 4096
"""Bytes up to which copying an array twice is cheaper than handling it separately."""
READ_ROW_BYTES: Final = 1 << 16
"""Bytes from which on a row is read from its file: a map would fault on each page."""
_SMALLEST_KEPT_BYTES: Final = 1 << 18
"""Bytes from which on a buffer is kept; the allocator itself reuses smaller ones."""
_MAPPED_BYTES: Final = 1 << 23
"""Bytes from which on memory is mapped, not allocated."""
_LARGEST_KEPT_BYTES: Final = 1 << 27
"""Bytes of the largest buffer that is kept while unused."""
_SPARE_BYTES: Final = 1 << 22
"""Most bytes by which a buffer is larger than asked for."""
_FREED_BYTES: Final = 1 << 24
"""Half of the freed memory that the allocator then keeps, in bytes."""
_UNUSED_REFERENCES: Final = 3
"""References to a buffer that is not in use: the list, the loop variable, and the call itself."""


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
        file: MappedFile | None,
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

    def _each_read(self, file: MappedFile) -> Iterator[AnyArray]:
        header = self.header
        for row in range(self._count):
            made = np.empty(self.row_bytes, np.uint8)
            file.read_rows([made], self._first + row * self._stride, self.row_bytes)
            yield made.view(header.dtype).reshape(header.shape, order=header.order)

    def _copy_to(self, out: AnyArray) -> None:
        """Copy all rows to an array of shape (n, bytes of one)."""
        if self._file is not None and self.row_bytes >= READ_ROW_BYTES:
            self._file.copy_rows(out, self._first, self._stride)
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


CopiedColumn: TypeAlias = AnyArray | list[Any] | TextColumn
"""One value a row: an array of shape (n, …), a list of n, or n texts."""
LazyColumn: TypeAlias = CopiedColumn | StridedRows
"""The same, or arrays that are not copied yet."""


def copied_column(column: LazyColumn, *, copy: bool = True) -> CopiedColumn:
    """A column with its arrays copied; without ``copy``, a view if they have a constant stride."""
    if not isinstance(column, StridedRows):
        return column
    return column.copied() if copy else column.view()


def column_of(values: list[Any]) -> AnyArray | list[Any]:
    """Values as an array if one dtype and shape hold them all, else the list itself.

    Arrays of one dtype and shape (*S) become (n, *S); a copy.
    """
    sorts = set(map(type, values))
    if len(sorts) != 1:
        return values
    (sort,) = sorts
    if sort is bool or sort is float:
        return np.array(values, sort)
    if sort is int:
        return integers(values)
    if sort is np.ndarray and len({(value.dtype, value.shape) for value in values}) == 1:
        # Without its dtype, the other byte order would be lost.
        return np.stack(values, dtype=values[0].dtype)
    return values


def integers(values: list[int]) -> AnyArray | list[Any]:
    """Integers as int64, or uint64 if needed; the list itself if neither holds them."""
    low, high = min(values), max(values)
    if low >= -(2**63) and high < 2**63:
        return np.array(values, np.int64)
    return np.array(values, np.uint64) if low >= 0 and high < 2**64 else values


def as_list(column: LazyColumn, kind: Kind) -> list[Any]:
    """A column as Python values: scalars as int, float and bool; arrays as views of their rows."""
    if isinstance(column, list):
        return column
    if isinstance(column, StridedRows):
        return list(column.each())
    if isinstance(column, TextColumn):
        return column.tolist()
    if not isinstance(kind.kind if isinstance(kind, Maybe) else kind, Array):
        return list(column.tolist())
    return rows_of(column)


def joined_columns(
    parts: Sequence[dict[str, LazyColumn]], fields: Mapping[str, Field]
) -> dict[str, CopiedColumn]:
    """Columns of several parts, one after the other, nothing left to be copied later.

    Args:
        parts: The columns of each, all of the same fields.
        fields: The fields of their type, by name.
    """
    if len(parts) == 1:
        return {name: copied_column(column) for name, column in parts[0].items()}
    return {name: _joined([part[name] for part in parts], fields[name].kind) for name in parts[0]}


def _joined(parts: Sequence[LazyColumn], kind: Kind) -> CopiedColumn:
    strided = [part for part in parts if isinstance(part, StridedRows)]
    if len(strided) == len(parts) and len({(p.header.dtype, p.header) for p in strided}) == 1:
        return joined_rows(strided)
    done = [copied_column(part) for part in parts]
    first = done[0]
    arrays = [part for part in done if isinstance(part, np.ndarray)]
    if (
        isinstance(first, np.ndarray)
        and len(arrays) == len(done)
        and len({(part.dtype, part.shape[1:]) for part in arrays}) == 1
    ):
        shape = (sum(map(len, done)), *first.shape[1:])
        size = math.prod(shape) * first.dtype.itemsize
        # A view has its own byte order; what concatenate makes would be native.
        room = buffers.take(size).view(first.dtype).reshape(shape) if size else None
        return np.concatenate(arrays, out=np.empty(shape, first.dtype) if room is None else room)
    return [value for part in done for value in as_list(part, kind)]


class Keys(Sequence[str]):
    """Keys that are made when one is first asked for; so are slices of them.

    Args:
        make: Makes all of them.
        count: How many there are.
    """

    def __init__(self, make: Callable[[], Sequence[str]], count: int) -> None:
        self._make = make
        self._count = count

    @classmethod
    def joined(cls, parts: Sequence[Sequence[str]]) -> Sequence[str]:
        """Several lists of keys as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(lambda: [key for part in parts for key in part], sum(map(len, parts)))

    @once
    def _all(self) -> Sequence[str]:
        return self._make()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Keys(lambda: self._all[index], len(range(self._count)[index]))
        return self._all[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __reduce__(self) -> tuple[Any, ...]:
        # `make` may hold a whole shard in memory: pickle the keys instead.
        return list, (list(self._all),)


class Buffers:
    """Buffers that are reused once no view of them is left.

    Args:
        most: How many are kept. By default two: one in use while the other is filled.
        largest: Bytes of the largest buffer that is kept while unused.
    """

    def __init__(self, most: int = 2, largest: int = _LARGEST_KEPT_BYTES) -> None:
        self._most = most
        self._largest = largest
        self._kept: list[Bytes] = []
        self._lock = ForkLock()

    def take(self, size: int) -> Bytes:
        """A buffer of this many bytes, of any content; in use as long as a view of it exists."""
        if not _SMALLEST_KEPT_BYTES <= size <= self._largest:
            return np.empty(size, np.uint8)
        with self._lock:
            for kept in self._kept:
                # Every view of a buffer holds a reference to it, so the count shows if one is left.
                if len(kept) >= size and sys.getrefcount(kept) <= _UNUSED_REFERENCES:
                    return kept[:size]
            # The next one is likely to be a little longer.
            made = _fresh(size + min(size // 8, _SPARE_BYTES))
            self._kept = [made, *self._kept][: self._most]
            return made[:size]


def _fresh(size: int) -> Bytes:
    """New memory, mapped if large: the allocator would keep it after use."""
    if size < _MAPPED_BYTES:
        return np.empty(size, np.uint8)
    return np.frombuffer(fresh_memory(size), np.uint8)


# How much of what is freed glibc keeps, it learns from the largest piece that it saw freed. This
# one is never touched and costs nothing; without it, temporary arrays are of fresh memory always.
np.empty(_FREED_BYTES, np.uint8)


buffers: Final = Buffers()
"""Memory for the arrays of batches, which are dropped as fast as new ones are made."""
