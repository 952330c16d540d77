"""What every store begins with: finished shards, of samples or as copies, one at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO, Final, Protocol, runtime_checkable

from atdata._shardlist import ShardInfo, ShardUrls
from atdata.capabilities import Progress
from atdata.errors import (
    AtdataError,
    IntegrityError,
    NoDataUrlsError,
    OptionError,
    ShardError,
    ShardExistsError,
    StoreError,
)
from atdata.shards.open_shard import ShardSink, hand_table
from atdata.shards.reader import scan_table
from atdata.shards.tar.table import SampleTable
from atdata.shards.tar.unread import Unread
from atdata.shards.writer import PackedSample, write_keyed
from atdata.stores.journal import Journal
from atdata.system.forks import ForkLock

STEM: Final = "data"
"""Shards are named ``data-000000.tar``, ``data-000001.tar``, …"""
_CHUNK: Final = 1 << 20
_AT_ONCE: Final = 4
"""Shards that are copied at the same time; each takes its size on disk and 1 MB of memory."""


class OwnPrefix(str):
    """A prefix that no other writer can name: chance is part of it.

    Under every other one, what has its name stays, whatever comes after it: a writer of the same
    samples may have found it there, and an index may name it.
    """


@runtime_checkable
class Samples(Protocol):
    """What a store asks of a dataset: `atdata.Dataset` has it."""

    def packed(self) -> Iterator[PackedSample]:
        """Each sample's key and bytes and the number of its shard, in order."""


class CopySink(ShardSink, Protocol):
    """Where copies of shards go."""

    @property
    def place(self) -> str | None:
        """What the journal calls it; None keeps a journal of its own."""

    def find(self, name: str, shard: ShardInfo) -> str | None:
        """The URL of the shard of this name, if it is there with just this size and hash."""


