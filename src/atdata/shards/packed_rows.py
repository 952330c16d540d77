"""Packed samples with consecutive numbers, and their bytes in a tar."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import numpy as np

from atdata._arrays import Bytes, Integers
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.shards.columns.packers import LARGE_VALUE_BYTES, FixedWidth, PackedColumn
from atdata.shards.hashing_writer import MOST_BUFFERS
from atdata.shards.open_shard import OpenShard
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.ustar import Headers, number_key, numbered_headers

BATCH_BYTES: Final = 4 << 20
"""Bytes of the samples that are packed together, about."""
_LARGE_BATCH_BYTES: Final = 8 << 20
"""The same for large samples, which are not copied."""
_MATRICES: Final = 4
"""Matrices that may be on their way to the disk while the next one is filled."""
_PADDING: Final = tuple(bytes(size) for size in range(BLOCK))


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Packed samples whose keys are consecutive numbers, all of as many digits."""

    first: int
    """Number of the first one."""
    columns: Sequence[PackedColumn]
    """Their payloads, field by field, in the order of the bytes."""
    sizes: Integers
    """Bytes of each payload, shape (n,)."""
    tar_sizes: Integers
    """Bytes of each sample in a tar, header and padding included, shape (n,)."""

    @classmethod
    def of(cls, first: int, columns: Sequence[PackedColumn], count: int) -> PackedRows:
        """Samples of these columns.

        Raises:
            ShardError: A sample is too large.
        """
        sizes = np.zeros(count, np.int64)
        for column in columns:
            sizes += column.sizes
        largest = int(sizes.argmax())
        if sizes[largest] > limits.sample_bytes:
            key = number_key(first + largest)
            raise ShardError(f"a sample of {int(sizes[largest]):,} bytes", key=key)
        return cls(first, columns, sizes, BLOCK + ((sizes + BLOCK - 1) & -BLOCK))

    def __len__(self) -> int:
        return len(self.sizes)

    def slice(self, start: int, end: int) -> PackedRows:
        """Some of the samples. Bytes are not copied."""
        columns = [column.slice(start, end) for column in self.columns]
        sizes, tar_sizes = self.sizes[start:end], self.tar_sizes[start:end]
        return PackedRows(self.first + start, columns, sizes, tar_sizes)

    def next_count(self) -> int:
        """How many samples of this size to pack together next."""
        typical = int(self.tar_sizes.sum()) // len(self)
        most = BATCH_BYTES if typical < LARGE_VALUE_BYTES else _LARGE_BATCH_BYTES
        return max(1, most // typical)


class RowWriter:
    """Writes packed rows to shards."""

    def __init__(self) -> None:
        self._matrices: deque[_Matrix] = deque()

    def write(self, rows: PackedRows, shard: OpenShard) -> None:
        """Add samples to a shard."""
        heads, tar_sizes = numbered_headers(rows.first, rows.sizes), rows.tar_sizes
        data: Iterable[tuple[Sequence[Any], int]]
        fixed = [column for column in rows.columns if isinstance(column, FixedWidth)]
        matrix = self._free_matrix() if len(fixed) == len(rows.columns) else None
        if matrix is not None:
            filled = matrix.filled(heads, fixed, int(tar_sizes[0]), len(rows))
            data = [([filled.data], filled.nbytes)]
        else:
            data = _buffers(heads, rows)
        written = shard.add(
            data,
            payloads=np.cumsum(tar_sizes) - tar_sizes + BLOCK,
            sizes=rows.sizes,
            keys=heads.keys.tobytes(),
            key_sizes=np.full(len(rows), heads.keys.shape[1]),
        )
        if matrix is not None:
            matrix.free = written

    def _free_matrix(self) -> _Matrix:
        """A matrix whose bytes are written: the oldest one if it is free, or a new one."""
        found = self._matrices
        if len(found) == _MATRICES or (found and found[0].free.is_set()):
            found.rotate(-1)
        else:
            found.append(_Matrix())
        found[-1].free.wait()
        return found[-1]


class _Matrix:
    """Samples of one size, as the rows of a matrix that is used again.

    What is the same in every sample (most of a header, msgpack keys, array headers, padding) stays
    in it, so that only what differs is copied.
    """

    def __init__(self) -> None:
        self.free = Event()
        """Set when the bytes have been written."""
        self.free.set()
        self._template = np.empty(0, np.uint8)
        self._buffer = np.empty(0, np.uint8)
        self._rows_filled = 0

    def filled(self, heads: Headers, columns: list[FixedWidth], stride: int, count: int) -> Bytes:
        """The bytes of samples in a tar: shape (count, stride)."""
        template = np.zeros(stride, np.uint8)
        template[:BLOCK] = heads.template
        varying = list(heads.varying)
        at = BLOCK
        for column in columns:
            template[at : at + len(column.head)] = np.frombuffer(column.head, np.uint8)
            at += len(column.head)
            varying.append((at, column.rows))
            at += column.rows.shape[1]
        if not np.array_equal(template, self._template):
            self._template, self._rows_filled = template, 0
        if len(self._buffer) < count * stride:
            self._buffer, self._rows_filled = np.empty(count * stride, np.uint8), 0
        out = self._buffer[: count * stride].reshape(count, stride)
        out[self._rows_filled :] = template
        self._rows_filled = max(self._rows_filled, count)
        for at, values in varying:
            _put(out, at, values)
        return out


def _put(out: Bytes, at: int, values: Bytes) -> None:
    """Copy values, shape (n, size), to column ``at`` of a matrix."""
    size = values.shape[1]
    if not size:
        return
    if not values.flags.c_contiguous:
        out[:, at : at + size] = values
        return
    # As items of that many bytes: a third of the time that single bytes take.
    items = np.ndarray((len(out),), f"V{size}", out.data, at, (out.shape[1],))
    items[...] = values.view(f"V{size}").reshape(-1)


def _buffers(heads: Headers, rows: PackedRows) -> Iterator[tuple[Sequence[Any], int]]:
    """The bytes of samples of different sizes, or of large ones, as `OpenShard.add` takes them."""
    count = len(rows)
    columns: list[Sequence[Any]] = list(heads.columns())
    for column in rows.columns:
        columns += column.buffers()
    columns.append([_PADDING[size] for size in (-rows.sizes % BLOCK).tolist()])
    buffers: list[Any] = [b""] * (len(columns) * count)
    for place, values in enumerate(columns):
        buffers[place :: len(columns)] = values
    if int(rows.sizes.sum()) // count < LARGE_VALUE_BYTES and int(rows.sizes.max()) < BATCH_BYTES:
        data = b"".join(buffers)
        yield [data], len(data)
        return
    step = MOST_BUFFERS // len(columns)
    for start in range(0, count, step):
        group = buffers[start * len(columns) : (start + step) * len(columns)]
        yield group, int(rows.tar_sizes[start : start + step].sum())
