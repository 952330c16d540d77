"""A local shard read in order by its table: where samples are is known, no header is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from atdata._limits import limits
from atdata.errors import ShardError
from atdata.samples.codec import SampleCodec
from atdata.shards.agree import headers_agree
from atdata.shards.columns import Payloads
from atdata.shards.header import BLOCK
from atdata.shards.offsets import SUFFIX, SampleTable
from atdata.shards.reader import Block, block_rows, read_blocks
from atdata.shards.window import MappedFile

T = TypeVar("T")

_LOOKED_AT: Final = 8
"""Samples whose headers are held against the table before it is believed."""


def read_by_table(
    path: Path,
    table: SampleTable,
    *,
    shard: str,
    codec: SampleCodec[T],
    rows: int | None = None,
    first: int | None = None,
    copy: bool = True,
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

    Raises:
        ShardError: The file is damaged; or the table is not of this file, which was found out
            only after samples had been read by it.
    """
    window = MappedFile(path)
    if not _is_of(table, window.view):
        yield from read_blocks(path, shard=shard, codec=codec, rows=rows, first=first, copy=copy)
        return
    done, count = 0, len(table)
    typical = max(BLOCK, table.head.shard_bytes // max(1, count))
    while done < count:
        end = min(count, done + block_rows(typical, rows or 1, done - (first or 0)))
        starts = table.offsets[done:end]
        payloads = Payloads(window.view, starts, starts + table.sizes[done:end], window.file)
        doubt = partial(_doubt, payloads, shard)
        keys = partial(table.keys, np.arange(done, end))
        yield Block(shard, codec, payloads, keys, copy=copy, doubt=doubt)
        done = end
        window.release(int(payloads.ends[-1]))


def _is_of(table: SampleTable, view: memoryview) -> bool:
    """Whether a table that fits by size agrees with some of the shard's headers as well."""
    # A table may be older than the limit: the scan says what is wrong.
    if table.head.shard_bytes != len(view) or len(table) > limits.samples:
        return False
    rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), _LOOKED_AT)).astype(np.int64))
    data: Any = np.frombuffer(view, np.uint8)
    offsets, sizes = table.offsets[rows], table.sizes[rows]
    names = [bytes(view[at - BLOCK : at - BLOCK + 100]) for at in offsets.tolist()]
    keys = [key.encode("utf-8", "replace") for key in table.keys(rows)]
    return headers_agree(data, offsets, sizes) and all(
        name.startswith(key[:100]) for name, key in zip(names, keys, strict=True)
    )


def _doubt(payloads: Payloads, shard: str, row: int) -> None:
    """Raise if a payload that could not be decoded is none."""
    start, end = int(payloads.starts[row]), int(payloads.ends[row])
    header = np.frombuffer(payloads.buffer, np.uint8, BLOCK, start - BLOCK)
    if not headers_agree(header, np.array([BLOCK]), np.array([end - start])):
        raise ShardError(
            f"the sample table beside it is not of this shard. Remove the {SUFFIX} file; the "
            "shard is then scanned",
            shard=shard,
            offset=start - BLOCK,
        )
