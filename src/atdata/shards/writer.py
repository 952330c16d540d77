"""Samples → shards: the same samples give the same bytes, and a shard is whole or not there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from atdata._limits import limits
from atdata._shardlist import ShardUrls
from atdata.errors import AtdataError, OptionError, ShardError
from atdata.shards.open_shard import OpenShard, ShardLine, ShardSink
from atdata.shards.runs import Run, RunWriter
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.keys import KeyLog
from atdata.shards.tar.ustar import END, check_key, headers, number_key

_FLUSH: Final = 1 << 20
"""Bytes that are gathered before they are written."""
_LARGE: Final = 1 << 16
"""Bytes from which on a payload is written by itself: joining it to others copies it."""
_AT_ONCE: Final = 4
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
    """Split of that shard; where it changes, a new shard begins, which keeps it."""


def write_shards(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples, in order, to shards ``{stem}-000000.tar``, ``{stem}-000001.tar``, …

    A new shard begins where `PackedSample.split` changes. Without ``maxcount`` and ``maxsize``
    one begins where `PackedSample.shard` changes, too; with either, they decide, and a key that
    another shard's sample has already gets the number of its shard after it. After an error, Ctrl-C
    included, nothing unfinished is left; whether finished shards are is the sink's to decide.

    Args:
        samples: At least one.
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        maxcount: Most samples of a shard.
        maxsize: Largest tar, in bytes, padding included. A sample is never split.

    Raises:
        NoDataUrlsError: There are no samples.
        ShardError: A key that a shard cannot hold, or twice in one shard; or a sample over
            4 GiB.
        OptionError: A limit below 1, or a sample that alone is larger than ``maxsize``.
        StoreError: The disk, or the sink, cannot take a shard.
    """
    _check_limits(maxcount, maxsize)
    shard: _KeyedShard | None = None
    came_from = 0
    joined = maxcount is not None or maxsize is not None
    with ShardLine(sink, stem, most=2) as line:
        for sample in samples:
            if shard is not None and sample.split != shard.split:
                shard.end()
                shard = None
            if joined and sample.shard > 0 and shard is not None and sample.key in shard.keys:
                # Keys are unique within a shard only, and two shards may become one here.
                sample = sample._replace(key=f"{sample.key}-{sample.shard:06d}")
            head = _head(sample)
            size = len(head) + len(sample.payload) + -len(sample.payload) % BLOCK
            if maxsize is not None and size + len(END) > maxsize:
                raise _too_large(sample.key, size + len(END), maxsize)
            if shard is not None and (
                shard.samples == maxcount
                or (maxsize is not None and shard.size + size + len(END) > maxsize)
                or (not joined and sample.shard != came_from)
            ):
                shard.end()
                shard = None
            if shard is None:
                shard = _KeyedShard(line.begin(sample.split))
            came_from = sample.shard
            shard.add(sample, head)
        if shard is not None:
            shard.end()
        return line.finish()


class RunSource(Protocol):
    """Samples that can be had as runs."""

    @property
    def count(self) -> int | None:
        """How many there are; None: they come in order, once."""

    def runs(self, start: int, end: int | None) -> Iterator[Run]:
        """Those with these numbers, up to the last one where ``end`` is None.

        Several may be read by turns; ``start`` is 0 and ``end`` None where `count` is None.
        """


def write_runs(
    source: RunSource,
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
    fsync: bool = True,
) -> ShardUrls:
    """Write samples, one behind the other, as `write_shards` does.

    Without ``fsync`` it does not wait until shards are on the disk, and several are filled at
    once where it is known beforehand which samples are in each.
    """
    _check_limits(maxcount, maxsize)
    if source.count is not None and maxsize is None:
        _check_samples(min(source.count, maxcount or source.count))
    starts = range(0)
    # A disk takes files in turn sooner than by turns: one is on its way while the next is filled.
    if source.count is not None and maxcount is not None and maxsize is None and not fsync:
        starts = range(0, source.count, maxcount)
    several = len(starts) > 1
    with ShardLine(sink, stem, most=2 * _AT_ONCE, beside=several, fsync=fsync) as line:
        writer = RunWriter()
        if several:
            for at in range(0, len(starts), _AT_ONCE):
                group = starts[at : at + _AT_ONCE]
                shards = [source.runs(s, min(s + starts.step, starts.stop)) for s in group]
                _write_at_once(shards, writer, line)
        else:
            _write_in_turn(source.runs(0, None), writer, line, maxcount, maxsize)
        return line.finish()


