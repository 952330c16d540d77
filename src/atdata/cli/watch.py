"""A source that tells a progress bar what goes through it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from atdata._protocols import DataSource
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
