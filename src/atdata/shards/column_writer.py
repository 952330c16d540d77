"""Columns → shards: whole runs of samples built as bytes at once, several shards at a time.

The bytes are those that the same samples give one by one, through `writer`.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from atdata._limits import limits
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.errors import EncodeError, NoDataUrlsError, ShardError
from atdata.samples.codec import SampleCodec
from atdata.samples.kinds import Misfit
from atdata.samples.packing import map_head, map_key
from atdata.shards.cursor import Bytes, Integers
from atdata.shards.header import BLOCK
from atdata.shards.offsets import SampleTable
from atdata.shards.pieces import Even, Pack, Piece, RowMisfit, Values, pack_of
from atdata.shards.trail import Trail
from atdata.shards.ustar import END, Headers, number_key, numbered_headers
from atdata.shards.writer import ShardSink, check_limits, hand_table, too_large

_CHUNK: Final = 1 << 22
"""Bytes that are built at once, about."""
_FIRST_ROWS: Final = 64
_MOST_ROWS: Final = 1 << 13
_AT_ONCE: Final = 4
"""Shards that are written at the same time."""


def write_shard_columns(
    columns: Mapping[str, Values],
    codec: SampleCodec[Any],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples that are there field by field.

    Shards, keys, names and what is left after an error are as for
    `atdata.shards.writer.write_shards`; keys are the samples' numbers.

    Args:
        columns: Field name → one value a sample; read only.
        codec: Codec of their type.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples of a shard.
        maxsize: Largest tar, in bytes, padding included.

    Raises:
        EncodeError: A value does not fit its field, a field has neither column nor default, or
            columns differ in length.
        NoDataUrlsError: There are no samples.
        OptionError: A limit below 1, or a sample that alone is larger than ``maxsize``.
        ShardError: A sample over 4 GiB.
    """
    check_limits(maxcount, maxsize)
    rows = ColumnRows(columns, codec)
    borders = list(_borders(rows, maxcount, maxsize))
    stop = threading.Event()
    folder = sink.scratch()
    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1, len(borders))) as pool:
        waiting: list[Future[_Finished]] = []
        try:
            for number, (start, end) in enumerate(borders):
                name = f"{stem}-{number:06d}.tar"
                path = folder / f".{Path(name).name}-{secrets.token_hex(8)}.part"
                waiting.append(pool.submit(_write, rows, start, end, name, path, stop))
            return ShardUrls([future.result().hand_to(sink) for future in waiting])
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            for future in waiting:
                if not future.cancelled() and future.exception() is None:
                    future.result().path.unlink(missing_ok=True)
            sink.discard()
            raise


