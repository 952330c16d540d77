"""Whether a source has a capability, and what to do without it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from atdata._protocols import DataSource
from atdata.capabilities import (
    ByteRanges,
    SupportsByteRanges,
    SupportsLocalPaths,
    SupportsNeighbours,
    SupportsSidecars,
    SupportsUncached,
)
from atdata.errors import ShardNotFoundError


def local_path(source: DataSource, shard: str) -> Path | None:
    """The file of this machine that a shard is, where the source knows of one."""
    return source.local_path(shard) if isinstance(source, SupportsLocalPaths) else None


def ranges_of(source: DataSource, shard: str) -> ByteRanges | None:
    """The shard as bytes by position, where the source can give that."""
    return source.ranges(shard) if isinstance(source, SupportsByteRanges) else None


def open_sidecar(source: DataSource, shard: str, suffix: str) -> IO[bytes]:
    """Open the file whose name is the shard's followed by ``suffix``.

    Raises:
        ShardNotFoundError: There is none, or the source knows only its shards.
    """
    if not isinstance(source, SupportsSidecars):
        raise ShardNotFoundError(f"{type(source).__name__} opens no files next to {shard!r}.")
    return source.open_sidecar(shard, suffix)


def open_neighbour(source: DataSource, shard: str, name: str) -> IO[bytes]:
    """Open the file of this name in the folder of a shard.

    Raises:
        ShardNotFoundError: There is none, or the source knows only its shards.
    """
    if not isinstance(source, SupportsNeighbours):
        raise ShardNotFoundError(f"{type(source).__name__} opens no files next to {shard!r}.")
    return source.open_neighbour(shard, name)


def uncached(source: DataSource) -> DataSource:
    """The source that a cache keeps copies of, to read a little without copying the whole."""
    return source.uncached() if isinstance(source, SupportsUncached) else source
