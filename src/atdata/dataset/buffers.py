"""Memory that is used again: the pages of fresh memory cost more time than filling them."""

from __future__ import annotations

import sys
import threading
from typing import Any, Final, TypeAlias

import numpy as np

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

_WORTH_KEEPING: Final = 1 << 20
"""Bytes from which on a buffer is kept: smaller ones are kept by the allocator."""
_MOST: Final = 3
"""Buffers that are kept: one in use, one that is filled ahead, one on its way."""
_UNUSED: Final = 3
"""References to a buffer that nobody holds: the list's, the loop's and the question's own."""


class Buffers:
    """Buffers that are given again when nobody holds a view of them any more."""

    def __init__(self) -> None:
        self._kept: list[Bytes] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> Bytes:
        """So many bytes, of any content. In use as long as an array or a memoryview of them is."""
        if size < _WORTH_KEEPING:
            return np.empty(size, np.uint8)
        with self._lock:
            for kept in self._kept:
                if len(kept) >= size and sys.getrefcount(kept) <= _UNUSED:
                    return kept[:size]
            # The next one is likely to be a little longer.
            made = np.empty(size + size // 8, np.uint8)
            self._kept = [made, *self._kept][:_MOST]
            return made[:size]
