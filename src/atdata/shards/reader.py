"""A shard read in order, in blocks of samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Generic, TypeAlias, TypeVar

import numpy as np

from atdata.errors import DecodeError, ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.tar import Buffer, Found, Walker, check_tail
from atdata.shards.window import Window, open_window

T = TypeVar("T")
Column: TypeAlias = "np.ndarray[Any, np.dtype[Any]] | list[Any]"

ROWS: Final = 1024
"""Most samples of a block, unless asked otherwise."""


class Block(Generic[T]):
    """Samples that were found together, decoded when asked for.

    Keeps the memory that it was found in: the map of a file, or one chunk of a stream.
    """

    def __init__(
        self,
        shard: str,
        codec: SampleCodec[T],
        buffer: Buffer,
        offsets: np.ndarray[Any, np.dtype[np.int64]],
        sizes: np.ndarray[Any, np.dtype[np.int64]],
        keys: list[str],
    ) -> None:
        self.shard = shard
        self.keys = keys
        self._codec = codec
        self._buffer = buffer
        self._offsets = offsets
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._offsets)

    def take(self, indices: slice | np.ndarray[Any, np.dtype[Any]]) -> Block[T]:
        """Some of the samples, in the order of ``indices``. The bytes are not copied."""
        chosen = np.arange(len(self))[indices].tolist()
        return Block(
            self.shard,
            self._codec,
            self._buffer,
            self._offsets[indices],
            self._sizes[indices],
            [self.keys[i] for i in chosen],
        )

    def payloads(self) -> Iterator[memoryview]:
        """The msgpack bytes of each sample: read-only views, which keep the block's memory."""
        for offset, size in zip(self._offsets.tolist(), self._sizes.tolist(), strict=True):
            yield self._buffer[offset : offset + size]

    def samples(self) -> list[T]:
        """Every sample, decoded.

        Raises:
            DecodeError: One is not a sample of this type; names shard, key and path.
        """
        out = []
        for key, payload in zip(self.keys, self.payloads(), strict=True):
            try:
                out.append(self._codec.unpack(payload))
            except DecodeError as error:
                raise DecodeError(f"{self.shard}, sample {key!r}: {error}") from None
        return out

    def columns(self) -> dict[str, Column]:
        """Every field as a column of n values, which owns its memory.

        Arrays of one dtype and shape (*S) are stacked to (n, *S), others are a list of
        arrays. Integers are int64 (uint64 where needed, a list where neither holds them),
        floats float64, bools bool. Everything else is a list, and so is a field with a None.

        Raises:
            DecodeError: As in `samples`.
        """
        samples = self.samples()
        names = [field.name for field in self._codec.fields]
        return {name: as_column([getattr(sample, name) for sample in samples]) for name in names}


def as_column(values: list[Any]) -> Column:
    """Values as an array where one dtype and shape hold them all, as they are otherwise."""
    sorts = set(map(type, values))
    if len(sorts) != 1:
        return values
    (sort,) = sorts
    if sort is bool or sort is float:
        return np.array(values, dtype=sort)
    if sort is int:
        return _integers(values)
    if sort is np.ndarray and len({(value.dtype, value.shape) for value in values}) == 1:
        return np.stack(values, dtype=values[0].dtype)  # without it, in native byte order
    return values


def _integers(values: list[int]) -> Column:
    low, high = min(values), max(values)
    if low >= -(2**63) and high < 2**63:
        return np.array(values, dtype=np.int64)
    if low >= 0 and high < 2**64:
        return np.array(values, dtype=np.uint64)
    return values


def read_blocks(
    source: IO[bytes] | Path, *, shard: str, codec: SampleCodec[T], rows: int = ROWS
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
        rows: Most samples of a block.

    Raises:
        ShardError: Damaged, cut short, no tar; or it holds other members, but no samples.
    """
    try:
        for buffer, found in _walk(open_window(source), rows):
            offsets = np.array(found.offsets, dtype=np.int64)
            sizes = np.array(found.sizes, dtype=np.int64)
            yield Block(shard, codec, buffer, offsets, sizes, found.keys)
    except ShardError as error:
        raise error.in_shard(shard) from None


def count_samples(source: IO[bytes] | Path, *, shard: str) -> int:
    """Count the samples of a shard, without decoding them.

    Raises:
        ShardError: As in `read_blocks`.
    """
    try:
        return sum(len(found.offsets) for _, found in _walk(open_window(source), ROWS))
    except ShardError as error:
        raise error.in_shard(shard) from None


def _walk(window: Window, rows: int) -> Iterator[tuple[Buffer, Found]]:
    walker = Walker()
    at = 0
    while True:
        found = walker.walk(window.view, at, base=window.base, final=window.final, most=rows)
        if found.offsets:
            yield window.view, found
        at = found.end
        if found.over:
            check_tail(window.rest(at), window.base + at)
            walker.finish()
            return
        if found.need or (at > len(window.view)):
            window.move(at, found.need)
            at = 0
