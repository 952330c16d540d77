"""A column of str, kept as bytes until it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from atdata._arrays import Integers


class TextColumn:
    """n ASCII texts, each in a slot of the same width.

    Args:
        raw: The slots, joined; every byte below 128.
        width: Bytes of a slot, at least 1.
        sizes: Bytes of each text, shape (n,), zeros after them; None: all fill their slots.
    """

    __slots__ = ("_raw", "_sizes", "_width")

    def __init__(self, raw: bytes, width: int, sizes: Integers | None = None) -> None:
        self._raw = raw
        self._width = width
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._raw) // self._width

    def __getitem__(self, place: slice) -> TextColumn:
        """Consecutive texts; a copy."""
        start, stop, _ = place.indices(len(self))
        sizes = None if self._sizes is None else self._sizes[start:stop]
        return TextColumn(self._raw[start * self._width : stop * self._width], self._width, sizes)

    def tolist(self) -> list[str]:
        """The texts as a list of str."""
        array = self.array()
        if array is not None:
            # NumPy makes them in a third of the time of slicing.
            made: list[str] = array.tolist()
            return made
        text, width = self._raw.decode("ascii"), self._width
        starts = range(0, len(text), width)
        if self._sizes is None:
            return [text[at : at + width] for at in starts]
        ends = (np.arange(0, len(text), width) + self._sizes).tolist()
        return [text[start:end] for start, end in zip(starts, ends, strict=True)]

    def array(self) -> np.ndarray[Any, np.dtype[np.str_]] | None:
        """The texts as a NumPy array of str; None if one ends with NUL, which NumPy would drop."""
        slots = np.frombuffer(self._raw, np.uint8).reshape(-1, self._width)
        if self._sizes is not None:
            last = slots[np.arange(len(slots)), self._sizes - 1][self._sizes > 0]
            if (last == 0).any():
                return None
        elif b"\0" in self._raw and (slots[:, -1] == 0).any():
            return None
        # NumPy's characters have four bytes each.
        return slots.astype(np.uint32).view(f"U{self._width}").reshape(-1)
