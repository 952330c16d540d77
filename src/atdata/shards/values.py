"""Values of one kind, read in many payloads at once: the vectorised twin of `Kind.decode`.

Every reader here gives exactly the values that decoding row by row gives, or raises `OddRows`
for rows that it leaves to that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from atdata.errors import DecodeError
from atdata.samples.kinds import Array, Choice, DateTime, Field, Kind, Maybe, Misfit, Primitive
from atdata.samples.ndarray import ArrayHeader, parse_header, read_header
from atdata.shards.cursor import NIL, AnyArray, Cursor, Integers, OddRows, present, spread

Column: TypeAlias = "AnyArray | list[Any]"
Reader: TypeAlias = Callable[[Cursor], Column]
"""Moves over one value a row. Shape (n, …), or a list of n."""

_INT_FORMS: Final = {
    0xCC: ">u1",
    0xCD: ">u2",
    0xCE: ">u4",
    0xCF: ">u8",
    0xD0: ">i1",
    0xD1: ">i2",
    0xD2: ">i4",
    0xD3: ">i8",
}
_FLOAT_FORMS: Final = {0xCA: ">f4", 0xCB: ">f8"}
_WIDTHS: Final = np.full(256, -1, np.int64)
"""Type → bytes behind it, for integers."""
_WIDTHS[:0x80] = 0
_WIDTHS[0xE0:] = 0
for _code, _dtype in _INT_FORMS.items():
    _WIDTHS[_code] = int(_dtype[-1])
_MANY_CHARACTERS: Final = 256
_SMALL_ARRAY: Final = 4096
"""Bytes up to which copying an array twice is cheaper than a gather of its own."""


def reader_of(field: Field, *, own: bool) -> Reader | None:
    """How a field is read in many rows at once; None: only row by row.

    Args:
        field: The field.
        own: Whether arrays are wanted one by one, each owning its memory, not stacked.
    """
    read = _reader(field.kind, own)
    if read is None or not field.optional:
        return read
    return lambda cursor: _maybe(cursor, read, field.kind)


def _reader(kind: Kind, own: bool) -> Reader | None:
    match kind:
        case Primitive(name):
            return _PRIMITIVES[name]
        case Array():
            return lambda cursor: _arrays(cursor, kind, own)
        case Choice() | DateTime():
            return lambda cursor: _from_texts(cursor, kind)
        case Maybe(inner):
            read = _reader(inner, own)
            return None if read is None else lambda cursor: _maybe(cursor, read, inner)
        case _:
            return None


def column_of(values: list[Any]) -> Column:
    """Values as an array where one dtype and shape hold them all, as they are otherwise.

    Arrays of one dtype and shape (*S) become (n, *S); a copy.
    """
    sorts = set(map(type, values))
    if len(sorts) != 1:
        return values
    (sort,) = sorts
    if sort is bool or sort is float:
        return np.array(values, sort)
    if sort is int:
        return _integers(values)
    if sort is np.ndarray and len({(value.dtype, value.shape) for value in values}) == 1:
        # Without its dtype, the other byte order would be lost.
        return np.stack(values, dtype=values[0].dtype)
    return values


def _integers(values: list[int]) -> Column:
    """Integers as int64, as uint64 where that is needed, as they are where neither holds them."""
    low, high = min(values), max(values)
    if low >= -(2**63) and high < 2**63:
        return np.array(values, np.int64)
    return np.array(values, np.uint64) if low >= 0 and high < 2**64 else values


def _ints(cursor: Cursor) -> Column:
    types = cursor.types()
    widths = _WIDTHS[types]
    if (widths < 0).any():
        raise OddRows(widths < 0)
    cursor.require(widths + 1)
    # A type without bytes behind it is the number itself, as a signed byte.
    out = types.view(np.int8).astype(np.int64)
    unsigned = None
    for code in present(types):
        if code in _INT_FORMS:
            rows = np.flatnonzero(types == code)
            found = cursor.gather(_INT_FORMS[code], int(_WIDTHS[code]), cursor.at[rows] + 1)
            out[rows] = found.astype(np.int64)
            if code == 0xCF and (out[rows] < 0).any():
                unsigned = rows
    cursor.at = cursor.at + widths + 1
    if unsigned is None:
        return out
    values = out.tolist()
    for row, value in zip(unsigned.tolist(), out[unsigned].view(np.uint64).tolist(), strict=True):
        values[row] = value
    return _integers(values)


def _floats(cursor: Cursor) -> Column:
    types = cursor.types()
    code = int(types[0])
    if code not in _FLOAT_FORMS:
        # Writers that know no float64 put whole numbers as integers.
        whole = _ints(cursor)
        return np.array(whole, np.float64) if isinstance(whole, list) else whole.astype(np.float64)
    if (types != code).any():
        raise OddRows(types != code)
    width = int(_FLOAT_FORMS[code][-1])
    cursor.require(1 + width)
    out = cursor.gather(_FLOAT_FORMS[code], width, cursor.at + 1).astype(np.float64)
    cursor.at = cursor.at + 1 + width
    return out


def _bools(cursor: Cursor) -> Column:
    types = cursor.types()
    if ((types & 0xFE) != 0xC2).any():
        raise OddRows((types & 0xFE) != 0xC2)
    cursor.at = cursor.at + 1
    return np.equal(types, 0xC3)


def _strs(cursor: Cursor) -> list[str]:
    starts, ends = cursor.texts()
    sizes = ends - starts
    longest = int(sizes.max())
    if not longest:
        return [""] * len(cursor)
    short = longest <= min(_MANY_CHARACTERS, 4 * int(sizes.mean()) + 16)
    if short and int(starts.max()) + longest <= len(cursor.buffer):
        # What stands behind the shorter ones comes along, and is cut off below.
        raw = cursor.gather(f"V{longest}", longest, starts).tobytes()
        if raw.isascii():
            text = raw.decode("ascii")
            begin = np.arange(0, len(text), longest)
            spans = zip(begin.tolist(), (begin + sizes).tolist(), strict=True)
            return [text[start:end] for start, end in spans]
    buffer = cursor.buffer
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    try:
        return [str(buffer[start:end], "utf-8") for start, end in spans]
    except UnicodeDecodeError:
        raise cursor.all_rows() from None


def _binaries(cursor: Cursor) -> list[bytes]:
    starts, ends = cursor.binaries()
    buffer = cursor.buffer
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return [bytes(buffer[start:end]) for start, end in spans]


_PRIMITIVES: Final[dict[str, Reader]] = {
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "str": _strs,
    "bytes": _binaries,
}


def _from_texts(cursor: Cursor, kind: Choice | DateTime) -> list[Any]:
    try:
        return list(map(kind.decode, _strs(cursor)))
    except Misfit:
        raise cursor.all_rows() from None


def _maybe(cursor: Cursor, read: Reader, kind: Kind) -> Column:
    nil = cursor.types() == NIL
    if not nil.any():
        return read(cursor)
    out: list[Any] = [None] * len(cursor)
    at = cursor.at + 1
    rows = np.flatnonzero(~nil)
    if len(rows):
        there = cursor.part(rows)
        try:
            values = as_list(read(there), kind)
        except OddRows as odd:
            raise OddRows(spread(odd.rows, rows, len(cursor))) from None
        at[rows] = there.at
        for row, value in zip(rows.tolist(), values, strict=True):
            out[row] = value
    cursor.at = at
    return out


def as_list(column: Column, kind: Kind) -> list[Any]:
    """A column as Python values: scalars as int, float and bool; arrays as views of their rows."""
    if isinstance(column, list):
        return column
    if not isinstance(kind.kind if isinstance(kind, Maybe) else kind, Array):
        return list(column.tolist())
    # Iterating over one dimension would give NumPy's scalars instead of arrays.
    return [column[i, ...] for i in range(len(column))] if column.ndim == 1 else list(column)


def _arrays(cursor: Cursor, kind: Array, own: bool) -> Column:
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
        if not own or first.data_bytes <= _SMALL_ARRAY:
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
    raw = cursor.gather(f"V{header.data_bytes}", header.data_bytes, data).view(header.dtype)
    if not header.fortran:
        return raw.reshape((count, *shape))
    axes = (0, *range(len(shape), 0, -1))
    return raw.reshape((count, *reversed(shape))).transpose(axes)


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


def _layout(raw: bytes, kind: Array) -> _Layout | None:
    try:
        header = read_header(raw)
    except DecodeError:
        return None
    if header.length != len(raw) or not _usable(header, kind):
        return None
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    return header.dtype, header.shape, order, header.length + header.data_bytes