class ColumnRows:
    """Samples that are there field by field, packed a run at a time.

    Args:
        columns: Field name → one value a sample.
        codec: Codec of their type.
    """

    def __init__(self, columns: Mapping[str, Values], codec: SampleCodec[Any]) -> None:
        self._type = codec.sample_type.__name__
        if unknown := sorted(set(columns) - {field.name for field in codec.fields}):
            raise EncodeError(f"{self._type} $.{unknown[0]}: no such field; it is a column.")
        lengths = {name: _length(name, column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
            raise EncodeError(f"The columns differ in their number of values: {told}.")
        if not lengths or not min(lengths.values()):
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        self.count = next(iter(lengths.values()))
        head = map_head(len(codec.fields))
        self._packs: list[tuple[bytes, Pack, str]] = []
        for field in codec.fields:
            try:
                column = columns.get(field.name)
                if column is None:
                    column = _Repeated(codec.missing(field.name), self.count)
                pack = pack_of(field, column)
            except Misfit as misfit:
                path = misfit if misfit.steps else misfit.at(f".{field.name}")
                raise EncodeError(f"{self._type} {path}") from None
            self._packs.append((head + map_key(field.name), pack, field.name))
            head = b""

    def pieces(self, start: int, end: int) -> list[Piece]:
        """The samples from one number up to another, packed: pieces that follow each other.

        Raises:
            EncodeError: A value does not fit its field; names the sample and the path.
        """
        found: list[Piece] = []
        for before, pack, name in self._packs:
            try:
                piece = pack(start, end)
            except RowMisfit as misfit:
                message = f"sample {misfit.row}: {self._type} {misfit.at(f'.{name}')}"
                raise EncodeError(message) from None
            if isinstance(piece, Even):
                found.append(Even(before + piece.head, piece.rows))
            else:
                found += [Even(before, np.empty((end - start, 0), np.uint8)), piece]
        return found

    def sizes(self, start: int, end: int, pieces: Sequence[Piece]) -> Integers:
        """Bytes of each sample.

        Raises:
            ShardError: One is too large.
        """
        sizes = np.zeros(end - start, np.int64)
        for piece in pieces:
            sizes += piece.sizes
        largest = int(sizes.argmax())
        if sizes[largest] > limits.sample_bytes:
            key = number_key(start + largest)
            raise ShardError(f"a sample of {int(sizes[largest]):,} bytes", key=key)
        return sizes

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int, list[Piece], Integers]]:
        """The samples from one number up to another, a run at a time, with their sizes."""
        rows = _FIRST_ROWS
        while start < end:
            # Keys of one run have as many digits.
            stop = min(end, start + rows, 10 ** len(number_key(start)))
            pieces = self.pieces(start, stop)
            sizes = self.sizes(start, stop, pieces)
            yield start, stop, pieces, sizes
            typical = BLOCK + int(sizes.mean())
            rows = min(_MOST_ROWS, max(1, _CHUNK // typical))
            start = stop


@dataclass(frozen=True, slots=True)
class _Repeated(Sequence[Any]):
    """A column of a default."""

    value: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: Any) -> Any:
        return [self.value] * len(range(self.size)[rows])


def _length(name: str, column: Values) -> int:
    if isinstance(column, (np.ndarray, list, tuple)) and not (
        isinstance(column, np.ndarray) and not column.ndim
    ):
        return len(column)
    raise EncodeError(
        f"Column {name!r}: expected an array or a list with one value a sample, found "
        f"{type(column).__name__}."
    )


def _borders(
    rows: ColumnRows, maxcount: int | None, maxsize: int | None
) -> Iterator[tuple[int, int]]:
    """First sample of each shard, and the one behind its last."""
    most = rows.count if maxcount is None else maxcount
    if maxsize is None:
        for start in range(0, rows.count, most):
            yield start, min(start + most, rows.count)
        return
    records = [_records(sizes) for _, _, _, sizes in rows.runs(0, rows.count)]
    behind = np.concatenate([[0], np.cumsum(np.concatenate(records))])
    start = 0
    while start < rows.count:
        fitting = int(behind[start]) + maxsize - len(END)
        end = int(np.searchsorted(behind, fitting, side="right")) - 1
        if end <= start:
            size = int(behind[start + 1] - behind[start]) + len(END)
            raise too_large(number_key(start), size, maxsize)
        end = min(end, start + most)
        yield start, end
        start = end


def _records(sizes: Integers) -> Integers:
    """Bytes that samples of these sizes take in a tar, header and padding included."""
    return BLOCK + (sizes + BLOCK - 1) // BLOCK * BLOCK


class _Stopped(Exception):
    """Another shard could not be written."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """A shard that is written, and not yet the sink's."""

    path: Path
    info: ShardInfo
    table: SampleTable

    def hand_to(self, sink: ShardSink) -> ShardInfo:
        placed = self.info.at(sink.accept(self.info.url, self.path, self.info))
        hand_table(sink, self.info.url, self.table)
        return placed


def _write(
    rows: ColumnRows, start: int, end: int, name: str, path: Path, stop: threading.Event
) -> _Finished:
    """Write one shard. In a thread of its own; whoever began it may ask it to stop."""
    try:
        with path.open("xb", buffering=0) as file:
            trail = Trail(file.fileno())
            try:
                table = _write_rows(rows, start, end, file, trail, stop)
                sha256 = trail.finish()
            finally:
                trail.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    size = table.head.shard_bytes
    info = ShardInfo(name, end - start, size, sha256)
    return _Finished(path, info, table.for_shard(size, sha256))


def _write_rows(
    rows: ColumnRows, start: int, end: int, file: Any, trail: Trail, stop: threading.Event
) -> SampleTable:
    size = 0
    offsets: list[Integers] = []
    lengths: list[Integers] = []
    keys: list[bytes] = []
    key_sizes: list[Integers] = []
    # Two in turn: one is hashed while the other is filled.
    buffers = [np.empty(0, np.uint8), np.empty(0, np.uint8)]
    for first, last, pieces, sizes in rows.runs(start, end):
        if stop.is_set():
            raise _Stopped
        records = _records(sizes)
        total = int(records.sum())
        if len(buffers[0]) < total:
            buffers[0] = np.empty(total, np.uint8)
        out = buffers[0][:total]
        buffers.reverse()
        heads = numbered_headers(first, sizes)
        _fill(out, records, heads, pieces)
        trail.follow(out.data)
        _put(file, out.data)
        offsets.append(size + np.cumsum(records) - records + BLOCK)
        lengths.append(sizes)
        keys.append(heads.keys.tobytes())
        key_sizes.append(np.full(last - first, heads.keys.shape[1]))
        size += total
    trail.follow(END)
    _put(file, memoryview(END))
    return SampleTable.joined(
        np.concatenate(offsets),
        np.concatenate(lengths),
        np.cumsum(np.concatenate(key_sizes)),
        b"".join(keys),
        shard_bytes=size + len(END),
        sha256=None,
    )


def _put(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _fill(out: Bytes, records: Integers, heads: Headers, pieces: Sequence[Piece]) -> None:
    """Put samples into a buffer of just their bytes in the tar.

    Args:
        out: The buffer.
        records: Bytes that each takes, header and padding included.
        heads: Their headers.
        pieces: Their payloads, in pieces that follow each other.
    """
    place = _Place(out, records)
    place.put(heads.pattern)
    for at, part in heads.parts:
        place.put(part, at=at)
    for piece in pieces:
        if isinstance(piece, Even):
            place.put(np.frombuffer(piece.head, np.uint8))
            place.put(piece.rows)
        else:
            place.put_each(piece.values, piece.sizes)
    place.pad(records)


class _Place:
    """Where the next bytes of each row go, in the buffer that the rows share."""

    def __init__(self, out: Bytes, records: Integers) -> None:
        self._out = out
        self._starts = np.cumsum(records) - records
        self._at = self._starts
        self._stride = int(records[0]) if bool((records == records[0]).all()) else None

    def put(self, values: Bytes, *, at: int | None = None) -> None:
        """Bytes of one size.

        Args:
            values: Shape (n, size), or (size,) or (1, size) where all rows have the same.
            at: Where in each row's record; None: behind what was put before.
        """
        size, count = values.shape[-1], len(self._at)
        if not size:
            return
        places = self._at if at is None else self._starts + at
        if self._stride is not None:
            first = int(places[0])
            strides = (self._stride, 1)
            place = np.ndarray((count, size), np.uint8, self._out.data, first, strides)
            place[...] = values
        else:
            room = len(self._out) - size + 1
            overlapping = np.ndarray((room,), f"V{size}", self._out.data, 0, (1,))
            overlapping[places] = np.ascontiguousarray(values).view(f"V{size}").reshape(-1)
        if at is None:
            self._at = self._at + size

    def put_each(self, values: list[bytes], sizes: Integers) -> None:
        """Bytes of a size of its own for each row."""
        view = self._out.data
        ends = self._at + sizes
        spans = zip(self._at.tolist(), ends.tolist(), values, strict=True)
        for start, end, value in spans:
            view[start:end] = value
        self._at, self._stride = ends, None

    def pad(self, records: Integers) -> None:
        """Zeros up to the end of each row's record."""
        ends = self._starts + records
        if self._stride is not None:
            self.put(np.zeros(int(ends[0] - self._at[0]), np.uint8))
            return
        view, zeros = self._out.data, bytes(BLOCK)
        for start, end in zip(self._at.tolist(), ends.tolist(), strict=True):
            view[start:end] = zeros[: end - start]
