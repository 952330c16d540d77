"""A position in each of many msgpack payloads, moved through all of them at once.

The position is one number as long as it is the same in every payload, then an array, one a row.
Payloads at a constant stride are read as strided views of their buffer, others by a gather. If
some rows differ from the others, `OddRows` says which, and the others continue without them.

msgpack: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from atdata._arrays import AnyArray, Bytes, Integers, Mask
from atdata.shards.tar.window import MappedFile

NIL: Final = 0xC0
STR_FORMS: Final = {0xD9: ">u1", 0xDA: ">u2", 0xDB: ">u4"}
BIN_FORMS: Final = {0xC4: ">u1", 0xC5: ">u2", 0xC6: ">u4"}
_NO_SIZES: Final = np.full(256, -1, np.int64)
_STR_SIZES: Final = _NO_SIZES.copy()
"""Type byte → length of the str if the type itself encodes it, else -1."""
_STR_SIZES[0xA0:0xC0] = np.arange(0x20)
_COMPARED_BYTES: Final = 1 << 15
"""Bytes that are compared at once: more would spend as much time on new memory."""


class OddRows(Exception):
    """Some rows do not have the layout of the first one, or are damaged.

    Args:
        rows: Which rows: a mask of shape (n,).
    """

    def __init__(self, rows: Mask) -> None:
        self.rows = rows


class Cursor:
    """A position in each of n payloads.

    Args:
        buffer: The memory that holds them all.
        starts: Where each payload begins in the buffer, shape (n,), n at least 1.
        sizes: Bytes of each payload, shape (n,).
        at: The position in all payloads, or in each; from the start of the payload.
        stride: Bytes from the start of one payload to that of the next; None: they differ.
        file: The file that the buffer is a map of.
    """

    def __init__(
        self,
        buffer: memoryview,
        starts: Integers,
        sizes: Integers,
        at: int | Integers = 0,
        *,
        stride: int | None = None,
        file: MappedFile | None = None,
    ) -> None:
        self.buffer = buffer
        self.starts = starts
        self.sizes = sizes
        self.at = at
        self.stride = stride
        self.file = file
        self._first = int(starts[0])
        self._owed = b""
        """Bytes that must be just before the cursor, and have not been compared yet."""
        self._shortest = int(sizes.min())

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, rows: Integers) -> Cursor:
        """A new cursor over some of the rows."""
        at = self.at if isinstance(self.at, int) else self.at[rows]
        return Cursor(self.buffer, self.starts[rows], self.sizes[rows], at)

    def first_offset(self) -> int | None:
        """The first row's offset in the buffer; None if positions in the payloads differ.

        Raises:
            OddRows: Rows that end there.
        """
        if not isinstance(self.at, int):
            return None
        self.require(1)
        return self._first + self.at

    def offsets(self) -> Integers:
        """The offset of each row in the buffer, shape (n,)."""
        return self.starts + self.at

    def move(self, size: int | Integers) -> None:
        """Move by this many bytes, the same in all rows or one number a row.

        Raises:
            OddRows: See `settle`.
        """
        self.settle()
        if not isinstance(size, int) and (size == size[0]).all():
            size = int(size[0])
        self.at = self.at + size

    def require(self, size: int | Integers) -> None:
        """Check that each payload has this many more bytes.

        Raises:
            OddRows: Rows that have fewer.
        """
        end = self.at + size
        if isinstance(end, int) and end <= self._shortest:
            return
        short = end > self.sizes
        if short.any():
            raise OddRows(short)

    def first(self, size: int) -> bytes:
        """The next bytes of the first row, fewer at its end."""
        at = self.at if isinstance(self.at, int) else int(self.at[0])
        size = min(size, int(self.sizes[0]) - at)
        return bytes(self.buffer[self._first + at : self._first + at + size])

    def begins_with(self, literal: bytes) -> bool:
        """Whether the first row has these bytes next. Does not move."""
        return self.first(len(literal)) == literal

    def only_first(self) -> OddRows:
        """The error for a first row that cannot be decoded here."""
        odd = np.zeros(len(self), np.bool_)
        odd[0] = True
        return OddRows(odd)

    def all_rows(self) -> OddRows:
        """The error for rows none of which can be decoded here."""
        return OddRows(np.ones(len(self), np.bool_))

    def read(self, dtype: str, size: int, skip: int = 0) -> AnyArray:
        """Read a value of ``size`` bytes in each row, ``skip`` bytes ahead. Does not move.

        Args:
            dtype: Its dtype.
            size: Its bytes, at least 1; the caller has checked that they exist.
            skip: Bytes before it.

        Returns:
            Shape (n,), a copy or a read-only view of the buffer.
        """
        if self.stride is not None and isinstance(self.at, int):
            place = self._first + self.at + skip
            return np.ndarray((len(self),), dtype, self.buffer, place, (self.stride,))
        return self.gather(dtype, size, self.offsets() + skip)

    def gather(self, dtype: str, size: int, offsets: Integers) -> AnyArray:
        """As `read`, at any offsets in the buffer; a copy."""
        # A view whose items overlap: indexing it reads any offsets in one call.
        last = len(self.buffer) - size + 1
        overlapping = np.ndarray((last,), dtype, self.buffer, 0, (1,))
        return overlapping[offsets]

    def expect(self, literal: bytes) -> None:
        """Move over bytes that must be the same in every row.

        They are compared together with what follows, at the latest by `settle`.
        """
        self._owed += literal
        self.at = self.at + len(literal)

    def passes(self, literal: bytes) -> bool:
        """Move over bytes if every row has them, and all bytes that were expected before."""
        end = self.at + len(literal)
        enough = end <= self._shortest if isinstance(end, int) else not (end > self.sizes).any()
        if not enough or not self._all_hold(self._owed + literal, -len(self._owed)):
            return False
        self.at, self._owed = end, b""
        return True

    def settle(self) -> None:
        """Compare the bytes that were expected.

        Raises:
            OddRows: Rows that have others.
        """
        if self._owed and not self.passes(b""):
            self.require(0)
            size = len(self._owed)
            found = np.frombuffer(self.read(f"V{size}", size, -size).tobytes(), np.uint8)
            same = found.reshape(-1, size) == np.frombuffer(self._owed, np.uint8)
            raise OddRows(~same.all(axis=1))

    def _all_hold(self, literal: bytes, skip: int) -> bool:
        """Whether every row has these bytes, ``skip`` bytes ahead."""
        if not literal:
            return True
        size = len(literal)
        step = max(1, _COMPARED_BYTES // size)
        wanted = literal * min(step, len(self))
        return all(map(wanted.startswith, self._in_steps(size, skip, step)))

    def _in_steps(self, size: int, skip: int, step: int) -> Iterator[bytes]:
        """Bytes of each row, joined, of ``step`` rows at a time."""
        starts = range(0, len(self), step)
        if self.stride is not None and isinstance(self.at, int):
            rows = self.read(f"V{size}", size, skip)
            return (rows[start : start + step].tobytes() for start in starts)
        offsets = self.offsets() + skip
        parts = (offsets[start : start + step] for start in starts)
        return (self.gather(f"V{size}", size, part).tobytes() for part in parts)

    def types(self) -> Bytes:
        """The next byte of each row, which is the type of a value; a copy. Does not move.

        Raises:
            OddRows: Rows that end there, and as for `settle`.
        """
        self.settle()
        self.require(1)
        return np.ascontiguousarray(self.read("u1", 1))

    def texts(self) -> tuple[Integers, Integers]:
        """Move over a str in each row; gives where they start and where they end."""
        return self._spans(STR_FORMS, _STR_SIZES)

    def binaries(self) -> tuple[Integers, Integers]:
        """Move over a bin in each row; gives where they start and where they end."""
        return self._spans(BIN_FORMS, _NO_SIZES)

    def _spans(self, forms: dict[int, str], inline: Integers) -> tuple[Integers, Integers]:
        """Spans of values that begin with a type and a length.

        Args:
            forms: Type byte → dtype of the length after it.
            inline: Type byte → the length that it encodes itself, or -1; shape (256,).
        """
        head, size = self._first_head(forms, inline)
        if size >= 0 and self.passes(head):
            self.require(size)
            starts = self.offsets()
            self.move(size)
            return starts, starts + size
        types = self.types()
        sizes = inline[types]
        heads = np.ones(len(types), np.int64)
        for code in present(types):
            if code in forms:
                width = int(forms[code][-1])
                rows = np.flatnonzero(types == code)
                part = self if len(rows) == len(types) else self.part(rows)
                try:
                    part.require(1 + width)
                except OddRows as odd:
                    raise OddRows(spread(odd.rows, rows, len(self))) from None
                sizes[rows] = part.read(forms[code], width, 1)
                heads[rows] += width
        if (sizes < 0).any():
            raise OddRows(sizes < 0)
        self.require(heads + sizes)
        starts = self.offsets() + heads
        self.move(heads + sizes)
        return starts, starts + sizes

    def _first_head(self, forms: dict[int, str], inline: Integers) -> tuple[bytes, int]:
        """The bytes of the first row's type and length, and that length; -1: there is none."""
        head = self.first(5)
        if not head or head[0] not in forms:
            return head[:1], int(inline[head[0]]) if head else -1
        width = int(forms[head[0]][-1])
        whole = len(head) > width
        return head[: 1 + width], int.from_bytes(head[1 : 1 + width], "big") if whole else -1


def present(types: Bytes) -> list[int]:
    """The distinct values, in order."""
    if (types == types[0]).all():
        return [int(types[0])]
    return np.flatnonzero(np.bincount(types, minlength=256)).tolist()


def spread(mask: Mask, rows: Integers, count: int) -> Mask:
    """A mask over some rows as a mask over all ``count`` of them."""
    out = np.zeros(count, np.bool_)
    out[rows] = mask
    return out
