"""The shards of a dataset: each resolved once, with its table, for every way of reading."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from atdata._arrays import Integers
from atdata._protocols import DataSource, IndexEntry, is_source
from atdata._shardlist import LocatedUrl, ShardInfo
from atdata.capabilities import known_shards_of
from atdata.dataset.reading.payloads import PayloadReader
from atdata.dataset.reading.shard import Shard, shards_by_name
from atdata.dataset.reading.shard_files import ShardFiles
from atdata.dataset.reading.tables import ShardTables
from atdata.errors import IntegrityError
from atdata.shards.tar.unread import Unread
from atdata.sources.url import URLSource
from atdata.sources.verified import Verify
from atdata.system.once import once


class Shards:
    """The shards of a dataset: where they are, what is recorded of them, how they are checked.

    Nothing is listed or opened before it is asked for. In another process, everything is found
    again: files that are open, tables and versions stay here.

    Args:
        source: Where the shards are.
        known: What is recorded of them, by identifier.
        verify: How they are checked against that.
        counts: How many samples each shard had in the process that this was sent from;
            None: they were not counted there.
    """

    def __init__(
        self,
        source: DataSource,
        known: dict[str, ShardInfo],
        verify: Verify | None = None,
        counts: str | None = None,
    ) -> None:
        self.source = source
        self.known = known
        self.verify = verify
        self._counts = counts
        self.unread = Unread()
        """Members that are not samples: each is reported once."""

    def __reduce__(self) -> tuple[Any, ...]:
        counts = _digest_of(self.ends) if "ends" in self.__dict__ else self._counts
        return Shards, (self.source, self.known, self.verify, counts)

    @once
    def each(self) -> tuple[Shard, ...]:
        """Every shard, in reading order.

        Raises:
            NoDataUrlsError: There is none.
            SourceError: They cannot be listed.
        """
        return shards_by_name(self.source.shard_list, self.source, self.known, self.verify)

    @once
    def tables(self) -> ShardTables:
        """The tables of the shards."""
        return ShardTables(self.each, self.unread)

    @once
    def files(self) -> ShardFiles:
        """The shards, open to be read by position."""
        tables = self.tables
        return ShardFiles(self.each, lambda number: tables.peek(number).head.shard_bytes)

    @once
    def payloads(self) -> PayloadReader:
        """Reads payloads out of the files."""
        return PayloadReader(self.files)

    @once
    def ends(self) -> Integers:
        """Position after the last sample of each shard, shape (number of shards,).

        Shards without a table are scanned for it.

        Raises:
            IntegrityError: This was sent here, and they were others where it came from.
            ShardError: A shard that has to be scanned is damaged.
            SourceError: One cannot be read.
        """
        ends = np.cumsum(self.tables.counts())
        if self._counts not in (None, _digest_of(ends)):
            raise IntegrityError(
                "the dataset was opened before its shards were changed: in the process that it was "
                "sent from, they had other numbers of samples. Open the dataset again"
            )
        return ends

    @property
    def samples(self) -> int:
        """Number of stored samples; errors as for `ends`."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def known_samples(self) -> int | None:
        """The same, where it is known without reading shards on servers."""
        recorded = [shard.recorded.samples for shard in self.each]
        counts = [samples for samples in recorded if samples is not None]
        if len(counts) == len(recorded):
            return sum(counts)
        return self.samples if self.tables.ready() else None

    def numbers_of(self, positions: Integers) -> Integers:
        """Number of the shard that each position is in."""
        return np.searchsorted(self.ends, positions, side="right").astype(np.int64)


def shards_of(source: str | Path | Sequence[str | Path] | DataSource | IndexEntry) -> Shards:
    """The shards that a user names, as for `Dataset`, with what they say of themselves.

    Raises:
        NoDataUrlsError: No shard is named.
    """
    known: tuple[ShardInfo, ...] = ()
    if isinstance(source, IndexEntry):
        known = known_shards_of(source)
        source = URLSource(source.data_urls)
    elif isinstance(source, (str, Path)) or not is_source(source):
        given = source if isinstance(source, (list, tuple)) else [source]
        known = tuple(s for url in given if isinstance(url, LocatedUrl) for s in url.shards)
        source = URLSource(cast("str | Path | Sequence[str | Path]", source))
    return Shards(source, {shard.url: shard for shard in known})


def _digest_of(ends: Integers) -> str:
    """16 hex digits that tell numbers of samples from others."""
    return hashlib.sha256(ends.astype("<i8").tobytes()).hexdigest()[:16]
