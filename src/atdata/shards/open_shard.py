"""Shards being written, one after the other or several at once."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np

from atdata._arrays import Integers
from atdata._shardlist import Layout, ShardInfo, ShardUrls
from atdata.errors import NoDataUrlsError, StoreError
from atdata.shards.columns.decode import Payloads
from atdata.shards.hashing_writer import HashingWriter
from atdata.shards.layouts.decode import members_of
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.ustar import END
from atdata.shards.tar.window import MappedFile

_SAMPLES_AT_ONCE: Final = 4096
"""Samples whose members are looked for together."""


class ShardSink(Protocol):
    """Where finished shards go."""

    def scratch(self) -> Path:
        """The folder for unfinished shards, on a disk with room for several."""

    def accept(self, name: str, file: Path, info: ShardInfo) -> str:
        """Take a finished shard, whole or not at all.

        Args:
            name: ``{stem}-000000.tar``.
            file: The shard, closed, and synced unless ``fsync`` is off. The sink moves or deletes
                it.
            info: Its size, hash and number of samples; ``url`` is ``name``.

        Returns:
            The shard's URL.
        """

    def discard(self) -> None:
        """Remove what is unfinished, after an error.

        What `accept` placed may be removed only if no other process can have found it.
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
        executor: As for `HashingWriter`.
        in_background: As for `HashingWriter`.
        fsync: Whether to wait for the disk.
        split: The split that its samples belong to.
        layout: The layout of its samples.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        executor: Executor,
        *,
        in_background: bool,
        fsync: bool,
        split: str | None = None,
        layout: Layout = "msgpack",
    ) -> None:
        self.layout = layout
        self.name = name
        self.split = split
        self.size = 0
        """Bytes written so far."""
        self.samples = 0
        self._offsets: list[Integers] = []
        self._sizes: list[Integers] = []
        self._keys: list[bytes] = []
        self._key_sizes: list[Integers] = []
        # Not by mkstemp: only the owner could read what it makes, also once it is finished.
        self.path = folder / f".{Path(name).name}-{secrets.token_hex(8)}.part"
        with self._disk_errors():
            # Unbuffered, and readable: it is written and hashed through its descriptor.
            self._file = self.path.open("x+b", buffering=0)
        fileno = self._file.fileno()
        self._writer = HashingWriter(fileno, executor, in_background=in_background, fsync=fsync)

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
            data: Their bytes in the tar, in order: groups of at most `MOST_BUFFERS` buffers, each
                with its number of bytes. At least one group; each is written by one call.
            payloads: Where in these bytes each payload begins, shape (n,).
            sizes: Bytes of each payload, shape (n,).
            keys: The keys in UTF-8, joined.
            key_sizes: Bytes of each key, shape (n,).

        Returns:
            Set when the buffers are written: until then they must not change.

        Raises:
            StoreError: The disk cannot take them, or earlier ones.
        """
        self._offsets.append(self.size + payloads)
        self._sizes.append(sizes)
        self._keys.append(keys)
        self._key_sizes.append(key_sizes)
        self.samples += len(sizes)
        with self._disk_errors():
            for buffers, size in data:
                written = self._writer.write(buffers, size)
                self.size += size
        return written

    def end(self) -> None:
        """Write the end-of-archive marker. Does not wait for the disk.

        Raises:
            StoreError: The disk cannot take it.
        """
        self.size += len(END)
        with self._disk_errors():
            self._writer.write([END], len(END), last=True)

    def hand_to(self, sink: ShardSink) -> ShardInfo:
        """Wait until it is written and synced, then give it and its table to a sink.

        Raises:
            StoreError: The disk, or the sink, cannot take it.
        """
        with self._disk_errors():
            sha256 = self._writer.result()
            self._file.close()
        offsets, sizes = np.concatenate(self._offsets), np.concatenate(self._sizes)
        inside = _members_in(self.path, offsets, sizes) if self.layout == "members" else None
        info = ShardInfo(
            self.name, self.samples, self.size, sha256, split=self.split, layout=self.layout
        )
        placed = info.at(sink.accept(self.name, self.path, info))
        table = SampleTable.joined(
            offsets,
            sizes,
            np.cumsum(np.concatenate(self._key_sizes)),
            b"".join(self._keys),
            shard_bytes=self.size,
            sha256=sha256,
            inside=inside,
        )
        hand_table(sink, self.name, table)
        return placed

    def remove(self) -> None:
        """Delete the unfinished file; its executor must be at rest."""
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


def _members_in(path: Path, offsets: Integers, sizes: Integers) -> Inside:
    """The members of samples in a file that was just written."""
    file, found = MappedFile(path), [Inside.unknown(0)]
    for first in range(0, len(offsets), _SAMPLES_AT_ONCE):
        starts = offsets[first : first + _SAMPLES_AT_ONCE]
        ends = starts + sizes[first : first + _SAMPLES_AT_ONCE]
        found.append(members_of(Payloads(file.view, starts, ends)))
        file.release(int(ends[-1]))
    return Inside.joined(found)


class ShardQueue:
    """The shards of one call, in order. A context manager: after an error none is left unfinished.

    Args:
        sink: Takes each shard when it is finished.
        stem: Start of the shards' names.
        most: Shards that may be open at once: being filled, hashed or synced.
        in_background: Whether several are filled at once, each written by a thread.
        fsync: Whether to wait until each is on the disk.
    """

    def __init__(
        self,
        sink: ShardSink,
        stem: str,
        *,
        most: int,
        in_background: bool = False,
        fsync: bool = True,
    ) -> None:
        self._sink = sink
        self._stem = stem
        self._most = most
        self._in_background = in_background
        self._fsync = fsync
        self._done: list[ShardInfo] = []
        self._open: deque[OpenShard] = deque()
        self._executor = ThreadPoolExecutor(2 * most, "atdata-write")

    def __enter__(self) -> ShardQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: object
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is not None:
            for shard in self._open:
                shard.remove()
            self._sink.discard()

    def begin(self, split: str | None = None, layout: Layout = "msgpack") -> OpenShard:
        """Open the next shard. Where `most` are open, the first one must have been ended."""
        while len(self._open) >= self._most:
            self._hand_first()
        number = len(self._done) + len(self._open)
        shard = OpenShard(
            f"{self._stem}-{number:06d}.tar",
            self._sink.scratch(),
            self._executor,
            in_background=self._in_background,
            fsync=self._fsync,
            split=split,
            layout=layout,
        )
        self._open.append(shard)
        return shard

    def finish(self) -> ShardUrls:
        """Give all open shards, which must have been ended, to the sink.

        Raises:
            NoDataUrlsError: No shard was begun.
        """
        while self._open:
            self._hand_first()
        if not self._done:
            raise NoDataUrlsError("There is nothing to write: not one sample.")
        return ShardUrls(self._done)

    def _hand_first(self) -> None:
        self._done.append(self._open[0].hand_to(self._sink))
        self._open.popleft()
