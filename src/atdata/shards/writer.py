"""Packed samples → shards, deterministically; a shard is whole or absent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from atdata._arrays import Integers
from atdata._limits import limits
from atdata._shardlist import Layout, ShardUrls
from atdata.errors import AtdataError, OptionError, ShardError
from atdata.shards.open_shard import OpenShard, ShardQueue, ShardSink
from atdata.shards.packed_rows import PackedRows, RowWriter
from atdata.shards.row_sources import RowSource
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.keys import KeyLog
from atdata.shards.tar.ustar import END, check_key, headers, number_key

_FLUSH_BYTES: Final = 1 << 20
"""Bytes that are gathered before they are written."""
_LARGE_PAYLOAD_BYTES: Final = 1 << 16
"""Bytes from which on a payload is a buffer of its own: joining it to others would copy it."""
_FILLED_AT_ONCE: Final = 4
"""Shards that are filled at the same time: each has a thread that writes and hashes."""
_PADDING: Final = tuple(bytes(size) for size in range(BLOCK))


class PackedSample(NamedTuple):
    """One sample as it goes into a shard."""

    key: str
    """Name without suffix, unique in its shard, without a dot after its last slash."""
    payload: bytes
    """The sample as msgpack."""
    shard: int = 0
    """Number of the shard that it came from; where it changes, a new shard may begin."""
    split: str | None = None
    """Split of that shard; where it changes, a new shard of the new split begins."""
    head: bytes | None = None
    """Of a sample of the members layout, its first 512 bytes, before the payload; None: it is one
    msgpack member."""


def write_numbered(
    source: RowSource,
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> ShardUrls:
    """Write samples whose keys are their numbers.

    Shards and their names, what is left after an error, and the other arguments and errors are
    as for `write_keyed`. Several shards are filled at once if it is known in advance which samples
    go into each.

    Args:
        source: The samples.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples in a shard.
        maxsize: Largest tar, in bytes, padding included. A sample is never split.
        fsync: Wait until each shard is on the disk.

    Raises:
        EncodeError: A value does not fit its field; names the sample and the path.
        SampleTypeError: A sample of another type.
    """
    ends = _ShardEnds(maxcount, maxsize)
    if source.count is not None and maxsize is None:
        _check_samples(min(source.count, maxcount or source.count))
    starts = range(0)
    # A disk syncs one file while the next is filled faster than several files together.
    if source.count is not None and maxcount is not None and maxsize is None and not fsync:
        starts = range(0, source.count, maxcount)
    several = len(starts) > 1
    most = 2 * _FILLED_AT_ONCE
    with ShardQueue(sink, stem, most=most, in_background=several, fsync=fsync) as queue:
        if several:
            writer = RowWriter()
            for at in range(0, len(starts), _FILLED_AT_ONCE):
                group = starts[at : at + _FILLED_AT_ONCE]
                shards = [source.rows(s, min(s + starts.step, starts.stop)) for s in group]
                _fill_at_once(shards, writer, queue)
        else:
            _fill_in_turn(source.rows(0, None), ends, queue)
        return queue.finish()


def _fill_at_once(
    shards: Sequence[Iterator[PackedRows]], writer: RowWriter, queue: ShardQueue
) -> None:
    """Fill several shards by turns."""
    filling = [(queue.begin(), source) for source in shards]
    while filling:
        for shard, source in list(filling):
            try:
                rows = next(source, None)
            except AtdataError:
                # Of several wrong samples, the error names the first one.
                for before in shards[: shards.index(source)]:
                    deque(before, maxlen=0)
                raise
            if rows is None:
                shard.end()
                filling.remove((shard, source))
            else:
                writer.write(rows, shard)


def _fill_in_turn(source: Iterator[PackedRows], ends: _ShardEnds, queue: ShardQueue) -> None:
    """Fill one shard after the other."""
    writer = RowWriter()
    shard: OpenShard | None = None
    for rows in source:
        start, bytes_to = 0, np.cumsum(rows.tar_sizes)
        while start < len(rows):
            shard = shard or queue.begin()
            end = ends.end_of(shard, start, bytes_to)
            if end > start:
                _check_samples(shard.samples + end - start)
                whole = start == 0 and end == len(rows)
                writer.write(rows if whole else rows.slice(start, end), shard)
            elif not shard.samples:
                raise ends.too_large(number_key(rows.first + start), int(rows.tar_sizes[start]))
            if end < len(rows):
                shard.end()
                shard = None
            start = end
    if shard is not None:
        shard.end()


def write_keyed(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> ShardUrls:
    """Write samples, in order, to shards ``{stem}-000000.tar``, ``{stem}-000001.tar``, …

    A new shard begins where `PackedSample.split` changes, and where the layout does. Without
    ``maxcount`` and ``maxsize`` one also begins where `PackedSample.shard` changes. With either,
    only they decide, and a key that is already in the new shard gets the number of its old shard
    appended, or, in the members layout, begins another shard. After an error, Ctrl-C included,
    nothing unfinished is left; the sink decides whether finished shards are.

    Args:
        samples: At least one.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples in a shard.
        maxsize: Largest tar, in bytes, padding included. A sample is never split.
        fsync: Wait until each shard is on the disk.

    Raises:
        NoDataUrlsError: There are no samples.
        ShardError: A key that a shard cannot hold, or twice in one shard; or a sample over
            ``limits.sample_bytes``.
        OptionError: A limit below 1, or a sample that alone is larger than ``maxsize``.
        StoreError: The disk, or the sink, cannot take a shard.
    """
    ends = _ShardEnds(maxcount, maxsize)
    shard: _KeyedShard | None = None
    came_from = 0
    with ShardQueue(sink, stem, most=2, fsync=fsync) as queue:
        for sample in samples:
            layout: Layout = "msgpack" if sample.head is None else "members"
            again = ends.given and sample.shard > 0 and shard is not None
            again = again and shard is not None and sample.key in shard.keys
            if shard is not None and (
                (sample.split, layout) != (shard.split, shard.layout)
                or (again and layout == "members")
            ):
                shard.end()
                shard = None
            elif again:
                # Keys are unique within a shard only, and two shards may become one here.
                sample = sample._replace(key=f"{sample.key}-{sample.shard:06d}")
            head = _head(sample)
            size = len(head) + len(sample.payload) + -len(sample.payload) % BLOCK
            if maxsize is not None and size + len(END) > maxsize:
                raise ends.too_large(sample.key, size)
            if shard is not None and (
                shard.samples == maxcount
                or (maxsize is not None and shard.size + size + len(END) > maxsize)
                or (not ends.given and sample.shard != came_from)
            ):
                shard.end()
                shard = None
            if shard is None:
                shard = _KeyedShard(queue.begin(sample.split, layout))
            came_from = sample.shard
            shard.add(sample, head)
        if shard is not None:
            shard.end()
        return queue.finish()


class _ShardEnds:
    """Where one shard ends and the next begins.

    Raises:
        OptionError: A limit below 1, which no shard can keep.
    """

    def __init__(self, maxcount: int | None, maxsize: int | None) -> None:
        for option, value in (("maxcount", maxcount), ("maxsize", maxsize)):
            if value is not None and value < 1:
                raise OptionError(f"{option}={value}: has to be at least 1.")
        self.given = maxcount is not None or maxsize is not None
        self._maxcount, self._maxsize = maxcount, maxsize

    def end_of(self, shard: OpenShard, start: int, bytes_to: Integers) -> int:
        """The first row that does not go into a shard; ``start`` if it is full.

        Args:
            shard: The shard.
            start: The first row to write.
            bytes_to: Bytes of all rows up to each one, that one included; shape (n,).
        """
        end = len(bytes_to)
        if self._maxcount is not None:
            end = min(end, start + self._maxcount - shard.samples)
        if self._maxsize is not None:
            before = int(bytes_to[start - 1]) if start else 0
            fitting = before + self._maxsize - len(END) - shard.size
            end = min(end, int(np.searchsorted(bytes_to, fitting, side="right")))
        return max(start, end)

    def too_large(self, key: str, size: int) -> OptionError:
        """The error of a sample that does not fit into a shard of its own."""
        return OptionError(
            f"maxsize={self._maxsize:,}: sample {key!r} alone is a tar of {size + len(END):,} "
            "bytes. A sample is never split; pass a larger maxsize."
        )


def _check_samples(count: int) -> None:
    """Refuse a shard of more samples than reading allows.

    Raises:
        ShardError: Names the limit.
    """
    if count > limits.samples:
        raise ShardError(
            f"a shard of {count:,} samples could not be read back: limits.samples is "
            f"{limits.samples:,}. Pass maxcount= to write several"
        )


def _head(sample: PackedSample) -> bytes:
    if sample.head is not None:
        return sample.head
    check_key(sample.key)
    if len(sample.payload) > limits.sample_bytes:
        raise ShardError(f"a sample of {len(sample.payload):,} bytes", key=sample.key)
    return headers(sample.key, len(sample.payload))


class _KeyedShard:
    """A shard of samples with keys of their own, gathered to be written many at once."""

    def __init__(self, shard: OpenShard) -> None:
        self.size = 0
        self.samples = 0
        self.keys = KeyLog()
        self._shard = shard
        self.split = shard.split
        self.layout = shard.layout
        self._begin()

    def add(self, sample: PackedSample, head: bytes) -> None:
        key, payload = sample.key, sample.payload
        size = len(payload)
        _check_samples(self.samples + 1)
        if not self.keys.add(key):
            raise ShardError("two samples have this key", shard=self._shard.name, key=key)
        padding = _PADDING[-size % BLOCK]
        begin = self.size + len(head)
        self._payloads.append(begin - self._shard.size)
        self._sizes.append(size)
        self._pending += head, payload, padding
        self.size = begin + size + len(padding)
        self.samples += 1
        if size >= _LARGE_PAYLOAD_BYTES or self.size - self._shard.size >= _FLUSH_BYTES:
            self._flush()

    def end(self) -> None:
        """Write what is gathered, and end the shard."""
        self._flush()
        self._shard.end()

    def _flush(self) -> None:
        """Write what is gathered."""
        if not self._sizes:
            return
        *before, last, padding = self._pending
        large = len(last) >= _LARGE_PAYLOAD_BYTES
        data = [b"".join(before), last, padding] if large else [b"".join(self._pending)]
        keys = self.keys.text[self._keys_from :]
        ends = np.array(self.keys.ends[-len(self._sizes) :])
        self._shard.add(
            [(data, self.size - self._shard.size)],
            payloads=np.array(self._payloads),
            sizes=np.array(self._sizes),
            keys=bytes(keys),
            key_sizes=np.diff(ends, prepend=self._keys_from),
        )
        self._begin()

    def _begin(self) -> None:
        self._pending: list[bytes] = []
        self._payloads: list[int] = []
        self._sizes: list[int] = []
        self._keys_from = len(self.keys.text)
