"""A shard read in order, in blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Final, Generic, TypeAlias, TypeVar

import numpy as np

from atdata._arrays import Integers
from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.columns.column import LazyColumn, copied_column
from atdata.shards.columns.decode import Decoder, Payloads
from atdata.shards.columns.strided import StridedRows
from atdata.shards.tar.keys import KeyMatrix, Keys, key_list
from atdata.shards.tar.links import LinksError
from atdata.shards.tar.scan import Found
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.unread import Unread
from atdata.shards.tar.walk import Walker, check_tail
from atdata.shards.tar.window import MappedFile, StreamChunks, Window, open_window

T = TypeVar("T")

_MOST_ROWS: Final = 8192
_SCANNED_BYTES: Final = 1 << 24
"""Bytes of a block that is scanned: the more headers at once, the less each costs."""
OpenWhole: TypeAlias = Callable[[], MappedFile]
"""Opens the whole of a shard that is read as a stream: only there can links be followed."""
TABLE_BLOCK_BYTES: Final = 1 << 22
"""Bytes of a block that is read by a table: it stays in the processor's cache."""


class Block(Generic[T]):
    """Consecutive samples of a shard, decoded when asked for.

    Keeps the memory that they are in: the map of a file, or one chunk of a stream.

    Args:
        shard: The shard's name in errors.
        codec: Codec of the samples.
        payloads: Where they are in memory.
        keys: Gives their keys.
        copy: Whether columns are copied to memory of their own.
        check_row: Called with the row of a sample that cannot be decoded; raises another error
            if the bytes are not a sample at all.
    """

    def __init__(
        self,
        shard: str,
        codec: SampleCodec[T],
        payloads: Payloads,
        keys: Callable[[], Sequence[str]],
        *,
        copy: bool = True,
        check_row: Callable[[int], None] | None = None,
    ) -> None:
        self.shard = shard
        self._decoder = _decoder_of(codec)
        self._payloads = payloads
        self.keys: Sequence[str] = Keys(keys, len(payloads.starts))
        """The key of each sample, made when one is first asked for."""
        self._copy = copy
        self._check_row = check_row

    def __len__(self) -> int:
        return len(self._payloads.starts)

    def take(self, indices: slice | Integers) -> Block[T]:
        """Some of the samples, in the order of ``indices``. The bytes are not copied."""
        rows, whole, check = np.arange(len(self))[indices], self.keys, self._check_row

        def keys() -> list[str]:
            return [whole[i] for i in rows.tolist()]

        def check_row(row: int) -> None:
            if check is not None:
                check(int(rows[row]))

        codec, payloads = self._decoder.codec, self._payloads.take(indices)
        return Block(self.shard, codec, payloads, keys, copy=self._copy, check_row=check_row)

    def payloads(self) -> Iterator[memoryview]:
        """The msgpack bytes of each sample: read-only views that keep the block's memory."""
        starts, ends = self._payloads.starts.tolist(), self._payloads.ends.tolist()
        for start, end in zip(starts, ends, strict=True):
            yield self._payloads.buffer[start:end]

    def each(self) -> Iterator[T]:
        """The samples one by one; their arrays are writable and own their memory.

        Raises:
            DecodeError: A sample is not of this type; names shard, offset, key and path. Raised
                before the first sample is given.
            ShardError: The shard was cut short while it was read.
        """
        return iter(self._decoder.samples(self._payloads, self._unpack))

    def samples(self) -> list[T]:
        """`each` as a list."""
        return list(self.each())

    def columns(self) -> dict[str, LazyColumn]:
        """Every field as a column of n values, in memory of its own.

        Arrays of one dtype and shape (*S) are stacked to (n, *S), others are a list of
        arrays. Integers are int64 (uint64 where needed, a list where neither holds them),
        floats float64, bools bool. Everything else is a list, and so is a field with a None.

        Large arrays at a constant stride are not copied yet, and texts not decoded; see
        `copied_column`. Without ``copy``, all arrays at a constant stride are read-only views.

        Raises:
            DecodeError: As in `each`.
        """
        columns = self._decoder.columns(self._payloads, self._unpack)
        for name, column in columns.items():
            if isinstance(column, StridedRows) and not (self._copy and column.is_large):
                columns[name] = copied_column(column, copy=self._copy)
        return columns

    def _unpack(self, row: int) -> T:
        whole = self._payloads
        payload = whole.buffer[int(whole.starts[row]) : int(whole.ends[row])]
        try:
            sample: T = self._decoder.codec.unpack(payload)
            return sample
        except DecodeError as error:
            if self._check_row is not None:
                self._check_row(row)
            offset = None if whole.base is None else whole.base + int(whole.starts[row])
            raise error.in_shard(self.shard, offset=offset, key=self.keys[row]) from None


def read_blocks(
    source: IO[bytes] | Path | MappedFile | StreamChunks,
    *,
    shard: str,
    codec: SampleCodec[T],
    rows: int | None = None,
    first: int | None = None,
    copy: bool = True,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
) -> Iterator[Block[T]]:
    """Read a shard in order.

    A file is mapped into memory, so it must not be truncated while blocks of it are in use: the
    system kills a process that reads a map after the file's end. Where another program may
    truncate it, open it and pass the stream.

    Args:
        source: The shard's file, perhaps mapped, a stream of its bytes, or chunks of one; read to
            its end and left open.
        shard: Its name in errors.
        codec: Codec of its samples.
        rows: Each block has this many samples or a multiple of them; the last one of a file, and
            of each chunk of a stream, may be shorter. None: any number. A block has at most 8,192
            samples and about 16 MB, unless ``rows`` are more.
        first: Samples in the first block, where it is to be shorter; None: ``rows``.
        copy: As for `Block`.
        unread: Collects the members that were not read. None: a warning names them at the end.
        whole: Opens the whole shard if a sample in a stream is a link. None: that is an error.

    Raises:
        ShardError: Damaged, cut short, not a tar; or it has members, but no samples.
    """
    for window, spans in _read(source, shard, unread, whole, rows or 1, first or 0):
        file = window.file if isinstance(window, MappedFile) else None
        keys = partial(key_list, spans.keys)
        payloads = Payloads(spans.view, spans.starts, spans.ends, file, window.base)
        yield Block(shard, codec, payloads, keys, copy=copy)


