"""Values of one kind read from many payloads at once: a vectorised Kind.decode.

Every reader here gives exactly the values that decoding row by row gives, or raises `OddRows`
for rows that must be decoded that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import AnyArray
from atdata.errors import DecodeError
from atdata.samples.kinds import (
    Array,
    Choice,
    ClassLabel,
    DateTime,
    Encoded,
    Field,
    IntChoice,
    Kind,
    Maybe,
    Misfit,
    Primitive,
    Simple,
    Unknown,
)
from atdata.samples.ndarray import ArrayHeader, parse_header
from atdata.samples.text_column import TextColumn
from atdata.samples.wire import unpack_value
from atdata.shards.columns.arrays import read_arrays, usable
from atdata.shards.columns.column import LazyColumn, StridedRows, as_list, integers
from atdata.shards.columns.cursor import BIN_FORMS, NIL, STR_FORMS, Cursor, OddRows, present, spread

ColumnReader: TypeAlias = Callable[[Cursor], LazyColumn]
"""Reads one value a row, and moves the cursor after it."""

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
"""Type byte of an integer → bytes after it; -1 for other types."""
_WIDTHS[:0x80] = 0
_WIDTHS[0xE0:] = 0
for _code, _dtype in _INT_FORMS.items():
    _WIDTHS[_code] = int(_dtype[-1])
_LONGEST_SLOT_BYTES: Final = 256


def reader_of(field: Field, *, own: bool) -> ColumnReader | None:
    """How to read a field in many rows at once; None: only row by row.

    Args:
        field: The field.
        own: Give lists of arrays that each own their memory, instead of stacking them.
    """
    read = _reader(field.kind, own)
    if read is None or not field.optional:
        return read
    return lambda cursor: _maybe(cursor, read, field.kind)


def _reader(kind: Kind, own: bool) -> ColumnReader | None:
    match kind:
        case Primitive(name):
            return _PRIMITIVES[name]
        case Array():
            return _ArrayReader(kind, own)
        case Choice() | DateTime():
            return lambda cursor: _from_texts(cursor, kind)
        case Simple() if kind.on_wire is str:
            return lambda cursor: _from_texts(cursor, kind)
        case Simple() | IntChoice():
            return lambda cursor: _from_ints(cursor, kind)
        case Encoded():
            return lambda cursor: list(map(kind.made, _binaries(cursor)))
        case Maybe(inner):
            read = _reader(inner, own)
            return None if read is None else lambda cursor: _maybe(cursor, read, inner)
        case ClassLabel():
            return lambda cursor: _labels(cursor, kind)
        case Unknown():
            return None
        case _:
            return lambda cursor: _row_by_row(cursor, kind)


class _ArrayReader:
    """Reads arrays of one kind, and knows the header that the last ones had in common.

    Args:
        kind: The kind.
        own: Give lists of arrays that each own their memory, instead of stacking them; except at
            a constant stride, where nothing is copied yet.
    """

    def __init__(self, kind: Array, own: bool) -> None:
        self._kind = kind
        self._own = own
        self._last: tuple[bytes, ArrayHeader] | None = None
        """Bytes before the data of an array, and the header that they hold."""

    def __call__(self, cursor: Cursor) -> LazyColumn:
        place = cursor.first_offset()
        if place is not None and cursor.stride is not None:
            last = self._last
            if last is None or not cursor.begins_with(last[0]):
                last = self._last = self._parsed(cursor, place)
            if last is not None and cursor.passes(last[0]):
                return _strided(cursor, last[1], place + len(last[0]))
        return read_arrays(cursor, self._kind, own=self._own)

    def _parsed(self, cursor: Cursor, place: int) -> tuple[bytes, ArrayHeader] | None:
        """What is before the data of the first row's array; None: it is empty, or of no use."""
        code = cursor.buffer[place]
        if code not in BIN_FORMS:
            return None
        head = cursor.first(1 + int(BIN_FORMS[code][-1]))
        start, size = place + len(head), int.from_bytes(head[1:], "big")
        data = cursor.buffer[start : start + size]
        try:
            header = parse_header(data)
        except DecodeError:
            raise cursor.only_first() from None
        if not header.data_bytes or not usable(header, self._kind):
            return None
        return head + bytes(data[: header.length]), header


def _strided(cursor: Cursor, header: ArrayHeader, first: int) -> StridedRows:
    """Arrays at a constant stride, at whose data the cursor is; it moves after them."""
    cursor.require(header.data_bytes)
    cursor.move(header.data_bytes)
    stride = cursor.stride
    assert stride is not None
    return StridedRows(cursor.buffer, header, first, stride, len(cursor), cursor.file)


def _ints(cursor: Cursor) -> AnyArray | list[Any]:
    head = cursor.first(1)
    if head and head[0] in _INT_FORMS and cursor.passes(head):
        return _ints_of(cursor, head[0])
    types = cursor.types()
    widths = _WIDTHS[types]
    if (widths < 0).any():
        raise OddRows(widths < 0)
    cursor.require(widths + 1)
    # A type byte without bytes after it is the number itself, signed.
    out = types.view(np.int8).astype(np.int64)
    unsigned = None
    for code in present(types):
        if code in _INT_FORMS:
            rows = np.flatnonzero(types == code)
            offsets = cursor.offsets()[rows] + 1
            found = cursor.gather(_INT_FORMS[code], int(_WIDTHS[code]), offsets)
            out[rows] = found.astype(np.int64)
            if code == 0xCF and (out[rows] < 0).any():
                unsigned = rows
    cursor.move(widths + 1)
    if unsigned is None:
        return out
    values = out.tolist()
    for row, value in zip(unsigned.tolist(), out[unsigned].view(np.uint64).tolist(), strict=True):
        values[row] = value
    return integers(values)


