"""A shard read in order, in blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import IO, Final, Generic, TypeVar

import numpy as np

from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.columns import Decoder, Payloads
from atdata.shards.cursor import Integers
from atdata.shards.form import Column
from atdata.shards.keys import KeyMatrix, key_list
from atdata.shards.tar import Found, Walker, check_tail
from atdata.shards.window import Window, open_window

T = TypeVar("T")

_ROWS: Final = 1024
_BLOCK: Final = 1 << 22
"""Bytes of a block that stays in the processor's cache."""


class Block(Generic[T]):
    """Samples that were found together, decoded when asked for.

    Keeps the memory that it was found in: the map of a file, or one chunk of a stream.
    """

    def __init__(
        self,
        shard: str,
        decoder: Decoder[T],
        payloads: Payloads,
        keys: Callable[[], list[str]],
    ) -> None:
        self.shard = shard
        self._decoder = decoder
        self._payloads = payloads
        self._make_keys = keys

    def __len__(self) -> int:
        return len(self._payloads.starts)

    @cached_property
    def keys(self) -> list[str]:
        """The key of each sample."""
        return self._make_keys()

    def take(self, indices: slice | Integers) -> Block[T]:
        """Some of the samples, in the order of ``indices``. The bytes are not copied."""
        whole = self._payloads
        part = Payloads(whole.buffer, whole.starts[indices], whole.ends[indices])

        def keys() -> list[str]:
            if isinstance(indices, slice):
                return self.keys[indices]
            return [self.keys[i] for i in np.arange(len(self))[indices].tolist()]

        return Block(self.shard, self._decoder, part, keys)

    def payloads(self) -> Iterator[memoryview]:
        """The msgpack bytes of each sample: read-only views, which keep the block's memory."""
        starts, ends = self._payloads.starts.tolist(), self._payloads.ends.tolist()
        for start, end in zip(starts, ends, strict=True):
            yield self._payloads.buffer[start:end]

    def samples(self) -> list[T]:
        """Every sample, decoded; its arrays are writable and own their memory.

        Raises:
            DecodeError: One is not a sample of this type; names shard, key and path.
        """
        return self._decoder.samples(self._payloads, self._unpack)

    def columns(self) -> dict[str, Column]:
        """Every field as a column of n values, in memory of its own.

        Arrays of one dtype and shape (*S) are stacked to (n, *S), others are a list of
        arrays. Integers are int64 (uint64 where needed, a list where neither holds them),
        floats float64, bools bool. Everything else is a list, and so is a field with a None.

        Raises:
            DecodeError: As in `samples`.
        """
        return self._decoder.columns(self._payloads, self._unpack)

    def _unpack(self, row: int) -> T:
        whole = self._payloads
        payload = whole.buffer[int(whole.starts[row]) : int(whole.ends[row])]
        try:
            return self._decoder.codec.unpack(payload)
        except DecodeError as error:
            raise DecodeError(f"{self.shard}, sample {self.keys[row]!r}: {error}") from None


def read_blocks(
    source: IO[bytes] | Path,
    *,
    shard: str,
    codec: SampleCodec[T],
    rows: int | None = None,
    first: int | None = None,
) -> Iterator[Block[T]]:
    """Read a shard in order.

    A file is mapped into memory: it must not be truncated while blocks of it are in use
    (the operating system ends a process that reads beyond a file's end). Open it and pass
    the stream where that cannot be promised.

    Args:
        source: The shard's file, or a stream of its bytes, which is read to its end and left
            open.
        shard: What errors call it.
        codec: Codec of its samples.
        rows: A block ends where so many samples do, or a multiple of them; the last of a file,
            and of each chunk of a stream, may end before. None: anywhere. In any case a block
            has at least ``rows``, and at most 1,024 or about 4 MB if these are more.
        first: Samples up to the first such end; None: ``rows``.

    Raises:
        ShardError: Damaged, cut short, no tar; or it holds other members, but no samples.
    """
    decoder = _decoder_of(codec)
    try:
        for part in _parts(open_window(source), rows or 1, first or 0):
            keys = partial(key_list, part.keys)
            payloads = Payloads(part.view, part.starts, part.ends)
            yield Block(shard, decoder, payloads, keys)
    except ShardError as error:
        raise error.in_shard(shard) from None


@lru_cache(maxsize=64)
def _decoder_of(codec: SampleCodec[T]) -> Decoder[T]:
    return Decoder(codec)


def count_samples(source: IO[bytes] | Path, *, shard: str) -> int:
    """Count the samples of a shard, without decoding them.

    Raises:
        ShardError: As in `read_blocks`.
    """
    try:
        return sum(len(part.starts) for part in _parts(open_window(source)))
    except ShardError as error:
        raise error.in_shard(shard) from None


@dataclass(frozen=True, slots=True)
class Samples:
    """Where samples of a shard are, and their keys."""

    offsets: Integers
    """Where each payload begins, in bytes from the start of the shard."""
    sizes: Integers
    keys: list[str]


def find_samples(source: IO[bytes] | Path, *, shard: str) -> Iterator[Samples]:
    """Find the samples of a shard, without decoding them.

    Raises:
        ShardError: As in `read_blocks`.
    """
    try:
        window = open_window(source)
        for part in _parts(window):
            sizes = part.ends - part.starts
            yield Samples(window.base + part.starts, sizes, key_list(part.keys))
    except ShardError as error:
        raise error.in_shard(shard) from None


def block_of(
    shard: str,
    codec: SampleCodec[T],
    payloads: Payloads,
    keys: Callable[[], list[str]],
) -> Block[T]:
    """A block of payloads that were found by a table.

    Args:
        shard: What errors call the place that they are from.
        codec: Codec of the samples.
        payloads: Where they are in memory.
        keys: Gives their keys.
    """
    return Block(shard, _decoder_of(codec), payloads, keys)


@dataclass(frozen=True, slots=True)
class _Part:
    """What goes into one block."""

    view: memoryview
    starts: Integers
    ends: Integers
    keys: list[KeyMatrix | list[str]]


def _parts(window: Window, rows: int = 1, first: int = 0) -> Iterator[_Part]:
    walker = Walker()
    at = 0
    gathered: list[Found] = []
    count = before = 0
    while True:
        fitting = min(_ROWS, 1 + _BLOCK // walker.typical)
        most = max(1, fitting // rows) * rows - (before - first) % rows
        found = walker.find(
            window.view, at, base=window.base, final=window.final, most=max(1, most - count)
        )
        if len(found.offsets):
            gathered.append(found)
            count += len(found.offsets)
        at = found.end
        go_on = bool(found.need) or at > len(window.view)
        if gathered and (count >= most or go_on or found.over):
            yield _joined(window.view, gathered)
            window.release(at)
            before += count
            gathered, count = [], 0
        if found.over:
            check_tail(window.rest(at), window.base + at)
            walker.finish()
            return
        if go_on:
            window.move(at, found.need)
            at = 0


def _joined(view: memoryview, gathered: list[Found]) -> _Part:
    starts = np.concatenate([np.asarray(found.offsets, np.int64) for found in gathered])
    sizes = np.concatenate([np.asarray(found.sizes, np.int64) for found in gathered])
    return _Part(view, starts, starts + sizes, [found.keys for found in gathered])
