"""What tables say of samples, compared with the headers that were read."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from atdata._arrays import Bytes, Integers, distinct
from atdata._limits import limits
from atdata.dataset.reading.linked import check_linked
from atdata.dataset.reading.payloads import Located, Selection
from atdata.dataset.reading.positions import PositionedShards
from atdata.dataset.reading.shard_files import SHARD_DISTANCE, WrongTableError
from atdata.errors import ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.layouts.check import members_agree
from atdata.shards.layouts.decode import members_decoder
from atdata.shards.tar.check import (
    headers_agree,
    key_agrees,
    plain_headers_agree,
    starts_with_name,
)
from atdata.shards.tar.header import BLOCK, key_of, name_of
from atdata.shards.tar.inside import Inside
from atdata.shards.tar.table import SampleTable

_NAMES_AT_ONCE: Final = 16
"""Extended headers that are read together; each may have 1 MB."""


class HeaderChecks:
    """Compares what was read of shards with their tables.

    Args:
        shards: The shards.
        codec: Codec of their samples.

    Raises:
        WrongTableError: Every method does, where a table is wrong.
    """

    def __init__(self, shards: PositionedShards, codec: SampleCodec[Any]) -> None:
        self._shards = shards
        self._codec = codec

    def samples(self, found: Located, part: Selection, data: Bytes, at: Integers) -> None:
        """Compare what the tables say of samples with the headers that were read."""
        if found.inside is not None:
            self.members(found.take(part), data, at, found.inside.take(part))
            return
        sizes = found.sizes[part]
        if found.keys is not None and plain_headers_agree(data, at, sizes, found.keys[part]):
            return
        # Headers without the keys: the whole table must be right.
        shards = found.starts[part] // SHARD_DISTANCE
        for number in distinct(shards).tolist():
            table = self._shards.tables.peek(number)
            if self._shards.tables.table(number) is not table:
                raise WrongTableError(number, None, replaced=True)
            of = shards == number
            if not headers_agree(data, at[of], sizes[of]):
                raise WrongTableError(number, None)
            offsets = found.starts[part][of] - number * SHARD_DISTANCE + BLOCK
            if table.names:
                check_linked(number, table, offsets, data, at[of])
            else:
                self._check_keys(number, table, offsets, data, at[of])

    def members(self, found: Located, data: Bytes, at: Integers, placed: Inside) -> None:
        """Compare what the tables say of members with their headers, which were read.

        Args:
            found: The samples.
            data: What was read.
            at: Where in it each payload begins.
            placed: Where the members are that were read.
        """
        assert found.inside is not None
        wanted = members_decoder(self._codec).wanted
        shards = found.starts // SHARD_DISTANCE
        for number in distinct(shards).tolist():
            table, of = self._shards.tables.peek(number), np.flatnonzero(shards == number)
            offsets = found.starts[of] - number * SHARD_DISTANCE + BLOCK
            keys = table.key_bytes_of(np.searchsorted(table.offsets, offsets))
            recorded, there = found.inside.take(of), placed.take(of)
            if not members_agree(data, at[of], keys, wanted, recorded, there):
                raise WrongTableError(number, None)

    def _check_keys(
        self, number: int, table: SampleTable, offsets: Integers, data: Bytes, at: Integers
    ) -> None:
        """One by one, where headers do not have the whole names.

        Args:
            number: Number of the shard.
            table: Its table.
            offsets: Where payloads begin in the shard.
            data: Memory that they were read into.
            at: Where they begin there.
        """
        local = self._shards.files.are_local([number])
        rows = np.searchsorted(table.offsets, offsets)
        # Where the sample before was read as well, so was what is between them.
        joined = np.zeros(len(rows), bool)
        joined[1:] = (np.diff(rows) == 1) & (np.diff(at) == np.diff(offsets))
        unread: list[tuple[int, bytes]] = []
        for row, place, is_joined in zip(rows.tolist(), at.tolist(), joined.tolist(), strict=True):
            header, key = data[place - BLOCK : place].tobytes(), table.key_bytes(row)
            # On a server, all of a long name would be one more request a sample.
            if key_of(name_of(header)) == key or (not local and starts_with_name(key, header)):
                continue
            start, end = _between(table, row)
            if is_joined:
                before = data[place - BLOCK - (end - start) : place - BLOCK].tobytes()
                _check_name(number, header, key, before)
            else:
                unread.append((row, header))
        for first in range(0, len(unread), _NAMES_AT_ONCE):
            some = unread[first : first + _NAMES_AT_ONCE]
            spans = [_between(table, row) for row, _ in some]
            parts = [bytearray(end - start) for start, end in spans]
            self._shards.files.read(
                [
                    (number, memoryview(part), start)
                    for part, (start, _) in zip(parts, spans, strict=True)
                    if part
                ]
            )
            for (row, header), part in zip(some, parts, strict=True):
                _check_name(number, header, table.key_bytes(row), bytes(part))


def _check_name(number: int, header: bytes, key: bytes, before: bytes) -> None:
    try:
        agrees = key_agrees(header, key, lambda: before)
    except ShardError:
        # The table may have left out what is there.
        agrees = False
    if not agrees:
        raise WrongTableError(number, None)


def _between(table: SampleTable, row: int) -> tuple[int, int]:
    """From where to where extended headers of a sample may be; nothing, if more than 1 MB."""
    start, end = table.end_of(row - 1), int(table.offsets[row]) - BLOCK
    return (start, end) if 0 < end - start <= limits.extended_bytes else (end, end)
