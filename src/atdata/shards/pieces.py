"""Columns → msgpack, many values at once: the opposite of `values`.

What can be written for many rows at once is a matrix of bytes, one row a value; everything
else is packed value by value, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from atdata.samples.kinds import Array, Field, Misfit, Primitive
from atdata.samples.packing import (
    BOOLS,
    FLOAT,
    INT,
    UNSIGNED,
    Packer,
    array_head,
    packer_of,
    str_head,
)
from atdata.shards.cursor import AnyArray, Bytes, Integers

Values: TypeAlias = AnyArray | Sequence[Any]
"""A column as a caller has it: one value a row."""


@dataclass(frozen=True, slots=True)
class Even:
    """Values of one size."""

    head: bytes
    """What each begins with."""
    rows: Bytes
    """Shape (n, bytes of the rest)."""

    @property
    def sizes(self) -> int:
        """Bytes of each."""
        return len(self.head) + int(self.rows.shape[1])


@dataclass(frozen=True, slots=True)
class Ragged:
    """Values of different sizes."""

    values: list[bytes]
    sizes: Integers
    """Bytes of each, shape (n,)."""


Piece: TypeAlias = Even | Ragged
"""Packed values of consecutive rows."""
Pack: TypeAlias = Callable[[int, int], Piece]
"""Packs the rows from the first up to the second number."""


class RowMisfit(Misfit):
    """A value that does not fit its field, in a known row."""

    def __init__(self, row: int, misfit: Misfit) -> None:
        super().__init__(misfit.expected, misfit.found, misfit.hint)
        self.steps = list(misfit.steps)
        self.row = row


def pack_of(field: Field, column: Values) -> Pack:
    """How a column is packed.

    Args:
        field: Its field.
        column: Its values.

    Raises:
        Misfit: No value of it can fit.
    """
    if not isinstance(column, np.ndarray) or column.dtype.hasobject:
        return _pack_list(field, column)
    sort, numbers = column.dtype.kind, column.ndim == 1
    match field.kind:
        case Array():
            return _pack_arrays(field.kind, column)
        case Primitive("int") if numbers and sort in "iu":
            return lambda start, end: _ints(column[start:end])
        case Primitive("float") if numbers and sort in "iuf":
            return lambda start, end: _floats(column[start:end])
        case Primitive("bool") if numbers and sort == "b":
            return lambda start, end: _bools(column[start:end])
        case _:
            return _pack_list(field, column)


def _pack_arrays(kind: Array, column: AnyArray) -> Pack:
    shape = column.shape[1:]
    if not kind.fits(column.dtype, shape):
        hint = f"Convert it with .astype({kind.dtype!r})." if kind.dtype else ""
        raise Misfit(kind.describe(), f"a column of {column.dtype} {shape}", hint)
    head = array_head(kind, column.dtype, shape)
    return lambda start, end: Even(head, _bytes_of(column[start:end]))


def _pack_list(field: Field, column: Values) -> Pack:
    pack, kind = packer_of(field.value_kind), field.kind

    def packed(start: int, end: int) -> Piece:
        values = list(column[start:end])
        if isinstance(kind, Primitive):
            sorts = set(map(type, values))
            if kind.name == "str" and sorts == {str} and (texts := _texts(values)):
                return texts
            if kind.name == "float" and sorts == {float}:
                return _floats(np.array(values))
        return _one_by_one(pack, values, start)

    return packed


def _one_by_one(pack: Packer, values: list[Any], start: int) -> Piece:
    out: list[bytes] = []
    try:
        for value in values:
            parts: list[Any] = []
            pack(value, parts)
            out.append(parts[0] if len(parts) == 1 else b"".join(parts))
    except Misfit as misfit:
        raise RowMisfit(start + len(out), misfit) from None
    sizes = np.fromiter(map(len, out), np.int64, len(out))
    if (sizes == sizes[0]).all():
        return Even(b"", np.frombuffer(b"".join(out), np.uint8).reshape(len(out), -1))
    return Ragged(out, sizes)


def _ints(column: AnyArray) -> Even:
    if column.dtype.kind == "u" and column.dtype.itemsize == 8 and int(column.max()) >= 1 << 63:
        rows = np.empty((len(column), 9), np.uint8)
        rows[:, 0] = np.where(column >= np.uint64(1 << 63), UNSIGNED[0], INT[0])
        rows[:, 1:] = _bytes_of(column.astype(">u8"))
        return Even(b"", rows)
    return Even(INT, _bytes_of(column.astype(">i8")))


def _floats(column: AnyArray) -> Even:
    return Even(FLOAT, _bytes_of(column.astype(">f8")))


def _bools(column: AnyArray) -> Even:
    rows = np.where(column, np.uint8(BOOLS[1][0]), np.uint8(BOOLS[0][0]))
    return Even(b"", rows.reshape(-1, 1))


def _texts(values: list[str]) -> Even | None:
    """Texts of one length, in ASCII; None: they are not."""
    text, size = "".join(values), len(values[0])
    if not text.isascii() or any(len(value) != size for value in values):
        return None
    rows = np.frombuffer(text.encode("ascii"), np.uint8).reshape(len(values), size)
    return Even(str_head(size), rows)


def _bytes_of(column: AnyArray) -> Bytes:
    """The bytes of each row, in C order: shape (n, bytes). A copy where they are not so already."""
    count = len(column)
    size = column[:1].nbytes
    if not size:
        return np.empty((count, 0), np.uint8)
    # A view of bytes needs a last axis; one more, of length 1, changes nothing.
    whole = np.ascontiguousarray(column).reshape(count, -1, 1)
    return whole.view(np.uint8).reshape(count, size)
