"""A local shard read in order by its table: where samples are is known, no header is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from atdata._arrays import Bytes
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.columns.decode import Payloads
from atdata.shards.columns.strided import READ_ROW_BYTES
from atdata.shards.reader import TABLE_BLOCK_BYTES, Block, block_rows, read_blocks
from atdata.shards.tar.check import header_agrees, headers_agree, key_agrees, names_agree
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import SUFFIX, SampleTable
from atdata.shards.tar.unread import Unread
from atdata.shards.tar.window import MappedFile

T = TypeVar("T")

_LARGE_BLOCK_BYTES: Final = 1 << 25
"""Bytes of a block of large samples, which are copied one by one or to their last place."""
_WHOLE_BYTES: Final = 1 << 18
"""Bytes of a shard up to which every header is held against a table that is opened."""
_HEADERS: Final = 8
"""Headers of a larger one."""


def read_by_table(
    path: Path,
    table: SampleTable,
    *,
    shard: str,
    codec: SampleCodec[T],
    rows: int | None = None,
    first: int | None = None,
    copy: bool = True,
    unread: Unread | None = None,
) -> Iterator[Block[T]]:
    """Read a shard in order as `read_blocks` does, without looking at every header.

    A few headers are held against the table before anything is read by it; if they disagree,
    the shard is scanned. What is between the values of every payload is compared in any case,
    and where a payload is not what it should be, so is its header.

    Args:
        path: The shard's file.
        table: Its table, checked.
        shard: What errors call it.
        codec: Codec of its samples.
        rows: As for `read_blocks`.
        first: As for `read_blocks`.
        copy: As for `Block`.
        unread: As for `read_blocks`.

    Raises:
        ShardError: The file is damaged; or the table is not of this file, which was found out
            only after samples had been read by it.
    """
    window = MappedFile(path)
    # A table may be older than the limit: the scan says what is wrong.
    fits = table.head.shard_bytes == len(window.view) and len(table) <= limits.samples
    if not fits or not table_matches(table, partial(_part, window.view), rows=3, whole=0):
        yield from read_blocks(
            path, shard=shard, codec=codec, rows=rows, first=first, copy=copy, unread=unread
        )
        return
    done, count = 0, len(table)
    typical = max(BLOCK, table.head.shard_bytes // max(1, count))
    most = _LARGE_BLOCK_BYTES if typical >= READ_ROW_BYTES else TABLE_BLOCK_BYTES
    while done < count:
        end = min(count, done + block_rows(typical, rows or 1, done - (first or 0), most))
        starts = table.offsets[done:end]
        payloads = Payloads(window.view, starts, starts + table.sizes[done:end], window.file, 0)
        doubt = partial(_doubt, payloads, shard)
        keys = partial(_keys, payloads, table, done, shard)
        yield Block(shard, codec, payloads, keys, copy=copy, doubt=doubt)
        done = end
        window.release(int(payloads.ends[-1]))


def table_matches(
    table: SampleTable,
    read: Callable[[int, int], bytes],
    *,
    rows: int = _HEADERS,
    whole: int = _WHOLE_BYTES,
) -> bool:
    """Whether a table that fits by size agrees with the shard's headers as well.

    Of a small shard, which is read for it, with all of them; of others with a few, the first and
    the last one among them.

    Args:
        table: The table, whose samples lie in the shard.
        read: Gives so many bytes of the shard, from a place on.
        rows: How many are a few; at least 2.
        whole: Bytes of the largest shard that is read.
    """
    count, size = len(table), table.head.shard_bytes
    chosen = sorted({n * (count - 1) // (rows - 1) for n in range(rows)}) if count else []
    if count and size <= whole:
        data = read(0, size)
        matrix = table.key_matrix(np.arange(count))
        array: Bytes = np.frombuffer(data, np.uint8)
        places = table.offsets, table.sizes
        if (
            matrix is not None
            and names_agree(array, *places, matrix)
            and headers_agree(array, *places)
        ):
            return True
        read, chosen = partial(_part, memoryview(data)), list(range(count))
    for row in chosen:
        at = int(table.offsets[row])
        header = read(at - BLOCK, BLOCK)
        # What lies before a header may hold the rest of its name, which is not read for this.
        if not header_agrees(header, int(table.sizes[row])) or not key_agrees(
            header, table.key_bytes(row), bytes
        ):
            return False
    return True


def _part(view: memoryview, start: int, size: int) -> bytes:
    return bytes(view[start : start + size])


def _keys(payloads: Payloads, table: SampleTable, first: int, shard: str) -> list[str]:
    """The keys of consecutive samples.

    Raises:
        ShardError: Their headers have others.
    """
    starts, buffer = payloads.starts, payloads.buffer
    rows = np.arange(first, first + len(starts))
    data: Bytes = np.frombuffer(buffer, np.uint8)
    matrix = table.key_matrix(rows)
    if matrix is None or not names_agree(data, starts, payloads.ends - starts, matrix):
        for row, start in zip(rows.tolist(), starts.tolist(), strict=True):
            before = partial(_bytes, buffer, table.end_of(row - 1), start - BLOCK)
            if not key_agrees(_bytes(buffer, start - BLOCK, start), table.key_bytes(row), before):
                raise _not_of_it(shard, start - BLOCK)
    return table.keys(rows)


def _bytes(buffer: memoryview, start: int, end: int) -> bytes:
    return bytes(buffer[start:end]) if end - start <= limits.extended_bytes else b""


def _doubt(payloads: Payloads, shard: str, row: int) -> None:
    """Raise if a payload that could not be decoded is none."""
    start, end = int(payloads.starts[row]), int(payloads.ends[row])
    if not header_agrees(bytes(payloads.buffer[start - BLOCK : start]), end - start):
        raise _not_of_it(shard, start - BLOCK)


def _not_of_it(shard: str, offset: int) -> ShardError:
    return ShardError(
        f"the sample table next to it is not of this shard. Remove the {SUFFIX} file; the shard is "
        "then scanned",
        shard=shard,
        offset=offset,
    )