@lru_cache(maxsize=64)
def _decoder_of(codec: SampleCodec[T]) -> Decoder[T]:
    return Decoder(codec)


def count_samples(
    source: IO[bytes] | Path,
    *,
    shard: str,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
) -> int:
    """Count the samples of a shard without decoding them; arguments as for `read_blocks`.

    Raises:
        ShardError: As in `read_blocks`.
    """
    return sum(len(spans.starts) for _, spans in _read(source, shard, unread, whole))


def scan_table(
    source: IO[bytes] | Path,
    *,
    shard: str,
    shard_bytes: int,
    sha256: str | None = None,
    unread: Unread | None = None,
    whole: OpenWhole | None = None,
) -> SampleTable:
    """Make the sample table of a shard by reading its headers.

    Args:
        source: The shard's file, or a stream of its bytes.
        shard: Its name in errors.
        shard_bytes: Its size.
        sha256: Its hash, if known.
        unread: As for `read_blocks`.
        whole: As for `read_blocks`.

    Raises:
        ShardError: As in `read_blocks`.
    """
    offsets, sizes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    keys: list[KeyMatrix | list[str]] = []
    walker = None
    for window, spans in _read(source, shard, unread, whole):
        offsets.append(window.base + spans.starts)
        sizes.append(spans.ends - spans.starts)
        keys += spans.keys
        walker = spans.walker
    table = SampleTable.of(
        np.concatenate(offsets),
        np.concatenate(sizes),
        keys,
        shard_bytes=shard_bytes,
        sha256=sha256,
    )
    if walker is not None:
        table.alone, table.names = walker.alone, walker.names
    return table


def _read(
    source: IO[bytes] | Path | MappedFile | StreamChunks,
    shard: str,
    unread: Unread | None,
    whole: OpenWhole | None,
    rows: int = 1,
    first: int = 0,
) -> Iterator[tuple[Window, _BlockSpans]]:
    """The samples of a shard, with the window that they are in; arguments as for `read_blocks`."""
    collected, walker, done = unread or Unread(), Walker(), 0
    try:
        window = open_window(source)
        try:
            for spans in _block_spans(walker, window, rows, first):
                yield window, spans
                done += len(spans.starts)
        except LinksError:
            if whole is None:
                raise ShardError(
                    "a sample is a link, which is followed in files only, not in a stream"
                ) from None
            window, walker = whole(), Walker()
            for spans in _block_spans(walker, window, rows, first):
                known, done = done, max(0, done - len(spans.starts))
                if known < len(spans.starts):
                    yield window, spans.after(known)
    except ShardError as error:
        raise error.in_shard(shard) from None
    except GeneratorExit:
        _report(collected, unread, shard, walker)
        raise
    _report(collected, unread, shard, walker)


def _report(collected: Unread, unread: Unread | None, shard: str, walker: Walker) -> None:
    collected.add(shard, walker.others)
    if unread is None:
        collected.warn()


@dataclass(frozen=True, slots=True)
class _BlockSpans:
    """Where the samples of one block are, and their keys."""

    view: memoryview
    starts: Integers
    ends: Integers
    keys: list[KeyMatrix | list[str]]
    walker: Walker
    """What found it."""

    def after(self, row: int) -> _BlockSpans:
        """The rows from ``row`` on, their keys as text."""
        if not row:
            return self
        keys: list[KeyMatrix | list[str]] = [key_list(self.keys)[row:]]
        return _BlockSpans(self.view, self.starts[row:], self.ends[row:], keys, self.walker)


def block_rows(size: int, rows: int, done: int, most: int) -> int:
    """Samples of the next block.

    Args:
        size: Bytes of a sample.
        rows: The block ends after this many samples, or a multiple of them.
        done: Samples before it, counted from such an end.
        most: Bytes of a block.
    """
    fitting = min(_MOST_ROWS, 1 + most // size)
    return max(1, fitting // rows) * rows - done % rows


def _block_spans(walker: Walker, window: Window, rows: int, first: int) -> Iterator[_BlockSpans]:
    at = 0
    pending: list[Found] = []
    count = before = 0
    while True:
        most = block_rows(walker.typical, rows, before - first, _SCANNED_BYTES)
        found = walker.find(
            window.view, at, base=window.base, final=window.final, most=max(1, most - count)
        )
        if len(found.offsets):
            pending.append(found)
            count += len(found.offsets)
        at = found.end
        more = bool(found.need) or at > len(window.view)
        if pending and (count >= most or more or found.over):
            yield _joined(walker, window.view, pending)
            window.release(at)
            before += count
            pending, count = [], 0
        if found.over:
            check_tail(window.rest(at), window.base + at)
            walker.finish()
            return
        if more:
            window.move(at, found.need)
            at = 0


def _joined(walker: Walker, view: memoryview, pending: list[Found]) -> _BlockSpans:
    starts = np.concatenate([np.asarray(found.offsets, np.int64) for found in pending])
    sizes = np.concatenate([np.asarray(found.sizes, np.int64) for found in pending])
    return _BlockSpans(view, starts, starts + sizes, [found.keys for found in pending], walker)
