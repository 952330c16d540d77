"""Shards that are being written: filled in turn or several at once, then hashed and synced."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Protocol, runtime_checkable

import numpy as np

from atdata._arrays import Integers
from atdata._shardlist import ShardInfo, ShardUrls
from atdata.errors import NoDataUrlsError, StoreError
from atdata.shards.hashing_writer import Trail
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.ustar import END


class ShardSink(Protocol):
    """Where finished shards go."""

    def scratch(self) -> Path:
        """A folder for unfinished shards, on a disk with room for a few."""

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Take a finished shard away, as a whole or not at all.

        Args:
            name: ``{stem}-000000.tar``.
            file: The shard, closed, and synced unless the writer was told not to; the sink's to
                move or to delete.
            info: Its size, hash and number of samples; ``url`` is ``name``.

        Returns:
            The shard's URL.
        """

    def discard(self) -> None:
        """Remove what is unfinished, after an error.

        What `accept` placed may be removed only where nobody else can have found it.
        """


@runtime_checkable
class SupportsTables(Protocol):
    """A sink that keeps small files next to its shards."""

    def accept_table(self, name: str, table: bytes) -> None:
        """Take the sample table of a shard, after `ShardSink.accept` took the shard."""


def hand_table(sink: ShardSink, name: str, table: SampleTable) -> None:
    """Give the table of a shard to a sink, if it takes tables."""
    if isinstance(sink, SupportsTables):
        sink.accept_table(name, table.to_bytes())


class OpenShard:
    """A shard that is being written. Use from one thread.

    Args:
        name: ``{stem}-000000.tar``.
        folder: Where its file is until a sink takes it.
        crew: Threads for what is done beside the packing, two for each shard.
        beside: As for `Trail`.
        fsync: Whether to wait for the disk.
        split: The split that its samples are of.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        crew: Executor,
        *,
        beside: bool,
        fsync: bool,
        split: str | None = None,
    ) -> None:
        self.name = name
        self.split = split
        self.size = 0
        """Bytes so far."""
        self.samples = 0
        self._offsets: list[Integers] = []
        self._sizes: list[Integers] = []
        self._keys: list[bytes] = []
        self._key_sizes: list[Integers] = []
        # Not by mkstemp: what it makes stays unreadable for others when it is finished.
        self.path = folder / f".{Path(name).name}-{secrets.token_hex(8)}.part"
        with self._disk_errors():
            self._file = self.path.open("x+b", buffering=0)
        self._trail = Trail(self._file.fileno(), crew, beside=beside, fsync=fsync)

    def add(
        self,
        data: Iterable[tuple[Sequence[Any], int]],
        *,
        payloads: Integers,
        sizes: Integers,
        keys: bytes,
        key_sizes: Integers,
    ) -> Event:
        """Write samples.

        Args:
            data: Their bytes in the tar, in groups of pieces that follow each other, at least
                one, and how many bytes each group has. A piece is anything that has bytes; a
                group, `MOST_PARTS` of them at most, is written by one call.
            payloads: Where in them the payloads begin, shape (n,).
            sizes: Bytes of each payload, shape (n,).
            keys: The keys in UTF-8, one behind the other.
            key_sizes: Bytes of each, shape (n,).

        Returns:
            Set when the pieces are written: until then they must not change.

        Raises:
            StoreError: The disk cannot take them, or earlier ones.
        """
        self._offsets.append(self.size + payloads)
        self._sizes.append(sizes)
        self._keys.append(keys)
        self._key_sizes.append(key_sizes)
        self.samples += len(sizes)
        with self._disk_errors():
            for parts, size in data:
                written = self._trail.take(parts, size)
                self.size += size
        return written

    def end(self) -> None:
        """No more comes: begin to bring it to the disk. Does not wait.

        Raises:
            StoreError: The disk cannot take it.
        """
        self.size += len(END)
        with self._disk_errors():
            self._trail.take([END], len(END), last=True)

    def hand_to(self, sink: ShardSink) -> ShardInfo:
        """Wait until it is on the disk, and give it to a sink.

        Raises:
            StoreError: The disk cannot take it; or the sink.
        """
        with self._disk_errors():
            sha256 = self._trail.result()
            self._file.close()
        info = ShardInfo(self.name, self.samples, self.size, sha256, split=self.split)
        placed = info.at(sink.accept(self.name, self.path, info))
        table = SampleTable.joined(
            np.concatenate(self._offsets),
            np.concatenate(self._sizes),
            np.cumsum(np.concatenate(self._key_sizes)),
            b"".join(self._keys),
            shard_bytes=self.size,
            sha256=sha256,
        )
        hand_table(sink, self.name, table)
        return placed

    def remove(self) -> None:
        """Leave nothing of it; its crew has to be at rest."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"{self.name}: the disk cannot take it ({error.strerror or error}). Check the "
                f"rights and the space of {self.path.parent}. Nothing was written."
            ) from error


class ShardLine:
    """The shards of one call, in order. A context manager: after an error none is left half done.

    Args:
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        most: Shards that may be under way: being filled, hashed and synced.
        beside: Whether several are filled at once.
        fsync: Whether to wait until each is on the disk.
    """

    def __init__(
        self, sink: ShardSink, stem: str, *, most: int, beside: bool = False, fsync: bool = True
    ) -> None:
        self._sink = sink
        self._stem = stem
        self._most = most
        self._beside = beside
        self._fsync = fsync
        self._done: list[ShardInfo] = []
        self._waiting: deque[OpenShard] = deque()
        self._crew = ThreadPoolExecutor(2 * most, "atdata-write")

    def __enter__(self) -> ShardLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: object
    ) -> None:
        self._crew.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is not None:
            for shard in self._waiting:
                shard.remove()
            self._sink.discard()

    def begin(self, split: str | None = None) -> OpenShard:
        """Begin the next shard, of this split. The first of `most` others has to be ended."""
        while len(self._waiting) >= self._most:
            self._hand_first()
        number = len(self._done) + len(self._waiting)
        shard = OpenShard(
            f"{self._stem}-{number:06d}.tar",
            self._sink.scratch(),
            self._crew,
            beside=self._beside,
            fsync=self._fsync,
            split=split,
        )
        self._waiting.append(shard)
        return shard

    def finish(self) -> ShardUrls:
        """Hand over all that are left; each has to be ended.

        Raises:
            NoDataUrlsError: There is none.
        """
        while self._waiting:
            self._hand_first()
        if not self._done:
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        return ShardUrls(self._done)

    def _hand_first(self) -> None:
        self._done.append(self._waiting[0].hand_to(self._sink))
        self._waiting.popleft()
