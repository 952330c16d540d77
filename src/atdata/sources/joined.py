"""The shards of several sources as those of one."""

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
class JoinedSource:
    """Sources one after the other. Each opens its own shards; of one name, the first does."""

    sources: Sequence[DataSource]

    @property
    def shard_list(self) -> list[str]:
        """Identifiers of all shards. A new list."""
        return [shard for source in self.sources for shard in source.shard_list]

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard and its open stream, in order; closed when the next begins."""
        for shard_id in self.shard_list:
            with closing(self.open_shard(shard_id)) as stream:
                yield shard_id, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """Open a shard.

        Raises:
            ShardNotFoundError: No source has it.
        """
        return self._of(shard_id).open_shard(shard_id)

    def ranges(self, shard_id: str) -> ByteRanges | None:
        """The shard as bytes by position, where its source can give that."""
        return ranges_of(self._of(shard_id), shard_id)

    def open_sidecar(self, shard_id: str, suffix: str) -> IO[bytes]:
        """Open the file next to a shard, where its source can."""
        return open_sidecar(self._of(shard_id), shard_id, suffix)

    def open_neighbour(self, shard_id: str, name: str) -> IO[bytes]:
        """Open another file in the folder of a shard, if its source can."""
        return open_neighbour(self._of(shard_id), shard_id, name)

    def local_path(self, shard_id: str) -> Path | None:
        """The shard as a file of this machine, where its source knows of one."""
        return local_path(self._of(shard_id), shard_id)

    def _of(self, shard_id: str) -> DataSource:
        for source in self.sources:
            if shard_id in source.shard_list:
                return source
        raise ShardNotFoundError(f"{shard_id!r} is not one of: {preview(self.shard_list)}.")
