"""Where decoding stands in many msgpack payloads at once.

Positions are a vector, one a row; every read is a gather from the buffer they share. What a
read finds in some rows only is told by `OddRows`, so that the others go on without them.

msgpack: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Integers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]

NIL: Final = 0xC0
STR_FORMS: Final = {0xD9: ">u1", 0xDA: ">u2", 0xDB: ">u4"}
BIN_FORMS: Final = {0xC4: ">u1", 0xC5: ">u2", 0xC6: ">u4"}


class OddRows(Exception):
    """Some rows do not have the layout of the first one, or are damaged.

    Args:
        rows: Mask of shape (n,): which.
    """

    def __init__(self, rows: Mask) -> None:
        self.rows = rows


class Cursor:
    """Positions in n payloads.

    Args:
        buffer: The memory that holds them all.
        at: Shape (n,), n at least 1: where each row stands, in bytes from the buffer's start.
        ends: Shape (n,): where each payload ends.
    """

    def __init__(self, buffer: memoryview, at: Integers, ends: Integers) -> None:
        self.buffer = buffer
        self.at = at
        self.ends = ends

    def __len__(self) -> int:
        return len(self.at)

    def part(self, rows: Integers) -> Cursor:
        """A cursor of its own over some rows."""
        return Cursor(self.buffer, self.at[rows], self.ends[rows])

    def require(self, size: int | Integers) -> None:
        """Make sure that each payload has so many more bytes.

        Raises:
            OddRows: Those that have not.
        """
        short = self.at + size > self.ends
        if short.any():
            raise OddRows(short)

    def first(self, size: int) -> bytes:
        """The next bytes of the first row, fewer at its end."""
        start = int(self.at[0])
        return bytes(self.buffer[start : min(start + size, int(self.ends[0]))])

    def only_first(self) -> OddRows:
        """The error that says that the first row cannot be decoded here."""
        odd = np.zeros(len(self), np.bool_)
        odd[0] = True
        return OddRows(odd)

    def all_rows(self) -> OddRows:
        """The error that says that no row can be decoded here."""
        return OddRows(np.ones(len(self), np.bool_))

    def gather(self, dtype: str, size: int, start: Integers | None = None) -> AnyArray:
        """Read a value of ``size`` bytes in each row, which does not move the cursor.

        Args:
            dtype: Its dtype.
            size: Its bytes, at least 1; they must be known to be there.
            start: Where, one position a row; None: where the cursor stands.

        Returns:
            Shape (n,), a copy.
        """
        places = len(self.buffer) - size + 1
        overlapping = np.ndarray((places,), dtype, self.buffer, 0, (1,))
        return overlapping[self.at if start is None else start]

    def expect(self, literal: bytes) -> None:
        """Move over bytes that are the same in every row.

        Raises:
            OddRows: Those where they are not.
        """
        size = len(literal)
        self.require(size)
        found = self.gather(f"V{size}", size)
        if found.tobytes() != literal * len(self):
            same = found.view(np.uint8).reshape(-1, size) == np.frombuffer(literal, np.uint8)
            raise OddRows(~same.all(axis=1))
        self.at = self.at + size

    def types(self) -> Bytes:
        """The next byte of each row: the type of a value. Does not move."""
        self.require(1)
        return self.gather("u1", 1)

    def texts(self) -> tuple[Integers, Integers]:
        """Move over a str in each row: where they start and where they end."""
        types = self.types()
        fixed = (types & 0xE0) == 0xA0
        return self._spans(types, STR_FORMS, np.where(fixed, (types & 0x1F).astype(np.int64), -1))

    def binaries(self) -> tuple[Integers, Integers]:
        """Move over a bin in each row: where they start and where they end."""
        types = self.types()
        return self._spans(types, BIN_FORMS, np.full(len(types), -1, np.int64))

    def _spans(
        self, types: Bytes, forms: dict[int, str], sizes: Integers
    ) -> tuple[Integers, Integers]:
        """Spans of values that begin with a type and a length.

        Args:
            types: The type of each row's value.
            forms: Type → dtype of the length behind it.
            sizes: Lengths that the type itself tells, -1 elsewhere.
        """
        starts = self.at + 1
        for code in present(types):
            if code in forms:
                rows = np.flatnonzero(types == code)
                part = self.part(rows)
                width = int(forms[code][-1])
                odd = part.at + 1 + width > part.ends
                if odd.any():
                    raise OddRows(spread(odd, rows, len(self)))
                sizes[rows] = part.gather(forms[code], width, part.at + 1)
                starts[rows] += width
        if (sizes < 0).any():
            raise OddRows(sizes < 0)
        ends = starts + sizes
        if (ends > self.ends).any():
            raise OddRows(ends > self.ends)
        self.at = ends
        return starts, ends


def present(types: Bytes) -> list[int]:
    """The values that occur, in order."""
    if (types == types[0]).all():
        return [int(types[0])]
    return np.flatnonzero(np.bincount(types, minlength=256)).tolist()


def spread(mask: Mask, rows: Integers, count: int) -> Mask:
    """A mask over some rows as a mask over all ``count`` of them."""
    out = np.zeros(count, np.bool_)
    out[rows] = mask
    return out