def _write_at_once(shards: Sequence[Iterator[Run]], writer: RunWriter, line: ShardLine) -> None:
    """Fill shards by turns, with a run each."""
    filling = [(line.begin(), runs) for runs in shards]
    while filling:
        for shard, runs in list(filling):
            try:
                run = next(runs, None)
            except AtdataError:
                # Of several samples that are wrong, the first is told.
                for before in shards[: shards.index(runs)]:
                    deque(before, maxlen=0)
                raise
            if run is None:
                shard.end()
                filling.remove((shard, runs))
            else:
                writer.write(run, shard)


def _write_in_turn(
    runs: Iterator[Run],
    writer: RunWriter,
    line: ShardLine,
    maxcount: int | None,
    maxsize: int | None,
) -> None:
    """Fill one shard after the other."""
    shard: OpenShard | None = None
    for run in runs:
        start, behind = 0, np.cumsum(run.records)
        while start < len(run):
            if shard is None:
                shard = line.begin()
            end = len(run)
            if maxcount is not None:
                end = min(end, start + maxcount - shard.samples)
            if maxsize is not None:
                written = int(behind[start - 1]) if start else 0
                fitting = written + maxsize - len(END) - shard.size
                end = min(end, int(np.searchsorted(behind, fitting, side="right")))
            if end > start:
                _check_samples(shard.samples + end - start)
                whole = start == 0 and end == len(run)
                writer.write(run if whole else run.part(start, end), shard)
            elif not shard.samples:
                size = int(run.records[start]) + len(END)
                raise _too_large(number_key(run.first + start), size, maxsize or 0)
            if end < len(run):
                shard.end()
                shard = None
            start = max(start, end)
    if shard is not None:
        shard.end()


def _check_limits(maxcount: int | None, maxsize: int | None) -> None:
    """Refuse limits that no shard can keep.

    Raises:
        OptionError: One is below 1.
    """
    for option, value in (("maxcount", maxcount), ("maxsize", maxsize)):
        if value is not None and value < 1:
            raise OptionError(f"{option}={value}: has to be at least 1.")


def _check_samples(count: int) -> None:
    """Refuse a shard of so many samples that reading it would be refused.

    Raises:
        ShardError: Says which limit it is.
    """
    if count > limits.samples:
        raise ShardError(
            f"a shard of {count:,} samples could not be read back: limits.samples is "
            f"{limits.samples:,}. Pass maxcount= to write several"
        )


def _too_large(key: str, size: int, maxsize: int) -> OptionError:
    return OptionError(
        f"maxsize={maxsize:,}: sample {key!r} alone is a tar of {size:,} bytes. A sample is "
        "never split; pass a larger maxsize."
    )


def _head(sample: PackedSample) -> bytes:
    check_key(sample.key)
    if len(sample.payload) > limits.sample_bytes:
        raise ShardError(f"a sample of {len(sample.payload):,} bytes", key=sample.key)
    return headers(sample.key, len(sample.payload))


class _KeyedShard:
    """A shard that is filled with samples that have keys of their own."""

    def __init__(self, shard: OpenShard) -> None:
        self.size = 0
        self.samples = 0
        self.keys = KeyLog()
        self._shard = shard
        self.split = shard.split
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
        if size >= _LARGE or self.size - self._shard.size >= _FLUSH:
            self.flush()

    def end(self) -> None:
        """No more comes."""
        self.flush()
        self._shard.end()

    def flush(self) -> None:
        """Write what is gathered."""
        if not self._sizes:
            return
        *before, last, padding = self._pending
        large = len(last) >= _LARGE
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