@runtime_checkable
class SupportsServerCopy(Protocol):
    """A sink on a server that can copy shards which it has elsewhere."""

    def copy_within(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        """The copy, made without its bytes passing through here; None where that cannot be."""


def write_packed(
    samples: Iterable[PackedSample],
    sink: ShardSink,
    *,
    stem: str,
    maxcount: int | None = None,
    maxsize: int | None = None,
) -> ShardUrls:
    """Write samples to shards and give each to the sink when it is finished.

    Stores outside this room come through here: they know nothing of tar.
    Arguments, result and errors are those of `atdata.shards.writer.write_keyed`.
    """
    return write_keyed(samples, sink, stem=stem, maxcount=maxcount, maxsize=maxsize)


def packed_of(ds: Samples) -> Iterator[PackedSample]:
    """The packed samples of what was passed as a dataset.

    Raises:
        OptionError: It is none.
    """
    if not isinstance(ds, Samples):
        raise OptionError(
            f"Expected a dataset, found {type(ds).__name__}. Write atdata.Dataset[YourType](...), "
            "or atdata.write_samples(samples, path) for samples that are not in shards yet."
        )
    return ds.packed()


def copy_packed(
    shards: Sequence[ShardInfo],
    open_shard: Callable[[str], IO[bytes]],
    sink: CopySink,
    *,
    progress: Progress | None = None,
) -> ShardUrls:
    """Copy shards byte for byte, a few at once, each through a file of the sink's scratch folder.

    A shard that is there already is not read. After an error, what was copied stays, so that
    a second run resumes from there; copies that are under way are finished, no other is begun.

    Args:
        shards: What to copy, in order; what is known of size and hash is checked.
        open_shard: Opens a shard by its URL; called from several threads, one at a time.
        sink: Takes the copies, from several threads.
        progress: Called with a number of bytes each time that so many more are copied, or found
            copied already; from several threads, one at a time.

    Raises:
        NoDataUrlsError: There are none.
        IntegrityError: A shard has other bytes than recorded; it was not copied.
        StoreError: The sink refuses one, or the disk is full.
    """
    if not shards:
        raise NoDataUrlsError("There are no shards to copy.")
    copier = _Copier(open_shard, sink, progress)
    with ThreadPoolExecutor(min(_AT_ONCE, len(shards))) as pool:
        copies = [pool.submit(copier.copy, n, shard) for n, shard in enumerate(shards)]
        try:
            return ShardUrls([copy.result() for copy in copies])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def copy_name(number: int) -> str:
    """The name of the copy of a shard, counted from 0."""
    return f"{STEM}-{number:06d}.tar"


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
        name = copy_name(number)
        if url := self._sink.find(name, shard):
            self._advance(shard.bytes or 0)
            return shard.at(url)
        if (within := self._within(name, shard)) is not None:
            self._noted(within)
            self._advance(within.bytes or 0)
            return within
        return self._through(name, shard)

    def _within(self, name: str, shard: ShardInfo) -> ShardInfo | None:
        sink = self._sink
        return sink.copy_within(name, shard) if isinstance(sink, SupportsServerCopy) else None

    def _through(self, name: str, shard: ShardInfo) -> ShardInfo:
        file = self._sink.scratch() / f".{name}-{secrets.token_hex(8)}.part"
        try:
            info = self._spooled(name, shard, file)
            table = _table_of(file, info)
            placed = info.at(self._sink.accept(name, file, info))
            self._noted(placed)
            if table is not None:
                hand_table(self._sink, name, table)
            return placed
        finally:
            file.unlink(missing_ok=True)

    def _spooled(self, name: str, shard: ShardInfo, file: Path) -> ShardInfo:
        digest, size = hashlib.sha256(), 0
        with self._lock:
            opened = self._open_shard(shard.url)
        with closing(opened) as stream, file.open("xb", buffering=0) as out:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                _write(out, chunk, name)
                self._advance(len(chunk))
            os.fsync(out.fileno())
        if shard.sha256 not in (None, digest.hexdigest()) or shard.bytes not in (None, size):
            raise IntegrityError(
                f"expected {shard.bytes} bytes with SHA-256 {shard.sha256}, found {size} bytes "
                f"with {digest.hexdigest()}. The shard was changed after it was recorded, and "
                "was not copied: insert the dataset again to record it as it is.",
                shard=shard.url,
            )
        return ShardInfo(name, shard.samples, size, digest.hexdigest(), split=shard.split)

    def _noted(self, placed: ShardInfo) -> None:
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
    """The table of a shard that was copied; None where it would not tell all, or be an error."""
    try:
        size = file.stat().st_size
        # Every member is copied: nobody has to be warned.
        table = scan_table(
            file, shard=shard.url, shard_bytes=size, sha256=shard.sha256, unread=Unread()
        )
    except ShardError:
        return None
    return table if table.alone else None


def check_prefix(prefix: str) -> str:
    """A prefix without slashes at its ends, if shards can be placed below it.

    Raises:
        OptionError: Not a str, absolute, with ``..``, or with control characters.
    """
    if not isinstance(prefix, str):
        raise OptionError(f"prefix: expected a str, found {type(prefix).__name__}.")
    hint = "Write a path within the store, such as 'datasets/mnist/v1'."
    if prefix.startswith("/") or "://" in prefix:
        raise OptionError(f"prefix={prefix!r} is absolute. {hint}")
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise OptionError(f"prefix={prefix!r} leads elsewhere with '.' or '..'. {hint}")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in prefix):
        raise OptionError(f"prefix={prefix!r} has control characters. {hint}")
    if len(prefix) > 700:
        raise OptionError(f"prefix={prefix[:40]!r}… has {len(prefix)} characters, at most 700.")
    return "/".join(parts)


def other_bytes(url: str) -> AtdataError:
    """The error for a name at which a shard with other bytes is."""
    return ShardExistsError(
        f"{url} is there already, with other bytes, and nothing is overwritten. Choose another "
        "prefix, or remove what is there if it is not needed."
    )
