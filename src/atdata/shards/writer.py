"""Samples → shards: the same samples give the same bytes, and a shard is whole or not there."""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from atdata._limits import limits
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.errors import NoDataUrlsError, OptionError, ShardError
from atdata.shards.header import BLOCK
from atdata.shards.keys import KeyLog
from atdata.shards.offsets import SampleTable
from atdata.shards.trail import Trail
from atdata.shards.ustar import END, check_key, headers

_FLUSH: Final = 1 << 20
"""Bytes that are gathered before they are hashed and written."""
_LARGE: Final = 1 << 16
"""Bytes from which on a payload is written by itself: joining it to others copies it."""
_AHEAD: Final = 1 << 24
"""Bytes that may wait to be hashed while the next ones are packed and written."""
_PADDING: Final = tuple(bytes(size) for size in range(BLOCK))


class PackedSample(NamedTuple):
    """One sample as it goes into a shard."""

    key: str
    """Name without suffix, unique in its shard, without a dot after its last slash."""
    payload: bytes
    """The sample as msgpack."""
    shard: int = 0
    """Number of the shard that it came from; where it changes, a new shard may begin."""


class ShardSink(Protocol):
    """Where finished shards go.

    A sink that can keep small files beside its shards has ``accept_table(name, table)`` as
    well: it is given the bytes of each shard's sample table after `accept` took the shard.
    """

    def scratch(self) -> Path:
        """A folder for unfinished shards, on a disk with room for one."""

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Take a finished shard away, as a whole or not at all.

        Args:
            name: ``{stem}-000000.tar``.
            file: The shard, closed and synced; the sink's to move or to delete.
            info: Its size, hash and number of samples; ``url`` is ``name``.

        Returns:
            The shard's URL.
        """

    def discard(self) -> None:
        """Remove what `accept` placed in this run, after an error."""


def write_shards(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples, in order, to shards ``{stem}-000000.tar``, ``{stem}-000001.tar``, …

    Without ``maxcount`` and ``maxsize`` a new shard begins where `PackedSample.shard`
    changes; with either, they alone decide, and a key that another shard's sample has already
    gets the number of its shard behind it. After an error, Ctrl-C included, nothing of the
    run is left.

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
    """
    check_limits(maxcount, maxsize)
    done: list[ShardInfo] = []
    shard: _OpenShard | None = None
    came_from = 0
    joined = maxcount is not None or maxsize is not None
    try:
        for sample in samples:
            if joined and sample.shard > 0 and shard is not None and sample.key in shard.keys:
                # Keys are unique within a shard only, and two shards may become one here.
                sample = sample._replace(key=f"{sample.key}-{sample.shard:06d}")
            head = _head(sample)
            size = len(head) + len(sample.payload) + -len(sample.payload) % BLOCK
            if maxsize is not None and size + len(END) > maxsize:
                raise too_large(sample.key, size + len(END), maxsize)
            if shard is not None and (
                shard.samples == maxcount
                or (maxsize is not None and shard.size + size + len(END) > maxsize)
                or (not joined and sample.shard != came_from)
            ):
                done.append(shard.hand_to(sink))
                shard = None
            if shard is None:
                shard = _OpenShard(f"{stem}-{len(done):06d}.tar", sink.scratch())
            came_from = sample.shard
            shard.add(sample, head)
        if shard is None:
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        done.append(shard.hand_to(sink))
    except BaseException:
        if shard is not None:
            shard.remove()
        sink.discard()
        raise
    return ShardUrls(done)


def check_limits(maxcount: int | None, maxsize: int | None) -> None:
    """Refuse limits that no shard can keep.

    Raises:
        OptionError: One is below 1.
    """
    for option, value in (("maxcount", maxcount), ("maxsize", maxsize)):
        if value is not None and value < 1:
            raise OptionError(f"{option}={value}: has to be at least 1.")


def too_large(key: str, size: int, maxsize: int) -> OptionError:
    """The error for a sample that is a tar of ``size`` bytes by itself."""
    return OptionError(
        f"maxsize={maxsize:,}: sample {key!r} alone is a tar of {size:,} bytes. A sample is "
        "never split; pass a larger maxsize."
    )


def hand_table(sink: ShardSink, name: str, table: SampleTable) -> None:
    """Give the table of a shard to a sink, if it takes tables."""
    accept_table = getattr(sink, "accept_table", None)
    if callable(accept_table):
        accept_table(name, table.to_bytes())


def _head(sample: PackedSample) -> bytes:
    check_key(sample.key)
    if len(sample.payload) > limits.sample_bytes:
        raise ShardError(f"a sample of {len(sample.payload):,} bytes", key=sample.key)
    return headers(sample.key, len(sample.payload))


class _OpenShard:
    """A shard that is being written."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.size = 0
        self.samples = 0
        self.keys = KeyLog()
        self._offsets = array("q")
        self._sizes = array("q")
        self._pending: list[bytes] = []
        self._pending_from = 0
        # Not by mkstemp: what it makes stays unreadable for others when it is finished.
        self.path = folder / f".{Path(name).name}-{secrets.token_hex(8)}.part"
        self._file = self.path.open("xb", buffering=0)
        self._trail = Trail(self._file.fileno(), ahead=_AHEAD)

    def add(self, sample: PackedSample, head: bytes) -> None:
        key, payload, _ = sample
        size = len(payload)
        if not self.keys.add(key):
            raise ShardError("two samples have this key", shard=self.name, key=key)
        padding = _PADDING[-size % BLOCK]
        begin = self.size + len(head)
        self._offsets.append(begin)
        self._sizes.append(size)
        self._pending += head, payload, padding
        self.size = begin + size + len(padding)
        self.samples += 1
        if size >= _LARGE or self.size - self._pending_from >= _FLUSH:
            self._flush()

    def hand_to(self, sink: ShardSink) -> ShardInfo:
        self._pending += b"", END
        self.size += len(END)
        self._flush()
        sha256 = self._trail.finish()
        self._file.close()
        info = ShardInfo(self.name, self.samples, self.size, sha256)
        placed = info.at(sink.accept(self.name, self.path, info))
        table = SampleTable.joined(
            np.frombuffer(self._offsets, np.int64),
            np.frombuffer(self._sizes, np.int64),
            self.keys.ends,
            self.keys.text,
            shard_bytes=self.size,
            sha256=sha256,
        )
        hand_table(sink, self.name, table)
        return placed

    def remove(self) -> None:
        self._trail.close()
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _flush(self) -> None:
        *_, last, padding = self._pending
        if len(last) >= _LARGE:
            self._write(b"".join(self._pending[:-2]))
            self._write(last)
            self._write(padding)
        else:
            self._write(b"".join(self._pending))
        self._pending.clear()
        self._pending_from = self.size

    def _write(self, data: bytes) -> None:
        self._trail.follow(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