def _ints_of(cursor: Cursor, code: int) -> AnyArray:
    """Integers of one type byte, after which the cursor is."""
    width = int(_WIDTHS[code])
    cursor.require(width)
    raw = cursor.read(_INT_FORMS[code], width)
    out = raw.astype(np.int64)
    if code == 0xCF and (out < 0).any():
        out = raw.astype(np.uint64)
    cursor.move(width)
    return out


def _floats(cursor: Cursor) -> LazyColumn:
    head = cursor.first(1)
    if not head or head[0] not in _FLOAT_FORMS:
        # Writers that know no float64 put whole numbers as integers.
        whole = _ints(cursor)
        return np.array(whole, np.float64) if isinstance(whole, list) else whole.astype(np.float64)
    if not cursor.passes(head):
        raise OddRows(cursor.types() != head[0])
    form = _FLOAT_FORMS[head[0]]
    width = int(form[-1])
    cursor.require(width)
    out: AnyArray = cursor.read(form, width).astype(np.float64)
    cursor.move(width)
    return out


def _bools(cursor: Cursor) -> LazyColumn:
    types = cursor.types()
    if ((types & 0xFE) != 0xC2).any():
        raise OddRows((types & 0xFE) != 0xC2)
    cursor.move(1)
    return np.equal(types, 0xC3)


def _strs(cursor: Cursor) -> TextColumn | list[str]:
    starts, ends = cursor.texts()
    sizes = ends - starts
    longest = int(sizes.max())
    if not longest:
        return [""] * len(cursor)
    # Slots as wide as the longest text pay off only if texts are of similar length.
    short = longest <= min(_LONGEST_SLOT_BYTES, 4 * int(sizes.mean()) + 16)
    if short and int(starts.max()) + longest <= len(cursor.buffer):
        of_one_size = bool((sizes == longest).all())
        if of_one_size:
            slots = cursor.read(f"V{longest}", longest, -longest)
        else:
            # Bytes after the shorter ones are read with them, and cleared.
            slots = cursor.gather(f"V{longest}", longest, starts)
            slots = slots.view(np.uint8).reshape(-1, longest)
            slots[np.arange(longest) >= sizes[:, None]] = 0
        raw = slots.tobytes()
        if raw.isascii():
            return TextColumn(raw, longest, None if of_one_size else sizes)
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


_PRIMITIVES: Final[dict[str, ColumnReader]] = {
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "str": _strs,
    "bytes": _binaries,
}


def _labels(cursor: Cursor, kind: ClassLabel) -> AnyArray:
    found = _ints(cursor)
    if isinstance(found, list):
        raise cursor.all_rows()
    outside = (found < 0) | (found >= len(kind.names))
    if outside.any():
        raise OddRows(outside)
    return found.astype(np.int64, copy=False)


def _from_ints(cursor: Cursor, kind: Kind) -> list[Any]:
    try:
        return list(map(kind.decode, as_list(_ints(cursor), kind)))
    except Misfit:
        raise cursor.all_rows() from None


def _from_texts(cursor: Cursor, kind: Kind) -> list[Any]:
    try:
        return list(map(kind.decode, as_list(_strs(cursor), kind)))
    except Misfit:
        raise cursor.all_rows() from None


def _row_by_row(cursor: Cursor, kind: Kind) -> list[Any]:
    """Values of no fixed form, such as lists; other fields are still read many at once."""
    cursor.settle()
    buffer = cursor.buffer
    found: list[Any] = []
    sizes = np.zeros(len(cursor), np.int64)
    odd = np.zeros(len(cursor), np.bool_)
    spans = zip(cursor.offsets().tolist(), (cursor.starts + cursor.sizes).tolist(), strict=True)
    for row, (start, end) in enumerate(spans):
        try:
            wire, sizes[row] = unpack_value(buffer[start:end])
            found.append(kind.decode(wire))
        except (DecodeError, Misfit):
            odd[row] = True
    if odd.any():
        raise OddRows(odd)
    cursor.move(sizes)
    return found


def pass_over(cursor: Cursor) -> None:
    """Move over a value of a field that the sample type does not have.

    Raises:
        OddRows: Rows where it is of another sort than in the first row, or a list or map.
    """
    types = cursor.types()
    others = types[types != NIL]
    first = int(others[0]) if len(others) else NIL
    if first == NIL:
        cursor.move(1)
        return
    for kind, codes in _SORTS.items():
        if first in codes:
            _maybe(cursor, _PRIMITIVES[kind.name], kind)
            return
    raise cursor.only_first()


_SORTS: Final = {
    Primitive("bool"): frozenset({0xC2, 0xC3}),
    Primitive("float"): frozenset(_FLOAT_FORMS),
    Primitive("bytes"): frozenset(BIN_FORMS),
    Primitive("str"): frozenset({*range(0xA0, 0xC0), *STR_FORMS}),
    Primitive("int"): frozenset({*range(0x80), *range(0xE0, 0x100), *_INT_FORMS}),
}
"""Kind → type bytes of its values."""


def _maybe(cursor: Cursor, read: ColumnReader, kind: Kind) -> LazyColumn:
    nil = cursor.types() == NIL
    if not nil.any():
        return read(cursor)
    out: list[Any] = [None] * len(cursor)
    moved = np.ones(len(cursor), np.int64)
    rows = np.flatnonzero(~nil)
    if len(rows):
        there = cursor.part(rows)
        try:
            values = as_list(read(there), kind)
        except OddRows as odd:
            raise OddRows(spread(odd.rows, rows, len(cursor))) from None
        moved[rows] = there.at - (cursor.at if isinstance(cursor.at, int) else cursor.at[rows])
        for row, value in zip(rows.tolist(), values, strict=True):
            out[row] = value
    cursor.move(moved)
    return out
