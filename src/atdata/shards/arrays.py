"""Arrays, read in many payloads at once: stacked where their headers are the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from atdata.errors import DecodeError
from atdata.samples.kinds import Array
from atdata.samples.ndarray import ArrayHeader, parse_header, read_header
from atdata.shards.buffers import Buffers
from atdata.shards.cursor import AnyArray, Cursor, Integers, OddRows, spread
from atdata.shards.form import Column, as_list, column_of

_SMALL: Final = 4096
"""Bytes up to which copying an array twice is cheaper than reading it by itself."""
_buffers: Final = Buffers()
"""What the arrays of batches are in, which are let go as fast as new ones are made."""


def read_arrays(cursor: Cursor, kind: Array, *, own: bool) -> Column:
    """Move over an array in each row.

    Args:
        cursor: Where the rows stand.
        kind: What the arrays should be.
        own: Whether they are wanted one by one, each owning its memory, not stacked.

    Raises:
        OddRows: Rows whose arrays only their own decoding can judge.
    """
    starts, ends = cursor.binaries()
    sizes = ends - starts
    try:
        first = parse_header(cursor.buffer[starts[0] : ends[0]])
    except DecodeError:
        raise cursor.only_first() from None
    length = first.length
    if (sizes < length).any():
        raise OddRows(sizes < length)
    raw = cursor.gather(f"V{length}", length, starts)
    headers = raw.tobytes()
    data = starts + length
    if bool((sizes == sizes[0]).all()) and headers == headers[:length] * len(cursor):
        if not _usable(first, kind):
            raise cursor.all_rows()
        if not own or first.data_bytes <= _SMALL:
            stacked = _stacked(cursor, first, data)
            return [row.copy("K") for row in as_list(stacked, kind)] if own else stacked
    layouts = _layouts(headers, length, sizes, kind)
    buffer = cursor.buffer
    arrays = [
        np.ndarray(shape, dtype, buffer, start, None, order).copy("K")
        for (dtype, shape, order, _), start in zip(layouts, data.tolist(), strict=True)
    ]
    return arrays if own else column_of(arrays)


def _usable(header: ArrayHeader, kind: Array) -> bool:
    plain = header.dtype.itemsize > 0 and header.dtype.subdtype is None
    return plain and kind.fits(header.dtype, header.shape)


def _stacked(cursor: Cursor, header: ArrayHeader, data: Integers) -> AnyArray:
    """Arrays of one header as one: shape (n, *S), one copy."""
    shape, count = header.shape, len(cursor)
    if not header.data_bytes:
        return np.empty((count, *shape), header.dtype)
    raw = _copied(cursor, header.data_bytes, data).view(header.dtype)
    if not header.fortran:
        return raw.reshape((count, *shape))
    axes = (0, *range(len(shape), 0, -1))
    return raw.reshape((count, *reversed(shape))).transpose(axes)


def _copied(cursor: Cursor, size: int, starts: Integers) -> AnyArray:
    """``size`` bytes of each row, one behind the other."""
    count = len(starts)
    stride = int(starts[1] - starts[0]) if count > 1 else size
    even = stride >= size and bool((np.diff(starts) == stride).all())
    if not even and size < _SMALL:
        return cursor.gather(f"V{size}", size, starts)
    out = _buffers.take(count * size).reshape(count, size)
    if even:
        out[...] = np.ndarray((count, size), np.uint8, cursor.buffer, int(starts[0]), (stride, 1))
    else:
        whole = np.frombuffer(cursor.buffer, np.uint8)
        for row, start in enumerate(starts.tolist()):
            out[row] = whole[start : start + size]
    return out.reshape(-1)


_Layout: TypeAlias = tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"], int]
"""dtype, shape, order, and bytes with the header."""


def _layouts(headers: bytes, length: int, sizes: Integers, kind: Array) -> list[_Layout]:
    """What arrays of different headers are, each header parsed once.

    Args:
        headers: The headers, one behind the other, each of ``length`` bytes.
        length: Bytes of a header.
        sizes: Shape (n,), bytes of each array, header included.
        kind: What they should be.
    """
    known: dict[bytes, _Layout | None] = {}
    found: list[_Layout] = []
    odd = []
    for at, size in zip(range(0, len(headers), length), sizes.tolist(), strict=True):
        raw = headers[at : at + length]
        if raw not in known:
            known[raw] = _layout(raw, kind)
        layout = known[raw]
        if layout is None or layout[3] != size:
            odd.append(at // length)
        else:
            found.append(layout)
    if odd:
        raise OddRows(spread(np.ones(len(odd), np.bool_), np.array(odd), len(sizes)))
    return found


@lru_cache(maxsize=4096)
def _layout(raw: bytes, kind: Array) -> _Layout | None:
    try:
        header = read_header(raw)
    except DecodeError:
        return None
    if header.length != len(raw) or not _usable(header, kind):
        return None
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    return header.dtype, header.shape, order, header.length + header.data_bytes
