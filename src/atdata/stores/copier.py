"""Copying shards byte for byte: each read once, hashed and checked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, Protocol, runtime_checkable

from atdata._shardlist import ShardInfo, ShardUrls
from atdata.capabilities import Progress
from atdata.errors import IntegrityError, NoDataUrlsError, ShardError, StoreError
from atdata.shards.open_shard import ShardSink, hand_table
from atdata.shards.reader import Unread, scan_table
from atdata.shards.tar.table import SampleTable
from atdata.sources.hashed_stream import HashedStream
from atdata.stores.journal import Journal
from atdata.stores.prefixes import shard_name
from atdata.system.forks import ForkLock

_CHUNK_BYTES: Final = 1 << 20
_COPIES_AT_ONCE: Final = 4
"""Each takes its size on disk and 1 MiB of memory."""


class CopySink(ShardSink, Protocol):
    """Where copies of shards go."""

    @property
    def place(self) -> str | None:
        """What the journal calls it; None: the sink keeps the journal itself."""

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of the shard of this name, if it exists with exactly this size and hash."""


@runtime_checkable
class SupportsServerCopy(Protocol):
    """A sink on a server that can copy shards from other places on it."""

    def copy_within(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        """The copy, made by the server alone; None if it cannot make it."""


def copy_to_sink(
    shards: Sequence[ShardInfo],
    open_shard: Callable[[str], IO[bytes]],
    sink: CopySink,
    *,
    progress: Progress | None = None,
) -> ShardUrls:
    """Copy shards byte for byte, a few at once, each through a file of the sink's scratch folder.

    A copy that exists is not read. After an error, the copies that were made stay, so that a
    second run resumes; those in progress are finished, and no other is begun. The sink takes copies
    from several threads. The rest is as for `SinkStore.copy_shards`.
    """
    if not shards:
        raise NoDataUrlsError("There are no shards to copy.")
    copier = _Copier(open_shard, sink, progress)
    with ThreadPoolExecutor(min(_COPIES_AT_ONCE, len(shards))) as pool:
        copies = [pool.submit(copier.copy, n, shard) for n, shard in enumerate(shards)]
        try:
            return ShardUrls([copy.result() for copy in copies])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Copier:
    """Copies shards of one call."""

    def __init__(
        self, open_shard: Callable[[str], IO[bytes]], sink: CopySink, progress: Progress | None
    ) -> None:
        self._open_shard = open_shard
        self._sink = sink
        self._progress = progress
        self._lock = ForkLock()

    def copy(self, number: int, shard: ShardInfo) -> ShardInfo:
        name = shard_name(number)
        if url := self._sink.find(name, shard):
            self._advance(shard.bytes or 0)
            return shard.at(url)
        if (copy := self._copy_on_server(name, shard)) is not None:
            self._remember(copy)
            self._advance(copy.bytes or 0)
            return copy
        return self._copy_through_file(name, shard)

    def _copy_on_server(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        sink = self._sink
        return sink.copy_within(name, shard) if isinstance(sink, SupportsServerCopy) else None

    def _copy_through_file(self, name: str, shard: ShardInfo) -> ShardInfo:
        file = self._sink.scratch() / f".{name}-{secrets.token_hex(8)}.part"
        try:
            info = self._read_to_file(name, shard, file)
            table = _table_of(file, info)
            if table is not None and info.samples is None:
                info = replace(info, samples=len(table))
            placed = info.at(self._sink.accept(name, file, info))
            self._remember(placed)
            if table is not None:
                hand_table(self._sink, name, table)
            return placed
        finally:
            file.unlink(missing_ok=True)

    def _read_to_file(self, name: str, shard: ShardInfo, file: Path) -> ShardInfo:
        with self._lock:
            opened = self._open_shard(shard.url)
        with closing(HashedStream(opened)) as stream, file.open("xb", buffering=0) as out:
            while chunk := stream.read(_CHUNK_BYTES):
                _write(out, chunk, name)
                self._advance(len(chunk))
            os.fsync(out.fileno())
        size, sha256 = stream.size, stream.sha256
        if shard.sha256 not in (None, sha256) or shard.bytes not in (None, size):
            raise IntegrityError(
                f"expected {shard.bytes} bytes with SHA-256 {shard.sha256}, found {size} bytes "
                f"with {sha256}. The shard was changed after it was recorded, and "
                "was not copied. Insert the dataset again to record it as it is now.",
                shard=shard.url,
            )
        return replace(shard, url=name, mime=None, bytes=size, sha256=sha256)

    def _remember(self, placed: ShardInfo) -> None:
        if self._sink.place is not None:
            Journal().add(self._sink.place, placed)

    def _advance(self, size: int) -> None:
        if self._progress is not None and size:
            with self._lock:
                self._progress(size)


def _write(out: IO[bytes], chunk: bytes, name: str) -> None:
    data = memoryview(chunk)
    try:
        while data:
            data = data[out.write(data) :]
    except OSError as error:
        raise StoreError(
            f"{name}: the disk for unfinished shards cannot be written ({error.strerror})."
        ) from error


def _table_of(file: Path, shard: ShardInfo) -> SampleTable | None:
    """The sample table of a copy; None if the shard is damaged, or has more than samples."""
    try:
        size = file.stat().st_size
        # Every member is copied, so nobody has to be warned of those that are not samples.
        table = scan_table(
            file, shard=shard.url, shard_bytes=size, sha256=shard.sha256, unread=Unread()
        )
    except ShardError:
        return None
    return table if table.alone else None
