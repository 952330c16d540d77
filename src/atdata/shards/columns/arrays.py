"""Arrays anywhere in many payloads, read at once: stacked if their headers agree."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from atdata._arrays import AnyArray, Integers
from atdata.errors import DecodeError
from atdata.samples.kinds import Array
from atdata.samples.ndarray import ArrayHeader, parse_header, read_header
from atdata.shards.columns.column import (
    SMALL_ROW_BYTES,
    LazyColumn,
    as_list,
    buffers,
    column_of,
)
from atdata.shards.columns.cursor import Cursor, OddRows

_MOST_LAYOUTS: Final = 4096
"""Headers of one kind of array that are remembered."""


def read_arrays(cursor: Cursor, kind: Array, *, own: bool) -> LazyColumn:
    """Read an array in each row, and move the cursor after it.

    Args:
        cursor: At the array in each row.
        kind: The kind that the arrays should be of.
        own: Give a list of arrays that each own their memory, instead of stacking them.

    Raises:
        OddRows: Rows that must be decoded one by one.
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
        if not usable(first, kind):
            raise cursor.all_rows()
        if not own or first.data_bytes <= SMALL_ROW_BYTES:
            stacked = _stacked(cursor, first, data)
            return [row.copy("K") for row in as_list(stacked, kind)] if own else stacked
    layouts, sorts = _layouts(headers, length, sizes, kind)
    if own:
        return [
            layout.at(cursor.buffer, at) for layout, at in zip(layouts, data.tolist(), strict=True)
        ]
    return _ragged(cursor.buffer, layouts, sorts, data, ends)


def usable(header: ArrayHeader, kind: Array) -> bool:
    """Whether arrays with this header are of a kind, and can be stacked."""
    plain = header.dtype.itemsize > 0 and header.dtype.subdtype is None
    return plain and kind.fits(header.dtype, header.shape)


def _stacked(cursor: Cursor, header: ArrayHeader, data: Integers) -> AnyArray:
    """Arrays with the same header as one of shape (n, *S); one copy."""
    shape, count = header.shape, len(cursor)
    if not header.data_bytes:
        return np.empty((count, *shape), header.dtype)
    raw = _copied(cursor, header.data_bytes, data).view(header.dtype)
    if not header.fortran:
        return raw.reshape((count, *shape))
    axes = (0, *range(len(shape), 0, -1))
    return raw.reshape((count, *reversed(shape))).transpose(axes)


def _copied(cursor: Cursor, size: int, starts: Integers) -> AnyArray:
    """``size`` bytes of each row, joined."""
    if size < SMALL_ROW_BYTES:
        return cursor.gather(f"V{size}", size, starts)
    out = buffers.take(len(starts) * size).reshape(-1, size)
    whole = np.frombuffer(cursor.buffer, np.uint8)
    for row, start in enumerate(starts.tolist()):
        out[row] = whole[start : start + size]
    return out.reshape(-1)


class _Layout(NamedTuple):
    """The layout of an array, from its header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    size: int
    """Bytes, header included; -1: not an array of the kind."""

    def at(self, buffer: memoryview, place: int) -> AnyArray:
        """The array whose data begin there; a copy."""
        return np.ndarray(self.shape, self.dtype, buffer, place, None, self.order).copy("K")


_UNREADABLE: Final = _Layout(np.dtype(np.void), (), "C", -1)


def _ragged(
    buffer: memoryview,
    layouts: list[_Layout],
    sorts: list[_Layout],
    starts: Integers,
    ends: Integers,
) -> AnyArray | list[AnyArray]:
    """Arrays with different headers: a list, or stacked if they have one dtype and shape.

    Arrays of one dtype are views of one copy, which lives as long as any of them.

    Args:
        buffer: The memory that they are in.
        layouts: The layout of each.
        sorts: The distinct layouts.
        starts: Where the data of each begin, shape (n,).
        ends: Where they end, shape (n,).
    """
    dtypes = {layout.dtype for layout in sorts}
    if len({(layout.dtype, layout.shape) for layout in sorts}) == 1 or len(dtypes) > 1:
        arrays = [x.at(buffer, at) for x, at in zip(layouts, starts.tolist(), strict=True)]
        return column_of(arrays)
    (dtype,) = dtypes
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    flat = np.frombuffer(bytearray().join([buffer[start:end] for start, end in spans]), dtype)
    stops = np.cumsum((ends - starts) // dtype.itemsize).tolist()
    parts = [flat[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
    if all(len(layout.shape) == 1 for layout in sorts):
        return parts
    return [
        part.reshape(layout.shape, order=layout.order)
        for part, layout in zip(parts, layouts, strict=True)
    ]


def _layouts(
    headers: bytes, length: int, sizes: Integers, kind: Array
) -> tuple[list[_Layout], list[_Layout]]:
    """The layout of each array, and the distinct layouts; each header is parsed once.

    Args:
        headers: The headers, joined, each of ``length`` bytes.
        length: Bytes of a header.
        sizes: Bytes of each array, header included, shape (n,).
        kind: The kind that they should be of.
    """
    known = _layouts_of(kind)
    rows = np.frombuffer(headers, f"V{length}").tolist()
    mine = {raw: known.get(raw) or _layout(raw, kind) for raw in set(rows)}
    if len(known) > _MOST_LAYOUTS:
        known.clear()
    known.update(mine)
    found = [mine[raw] for raw in rows]
    odd = np.array([layout.size for layout in found]) != sizes
    if odd.any():
        raise OddRows(odd)
    return found, list(mine.values())


@lru_cache(maxsize=64)
def _layouts_of(kind: Array) -> dict[bytes, _Layout]:
    """Remembered headers of one kind of array."""
    return {}


def _layout(raw: bytes, kind: Array) -> _Layout:
    try:
        header = read_header(raw)
    except DecodeError:
        return _UNREADABLE
    if header.length != len(raw) or not usable(header, kind):
        return _UNREADABLE
    return _Layout(header.dtype, header.shape, header.order, header.length + header.data_bytes)
