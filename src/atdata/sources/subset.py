"""Some of the shards of another source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from atdata._protocols import DataSource
from atdata._secrets import redacted_repr
from atdata._shardlist import preview
from atdata.capabilities import ByteRanges
from atdata.errors import ShardNotFoundError
from atdata.sources.capabilities import local_path, open_neighbour, open_sidecar, ranges_of


@redacted_repr
@dataclass(frozen=True)
class SubsetSource:
    """Some shards of a source, opened as the source opens them: same policy, same access."""

    source: DataSource
    chosen: Sequence[str]
    """Identifiers of the shards, in reading order."""

    @property
    def shard_list(self) -> list[str]:
        """Identifiers of the chosen shards. A new list."""
        return list(self.chosen)

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each chosen shard and its open stream, in order; closed when the next begins."""
        for shard_id in self.chosen:
            with closing(self.source.open_shard(shard_id)) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open one of the chosen shards.

        Raises:
            ShardNotFoundError: It is not one of them.
        """
        if shard_id not in self.chosen:
            raise ShardNotFoundError(f"{shard_id!r} is not one of: {preview(self.chosen)}.")
        return self.source.open_shard(shard_id)

    def ranges(self, shard_id: str) -> ByteRanges | None:
        """The shard as bytes by position, where the source can give that."""
        return ranges_of(self.source, shard_id)

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file next to a shard, where the source can."""
        return open_sidecar(self.source, shard_id, suffix)

    def open_neighbour(self, shard_id: str, name: str) -> IO[bytes]:
        """Open another file in the folder of a shard, if the source can."""
        return open_neighbour(self.source, shard_id, name)

    def local_path(self, shard_id: str) -> Path | None:
        """The shard as a file of this machine, where the source knows of one."""
        return local_path(self.source, shard_id)
