"""Arrays, read in many payloads at once: stacked where their headers are the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from atdata._arrays import AnyArray, Integers
from atdata.errors import DecodeError
from atdata.samples.kinds import Array
from atdata.samples.ndarray import ArrayHeader, parse_header, read_header
from atdata.shards.columns.column import LazyColumn, as_list, column_of
from atdata.shards.columns.cursor import BIN_FORMS, Cursor, OddRows
from atdata.shards.columns.strided import SMALL_ROW_BYTES, StridedRows, buffers

_MOST_LAYOUTS: Final = 4096
"""Headers of arrays of one kind that are kept."""


def read_arrays(cursor: Cursor, kind: Array, *, own: bool) -> LazyColumn:
    """Move over an array in each row.

    Args:
        cursor: Where the rows stand.
        kind: What the arrays should be.
        own: Whether they are wanted one by one, each owning its memory, not stacked.

    Raises:
        OddRows: Rows whose arrays only their own decoding can judge.
    """
    strided = _strided(cursor, kind)
    if strided is not None:
        return strided
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
        if not own or first.data_bytes <= SMALL_ROW_BYTES:
            stacked = _stacked(cursor, first, data)
            return [row.copy("K") for row in as_list(stacked, kind)] if own else stacked
    layouts, sorts = _layouts(headers, length, sizes, kind)
    if own:
        return [
            layout.at(cursor.buffer, at) for layout, at in zip(layouts, data.tolist(), strict=True)
        ]
    return _ragged(cursor.buffer, layouts, sorts, data, ends)


def _strided(cursor: Cursor, kind: Array) -> StridedRows | None:
    """Arrays of one header at a constant stride; None where they are not, or are empty."""
    place = cursor.first_offset()
    if place is None or cursor.stride is None:
        return None
    code = cursor.buffer[place]
    if code not in BIN_FORMS:
        return None
    head = cursor.first(1 + int(BIN_FORMS[code][-1]))
    size = int.from_bytes(head[1:], "big")
    data = cursor.buffer[place + len(head) : place + len(head) + size]
    try:
        header = parse_header(data)
    except DecodeError:
        raise cursor.only_first() from None
    if not header.data_bytes or not _usable(header, kind):
        return None
    if not cursor.passes(head + bytes(data[: header.length])):
        return None
    cursor.require(header.data_bytes)
    first = place + len(head) + header.length
    cursor.move(header.data_bytes)
    return StridedRows(cursor.buffer, header, first, cursor.stride, len(cursor), cursor.file)


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
    if size < SMALL_ROW_BYTES:
        return cursor.gather(f"V{size}", size, starts)
    out = buffers.take(len(starts) * size).reshape(-1, size)
    whole = np.frombuffer(cursor.buffer, np.uint8)
    for row, start in enumerate(starts.tolist()):
        out[row] = whole[start : start + size]
    return out.reshape(-1)


class _Layout(NamedTuple):
    """What the header of an array says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    size: int
    """Bytes with the header; -1: no array of the kind."""

    def at(self, buffer: memoryview, place: int) -> AnyArray:
        """The array whose data are there, in memory of its own."""
        return np.ndarray(self.shape, self.dtype, buffer, place, None, self.order).copy("K")


_UNREADABLE: Final = _Layout(np.dtype(np.void), (), "C", -1)


def _ragged(
    buffer: memoryview,
    layouts: list[_Layout],
    sorts: list[_Layout],
    starts: Integers,
    ends: Integers,
) -> AnyArray | list[AnyArray]:
    """Arrays of several headers: a list, or stacked where they have one dtype and shape.

    Those of one dtype are views of one copy, which ends with the last of them.

    Args:
        buffer: Where they are.
        layouts: The layout of each.
        sorts: Those that occur.
        starts: Shape (n,): where the data of each begin.
        ends: Where they end.
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
    """What arrays of different headers are, each header parsed once; and those that occur.

    Args:
        headers: The headers, one behind the other, each of ``length`` bytes.
        length: Bytes of a header.
        sizes: Shape (n,), bytes of each array, header included.
        kind: What they should be.
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
    """The headers that are known of arrays of a kind."""
    return {}


def _layout(raw: bytes, kind: Array) -> _Layout:
    try:
        header = read_header(raw)
    except DecodeError:
        return _UNREADABLE
    if header.length != len(raw) or not _usable(header, kind):
        return _UNREADABLE
    return _Layout(header.dtype, header.shape, header.order, header.length + header.data_bytes)
