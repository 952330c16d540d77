"""Consecutive samples as they go into a shard: packed in pieces, with headers, as bytes."""

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
from atdata.shards.columns.packers import LARGE, Even, Piece
from atdata.shards.hashing_writer import MOST_PARTS
from atdata.shards.open_shard import OpenShard
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.ustar import Headers, number_key, numbered_headers

FIRST_ROWS: Final = 1
"""Samples of the first run, of whose size nothing is known."""
_MOST_ROWS: Final = 1 << 13
RUN: Final = 4 << 20
"""Bytes of a run, about."""
_LARGE_RUN: Final = 8 << 20
"""The same of large samples, which are not copied."""
_MATRICES: Final = 4
"""Runs that may be on their way to the disk while the next one is built."""
_PADDING: Final = tuple(bytes(size) for size in range(BLOCK))


@dataclass(frozen=True, slots=True)
class Run:
    """Samples with consecutive numbers, which are their keys; all with as many digits."""

    first: int
    """The number of the first one."""
    pieces: Sequence[Piece]
    """Their payloads, in pieces that follow each other."""
    sizes: Integers
    """Bytes of each payload."""
    records: Integers
    """Bytes that each takes in a tar, header and padding included."""

    @classmethod
    def of(cls, first: int, pieces: Sequence[Piece], count: int) -> Run:
        """Samples of these pieces.

        Raises:
            ShardError: One is too large.
        """
        sizes = np.zeros(count, np.int64)
        for piece in pieces:
            sizes += piece.sizes
        largest = int(sizes.argmax())
        if sizes[largest] > limits.sample_bytes:
            key = number_key(first + largest)
            raise ShardError(f"a sample of {int(sizes[largest]):,} bytes", key=key)
        return cls(first, pieces, sizes, BLOCK + ((sizes + BLOCK - 1) & -BLOCK))

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, start: int, end: int) -> Run:
        """Some of them."""
        pieces = [piece.part(start, end) for piece in self.pieces]
        sizes, records = self.sizes[start:end], self.records[start:end]
        return Run(self.first + start, pieces, sizes, records)


def rows_after(run: Run) -> int:
    """How many samples like these make a run."""
    typical = int(run.records.sum()) // len(run)
    return min(_MOST_ROWS, max(1, (RUN if typical < LARGE else _LARGE_RUN) // typical))


def most_rows(first: int) -> int:
    """How many samples from a number on have keys of as many digits."""
    return int(10 ** len(number_key(first))) - first


class RunWriter:
    """Makes the bytes of runs, and writes them."""

    def __init__(self) -> None:
        self._matrices: deque[_Matrix] = deque()

    def write(self, run: Run, shard: OpenShard) -> None:
        """Add samples to a shard."""
        heads, records = numbered_headers(run.first, run.sizes), run.records
        data: Iterable[tuple[Sequence[Any], int]]
        even = [piece for piece in run.pieces if isinstance(piece, Even)]
        matrix = self._matrix() if len(even) == len(run.pieces) else None
        if matrix is not None:
            rows = matrix.filled(heads, even, int(records[0]), len(run))
            data = [([rows.data], rows.nbytes)]
        else:
            data = _groups(heads, run)
        free = shard.add(
            data,
            payloads=np.cumsum(records) - records + BLOCK,
            sizes=run.sizes,
            keys=heads.keys.tobytes(),
            key_sizes=np.full(len(run), heads.keys.shape[1]),
        )
        if matrix is not None:
            matrix.free = free

    def _matrix(self) -> _Matrix:
        """One that nobody needs any more: the first to be free again, or a new one."""
        found = self._matrices
        if len(found) == _MATRICES or (found and found[0].free.is_set()):
            found.rotate(-1)
        else:
            found.append(_Matrix())
        found[-1].free.wait()
        return found[-1]


class _Matrix:
    """Samples of one size as rows.

    What is the same in all of them (most of a header, keys of the msgpack map, headers of arrays,
    padding) is still there when the next run comes, so that only what differs is put in.
    """

    def __init__(self) -> None:
        self.free = Event()
        """Set when the bytes are not needed any more."""
        self.free.set()
        self._record = np.empty(0, np.uint8)
        self._buffer = np.empty(0, np.uint8)
        self._filled = 0

    def filled(self, heads: Headers, pieces: list[Even], stride: int, count: int) -> Bytes:
        """Samples: shape (count, stride)."""
        record = np.zeros(stride, np.uint8)
        record[:BLOCK] = heads.pattern
        slots = list(heads.parts)
        at = BLOCK
        for piece in pieces:
            record[at : at + len(piece.head)] = np.frombuffer(piece.head, np.uint8)
            at += len(piece.head)
            slots.append((at, piece.rows))
            at += piece.rows.shape[1]
        if not np.array_equal(record, self._record):
            self._record, self._filled = record, 0
        if len(self._buffer) < count * stride:
            self._buffer, self._filled = np.empty(count * stride, np.uint8), 0
        out = self._buffer[: count * stride].reshape(count, stride)
        out[self._filled :] = record
        self._filled = max(self._filled, count)
        for place, values in slots:
            _put(out, place, values)
        return out


def _put(out: Bytes, place: int, values: Bytes) -> None:
    """Bytes into each row of a matrix: values of shape (n, size)."""
    size = values.shape[1]
    if not size:
        return
    if not values.flags.c_contiguous:
        out[:, place : place + size] = values
        return
    # As items of that many bytes: a third of the time that single bytes take.
    rows = np.ndarray((len(out),), f"V{size}", out.data, place, (out.shape[1],))
    rows[...] = values.view(f"V{size}").reshape(-1)


def _groups(heads: Headers, run: Run) -> Iterator[tuple[Sequence[Any], int]]:
    """The bytes of samples of different sizes, or of large ones, as `OpenShard.add` takes them."""
    count = len(run)
    columns: list[Sequence[Any]] = list(heads.columns())
    for piece in run.pieces:
        columns += piece.columns()
    columns.append([_PADDING[size] for size in (-run.sizes % BLOCK).tolist()])
    parts: list[Any] = [b""] * (len(columns) * count)
    for place, column in enumerate(columns):
        parts[place :: len(columns)] = column
    if int(run.sizes.sum()) // count < LARGE and int(run.sizes.max()) < RUN:
        data = b"".join(parts)
        yield [data], len(data)
        return
    rows = MOST_PARTS // len(columns)
    for start in range(0, count, rows):
        group = parts[start * len(columns) : (start + rows) * len(columns)]
        yield group, int(run.records[start : start + rows].sum())
