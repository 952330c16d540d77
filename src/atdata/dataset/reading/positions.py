"""The shards of a dataset, read by position: with the table of each, and its file kept open."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from atdata._arrays import Integers
from atdata.dataset.reading.payloads import PayloadReader
from atdata.dataset.reading.shard_files import ShardFiles
from atdata.dataset.reading.shards import Shards
from atdata.dataset.reading.tables import ShardTables
from atdata.errors import IntegrityError
from atdata.sources.capabilities import uncached
from atdata.system.forks import once


class PositionedShards(Shards):
    """Shards whose samples have positions, counted over all of them.

    In another process, everything is found again: files that are open, tables and versions stay
    here.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        counts = _digest_of(self.ends) if "ends" in self.__dict__ else self._counts
        return PositionedShards, (self.source, self.known, self.verify, counts)

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

    def has_members_on_servers(self) -> bool:
        """Whether members of samples can be read by themselves, which for files is no question.

        Not where a hash was asked for, which is of whole shards; nor through a cache of these.
        """
        return (
            self.verify != "full"
            and uncached(self.source) is self.source
            and any(shard.path is None for shard in self.each)
            and self.tables.are_next_to_shards()
            and all(head.layout == "members" for head in self.tables.heads)
        )

    def numbers_of(self, positions: Integers) -> Integers:
        """Number of the shard that each position is in."""
        return np.searchsorted(self.ends, positions, side="right").astype(np.int64)


def _digest_of(ends: Integers) -> str:
    """16 hex digits that tell numbers of samples from others."""
    return hashlib.sha256(ends.astype("<i8").tobytes()).hexdigest()[:16]
