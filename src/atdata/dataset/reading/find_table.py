"""Finding a shard's table: next to it, in the cache, or by a scan."""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeAlias
from weakref import WeakSet

from atdata.dataset.reading.shards import Shard
from atdata.errors import NotFoundError, ShardError, SourceError
from atdata.shards.reader import Unread, scan_table, table_matches
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import SUFFIX, Compared, SampleTable, TableHead, largest_table
from atdata.shards.tar.ustar import END
from atdata.shards.tar.window import MappedFile
from atdata.sources.hashed_stream import HashedStream
from atdata.system.durable import make_folders, place_file
from atdata.system.files import is_own, most_open_files, open_file, open_own, read_at
from atdata.system.folders import cache_folder

_MAX_MAPPED: Final = 128
"""Most tables that are mapped in a process, and no more than an eighth of the files that the system
allows: each takes one. Others are read into memory."""
_MAPPED_FROM_BYTES: Final = 1 << 18
"""Bytes of a table up to which it is read into memory: what is mapped changes with its file."""
_KEPT_FROM_BYTES: Final = 16 << 20
"""Bytes of a local shard from which on its table is kept: smaller ones are scanned as fast."""
_MAX_MARKER_BYTES: Final = 1 << 16
"""The longest end of a shard that is read with its table; tar pads to 10 kB."""

Identity: TypeAlias = tuple[str, int, int, int]
"""Path, size, time of change, inode of a file."""

_maps: WeakSet[mmap.mmap] = WeakSet()
"""Tables that are mapped now, in all datasets of this process."""
_sound: set[Identity] = set()
"""Tables that this process has checked and found right."""
_compared: dict[tuple[Identity, Identity, int], Compared] = {}
"""A table, its shard and the latter's time of change of the inode → what was compared of them."""


def local_table(shard: Shard, path: Path) -> tuple[Identity, SampleTable] | None:
    """The table of a local shard as it is now, and which file that is.

    It is the one next to the shard if that fits, is not older and leaves nothing out; else one in
    the user's cache, whose name has the shard's time of change. Its head is checked, and a few of
    the shard's headers are compared with it, see `table_matches`; the rest may not be checked.

    Args:
        shard: The shard.
        path: The file that it is.

    Raises:
        IntegrityError: The shard was changed since this dataset first read it.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    shard.check_version(stat)
    if shard.verify != "full":
        with suppress(OSError, ShardError, ValueError):
            identity, table = _opened(f"{path}{SUFFIX}")
            fits = _fits(table.head, shard, stat.st_size) and identity[2] >= stat.st_mtime_ns
            if fits and _is_whole(shard, path, stat, identity, table):
                return identity, table
    kept = _kept_at(shard, path) if stat.st_size >= _KEPT_FROM_BYTES else None
    if kept is not None:
        with suppress(OSError, ShardError, ValueError):
            identity, table = _opened(kept, own=True)
            table.compared = _compared_of(identity, path, stat)
            with open_file(path, 0) as file:
                if _fits(table.head, shard, stat.st_size) and table_matches(
                    table, partial(_bytes_of, file.fileno())
                ):
                    return identity, table
    return None


def checked_table(shard: Shard, path: Path) -> SampleTable | None:
    """The table of a local shard as it is now, by which it may be read without its headers.

    All of it checked. None: it has none. Arguments and errors as for `local_table`.
    """
    found = local_table(shard, path)
    if found is not None:
        identity, table = found
        with suppress(ShardError):
            check(table, identity)
            return table
    return None


def check(table: SampleTable, identity: Identity | None) -> None:
    """Check all of a table, once for each file.

    Args:
        table: The table.
        identity: The file that it is in, if it is in one.

    Raises:
        ShardError: It is damaged.
    """
    if not table.checked:
        table.check()
        if identity is not None:
            _sound.add(identity)


def remote_table(shard: Shard) -> SampleTable | None:
    """The table next to a shard on a server, if it fits and leaves nothing out."""
    try:
        with closing(shard.open_sidecar(SUFFIX)) as stream:
            data = _read_at_most(stream, largest_table())
    except (NotFoundError, SourceError, ShardError):
        # No table, or no permission to read it: a scan finds the samples, too.
        return None
    with suppress(ShardError, SourceError):
        table = SampleTable.parse(data)

        def read(start: int, size: int) -> bytes:
            if size <= len(END):
                # No room for a sample. Whether it is all zeros is checked by a scan or a stream.
                return b""
            return shard.read_little(start, size, table.head.shard_bytes)

        if _fits(table.head, shard, None) and _leaves_nothing_out(table, shard, read):
            return table
    return None


def kept_table(shard: Shard) -> SampleTable | None:
    """The table of a shard on a server that the user's cache keeps, if it fits."""
    kept = _kept_at(shard, None)
    if kept is not None:
        with suppress(OSError, ShardError, ValueError):
            _, table = _opened(kept, own=True)
            if _fits(table.head, shard, None):
                return table
    return None


