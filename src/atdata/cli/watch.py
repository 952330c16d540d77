"""Sources and stores that tell a progress bar what goes through them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.cli.output import Bar


class WatchedSource:
    """A source as it is, its bytes counted while they are read."""

    def __init__(self, source: DataSource, bar: Bar) -> None:
        self._source, self._bar = source, bar

    @property
    def shard_list(self) -> list[str]:
        """The same shards."""
        return self._source.shard_list

    def shards(self) -> Iterator[tuple[str, IO[bytes]]]:
        """Each shard's identifier and counted stream, in order."""
        for shard in self.shard_list:
            with self.open_shard(shard) as stream:
                yield shard, stream

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """One shard, counted."""
        return _counted(self._source.open_shard(shard_id), self._bar)


class WatchedStore:
    """A store as it is, the bytes that are copied to it counted."""

    def __init__(self, store: Any, bar: Bar) -> None:
        self._store, self._bar = store, bar

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write_shards(self, ds: Any, *, prefix: str, **kwargs: Any) -> list[str]:
        """Write a dataset; what is read of it is counted where it is read."""
        written: list[str] = self._store.write_shards(ds, prefix=prefix, **kwargs)
        return written

    def read_url(self, url: str) -> str:
        """The same as the store's."""
        readable: str = self._store.read_url(url)
        return readable

    def supports_streaming(self) -> bool:
        """The same as the store's."""
        return bool(self._store.supports_streaming())

    def copy_shards(
        self, shards: Sequence[ShardInfo], open_shard: Callable[[str], IO[bytes]], *, prefix: str
    ) -> ShardUrls:
        """Copy shards; those that are there already are not read, so they do not count."""
        copied: ShardUrls = self._store.copy_shards(
            shards, lambda shard: _counted(open_shard(shard), self._bar), prefix=prefix
        )
        return copied


def _counted(stream: IO[bytes], bar: Bar) -> IO[bytes]:
    return io.BufferedReader(_Counting(stream, bar), 1 << 20)


class _Counting(io.RawIOBase):
    def __init__(self, stream: IO[bytes], bar: Bar) -> None:
        self._stream, self._bar = stream, bar

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._bar.advance(len(chunk))
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()


def size_of_files(paths: Sequence[str]) -> int | None:
    """Bytes in all of them, if every one is a file of this machine."""
    files = [Path(path) for path in paths]
    return sum(f.stat().st_size for f in files) if all(f.is_file() for f in files) else None
