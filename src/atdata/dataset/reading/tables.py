"""The tables of a dataset's shards: each found once, checked, replaced if wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np

from atdata._arrays import Integers, Mask
from atdata.dataset.reading.find_table import (
    Identity,
    check,
    kept_table,
    local_table,
    remote_table,
    scanned_table,
)
from atdata.dataset.reading.shards import Shard
from atdata.errors import ShardError
from atdata.shards.reader import Unread
from atdata.shards.tar.table import SampleTable, TableHead

X = TypeVar("X")

_REQUESTS_AT_ONCE: Final = 16
_CHECKS_AT_ONCE: Final = 4
"""Tables that are checked at the same time: each of them is in memory as a whole."""
_RESIDENT_BYTES: Final = 8 << 20
"""Bytes of mapped tables from which on their pages are given back between reads."""
_USED_ENTRIES: Final = 1 << 14
"""Entries whose pages may stay in memory."""
_confirmed: set[Identity] = set()
"""Tables that this process has found to say the same as the headers of their shards."""


class ShardTables:
    """The tables of some shards, by their numbers, each looked for when it is first needed.

    Args:
        shards: The shards.
        unread: Records members that are not samples.
    """

    def __init__(self, shards: Sequence[Shard], unread: Unread) -> None:
        self._shards = shards
        self._unread = unread
        self._heads: dict[int, TableHead] = {}
        self._tables: dict[int, SampleTable] = {}
        self._scanned: set[int] = set()
        self._absent: set[int] = set()
        """Shards on servers that were found to have no table to go by."""
        self._sidecars: dict[int, bool] = {}
        """Whether shards on servers have a table to go by next to them."""
        self._mapped_bytes = self._used = 0
        self._identities: dict[int, Identity] = {}
        self._by_members: Mask | None = None

    def ready(self) -> bool:
        """Whether every shard has a table that is found without reading a remote shard."""
        found = all(self._each(self._find_head))
        self._unread.warn()
        return found

    def are_next_to_shards(self) -> bool:
        """Whether every shard is a local file or has a table next to it.

        Unlike `ready`, that does not depend on what was scanned before or is in the user's cache.
        """
        self.ready()
        return all(self._sidecars.get(shard.number, True) for shard in self._shards)

    @property
    def heads(self) -> list[TableHead]:
        """The head of each table that was found."""
        return [self._heads[number] for number in sorted(self._heads)]

    def counts(self) -> Integers:
        """Samples of each shard, shape (number of shards,). Scans shards without a table.

        Raises:
            ShardError: A shard that has to be scanned is damaged.
            SourceError: One cannot be read.
        """
        self._each(self._head)
        self._unread.warn()
        return np.array([self._heads[shard.number].samples for shard in self._shards], np.int64)

    def by_members(self) -> Mask:
        """Which shards have the members layout, shape (number of shards,); errors as `counts`."""
        if self._by_members is None:
            if len(self._heads) < len(self._shards):
                self.counts()
            heads = (self._heads[number] for number in range(len(self._shards)))
            self._by_members = np.array([head.layout == "members" for head in heads], bool)
        return self._by_members

    def total_bytes(self) -> int:
        """Bytes of all shards; after `counts`."""
        return sum(head.shard_bytes for head in self._heads.values())

    def fingerprint(self) -> str:
        """16 hex digits that tell this dataset's samples from others; after `counts`."""
        digest = hashlib.sha256()
        for number in range(len(self._shards)):
            head = self._heads[number]
            digest.update(f"{head.samples} {head.shard_bytes} {head.body_crc}\n".encode())
        return digest.hexdigest()[:16]

    def peek(self, number: int) -> SampleTable:
        """The table of one shard; perhaps only its head was checked."""
        self._shards[number].check_unchanged()
        if number not in self._tables:
            table = None if number in self._absent else self._read(number)
            if table is None:
                self._scan(number)
            else:
                self._take(number, table)
        return self._tables[number]

    def table(self, number: int) -> SampleTable:
        """The table of one shard, all of it checked, once for each file.

        Raises:
            IntegrityError: It is damaged, and had claimed another number of samples; or the shard
                was changed.
        """
        table = self.peek(number)
        if not table.checked:
            try:
                check(table, self._identities.get(number))
                self.release_pages(number)
            except ShardError:
                if not self.replace(number):
                    raise self._shards[number].changed() from None
        return self._tables[number]

    def load(self, numbers: Sequence[int]) -> None:
        """Have these tables checked, several at once.

        Raises:
            IntegrityError: As in `table`.
        """
        missing = [n for n in numbers if n not in self._tables or not self._tables[n].checked]
        if len(missing) > 1:
            # Their checksums take most of the time, and let other threads work.
            with ThreadPoolExecutor(_CHECKS_AT_ONCE, "atdata-tables") as pool:
                list(pool.map(self.table, missing))
        elif missing:
            self.table(missing[0])

    def release_pages(self, number: int) -> None:
        """Let go of a table's pages, where tables are large: nothing is read of it for now."""
        if self._mapped_bytes > _RESIDENT_BYTES:
            self._tables[number].rest()

    def used(self, samples: int) -> None:
        """Count entries that were read: every now and then, large tables are released."""
        self._used += samples
        if self._used >= _USED_ENTRIES:
            self._used = 0
            for number in list(self._tables):
                self.release_pages(number)

    def confirm(self, number: int) -> bool:
        """Compare the table of a local shard with the shard's headers, once a process.

        Returns:
            Whether another table took its place.

        Raises:
            IntegrityError: The shard has another number of samples than its table.
        """
        shard, table = self._shards[number], self.peek(number)
        identity = self._identities.get(number)
        if number in self._scanned or shard.path is None or identity in _confirmed:
            return False
        found = scanned_table(shard, self._unread)
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
        self._scan(number)
        self._unread.warn()
        return True

    def _scan(self, number: int) -> None:
        self._put(number, scanned_table(self._shards[number], self._unread))

    def _put(self, number: int, scanned: SampleTable) -> None:
        self._take(number, scanned)
        self._scanned.add(number)
        self._identities.pop(number, None)

    def _take(self, number: int, table: SampleTable) -> None:
        """Read a shard by this table from now on, unless it is of another version."""
        self._shards[number].check_sample_count(len(table))
        known = self._heads.get(number)
        self._tables[number], self._heads[number] = table, table.head
        if known is not None and known.layout != table.head.layout:
            self._by_members = None

    def _each(self, work: Callable[[int], X]) -> list[X]:
        """What some work gives for each shard whose head is missing."""
        numbers = [n for n in range(len(self._shards)) if n not in self._heads]
        if len(numbers) < 2 or self._shards[numbers[0]].path is not None:
            return [work(number) for number in numbers]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "atdata-tables") as pool:
            return list(pool.map(work, numbers))

    def _head(self, number: int) -> TableHead:
        if not self._find_head(number):
            self._heads[number] = self.table(number).head
        return self._heads[number]

    def _find_head(self, number: int) -> bool:
        """Find the head without reading the samples; of a local shard, scan it."""
        shard = self._shards[number]
        shard.check_unchanged()
        path = shard.located()
        if path is None:
            # Asked for once: a server that has none is not asked again.
            table = None if number in self._absent else self._read(number)
            if table is None:
                self._absent.add(number)
            else:
                self._take(number, table)
            return table is not None
        found = local_table(shard, path)
        # Of many shards, only the heads stay open.
        head = (self.table(number) if found is None else found[1]).head
        shard.check_sample_count(head.samples)
        self._heads[number] = head
        return True

    def _read(self, number: int) -> SampleTable | None:
        """The table next to the shard or in the user's cache, if it fits."""
        shard = self._shards[number]
        path = shard.located()
        if path is None:
            table = remote_table(shard)
            self._sidecars[number] = table is not None
            return kept_table(shard) if table is None else table
        found = local_table(shard, path)
        if found is None:
            return None
        self._identities[number], table = found
        self._mapped_bytes += table.head.table_bytes
        return table
