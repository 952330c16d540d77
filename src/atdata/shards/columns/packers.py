"""Columns → msgpack, many values at once: the opposite of readers.

What can be written for many rows at once is a matrix of bytes, one row a value; everything
else is packed value by value, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeAlias

import numpy as np

from atdata._arrays import AnyArray, Bytes, Integers, slices
from atdata.samples.kinds import Array, ClassLabel, Field, Misfit, Primitive
from atdata.samples.ndarray import conversion, has_padding, refuse_mask, without_padding
from atdata.samples.packing import (
    BOOLS,
    FLOAT,
    INT,
    NIL,
    UNSIGNED,
    Packer,
    array_head,
    packer_of,
    str_head,
)

Values: TypeAlias = AnyArray | Sequence[Any]
"""One field of many samples, as a caller has it: one value a row."""

LARGE_VALUE_BYTES: Final = 1 << 14
"""Bytes from which on a value is written from where it is: a matrix would be one more copy."""
_MOST_SHAPES: Final = 4096
_PLAIN: Final = frozenset("biufcS")
"""Kinds of dtypes whose arrays support the buffer protocol."""
_dtype = attrgetter("dtype")
_ndim = attrgetter("ndim")
_shape = attrgetter("shape")
_nbytes = attrgetter("nbytes")
_in_c_order = attrgetter("flags.c_contiguous")


@dataclass(frozen=True, slots=True)
class FixedWidth:
    """Packed values of one size, as the rows of a matrix."""

    head: bytes
    """What each value begins with."""
    rows: Bytes
    """Shape (n, bytes of the rest)."""

    @property
    def sizes(self) -> int:
        """Bytes of each."""
        return len(self.head) + int(self.rows.shape[1])

    def slice(self, start: int, end: int) -> FixedWidth:
        """Some of them."""
        return FixedWidth(self.head, self.rows[start:end])

    def buffers(self) -> Iterator[Sequence[Any]]:
        """As `VariableWidth.buffers`."""
        if self.head:
            yield [self.head] * len(self.rows)
        if self.rows.shape[1]:
            yield slices(self.rows)


@dataclass(frozen=True, slots=True)
class VariableWidth:
    """Values of different sizes, or large ones, each in one or several buffers; not copied."""

    buffer_lists: tuple[Sequence[Any], ...]
    """The first buffer of each, the second of each, …: bytes, or arrays in C order."""
    sizes: Integers
    """Bytes of each value, shape (n,)."""

    def slice(self, start: int, end: int) -> VariableWidth:
        """Some of them."""
        return VariableWidth(
            tuple(pieces[start:end] for pieces in self.buffer_lists), self.sizes[start:end]
        )

    def buffers(self) -> Iterator[Sequence[Any]]:
        """Lists of n buffers: the first buffer of each value, the second of each, …"""
        return iter(self.buffer_lists)


PackedColumn: TypeAlias = FixedWidth | VariableWidth
"""The packed values of one field, in consecutive rows."""
PackColumn: TypeAlias = Callable[[Values], PackedColumn]
"""Packs the values of one field, at least one. Raises RowMisfit."""


def packed_values(values: list[bytes]) -> PackedColumn:
    """A column of values that are packed already, at least one."""
    sizes = _lengths(values)
    if sizes[0] < LARGE_VALUE_BYTES and bool((sizes == sizes[0]).all()):
        return FixedWidth(b"", np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1))
    return VariableWidth((values,), sizes)


class RowMisfit(Misfit):
    """A value that does not fit its field, and its row."""

    def __init__(self, row: int, misfit: Misfit) -> None:
        super().__init__(misfit.expected, misfit.found, misfit.hint)
        self.steps = list(misfit.steps)
        self.row = row


def pack_of(field: Field, column: Values, before: bytes) -> PackColumn:
    """How to pack a column.

    Args:
        field: Its field.
        column: Its values.
        before: The bytes before each value: the key of the field.

    Raises:
        Misfit: The column as a whole does not fit, such as an array of another dtype.
    """
    if not isinstance(column, np.ndarray) or column.dtype.hasobject:
        return pack_list(field, before)
    try:
        refuse_mask(column)
    except ValueError as error:
        raise Misfit(field.kind.describe(), "a masked column", str(error)) from None
    sort, numbers = column.dtype.kind, column.ndim == 1
    match field.kind:
        case Array():
            return _pack_arrays(field.kind, column, before)
        case Primitive("int") if numbers and sort in "iu":
            return lambda values: _ints(before, np.asarray(values))
        case ClassLabel(names) if numbers and sort in "iu" and _are_below(column, len(names)):
            return lambda values: _ints(before, np.asarray(values))
        case Primitive("float") if numbers and sort in "iuf" and _are_floats(column):
            return lambda values: _floats(before, np.asarray(values))
        case Primitive("bool") if numbers and sort == "b":
            return lambda values: _bools(before, np.asarray(values))
        case _:
            return pack_list(field, before)


def _pack_arrays(kind: Array, column: AnyArray, before: bytes) -> PackColumn:
    shape = column.shape[1:]
    if not kind.fits(column.dtype, shape):
        hint = conversion(column, kind.dtype) if kind.dtype else ""
        raise Misfit(kind.describe(), f"a column of {column.dtype} {shape}", hint)
    head = before + array_head(kind, column.dtype, shape)

    def packed(values: Values) -> PackedColumn:
        rows = _bytes_of(without_padding(np.asarray(values)))
        count, size = rows.shape
        if size < LARGE_VALUE_BYTES:
            return FixedWidth(head, rows)
        return VariableWidth(([head] * count, list(rows)), np.full(count, len(head) + size))

    return packed


def pack_list(field: Field, before: bytes) -> PackColumn:
    """How to pack values of any types."""
    pack, at_once = packer_of(field.value_kind, before), _at_once(field, before)

    def packed(column: Values) -> PackedColumn:
        values = list(column)
        try:
            together = at_once(values)
        except Misfit:
            together = None  # packing them one by one finds which does not fit
        return together or _one_by_one(pack, values)

    return packed


def _at_once(field: Field, before: bytes) -> Callable[[list[Any]], PackedColumn | None]:
    """How to pack values together if they have the usual types; it gives None if they have not."""

    def packed(values: list[Any]) -> PackedColumn | None:
        sorts = set(map(type, values))
        match field.kind:
            case Primitive("int") if sorts == {int}:
                return _int_list(before, values)
            case Primitive("float") if sorts == {float}:
                return _floats(before, np.array(values))
            case Primitive("str") if sorts == {str}:
                return _texts(before, values)
        return None

    if isinstance(field.kind, Array):
        return _array_lists(field.kind, before, optional=field.optional)
    return packed


def _array_lists(
    kind: Array, before: bytes, *, optional: bool
) -> Callable[[list[Any]], PackedColumn | None]:
    """As `_at_once`, for arrays of one dtype and any shapes."""
    # Making a header takes longer than packing a small array.
    known: dict[tuple[Any, Any], bytes] = {}
    nil = before + NIL

    def heads_of(dtype: np.dtype[Any], shapes: set[Any]) -> dict[Any, bytes] | None:
        if len(known) > _MOST_SHAPES:
            known.clear()
        heads = {shape: known.get((dtype, shape), b"") for shape in shapes}
        for shape in [shape for shape, head in heads.items() if not head]:
            whole = (shape,) if isinstance(shape, int) else shape
            if dtype.kind not in _PLAIN or has_padding(dtype) or not kind.fits(dtype, whole):
                return None
            heads[shape] = known[dtype, shape] = before + array_head(kind, dtype, whole)
        return heads

    def packed(values: list[Any]) -> PackedColumn | None:
        sorts = set(map(type, values))
        mixed = optional and type(None) in sorts
        there = [value for value in values if value is not None] if mixed else values
        if sorts - {type(None)} != {np.ndarray} or len(dtypes := set(map(_dtype, there))) > 1:
            return None
        [dtype] = dtypes
        flat = set(map(_ndim, there)) == {1}
        shapes = list(map(len if flat else _shape, there))
        known_heads = heads_of(dtype, set(shapes))
        if known_heads is None or not all(map(_in_c_order, there)):
            return None
        if not mixed and len(known_heads) == 1 and values[0].nbytes < LARGE_VALUE_BYTES:
            data = np.frombuffer(b"".join(values), np.uint8)
            return FixedWidth(known_heads[shapes[0]], data.reshape(len(values), -1))
        heads = [known_heads[shape] for shape in shapes]
        nbytes = np.array(shapes) * dtype.itemsize if flat else np.array(list(map(_nbytes, there)))
        sizes = _lengths(heads) + nbytes
        if not mixed:
            return VariableWidth((heads, values), sizes)
        has = np.fromiter([value is not None for value in values], np.bool_, len(values))
        all_sizes = np.full(len(values), len(nil))
        all_sizes[has] = sizes
        following = iter(heads)
        all_heads = [nil if value is None else next(following) for value in values]
        return VariableWidth((all_heads, [b"" if v is None else v for v in values]), all_sizes)

    return packed


def _one_by_one(pack: Packer, values: list[Any]) -> PackedColumn:
    out: list[bytes] = []
    try:
        for value in values:
            parts: list[Any] = []
            pack(value, parts)
            out.append(parts[0] if len(parts) == 1 else b"".join(parts))
    except Misfit as misfit:
        raise RowMisfit(len(out), misfit) from None
    return packed_values(out)


def _lengths(values: Sequence[bytes]) -> Integers:
    return np.fromiter(map(len, values), np.int64, len(values))


def _int_list(before: bytes, values: list[int]) -> FixedWidth | None:
    try:
        return _ints(before, np.array(values, np.int64))
    except OverflowError:
        return None


def _ints(before: bytes, column: AnyArray) -> FixedWidth:
    if column.dtype.kind == "u" and column.dtype.itemsize == 8 and int(column.max()) >= 1 << 63:
        rows = np.empty((len(column), 9), np.uint8)
        rows[:, 0] = np.where(column >= np.uint64(1 << 63), UNSIGNED[0], INT[0])
        rows[:, 1:] = _bytes_of(column.astype(">u8"))
        return FixedWidth(before, rows)
    return FixedWidth(before + INT, _bytes_of(column.astype(">i8")))


def _are_below(column: AnyArray, end: int) -> bool:
    """Whether each integer of a column is from 0 to ``end`` - 1."""
    return not len(column) or (int(column.min()) >= 0 and int(column.max()) < end)


def _are_floats(column: AnyArray) -> bool:
    """Whether each number of a column equals a 64-bit float."""
    if column.dtype.itemsize < 8 or column.dtype == np.float64:
        return True
    if column.dtype.kind == "f":
        same = column.astype(np.float64) == column
        return bool((same | np.isnan(column)).all())
    # Up to here every integer is a float. Larger ones may be, too: they are checked one by one.
    return not len(column) or (int(column.max()) <= 2**53 and int(column.min()) >= -(2**53))


def _floats(before: bytes, column: AnyArray) -> FixedWidth:
    return FixedWidth(before + FLOAT, _bytes_of(column.astype(">f8")))


def _bools(before: bytes, column: AnyArray) -> FixedWidth:
    rows = np.where(column, np.uint8(BOOLS[1][0]), np.uint8(BOOLS[0][0]))
    return FixedWidth(before, rows.reshape(-1, 1))


def _texts(before: bytes, values: list[str]) -> PackedColumn | None:
    text, size = "".join(values), len(values[0])
    if text.isascii() and set(map(len, values)) == {size} and size < LARGE_VALUE_BYTES:
        rows = np.frombuffer(text.encode("ascii"), np.uint8).reshape(len(values), size)
        return FixedWidth(before + str_head(size), rows)
    try:
        raw = list(map(str.encode, values))
        heads = {size: before + str_head(size) for size in set(map(len, raw))}
    except (UnicodeEncodeError, Misfit):
        return None
    return packed_values([heads[len(each)] + each for each in raw])


def _bytes_of(column: AnyArray) -> Bytes:
    """The bytes of each row, in C order, shape (n, bytes): a copy if they are not in C order."""
    count = len(column)
    size = column[:1].nbytes
    if not size:
        return np.empty((count, 0), np.uint8)
    # A view of bytes needs a last axis; one more, of length 1, changes nothing.
    whole = np.ascontiguousarray(column).reshape(count, -1, 1)
    return whole.view(np.uint8).reshape(count, size)
