"""The sample tables of a dataset's shards: beside them, in the user's cache, or made by a scan."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from atdata._arrays import Integers
from atdata._protocols import DataSource
from atdata._shardlist import ShardInfo
from atdata.dataset.reading.table_files import (
    Identity,
    bytes_of,
    identity_of,
    opened,
    read_at_most,
    sound,
)
from atdata.dataset.reading.versions import Versions
from atdata.dataset.reading.whole import whole_shard
from atdata.errors import NotFoundError, ShardError, SourceError
from atdata.shards.reader import scan_table
from atdata.shards.table_reader import table_matches
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import SUFFIX, SampleTable, TableHead, largest_table
from atdata.shards.tar.unread import Unread
from atdata.shards.tar.ustar import END
from atdata.shards.tar.window import MappedFile
from atdata.sources.byte_ranges import NoRangesError
from atdata.sources.capabilities import local_path, open_sidecar, ranges_of, uncached
from atdata.system.files import make_folders, place_file
from atdata.system.folders import cache_folder
from atdata.system.regular_files import open_file, open_own

_WORTH_KEEPING: Final = 16 << 20
"""Bytes of a local shard from which on its table is kept: smaller ones are scanned as fast."""
_AT_ONCE: Final = 16
_CHECKED_AT_ONCE: Final = 4
"""Tables that are checked at the same time: all of each is in memory meanwhile."""
_MARKER: Final = 1 << 16
"""Bytes of the longest end of a shard that is read with its table; tar pads to 10 kB."""
_RESIDENT: Final = 8 << 20
"""Bytes of mapped tables from which on their pages are given back between reads."""
_USED: Final = 1 << 14
"""Entries whose pages may stay in memory."""
_complete: set[tuple[Identity, Identity, int]] = set()
"""Tables that this process has found to leave nothing out of a shard, and the shards."""
_confirmed: set[Identity] = set()
"""Tables that this process has found to say the same as the headers of their shards."""


class ShardTables:
    """The tables of a source's shards, each looked for once, when it is needed.

    Args:
        source: Where the shards are.
        known: What is known of them; a table that disagrees with it is not used.
        full: Whether local shards are scanned whatever lies beside them.
    """

    def __init__(
        self, source: DataSource, known: dict[str, ShardInfo], *, full: bool = False
    ) -> None:
        self._source = source
        self._known = known
        self._full = full
        self.shards: tuple[str, ...] = tuple(source.shard_list)
        self._heads: dict[int, TableHead] = {}
        self._tables: dict[int, SampleTable] = {}
        self._scanned: set[int] = set()
        self._absent: set[int] = set()
        """Shards on servers that were found to have no table to go by."""
        self._beside: dict[int, bool] = {}
        """Whether shards on servers have a table to go by beside them."""
        self._mapped_bytes = self._used = 0
        self._identities: dict[int, Identity] = {}
        self.versions = Versions(self.shards)
        """What was seen of the shards so far."""
        self.unread = Unread()
        """Members that are no samples, of this dataset's shards: each reported once."""

    def __getstate__(self) -> dict[str, Any]:
        # Another process finds them as fast as it would be sent them.
        return {"source": self._source, "known": self._known, "full": self._full}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def ready(self) -> bool:
        """Whether every shard has a table that is found without reading a remote shard."""
        found = all(self._each(self._find_head, self._missing()))
        self.unread.warn()
        return found

    def are_beside(self) -> bool:
        """Whether every shard is a local file or has a table beside it.

        Unlike `ready`, that does not depend on what was scanned before or is in the user's cache.
        """
        self.ready()
        return all(self._beside.get(number, True) for number in range(len(self.shards)))

    def counts(self) -> Integers:
        """Samples of each shard, shape (number of shards,). Scans shards without a table.

        Raises:
            ShardError: A shard that has to be scanned is damaged.
            SourceError: One cannot be read.
        """
        for _ in self._each(self._head, self._missing()):
            pass
        self.unread.warn()
        return np.array([self._heads[n].samples for n in range(len(self.shards))], np.int64)

    def total_bytes(self) -> int:
        """Bytes of all shards; after `counts`."""
        return sum(head.shard_bytes for head in self._heads.values())

    def fingerprint(self) -> str:
        """16 hex digits that tell this dataset's samples from others; after `counts`."""
        digest = hashlib.sha256()
        for number in range(len(self.shards)):
            head = self._heads[number]
            digest.update(f"{head.samples} {head.shard_bytes} {head.body_crc}\n".encode())
        return digest.hexdigest()[:16]

    def glance(self, number: int) -> SampleTable:
        """The table of one shard, of which maybe only the head was checked."""
        self.versions.check(number)
        if number not in self._tables:
            table = None if number in self._absent else self._read(number)
            if table is None:
                self._put(number, self._scanned_table(number))
            else:
                self._take(number, table)
        return self._tables[number]

    def table(self, number: int) -> SampleTable:
        """The table of one shard, all of it checked, once for each file.

        Raises:
            IntegrityError: It is damaged, and had claimed another number of samples; or the shard
                was changed.
        """
        table = self.glance(number)
        if not table.checked:
            try:
                table.check()
                self.rest(number)
                if number in self._identities:
                    sound.add(self._identities[number])
            except ShardError:
                if not self.replace(number):
                    raise self.versions.changed(number) from None
        return self._tables[number]

    def load(self, numbers: Sequence[int]) -> None:
        """Have these tables checked, several at once.

        Raises:
            IntegrityError: As in `table`.
        """
        missing = [n for n in numbers if n not in self._tables or not self._tables[n].checked]
        if len(missing) > 1:
            # Their checksums take most of the time, and let other threads work.
            with ThreadPoolExecutor(_CHECKED_AT_ONCE, "atdata-tables") as pool:
                list(pool.map(self.table, missing))
        elif missing:
            self.table(missing[0])

    def rest(self, number: int) -> None:
        """Told that nothing is read of a table for now: where tables are large, it lets go."""
        if self._mapped_bytes > _RESIDENT:
            self._tables[number].rest()

    def used(self, samples: int) -> None:
        """Told that so many entries were read: every now and then, large tables are let go of."""
        self._used += samples
        if self._used >= _USED:
            self._used = 0
            for number in list(self._tables):
                self.rest(number)

    def trusted(self, number: int, path: Path) -> SampleTable | None:
        """The table of a local shard as it is now, by which it may be read without its headers.

        All of it checked. None: there is none. It is not kept here.

        Args:
            number: Number of the shard.
            path: The file that it is.

        Raises:
            IntegrityError: The shard was changed since this dataset saw it first.
        """
        found = self._local(number, path)
        if found is None:
            return None
        identity, table = found
        with suppress(ShardError):
            if not table.checked:
                table.check()
                sound.add(identity)
            return table
        return None

    def confirm(self, number: int) -> bool:
        """Compare the table of a local shard with the shard's headers, once a process.

        Returns:
            Whether another table took its place.

        Raises:
            IntegrityError: The shard has another number of samples than its table said.
        """
        table, identity = self.glance(number), self._identities.get(number)
        path = local_path(self._source, self.shards[number])
        if number in self._scanned or path is None or identity in _confirmed:
            return False
        found = self._scanned_table(number)
        if found.head.body_crc == table.head.body_crc and len(found) == len(table):
            if identity is not None:
                _confirmed.add(identity)
            return False
        self._put(number, found)
        return True

    def replace(self, number: int) -> bool:
        """Scan a shard whose table was found wrong; False: the table was made by a scan.

        Raises:
            IntegrityError: It has another number of samples, or was changed.
            ShardError: It is damaged.
        """
        if number in self._scanned:
            return False
        self._put(number, self._scanned_table(number))
        self.unread.warn()
        return True

    def _put(self, number: int, scanned: SampleTable) -> None:
        self._take(number, scanned)
        self._scanned.add(number)
        self._identities.pop(number, None)

    def _take(self, number: int, table: SampleTable) -> None:
        """Read a shard by this table from now on, unless it is of another version."""
        self.versions.counted(number, len(table))
        self._tables[number], self._heads[number] = table, table.head

    def _missing(self) -> list[int]:
        return [number for number in range(len(self.shards)) if number not in self._heads]

    def _each(self, work: Any, numbers: Sequence[int]) -> Iterable[Any]:
        if len(numbers) < 2 or local_path(self._source, self.shards[numbers[0]]) is not None:
            return [work(number) for number in numbers]
        with ThreadPoolExecutor(_AT_ONCE, "atdata-tables") as pool:
            return list(pool.map(work, numbers))

    def _head(self, number: int) -> TableHead:
        if not self._find_head(number):
            self._heads[number] = self.table(number).head
        return self._heads[number]

    def _find_head(self, number: int) -> bool:
        """Find the head without reading the samples; of a local shard, scan it."""
        self.versions.check(number)
        path = local_path(self._source, self.shards[number])
        if path is None:
            # Asked for once: a server that has none is not asked again.
            table = None if number in self._absent else self._read(number)
            if table is None:
                self._absent.add(number)
            else:
                self._take(number, table)
            return table is not None
        found = self._local(number, path)
        # Of many shards, only the heads stay open.
        head = (self.table(number) if found is None else found[1]).head
        self.versions.counted(number, head.samples)
        self._heads[number] = head
        return True

    def _fits(self, head: TableHead, shard: str, size: int | None) -> bool:
        known = self._known.get(shard, ShardInfo(shard))
        return (
            head.fits(size, known.sha256)
            and head.fits(known.bytes, None)
            and known.samples in (None, head.samples)
        )

    def _leaves_nothing_out(
        self, table: SampleTable, shard: str, bytes_at: Callable[[int, int], bytes]
    ) -> bool:
        """Whether the shard has no other samples than its table, which fits it.

        It has as many as were recorded of the shard; or there is no room between them for
        others, and behind them comes the end-of-archive marker.

        Args:
            table: The table.
            shard: The shard.
            bytes_at: Gives so many bytes of it, from a place on.

        Raises:
            ShardError: Samples overlap, or do not lie in the shard.
            OSError: The shard cannot be read.
        """
        room = table.leaves_room()
        if self._is_counted(shard):
            return True
        left = table.head.shard_bytes - table.end
        if room or not BLOCK <= left <= _MARKER:
            return False
        return not bytes_at(table.end, left).strip(b"\0")

    def _is_counted(self, shard: str) -> bool:
        known = self._known.get(shard)
        return known is not None and known.samples is not None

    def _read(self, number: int) -> SampleTable | None:
        """The table beside the shard or in the user's cache, if it fits."""
        shard = self.shards[number]
        path = local_path(self._source, shard)
        if path is None:
            beside = self._read_beside(shard)
            self._beside[number] = beside is not None
            return self._read_kept(shard) if beside is None else beside
        found = self._local(number, path)
        if found is None:
            return None
        self._identities[number], table = found
        self._mapped_bytes += table.head.table_bytes
        return table

    def _read_kept(self, shard: str) -> SampleTable | None:
        kept = self._kept_at(shard, None)
        if kept is not None:
            with suppress(OSError, ShardError, ValueError):
                _, table = opened(kept, own=True)
                if self._fits(table.head, shard, None):
                    return table
        return None

    def _local(self, number: int, path: Path) -> tuple[Identity, SampleTable] | None:
        """The table of a local shard as it is now, and which file that is.

        One next to the shard that fits, is not older, and leaves nothing out; or one in the
        user's cache, where the shard's time of change is part of the name. Of both, headers are
        looked at; see `table_matches`.

        Raises:
            IntegrityError: The shard was changed since this dataset saw it first.
        """
        shard = self.shards[number]
        try:
            stat = path.stat()
        except OSError:
            return None
        self.versions.seen(number, stat)
        if not self._full:
            with suppress(OSError, ShardError, ValueError):
                identity, table = opened(path.with_name(path.name + SUFFIX))
                whole = (identity, identity_of(path, stat), stat.st_ctime_ns)
                if self._fits(table.head, shard, stat.st_size) and identity[2] >= stat.st_mtime_ns:
                    if whole not in _complete:
                        with open_file(path, 0) as file:
                            read = partial(bytes_of, file.fileno())
                            if not self._leaves_nothing_out(table, shard, read):
                                raise ShardError("a sample table that leaves samples out")
                            if not table_matches(table, read):
                                raise ShardError("a sample table of another shard")
                        if not self._is_counted(shard):
                            _complete.add(whole)
                    return identity, table
        kept = self._kept_at(shard, path) if stat.st_size >= _WORTH_KEEPING else None
        if kept is not None:
            with suppress(OSError, ShardError, ValueError):
                identity, table = opened(kept, own=True)
                with open_file(path, 0) as file:
                    if self._fits(table.head, shard, stat.st_size) and table_matches(
                        table, partial(bytes_of, file.fileno())
                    ):
                        return identity, table
        return None

    def _read_beside(self, shard: str) -> SampleTable | None:
        try:
            with closing(open_sidecar(self._source, shard, SUFFIX)) as stream:
                data = read_at_most(stream, largest_table())
        except (NotFoundError, SourceError, ShardError):
            # No table, or one that is not for us to see: a scan tells as well.
            return None
        with suppress(ShardError, SourceError):
            table = SampleTable.parse(data)
            read = partial(self._bytes_on_server, table.head, shard)
            if self._fits(table.head, shard, None) and self._leaves_nothing_out(table, shard, read):
                return table
        return None

    def _bytes_on_server(self, head: TableHead, shard: str, start: int, size: int) -> bytes:
        if size <= len(END):
            # No sample has room there. That it is all zeros, a scan or a stream tells.
            return b""
        ranges = ranges_of(uncached(self._source), shard)
        if ranges is None:
            raise NoRangesError(f"{shard}: the source gives whole files only.")
        data = bytearray(size)
        ranges.size = head.shard_bytes
        ranges.read_into(memoryview(data), start)
        return bytes(data)

    def _scanned_table(self, number: int) -> SampleTable:
        shard = self.shards[number]
        path = local_path(self._source, shard)
        known = self._known.get(shard, ShardInfo(shard))
        if path is not None:
            self.versions.look(number, path)
            size = path.stat().st_size if path.exists() else 0
            table = scan_table(path, shard=shard, shard_bytes=size, unread=self.unread)
            self.versions.look(number, path)
        else:
            with closing(self._source.open_shard(shard)) as stream:
                counted: Any = _Counted(stream)

                def whole() -> MappedFile:
                    file = whole_shard(self._source, shard)
                    counted.size = len(file.view)
                    return file

                found = scan_table(
                    counted, shard=shard, shard_bytes=0, unread=self.unread, whole=whole
                )
            table = found.for_shard(counted.size, known.sha256)
        table.checked = True
        kept = self._kept_at(shard, path) if table.alone else None
        if kept is not None and (path is None or table.head.shard_bytes >= _WORTH_KEEPING):
            # The cache saves time; where it cannot be written, there is none.
            with suppress(OSError):
                if not kept.parent.is_dir():
                    make_folders(kept.parent)
                part = kept.with_name(f"{kept.name}.{secrets.token_hex(8)}.part")
                with open_own(part) as file:
                    file.write(table.to_bytes())
                place_file(part, kept)
        return table

    def _kept_at(self, shard: str, path: Path | None) -> Path | None:
        """Where the user's cache keeps the table; None where nothing tells shards apart."""
        known = self._known.get(shard)
        if path is not None:
            try:
                stat = path.stat()
            except OSError:
                return None
            identity = f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"
        elif known is not None and known.sha256 is not None:
            identity = known.sha256
        else:
            return None
        # 2: tables of before knew fewer members as samples.
        identity = f"2\0{identity}"
        name = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        return cache_folder() / "tables" / f"{name}{SUFFIX}"


class _Counted:
    """Passes a stream on and counts its bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data
