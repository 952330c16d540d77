"""Links of shards that are read by position, and samples of these that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from atdata._arrays import Bytes, Integers
from atdata.dataset.reading.shard_files import ShardFiles, WrongTableError
from atdata.shards.columns.decode import Payloads
from atdata.shards.layouts.linked import place_of_link
from atdata.shards.tar.header import BLOCK, name_of
from atdata.shards.tar.table import SampleTable

RowOf: TypeAlias = Callable[[int], tuple[int, SampleTable, int]]
"""Takes a position; gives the number of its shard, the table of that, and the row in it."""


def with_links(
    payloads: Payloads,
    positions: Integers,
    row_of: RowOf,
    files: ShardFiles,
) -> Payloads:
    """Payloads with what links of them lead to, and with those that cannot be decoded.

    Args:
        payloads: Read by position.
        positions: The position of each.
        row_of: Finds a position in a table.
        files: The shards.
    """
    refused = {}
    for row, position in enumerate(positions.tolist()):
        _, table, stored = row_of(position)
        if stored in table.refused:
            refused[row] = table.refused[stored]

    def linked(row: int, at: int) -> memoryview:
        number, table, stored = row_of(int(positions[row]))
        start, size = place_of_link(table.links, table.span(stored)[0] - BLOCK + at)
        data = memoryview(bytearray(size))
        files.read([(number, data, start)])
        return data

    return replace(payloads, refused=refused, linked=linked)


def check_linked(
    number: int, table: SampleTable, offsets: Integers, data: Bytes, at: Integers
) -> None:
    """Compare headers that links lead to with a table.

    Args:
        number: Number of the shard.
        table: Its table.
        offsets: Where payloads begin in the shard.
        data: Memory that they were read into.
        at: Where they begin there.

    Raises:
        WrongTableError: One has another name.
    """
    for offset, place in zip(offsets.tolist(), at.tolist(), strict=True):
        if table.names.get(offset) != name_of(data[place - BLOCK : place].tobytes()):
            raise WrongTableError(number, None)
