"""What a source may offer beyond the protocol, and what there is where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from atdata._protocols import DataSource
from atdata.errors import ShardNotFoundError
from atdata.sources.byte_ranges import ShardBytes


def local_path(source: DataSource, shard: str) -> Path | None:
    """The file of this machine that a shard is, where the source knows of one."""
    find = getattr(source, "local_path", None)
    place = find(shard) if callable(find) else None
    return place if isinstance(place, Path) else None


def ranges_of(source: DataSource, shard: str) -> ShardBytes | None:
    """The shard as bytes by position, where the source can give that."""
    find = getattr(source, "ranges", None)
    found: ShardBytes | None = find(shard) if callable(find) else None
    return found


def open_beside(source: DataSource, shard: str, suffix: str) -> IO[bytes]:
    """Open the file beside a shard whose name is the shard's with ``suffix`` behind it.

    Raises:
        ShardNotFoundError: There is none, or the source does not say what is beside a shard.
    """
    find = getattr(source, "open_beside", None)
    if not callable(find):
        raise ShardNotFoundError(f"There is nothing beside {shard!r}.")
    stream: IO[bytes] = find(shard, suffix)
    return stream


def uncached(source: DataSource) -> DataSource:
    """The source that a cache keeps copies of, to read a little without copying the whole."""
    below: DataSource | None = getattr(source, "uncached", None)
    return source if below is None else below
