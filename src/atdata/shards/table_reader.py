"""A local shard read in order by its table, without looking for headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from atdata._arrays import Bytes
from atdata._limits import limits
from atdata.errors import ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.columns.decode import Payloads
from atdata.shards.columns.strided import READ_ROW_BYTES
from atdata.shards.reader import TABLE_BLOCK_BYTES, Block, block_rows, read_blocks
from atdata.shards.tar.check import (
    header_agrees,
    headers_agree,
    key_agrees,
    plain_headers_agree,
    suffixes_agree,
)
from atdata.shards.tar.header import BLOCK
from atdata.shards.tar.table import SUFFIX, SampleTable
from atdata.shards.tar.unread import Unread
from atdata.shards.tar.window import MappedFile

T = TypeVar("T")

_LARGE_BLOCK_BYTES: Final = 1 << 25
"""Bytes of a block of large samples, which are copied one by one, or once to their batch."""
_WHOLE_BYTES: Final = 1 << 18
"""Bytes of a shard up to which a table that is opened is checked against every header."""
_HEADERS: Final = 8
"""Headers of a larger shard that a table is checked against."""
_compared: dict[Any, int] = {}
"""The version of a table's file and of its shard's → rows, from the first on, whose names this
process has compared."""


def read_by_table(
    source: Path | MappedFile,
    table: SampleTable,
    *,
    shard: str,
    codec: SampleCodec[T],
    rows: int | None = None,
    first: int | None = None,
    copy: bool = True,
    unread: Unread | None = None,
) -> Iterator[Block[T]]:
    """Read a shard in order as `read_blocks` does, without looking for headers.

    The table is checked against a few headers first, and then each block against the suffixes of
    all its names: only so is no other member taken for a sample. This is done once a process, as
    long as neither file changes. If the first block disagrees, or
    has long names, the shard is scanned instead. Decoding compares what is between the values of
    every payload; the rest of a header is checked where a key is used, or a payload cannot be
    decoded.

    Args:
        source: The shard's file, perhaps mapped.
        table: Its table, checked.
        shard: Its name in errors.
        codec: Codec of its samples.
        rows: As for `read_blocks`.
        first: As for `read_blocks`.
        copy: As for `Block`.
        unread: As for `read_blocks`.

    Raises:
        ShardError: The file is damaged; or the table is wrong, which may be found only after other
            samples have been read by it.
    """
    window = source if isinstance(source, MappedFile) else MappedFile(source)
    # A table may be older than the limit: the scan raises the error.
    fits = table.head.shard_bytes == len(window.view) and len(table) <= limits.samples
    matches = fits and table_matches(table, partial(_part, window.view), rows=3, whole=0)
    done, count = 0, len(table) if matches else 0
    data: Bytes = np.frombuffer(window.view, np.uint8)
    version = None if table.file is None else (table.file, window.version())
    compared = 0 if version is None else _compared.get(version, 0)
    typical = max(BLOCK, table.head.shard_bytes // max(1, count))
    most = _LARGE_BLOCK_BYTES if typical >= READ_ROW_BYTES else TABLE_BLOCK_BYTES
    while done < count:
        end = min(count, done + block_rows(typical, rows or 1, done - (first or 0), most))
        # Copies: a mapped table may be overwritten after it was compared.
        starts, sizes = table.spans(np.arange(done, end))
        payloads = Payloads(window.view, starts, starts + sizes, window.file, 0)
        if end > compared:
            if not suffixes_agree(data, starts, table.key_lengths(done, end)):
                if not done:
                    matches = False
                    break
                _check_keys(payloads, table, done, shard)
            if done <= compared:
                compared = end
                if version is not None:
                    _compared[version] = compared
        check_row = partial(_check_header, payloads, shard, done)
        keys = partial(_keys, payloads, table, done, shard)
        yield Block(shard, codec, payloads, keys, copy=copy, check_row=check_row)
        done = end
        window.release(int(payloads.ends[-1]))
    if not matches:
        yield from read_blocks(
            window, shard=shard, codec=codec, rows=rows, first=first, copy=copy, unread=unread
        )


def table_matches(
    table: SampleTable,
    read: Callable[[int, int], bytes],
    *,
    rows: int = _HEADERS,
    whole: int = _WHOLE_BYTES,
) -> bool:
    """Whether a table that fits by size also agrees with the shard's headers.

    A small shard is read, and all its headers are checked; of a larger one a few are, the first
    and the last among them.

    Args:
        table: The table, whose samples lie in the shard.
        read: Reads from an offset of the shard a number of bytes.
        rows: How many headers of a larger shard are checked, at least 2.
        whole: Bytes of the largest shard that is read whole.
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
            and plain_headers_agree(array, *places, matrix)
            and headers_agree(array, *places)
        ):
            return True
        read, chosen = partial(_part, memoryview(data)), list(range(count))
    for row in chosen:
        at = int(table.offsets[row])
        header = read(at - BLOCK, BLOCK)
        # A long name is in an extended header before this one; reading it is not worth a request.
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
        ShardError: Their headers have other keys.
    """
    starts = payloads.starts
    rows = np.arange(first, first + len(starts))
    data: Bytes = np.frombuffer(payloads.buffer, np.uint8)
    matrix = table.key_matrix(rows)
    if matrix is None or not plain_headers_agree(data, starts, payloads.ends - starts, matrix):
        _check_keys(payloads, table, first, shard)
    return table.keys(rows)


def _check_keys(payloads: Payloads, table: SampleTable, first: int, shard: str) -> None:
    """Raise if the names of consecutive samples, of any length, are not of the table's keys."""
    buffer = payloads.buffer
    for row, start in enumerate(payloads.starts.tolist(), first):
        before = partial(_bytes, buffer, table.end_of(row - 1), start - BLOCK)
        if not key_agrees(_bytes(buffer, start - BLOCK, start), table.key_bytes(row), before):
            raise _disagree(shard, row, start - BLOCK)


def _bytes(buffer: memoryview, start: int, end: int) -> bytes:
    return bytes(buffer[start:end]) if end - start <= limits.extended_bytes else b""


def _check_header(payloads: Payloads, shard: str, first: int, row: int) -> None:
    """Raise if the header of a payload that could not be decoded is not of its size."""
    start, end = int(payloads.starts[row]), int(payloads.ends[row])
    if not header_agrees(bytes(payloads.buffer[start - BLOCK : start]), end - start):
        raise _disagree(shard, first + row, start - BLOCK)


def _disagree(shard: str, row: int, offset: int) -> ShardError:
    return ShardError(
        f"the shard and the sample table next to it, its {SUFFIX} file, disagree at sample {row}: "
        "one of them was changed. atdata verify checks the shard. If it is whole, remove the "
        f"{SUFFIX} file, and the shard is read without it; else get the shard again",
        shard=shard,
        offset=offset,
    )