def scanned_table(shard: Shard, unread: Unread) -> SampleTable:
    """Scan a shard. Where that took long, the user's cache keeps the table.

    Args:
        shard: The shard.
        unread: Records members that are not samples.

    Raises:
        IntegrityError: The shard was changed since this dataset first read it.
        ShardError: It is damaged.
        SourceError: It cannot be read.
    """
    path = shard.located()
    if path is not None:
        shard.check_current_version()
        size = path.stat().st_size if path.exists() else 0
        table = scan_table(path, shard=shard.name, shard_bytes=size, unread=unread)
        shard.check_current_version()
    else:
        table = _scanned_on_server(shard, unread)
    table.checked = True
    kept = _kept_at(shard, path) if table.alone else None
    if kept is not None and (path is None or table.head.shard_bytes >= _KEPT_FROM_BYTES):
        # The cache saves time; where it cannot be written, there is none.
        with suppress(OSError):
            if not kept.parent.is_dir():
                make_folders(kept.parent)
            part = kept.with_name(f"{kept.name}.{secrets.token_hex(8)}.part")
            with open_own(part) as file:
                file.write(table.to_bytes())
            place_file(part, kept)
    return table


def _scanned_on_server(shard: Shard, unread: Unread) -> SampleTable:
    with closing(HashedStream(shard.open_unchecked(), hashed=False)) as stream:
        counted: Any = stream

        def whole() -> MappedFile:
            file = shard.whole()
            counted.size = len(file.view)
            return file

        found = scan_table(counted, shard=shard.name, shard_bytes=0, unread=unread, whole=whole)
    return found.for_shard(counted.size, shard.recorded.sha256)


def _opened(place: str | Path, *, own: bool = False) -> tuple[Identity, SampleTable]:
    """A table from a file: mapped, or, where it is small or many are, read into memory.

    Args:
        place: The file.
        own: Whether it must belong to this user, writable by nobody else.
    """
    with open_file(place, follow=not own) as file:
        stat = os.fstat(file.fileno())
        if own and not is_own(stat):
            raise PermissionError(f"{place} may be written by others")
        identity = _identity_of(place, stat)
        many = len(_maps) >= min(_MAX_MAPPED, most_open_files() // 8)
        if stat.st_size > _MAPPED_FROM_BYTES and not many:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            _maps.add(mapped)
            table = SampleTable.opened(memoryview(mapped))
        else:
            # One byte more than it had, to see that it grows.
            table = SampleTable.opened(file.read(min(stat.st_size, largest_table()) + 1))
    table.checked = identity in _sound
    return identity, table


def _is_whole(
    shard: Shard, path: Path, stat: os.stat_result, identity: Identity, table: SampleTable
) -> bool:
    """Whether a table next to a local shard, which it fits, is of this shard and all of it."""
    compared = table.compared = _compared_of(identity, path, stat)
    if compared.complete:
        return True
    with open_file(path, 0) as file:
        read = partial(_bytes_of, file.fileno())
        if not _leaves_nothing_out(table, shard, read) or not table_matches(table, read):
            return False
    compared.complete = shard.recorded.samples is None
    return True


def _compared_of(identity: Identity, path: Path, stat: os.stat_result) -> Compared:
    both = (identity, _identity_of(path, stat), stat.st_ctime_ns)
    return _compared.setdefault(both, Compared())


def _leaves_nothing_out(
    table: SampleTable, shard: Shard, bytes_at: Callable[[int, int], bytes]
) -> bool:
    """Whether the shard has no other samples than its table, which fits it.

    It has as many as were recorded for the shard; or there is no room between them for
    others, and after them comes the end-of-archive marker.

    Args:
        table: The table.
        shard: The shard.
        bytes_at: Gives so many bytes of it, from a place on.

    Raises:
        ShardError: Samples overlap, or do not lie in the shard.
        OSError: The shard cannot be read.
    """
    end = table.end_without_gaps()
    if shard.recorded.samples is not None:
        return True
    left = 0 if end is None else table.head.shard_bytes - end
    if end is None or not BLOCK <= left <= _MAX_MARKER_BYTES:
        return False
    return not bytes_at(end, left).strip(b"\0")


def _fits(head: TableHead, shard: Shard, size: int | None) -> bool:
    """Whether a table has the size of its shard, and says what is recorded of it."""
    recorded = shard.recorded
    return (
        head.fits(size, recorded.sha256)
        and head.fits(recorded.bytes, None)
        and recorded.samples in (None, head.samples)
    )


def _kept_at(shard: Shard, path: Path | None) -> Path | None:
    """Where the user's cache keeps the table; None if shards cannot be told apart."""
    if path is not None:
        try:
            stat = path.stat()
        except OSError:
            return None
        identity = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"
    elif (sha256 := shard.recorded.sha256) is not None:
        identity = sha256
    else:
        return None
    # 3: tables of before knew fewer members as samples, or not where they are.
    identity = f"3\0{identity}"
    name = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return cache_folder() / "tables" / f"{name}{SUFFIX}"


def _bytes_of(file: int, start: int, size: int) -> bytes:
    data = read_at(file, size, start)
    if len(data) < size:
        raise ShardError("cut short while it was opened")
    return data


def _identity_of(place: str | Path, stat: os.stat_result) -> Identity:
    return str(place), stat.st_size, stat.st_mtime_ns, stat.st_ino


def _read_at_most(stream: IO[bytes], most: int) -> bytes:
    chunks, left = [], most + 1
    while left and (chunk := stream.read(min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    if not left:
        raise ShardError(f"a sample table of more than {most:,} bytes")
    return b"".join(chunks)
